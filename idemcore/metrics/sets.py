"""Distances between the features of reconstructions and originals, each as a set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from ..protocols import Score, SetMetric, State
from ..results.case import Case
from .distance import frechet_of_moments, kernel, kernel_gain_interval, kernel_interval
from .features import extractor
from .sketches import Draws, Moments, Reservoir

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .config import FeatureConfig

KERNEL_ROWS = 2048
"""Most feature vectors a set of which a kernel distance is computed: its cost grows with their square."""


class Accumulator(SetMetric):
    """State made of parts, each with `state`, `load` and `combine`; originals are counted once, draws one by one."""

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""
        self.reset()

    def reset(self) -> None:
        self.parts = self.fresh()
        self.draws = Draws()

    def fresh(self) -> dict[str, Any]:
        """The parts before the first image, by name."""
        raise AssertionError("each metric has its own")

    def pairs(self, case: Case) -> Iterator[tuple[str, int, Tensor, Tensor]]:
        """Image, draw, original and reconstruction uint8 [3,H,W], one after the other."""
        if case.original is None:
            return
        draws = self.draws.take(case.images)
        yield from zip(case.images, draws, case.original, case.reconstruction, strict=True)

    def state(self) -> State:
        own = {f"{name}.{key}": value for name, part in self.parts.items() for key, value in part.state().items()}
        return {**own, "images": np.array(self.draws.images)}

    def load(self, state: State) -> None:
        self.reset()
        for name, part in self.parts.items():
            part.load({key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{name}.")})
        self.draws.images = int(state["images"])

    def merge(self, other: SetMetric) -> None:
        others = cast(Accumulator, other)
        for name, part in self.parts.items():
            part.combine(others.parts[name])
        self.draws.images += others.draws.images


class _OfFeatures(Accumulator):
    def __init__(self, config: FeatureConfig, runtime: Runtime) -> None:
        """Raises MissingError if the network's package or weights are not here."""
        self.extract, self.patch = extractor(config.features, str(runtime.device)), config.patch
        super().__init__(config, runtime)

    def update(self, case: Case) -> None:
        for image, draw, original, reconstruction in self.pairs(case):
            if draw == 0:
                self.add("original", image, draw, self.extract(original, self.patch).numpy())
            self.add("reconstruction", image, draw, self.extract(reconstruction, self.patch).numpy())

    def add(self, part: str, image: str, draw: int, rows: Any) -> None:
        raise AssertionError("each metric has its own")


class Frechet(_OfFeatures):
    """Fréchet distance of Gaussians fitted to the features (Heusel et al. 2017), from running moments."""

    def fresh(self) -> dict[str, Any]:
        return {"original": Moments(), "reconstruction": Moments()}

    def add(self, part: str, image: str, draw: int, rows: Any) -> None:
        self.parts[part].update(rows)

    def result(self) -> Score:
        """No interval: the distance is biased by the number of rows, so that resampling images would shift it."""
        a, b = self.parts["original"], self.parts["reconstruction"]
        if min(a.count, b.count) < 2:
            return Score(math.nan, count=self.draws.images)
        value = frechet_of_moments(a.mean, a.covariance, b.mean, b.covariance)
        return Score(max(value, 0.0), count=self.draws.images)


class Kernel(_OfFeatures):
    """Unbiased kernel distance (Binkowski et al. 2018), times 1000, of a random sample of the features."""

    def fresh(self) -> dict[str, Any]:
        return {"original": Reservoir(KERNEL_ROWS), "reconstruction": Reservoir(KERNEL_ROWS)}

    def add(self, part: str, image: str, draw: int, rows: Any) -> None:
        self.parts[part].update(rows, image, draw)

    def result(self) -> Score:
        a, b = self.parts["original"], self.parts["reconstruction"]
        if min(len(a.rows), len(b.rows)) < 2:
            return Score(math.nan, count=self.draws.images)
        rows_a, rows_b = a.rows.astype(np.float64), b.rows.astype(np.float64)
        keys = a.keys, b.keys
        interval = kernel_interval(rows_a, rows_b, keys)
        low, high = (1e3 * interval[0], 1e3 * interval[1]) if interval else (None, None)
        return Score(1e3 * kernel(rows_a, rows_b, keys), low, high, self.draws.images)


class KernelGain(_OfFeatures):
    """How much nearer to originals reconstructions are than plain decodes: the latter's kernel distance less theirs.

    Both have the same originals, which the bootstrap draws anew together with them, so that its interval tells whether
    they differ where those of the two distances overlap.
    """

    def fresh(self) -> dict[str, Any]:
        return {part: Reservoir(KERNEL_ROWS) for part in ("original", "decoded", "reconstruction")}

    def update(self, case: Case) -> None:
        """A case without its plain decode is left out."""
        if case.decoded is not None:
            decoded = dict(zip(case.images, case.decoded, strict=True))
            for image, draw, original, reconstruction in self.pairs(case):
                once = {"original": original, "decoded": decoded[image]} if draw == 0 else {}
                for part, shown in {**once, "reconstruction": reconstruction}.items():
                    self.parts[part].update(self.extract(shown, self.patch).numpy(), image, draw)

    def result(self) -> Score:
        parts = [self.parts[name] for name in ("original", "decoded", "reconstruction")]
        if min(len(part.rows) for part in parts) < 2:
            return Score(math.nan, count=self.draws.images)
        a, before, after = (part.rows.astype(np.float64) for part in parts)
        keys = [part.keys for part in parts]
        interval = kernel_gain_interval(a, before, after, keys)
        low, high = (1e3 * interval[0], 1e3 * interval[1]) if interval else (None, None)
        near, far = (kernel(a, b, (keys[0], own)) for b, own in ((after, keys[2]), (before, keys[1])))
        return Score(1e3 * (far - near), low, high, self.draws.images)
