"""Laws of a metric, of one image or of a set."""

from __future__ import annotations

import io
import math
import re
from typing import Any, cast

import numpy as np
import torch

from ..errors import article
from ..hookspecs import MetricSpec
from ..protocols import Score, SetMetric, State
from .cases import DRAWS, alone, bare, case, values
from .law import NotTried, close, equal, law, require, show
from .trials import MetricTrial

LEVELS = (0.0, 0.1, 0.3)
"""Noise of the reconstructions that are compared, in [0,1] units."""

SET = {"set-metric"}

_RANGE = re.compile(r"(?P<above>>=?) (?P<low>[\d.]+)|(?P<first>-?[\d.]+) to (?P<last>[\d.]+)(?![\d./])")


@law("metric")
def values_of_images(trial: MetricTrial) -> None:
    """An image metric gives float64 [B] on the CPU; a set metric gives a `Score`, of the images behind it."""
    one = trial.case(0.1)
    if isinstance(trial.metric, SetMetric):
        values(trial.metric, one)
        score = trial.metric.result()
        require(isinstance(score, Score), f"result gave {article(type(score).__name__)}, not a Score")
        require(score.count <= len(one), f"the score counts {score.count} images of {len(one)}")
    else:
        found = trial.metric.measure(one)
        fits = found.shape == (len(one),) and found.dtype == torch.float64 and found.device.type == "cpu"
        require(fits, f"measure gave {show(found)} on {found.device}, not float64 [{len(one)}] on the CPU")


@law("metric")
def direction(trial: MetricTrial) -> None:
    """The direction of the spec is right: the more noise, the worse, and the original itself is best."""
    better = _spec(trial).direction
    if not better:
        raise NotTried("the spec names no better direction")
    found = [float(values(trial.metric, trial.case(level)).mean()) for level in LEVELS]
    if any(math.isnan(value) for value in found):
        raise NotTried(f"it is undefined for the kit's images: {found}")
    told = f"with noise of {', '.join(map(str, LEVELS))} it is {', '.join(f'{v:.4g}' for v in found)}"
    require(len(set(found)) > 1, f"{told}: it does not see the noise")
    require(found == sorted(found, reverse=better == "higher"), f"{told}, and {better} is said to be better")


@law("metric")
def in_range(trial: MetricTrial) -> None:
    """Values lie in the range that the spec states."""
    stated = _RANGE.match(_spec(trial).range)
    if not stated:
        raise NotTried(f"the spec states no range in numbers, but {_spec(trial).range!r}")
    low = float(stated["low"] or stated["first"])
    high = float(stated["last"] or math.inf)
    for level in LEVELS:
        found = values(trial.metric, trial.case(level))
        inside = bool((found.isnan() | ((found >= low - 1e-9) & (found <= high + 1e-9))).all())
        require(inside, f"with noise of {level} it is {found.tolist()}, and the range is {stated.group()}")
        require(stated["above"] != ">" or bool((found > low).all()), f"it is {low}, and should be above")


@law("metric")
def what_is_not_known(trial: MetricTrial) -> None:
    """Where the case lacks what it needs, a metric is nan, and raises nothing."""
    found = values(trial.metric, bare(trial.case(0.1)))
    require(found.dtype == torch.float64, f"it gave {show(found)}")
    require(bool((found.isnan() | found.isfinite()).all()), f"of a case of which nothing is known it is {found}")


@law("metric", needs={"image-metric"})
def batch_independent(trial: MetricTrial) -> None:
    """The value of an image does not depend on what stands beside it."""
    whole = alone(trial.case(0.1))
    together = values(trial.metric, whole)
    for b in range(len(whole)):
        close(values(trial.metric, whole.take([b]))[0], together[b], 1e-5, "an image on its own and in a batch")


@law("metric", needs=SET)
def merging(trial: MetricTrial) -> None:
    """The parts of a set, merged, give what the whole set gives; so does a state that was written and read."""
    first, second = trial.metric, trial.subject.make()
    whole = trial.case(0.1)
    wanted = values(first, whole)
    for metric, start in ((first, 0), (second, DRAWS)):
        metric.reset()
        metric.update(whole.take(range(start, start + DRAWS)))
    third = trial.subject.make()
    third.load(_written(second))
    first.merge(third)
    close(torch.tensor([first.result().value], dtype=torch.float64), wanted, 1e-5, "the parts, merged, and the whole")


@law("metric", needs=SET)
def resetting(trial: MetricTrial) -> None:
    """After `reset` nothing is left of the images before."""
    metric = trial.metric
    wanted = values(metric, trial.case(0.1))
    metric.update(trial.case(0.3))
    equal(values(metric, trial.case(0.1)), wanted, "a set before and after another one")


@law("metric")
def inputs_untouched(trial: MetricTrial) -> None:
    """The case's images are left as they were."""
    used, kept = case(0.1, trial.size), case(0.1, trial.size)
    values(trial.metric, used)
    for name in ("reconstruction", "original", "decoded", "solution"):
        equal(getattr(used, name), getattr(kept, name), f"{name} before and after")


def _spec(trial: MetricTrial) -> MetricSpec:
    spec = trial.subject.spec
    require(isinstance(spec, MetricSpec), f"the spec is {article(type(spec).__name__)}")
    return cast(MetricSpec, spec)


def _written(metric: SetMetric) -> State:
    """Its state, after it was a file."""
    file = io.BytesIO()
    np.savez(file, **cast(dict[str, Any], metric.state()))
    file.seek(0)
    with np.load(file) as read:
        return {name: read[name] for name in read.files}
