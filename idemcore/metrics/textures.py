"""What needs no network: patches of Laplacian pyramids, spectra, and how far draws of one image differ."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..io.files import text_bytes
from ..protocols import Score, SetMetric, State
from ..results.case import Case
from .distance import Features, sliced_wasserstein
from .intervals import mean_score
from .sets import Accumulator
from .sketches import Reservoir

DESCRIPTORS, DESCRIPTOR_SIDE = 128, 7
"""Patches an image and level of the Laplacian pyramid, and their side (Karras et al. 2018, section 5)."""
DESCRIPTOR_ROWS, LEVELS = 8192, 3
BINS = 32
"""Rings of the spectrum, from 0 to 1/2 cycle a pixel."""


class SlicedWasserstein(Accumulator):
    """Sliced Wasserstein distance of 7x7 patches of three levels of a Laplacian pyramid, times 1000, their mean.

    Karras et al. 2018, but both sets are scaled by the originals' mean and deviation, so that lost contrast counts.
    """

    def fresh(self) -> dict[str, Any]:
        names = ("original", "reconstruction")
        return {f"{name} {level}": Reservoir(DESCRIPTOR_ROWS) for name in names for level in range(LEVELS)}

    def update(self, case: Case) -> None:
        if min(case.reconstruction.shape[-2:]) < DESCRIPTOR_SIDE * 2 ** (LEVELS - 1):
            return
        for image, draw, original, reconstruction in self.pairs(case):
            for name, picture in (("original", original), ("reconstruction", reconstruction)):
                if name == "reconstruction" or draw == 0:
                    for level, band in enumerate(laplacian(picture)):
                        self.parts[f"{name} {level}"].update(_descriptors(band, image, level), image, draw)

    def result(self) -> Score:
        found = [self._of_level(level) for level in range(LEVELS)]
        return Score(1e3 * sum(found) / LEVELS, count=self.draws.images)

    def _of_level(self, level: int) -> float:
        a, b = (self.parts[f"{name} {level}"].rows.astype(np.float64) for name in ("original", "reconstruction"))
        if not len(a):
            return math.nan
        channels = a.reshape(len(a), 3, -1)
        shift, scale = channels.mean((0, 2)), channels.std((0, 2)).clip(1e-12)
        return sliced_wasserstein(_standard(a, shift, scale), _standard(b, shift, scale))


def laplacian(image: Tensor) -> list[Tensor]:
    """Float32 [3,h,w] of each level: what blurring to half the size loses (Burt & Adelson 1983); last, what is left."""
    bands, current = list[Tensor](), image.cpu().float()[None] / 255
    for _ in range(LEVELS - 1):
        smaller = _blurred(current)[..., ::2, ::2]
        bands.append((current - F.interpolate(smaller, current.shape[-2:], mode="bilinear", align_corners=False))[0])
        current = smaller
    return [*bands, current[0]]


def _blurred(images: Tensor) -> Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weights = torch.outer(line, line).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), weights, groups=3)


def _descriptors(band: Tensor, image: str, level: int) -> Features:
    """[128, 3*7*7] patches at places that depend on the image's name, the same for original and reconstruction."""
    side = DESCRIPTOR_SIDE
    height, width = band.shape[-2] - side + 1, band.shape[-1] - side + 1
    rng = np.random.default_rng([level, *text_bytes(image)])
    windows = band.unfold(1, side, 1).unfold(2, side, 1).numpy()  # a view
    rows, columns = rng.integers(height, size=DESCRIPTORS), rng.integers(width, size=DESCRIPTORS)
    return np.asarray(windows[:, rows, columns].swapaxes(0, 1).reshape(DESCRIPTORS, -1))


def _standard(rows: Features, shift: Features, scale: Features) -> Features:
    channels = rows.reshape(len(rows), 3, -1)
    return np.asarray(((channels - shift[:, None]) / scale[:, None]).reshape(len(rows), -1))


class Spectrum(Accumulator):
    """Root mean square difference in dB between the mean radial power spectra of luma (Durall et al. 2020)."""

    def fresh(self) -> dict[str, Any]:
        return {"original": _Sums(), "reconstruction": _Sums()}

    def update(self, case: Case) -> None:
        for _, draw, original, reconstruction in self.pairs(case):
            if draw == 0:
                self.parts["original"].add(radial_power(original))
            self.parts["reconstruction"].add(radial_power(reconstruction))

    def result(self) -> Score:
        a, b = (self.parts[name].mean() for name in ("original", "reconstruction"))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = 10 * np.log10(b / a)
        known = np.isfinite(ratio)
        value = math.sqrt(float((ratio[known] ** 2).mean())) if known.any() else math.nan
        return Score(value, count=self.draws.images)


def radial_power(image: Tensor) -> Features:
    """[2,BINS]: power of luma (BT.601, 8-bit levels, Hann window) summed over rings, and frequencies in each ring.

    A 2^-8 of a level's square, far below rounding, keeps flat images from having no power at all.
    """
    luma = torch.tensordot(torch.tensor([0.299, 0.587, 0.114]), image.cpu().float(), dims=1).double()
    height, width = luma.shape
    window = torch.outer(torch.hann_window(height).double(), torch.hann_window(width).double())
    power = torch.fft.fft2((luma - luma.mean()) * window).abs().square() / window.square().sum() + 2**-8
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    ring = (radius * 2 * BINS).long()
    inside = (ring < BINS) & (radius > 0)
    sums = torch.zeros(2, BINS, dtype=torch.float64)
    sums[0].index_add_(0, ring[inside], power[inside].double())
    sums[1].index_add_(0, ring[inside], torch.ones(int(inside.sum()), dtype=torch.float64))
    return sums.numpy()


class _Sums:
    """Sums [2,BINS] of values and of how many they are."""

    def __init__(self) -> None:
        self.sums = np.zeros((2, BINS))

    def add(self, sums: Features) -> None:
        self.sums = self.sums + sums / max(sums[1].sum(), 1)  # each image counts alike, whatever its size

    def mean(self) -> Features:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.sums[0] / self.sums[1])

    def combine(self, other: _Sums) -> None:
        self.sums = self.sums + other.sums

    def state(self) -> dict[str, Features]:
        return {"sums": self.sums}

    def load(self, state: State) -> None:
        self.sums = state["sums"]


class Diversity(SetMetric):
    """How far draws of one image differ: the root of the mean over pixels of their variance, in 8-bit levels.

    Holds sums of the images whose draws are coming, and one number of each image before.
    """

    every_draw = True

    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""
        self.reset()

    def reset(self) -> None:
        self.open: dict[str, tuple[int, Tensor, Tensor]] = {}
        self.done: list[float] = []

    def update(self, case: Case) -> None:
        for image in self.open.keys() - set(case.images):
            self._close(image)
        for image, reconstruction in zip(case.images, case.reconstruction.cpu().double(), strict=True):
            count, mean, scatter = self.open.get(
                image, (0, torch.zeros_like(reconstruction), torch.tensor(0.0).double())
            )
            gap = reconstruction - mean
            mean = mean + gap / (count + 1)
            self.open[image] = count + 1, mean, scatter + (gap * (reconstruction - mean)).mean()

    def _close(self, image: str) -> None:
        self.done.extend(_deviation(self.open.pop(image)))

    def _all(self) -> list[float]:
        return [*self.done, *(value for draws in self.open.values() for value in _deviation(draws))]

    def result(self) -> Score:
        """nan if no image was drawn twice."""
        return mean_score(self._all())

    def state(self) -> State:
        return {"done": np.array(self._all())}

    def load(self, state: State) -> None:
        self.open, self.done = {}, [float(value) for value in state["done"]]

    def merge(self, other: SetMetric) -> None:
        self.done.extend(cast(Diversity, other)._all())


def _deviation(draws: tuple[int, Tensor, Tensor]) -> list[float]:
    count, _, scatter = draws
    return [math.sqrt(float(scatter) / (count - 1))] if count > 1 else []
