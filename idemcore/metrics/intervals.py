"""Means over images with their 95 % intervals. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..protocols import Score

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1 to 10 degrees of freedom."""


_Z_975 = 1.959964
"""The same of the normal distribution."""

_SHARES = frozenset({"exact", "solver-exact"})
_OF_BATCHES = frozenset({"seconds", "peak-memory", "nfe", "backwards"})


def is_share(metric: str) -> bool:
    """Whether the metric says yes (1) or no (0) of an image."""
    return metric.replace("_", "-") in _SHARES


def is_of_batch(metric: str) -> bool:
    """Whether the metric is measured once for a batch. Its images share the value; of passes, that of the most."""
    return metric.replace("_", "-") in _OF_BATCHES


def summarise(images: Sequence[str], values: Sequence[float], metric: str = "", batched: bool = False) -> Score:
    """Mean over images, with its interval: Student's t, or Wilson's where `metric` is a share.

    Draws of one image, which are not independent, are averaged first; nan is left out. What batches of several images
    share (`batched`) has no interval, for its values are not independent.
    """
    groups: dict[str, list[float]] = {}
    for image, value in zip(images, values, strict=True):
        if not math.isnan(value):
            groups.setdefault(image, []).append(value)
    means = [sum(group) / len(group) for group in groups.values()]
    if is_share(metric) and all(0 <= mean <= 1 for mean in means):
        return share_score(means)
    score = mean_score(means)
    return Score(score.value, count=score.count) if batched and is_of_batch(metric) else score


def share_score(values: Sequence[float]) -> Score:
    """Mean of independent values in [0,1] with Wilson's 95 % interval (1927), which stays in [0,1]."""
    count = len(values)
    if not count:
        return Score(math.nan)
    share, z2 = math.fsum(values) / count, _Z_975**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z_975 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return Score(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), count)


def difference(metric: str, before: Sequence[float], after: Sequence[float]) -> Score:
    """Mean of after - before of the same images, with its interval: Newcombe's of shares, Student's of others."""
    if is_share(metric):
        return share_difference(before, after)
    return mean_score([b - a for a, b in zip(before, after, strict=True)])


def share_difference(before: Sequence[float], after: Sequence[float]) -> Score:
    """Mean of after - before of the same images, each in [0,1], with Newcombe's 95 % interval (1998, method 10).

    Student's interval has no width where all images change alike. Of fewer than 6 images there is none: not even if
    each of them changes are they decided (sign test).
    """
    (first, down, up), (second, lower, upper) = (_reach(share_score(values)) for values in (before, after))
    value, count = second - first, len(before)
    if count < LEAST:
        return Score(value, count=count)
    alike = _correlation(before, after)
    below, above = (math.sqrt(max(0.0, a * a - 2 * alike * a * b + b * b)) for a, b in ((lower, up), (upper, down)))
    return Score(value, max(-1.0, value - below), min(1.0, value + above), count)


def _reach(score: Score) -> tuple[float, float, float]:
    """The value, and how far the interval reaches below and above it."""
    low, high = (score.value if bound is None else bound for bound in (score.low, score.high))
    return score.value, score.value - low, high - score.value


LEAST = 6
"""Images, for an interval of a difference of shares."""


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's; 0 where either is constant."""
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    xx, yy = math.fsum((a - mean_x) ** 2 for a in x), math.fsum((b - mean_y) ** 2 for b in y)
    xy = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return xy / math.sqrt(xx * yy) if xx and yy else 0.0


def mean_score(values: Sequence[float]) -> Score:
    """Mean of independent values with the 95 % interval of Student's t; no interval of fewer than two."""
    count = len(values)
    if not count:
        return Score(math.nan)
    mean = math.fsum(values) / count
    if count == 1 or math.isinf(mean):
        return Score(mean, count=count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_quantile(count - 1) * math.sqrt(variance / count)
    return Score(mean, mean - half, mean + half, count)


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t: a table to 10 degrees of freedom, then Cornish and Fisher's expansion."""
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z = _Z_975
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
