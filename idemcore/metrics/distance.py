"""Fréchet, kernel and transport distance between two sets of feature vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float64]
"""[N,D], one row an image or patch."""
Keys = npt.NDArray[np.uint64]
"""[N,2]: the image of each row, and its place there: an original and what became of it have the same."""


def frechet(a: Features, b: Features) -> float:
    """||mu_a - mu_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), >= 0, lower is nearer (Heusel et al. 2017, eq. 6).

    The trace of the root is the nuclear norm of A B^T for centred features A, B, whichever of N and D is larger.
    """
    mean = a.mean(0) - b.mean(0)
    factor_a, factor_b = _factor(a), _factor(b)
    cross = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    return float(mean @ mean + (factor_a**2).sum() + (factor_b**2).sum() - 2 * cross)


def frechet_of_moments(mean_a: Features, cov_a: Features, mean_b: Features, cov_b: Features) -> float:
    """`frechet` from means [D] and covariances [D,D].

    With S_a = R R^T, the eigenvalues of S_a S_b are those of R^T S_b R, which is symmetric and never negative.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0))
    cross = np.sqrt(np.linalg.eigvalsh(root.T @ cov_b @ root).clip(0)).sum()
    mean = mean_a - mean_b
    return float(mean @ mean + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def kernel(a: Features, b: Features, keys: tuple[Keys, Keys] | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with k(x,y) = (x.y/D + 1)^3 (Binkowski et al. 2018, eq. 4).

    About 0 for equal distributions (it may be slightly negative), lower is nearer. A row of `a` and one of `b` with the
    same key, an original and its own reconstruction, are no pair, as a row and itself are none (Gretton et al. 2012,
    lemma 6): they are more alike than independent draws, which would bias the distance downwards.
    """
    ones_a, ones_b = np.ones((1, len(a))), np.ones((1, len(b)))
    return float(_weighted(_grams(a, b, keys), ones_a, ones_b)[0])


def kernel_interval(a: Features, b: Features, keys: tuple[Keys, Keys], times: int = 400) -> tuple[float, float] | None:
    """95 % interval of `kernel` by a bootstrap over groups (images), of which rows are members.

    Both sets are drawn anew together. Percentiles are moved so that the draws' mean is the estimate: a group drawn
    twice pairs rows of one group more often than the estimate does. None for fewer than two groups.
    """
    grams = _grams(a, b, keys)
    return _interval(lambda *weights: _weighted(grams, *weights), keys, times)


def kernel_gain_interval(
    a: Features, before: Features, after: Features, keys: Sequence[Keys], times: int = 400
) -> tuple[float, float] | None:
    """As `kernel_interval`, of kernel(a, before) - kernel(a, after): how much nearer `after` is to `a` than `before`.

    `keys` are those of the three sets' rows. All three are drawn anew together, so that what they share, above all the
    originals, does not widen the interval.
    """
    first, second = (_grams(a, b, (keys[0], own)) for b, own in zip((before, after), keys[1:], strict=True))

    def gain(of_a: Features, of_before: Features, of_after: Features) -> Features:
        return np.asarray(_weighted(first, of_a, of_before) - _weighted(second, of_a, of_after))

    return _interval(gain, keys, times)


def _interval(statistic: Callable[..., Features], keys: Sequence[Keys], times: int) -> tuple[float, float] | None:
    """The interval of a statistic of row weights [T,N] of each set."""
    groups = [own[:, 0] for own in keys]
    known = reduce(np.union1d, groups)
    if len(known) < 2:
        return None
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=times).astype(np.float64)
    found = statistic(*(counts[:, np.searchsorted(known, rows)] for rows in groups))
    estimate = statistic(*(np.ones((1, len(rows))) for rows in groups))[0]
    low, high = np.nanpercentile(found, (2.5, 97.5)) + estimate - np.nanmean(found)
    return float(low), float(high)


def sliced_wasserstein(a: Features, b: Features, projections: int = 512) -> float:
    """Mean over random directions of the distance that sorting pairs (Rabin et al. 2011); of equally many rows."""
    count = min(len(a), len(b))
    directions = np.random.default_rng(0).standard_normal((a.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    blocks = np.array_split(directions, -(-projections // 32), axis=1)
    gaps = [_gap(a[:count] @ block, b[:count] @ block) for block in blocks]
    return float(np.concatenate(gaps).mean())


def _gap(a: Features, b: Features) -> Features:
    """Mean distance of sorted columns, [K]."""
    a.sort(axis=0)
    b.sort(axis=0)
    return np.asarray(np.abs(a - b).mean(0))


@dataclass(frozen=True)
class _Grams:
    """Kernels of pairs of rows."""

    aa: Features
    bb: Features
    ab: Features
    """0 for rows of one key."""
    same: Features | None
    """[N,M]: 1 for rows of one key, else 0."""


def _grams(a: Features, b: Features, keys: tuple[Keys, Keys] | None) -> _Grams:
    ab, same = _cubic(a, b), None
    if keys:
        same = (keys[0][:, None] == keys[1]).all(axis=2).astype(np.float64)
        ab *= 1 - same
    return _Grams(_cubic(a, a), _cubic(b, b), ab, same)


def _weighted(grams: _Grams, weights_a: Features, weights_b: Features) -> Features:
    """The discrepancy [T] of sets whose rows count as often as weights [T,N] say; a row is no pair with its copies."""
    pairs = weights_a.sum(1) * weights_b.sum(1)
    if grams.same is not None:
        pairs -= ((weights_a @ grams.same) * weights_b).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = ((weights_a @ grams.ab) * weights_b).sum(1) / pairs
    return np.asarray(_within(grams.aa, weights_a) + _within(grams.bb, weights_b) - 2 * across)


def _within(gram: Features, weights: Features) -> Features:
    squares = weights**2
    pairs = ((weights @ gram) * weights).sum(1) - squares @ np.diag(gram)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(pairs / (weights.sum(1) ** 2 - squares.sum(1)))


def _factor(x: Features) -> Features:
    """F [min(N,D),D] with F^T F the covariance."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(x) > x.shape[1] else centred


def _cubic(a: Features, b: Features) -> Features:
    gram = a @ b.T
    gram /= a.shape[1]
    gram += 1
    gram **= 3  # in place: these are the largest arrays of an evaluation
    return np.asarray(gram)
