"""Whether an image was a JPEG of lower quality before: its coefficients then lie near the multiples of larger steps.

If all coefficients d of one frequency were multiples of q once, the mean of cos(2 pi d / q) is near 1, less what a
later compression blurs; smooth distributions have about 0 or less, if only |d| > q / 2 count. The tables sought are
libjpeg's, of each quality, and the grid of blocks may lie anywhere, since images are cropped between two compressions.
(Fan and de Queiroz 2003 use the histogram's periods on the same grid, Bianchi and Piva 2012 those on a shifted one.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .layout import dct_matrix

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
LOW = np.array([1, 8, 16, 9, 2, 3, 10, 17, 24])
"""Frequencies that are looked at: most images have enough of them."""
LARGEST = 1024
"""Of a coefficient."""
BLOCKS = 4096
"""Blocks that are looked at, spread over the image."""
WIDER = 1.5
"""Times the file's own step that a former step must be: others are not told apart reliably."""
COHERENT, CERTAIN, FEW, SEVERAL = 0.33, 15.0, 100, 4
"""Mean cosine, the same in standard deviations, coefficients beyond the first multiple, and frequencies that agree.

All four make a sign. The photographs that these were tuned on reach 0.24 after one compression, and 0.34 to 0.88 after
two, where the former steps are twice the later. A drawn gradient has few values of few coefficients.
"""


@dataclass(frozen=True)
class Earlier:
    """A former compression."""

    quality: int
    """libjpeg's; about."""
    rows: int
    """Where the grid of its blocks begins, 0 to 7."""
    columns: int
    coherence: float
    """Mean cosine, up to 1."""

    def __str__(self) -> str:
        where = f", its blocks {self.columns} columns and {self.rows} rows further" if self.rows or self.columns else ""
        return f"quality about {self.quality}{where}"


def earlier_compression(luma: Floats, steps: Integers, tables: Integers) -> Earlier | None:
    """The most likely one of an image's luma [H,W], stored with `steps` [64]; `tables` [100,64]: of qualities 1 to 100.

    None if there is no clear sign of one: not unless the former steps were clearly larger, nor of small images.
    """
    best: Earlier | None = None
    wanted = tables[:, LOW]
    usable = wanted >= WIDER * steps[LOW]
    for rows, columns in np.ndindex(8, 8):
        if (found := _histograms(luma[rows:, columns:])) is None:
            continue
        (near, count, _), (far, beyond, several) = (_mean_cosine(found, wanted, usable, waves) for waves in _waves())
        clear = (beyond >= FEW) & (several >= SEVERAL) & (near * np.sqrt(2 * count) >= CERTAIN)
        score = np.where(clear, np.minimum(near, far), 0)
        at = int(score.argmax())
        if score[at] >= max(COHERENT, best.coherence if best else 0.0):
            best = Earlier(at + 1, rows, columns, float(score[at]))
    return best


def _histograms(luma: Floats) -> Floats | None:
    """How often each value -LARGEST..LARGEST occurs, [F,V], of whole blocks; None if there is none."""
    tall, wide = luma.shape[0] // 8, luma.shape[1] // 8
    if not tall or not wide:
        return None
    blocks = luma[: 8 * tall, : 8 * wide].reshape(tall, 8, wide, 8).swapaxes(1, 2).reshape(-1, 64)
    blocks = blocks[:: -(-len(blocks) // BLOCKS)]
    values = np.rint(blocks @ dct_matrix().numpy()[LOW].astype(np.float32).T).astype(np.int64)
    values = values.clip(-LARGEST, LARGEST) + LARGEST
    return np.stack([np.bincount(one, minlength=2 * LARGEST + 1) for one in values.T]).astype(np.float32)


def _mean_cosine(
    histograms: Floats, wanted: Integers, usable: npt.NDArray[np.bool_], waves: tuple[Floats, Floats]
) -> tuple[Floats, Floats, Integers]:
    """Mean [Q] over the frequencies of each table, coefficients in it, and frequencies that are coherent themselves."""
    number, occurring = np.arange(len(LOW)), np.flatnonzero(histograms.any(0))
    span = slice(occurring[0], occurring[-1] + 1)  # most images have no large coefficients
    sums, counts = ((histograms[:, span] @ wave[:, span].T)[number, wanted] * usable for wave in waves)
    total = counts.sum(1)
    several = ((counts >= FEW / 10) & (sums >= COHERENT / 2 * counts)).sum(1)
    return sums.sum(1) / np.maximum(total, 1), total, several


@lru_cache(maxsize=1)
def _waves() -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """cos(2 pi v / q) for q = 0..255, [256,V], and 1, both where |v| > q / 2; and the same where |v| > 3 q / 2."""
    value, step = np.arange(-LARGEST, LARGEST + 1), np.arange(256)[:, None]
    wave = np.cos(2 * np.pi * value / np.maximum(step, 1))
    found = [(np.abs(value) > part * step).astype(np.float32) for part in (0.5, 1.5)]
    (near, far) = ((wave.astype(np.float32) * mask, mask) for mask in found)
    return near, far
