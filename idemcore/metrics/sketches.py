"""What is kept of sets of feature vectors that are too large to keep: moments, and a random sample of rows."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ..io.files import text_bytes
from ..protocols import State
from .distance import Features, Keys


class Moments:
    """Count, mean and scatter of rows, updated in blocks without loss of precision (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.scatter = 0, np.zeros(0), np.zeros((0, 0))

    def update(self, rows: npt.NDArray[Any]) -> None:
        """Takes in rows [N,D]."""
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        mean = rows.mean(0)
        self._add(len(rows), mean, (rows - mean).T @ (rows - mean))

    def combine(self, other: Moments) -> None:
        """Adds the moments of other rows."""
        self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: Features, scatter: Features) -> None:
        """`scatter` [D,D] is the sum of the outer products of centred rows."""
        if not count:
            return
        if not self.count:
            self.count, self.mean, self.scatter = count, mean, scatter
            return
        total, gap = self.count + count, mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(gap, gap) * (self.count * count / total)
        self.mean, self.count = self.mean + gap * (count / total), total

    @property
    def covariance(self) -> Features:
        """Unbiased, [D,D]; of at least two rows."""
        return self.scatter / (self.count - 1)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"count": np.array(self.count), "mean": self.mean, "scatter": self.scatter}

    def load(self, state: State) -> None:
        self.count, self.mean, self.scatter = int(state["count"]), state["mean"], state["scatter"]


class Reservoir:
    """At most `limit` rows, a uniform random sample of all that came, and the same in whatever order they came.

    Each row has a random number drawn from its key, and those with the least numbers stay. So two sets whose rows come
    with the same keys keep the same rows.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rows, self.ranks = np.zeros((0, 0), np.float32), np.zeros(0)
        self.keys = np.zeros((0, 2), np.uint64)
        """[N,2]: `number` of each row's image, and its place among the rows of that."""

    def update(self, rows: npt.NDArray[Any], group: str, draw: int = 0) -> None:
        """Takes in rows [N,D] of the image `group`; `draw` tells its draws apart."""
        rng = np.random.default_rng(list(hashlib.sha256(text_bytes(f"{group}\x1f{draw}")).digest()))
        keys = np.stack([np.full(len(rows), number(group)), np.arange(len(rows), dtype=np.uint64)], axis=1)
        self._keep(rows.astype(np.float32), rng.random(len(rows)), keys)

    def combine(self, other: Reservoir) -> None:
        """Adds the sample of other rows."""
        self._keep(other.rows, other.ranks, other.keys)

    def _keep(self, rows: npt.NDArray[np.float32], ranks: Features, keys: Keys) -> None:
        if not len(rows):
            return
        rows = np.concatenate([self.rows, rows]) if len(self.rows) else rows
        ranks, keys = np.concatenate([self.ranks, ranks]), np.concatenate([self.keys, keys])
        order = np.lexsort((keys[:, 0], ranks))[: self.limit]
        self.rows, self.ranks, self.keys = rows[order], ranks[order], keys[order]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"rows": self.rows, "ranks": self.ranks, "keys": self.keys}

    def load(self, state: State) -> None:
        self.rows, self.ranks, self.keys = state["rows"], state["ranks"], state["keys"]


def number(group: str) -> np.uint64:
    """63 bits that name an image."""
    return np.uint64(int.from_bytes(hashlib.sha256(text_bytes(group)).digest()[:8], "big") >> 1)


class Draws:
    """Counts the draws of each image, which follow one another, and remembers the last images only."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.images = 0

    def take(self, images: tuple[str, ...]) -> list[int]:
        """The 0-based number of each image's draw."""
        numbers: list[int] = []
        fresh: dict[str, int] = {}
        for image in images:
            seen = fresh.get(image, self.counts.get(image, 0))
            self.images += seen == 0
            numbers.append(seen)
            fresh[image] = seen + 1
        self.counts = fresh
        return numbers
