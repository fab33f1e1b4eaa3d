"""Fréchet and kernel distance between two sets of feature vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float64]
"""[N,D], one row an image or patch."""


def frechet(a: Features, b: Features) -> float:
    """||mu_a - mu_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), >= 0, lower is nearer (Heusel et al. 2017, eq. 6).

    The trace of the root is the nuclear norm of A B^T for centred features A, B, whichever of N and D is larger.
    """
    mean = a.mean(0) - b.mean(0)
    factor_a, factor_b = _factor(a), _factor(b)
    cross = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    return float(mean @ mean + (factor_a**2).sum() + (factor_b**2).sum() - 2 * cross)


def kernel(a: Features, b: Features) -> float:
    """Unbiased squared maximum mean discrepancy with k(x,y) = (x.y/D + 1)^3 (Binkowski et al. 2018, eq. 4).

    About 0 for equal distributions (it may be slightly negative), lower is nearer.
    """
    within_a, within_b, across = _cubic(a, a), _cubic(b, b), _cubic(a, b)
    n, m = len(a), len(b)
    same = (within_a.sum() - np.trace(within_a)) / (n * (n - 1)) + (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(same - 2 * across.mean())


def _factor(x: Features) -> Features:
    """F [min(N,D),D] with F^T F the covariance."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(x) > x.shape[1] else centred


def _cubic(a: Features, b: Features) -> Features:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)
