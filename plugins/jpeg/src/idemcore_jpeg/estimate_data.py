"""Training pairs of the JPEG estimate: crops of photographs, compressed by libjpeg at many settings."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .estimate_network import Conditions

GRID = 16
"""A corner of an MCU of every simulated sampling is at multiples of this, pixels."""
PERIODS = {"4:4:4": (8, 8), "4:2:2": (8, 16), "4:2:0": (16, 16), "grey": (8, 8), "rgb": (8, 8)}
SHARES = {"4:2:0": 0.6, "4:4:4": 0.16, "4:2:2": 0.1, "grey": 0.12, "rgb": 0.02}
"""How often each sampling is drawn; `rgb` is 4:4:4 without a change of colours."""
COMMON, USUAL = 0.585, (5, 40)
"""Share of files of a libjpeg quality in this range, evenly in its logarithm, and the range."""
ANY = 0.195
"""Share of files of any libjpeg quality from 1 to 95; the rest has tables of other programs' kinds."""

Tables = list[list[int]]
"""Of luma and chroma, 64 steps each in natural order."""


@dataclass(frozen=True)
class Pair:
    """What the network gets of a file, and what it should make of it."""

    clean: Tensor
    """Uint8 [3,H,W]."""
    decoded: Tensor
    """Uint8 [3,H,W]: libjpeg's decode."""
    conditions: Conditions


@dataclass(frozen=True)
class Settings:
    """How a crop becomes a JPEG: either a quality, or tables."""

    sampling: str
    quality: int = 0
    tables: Tables | None = None


def draw_settings(rng: np.random.Generator) -> Settings:
    """At random, as SHARES, COMMON and ANY say."""
    sampling = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    kind = rng.random()
    if kind < COMMON:
        return Settings(sampling, round(math.exp(rng.uniform(*np.log(USUAL)))))
    if kind < COMMON + ANY:
        return Settings(sampling, int(rng.integers(1, 96)))
    return Settings(sampling, tables=draw_tables(rng))


def draw_tables(rng: np.random.Generator) -> Tables:
    """Tables of other shapes than libjpeg's: flatter, steeper, even, with luma and chroma at odds, and irregular."""
    kind, scale, disorder = rng.random(), math.exp(rng.uniform(math.log(0.08), math.log(10.0))), 0.3 * rng.random()
    luma, chroma = (np.array(table, float) for table in standard_tables())
    if kind < 0.5:
        steepness = rng.uniform(0.3, 1.3)
        luma, chroma = ((table / 16) ** steepness * 16 for table in (luma, chroma))
    elif kind < 0.7:
        luma, chroma = np.full(64, rng.uniform(8, 24)), np.full(64, rng.uniform(8, 40))
    chroma = chroma * math.exp(0.3 * rng.normal())
    noisy = (table * scale * np.exp(disorder * rng.normal(size=64)) for table in (luma, chroma))
    return [table.round().clip(1, 255).astype(int).tolist() for table in noisy]


def standard_tables() -> Tables:
    """The tables of libjpeg's quality 50 (ITU-T T.81, annex K)."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=50)
    with Image.open(buffer) as picture:
        found: dict[int, list[int]] = picture.quantization
    return [list(found[0]), list(found[1])]


def compress(clean: Tensor, settings: Settings) -> Pair:
    """Uint8 [3,H,W] -> a pair; of a grey file both images are grey."""
    rgb = Image.fromarray(clean.permute(1, 2, 0).contiguous().numpy())
    grey = settings.sampling == "grey"
    source = rgb.convert("L") if grey else rgb
    buffer = io.BytesIO()
    source.save(buffer, "JPEG", **_pillow_options(settings))
    with Image.open(buffer) as picture:
        tables: dict[int, list[int]] = picture.quantization
        decoded = _tensor(picture)
    luma, chroma = (torch.tensor(tables.get(k, tables[0]), dtype=torch.float32) for k in (0, 1))
    conditions = Conditions(luma, chroma, (8, 8), PERIODS[settings.sampling], grey, settings.sampling == "rgb")
    return Pair(_tensor(source), decoded, conditions)


def _pillow_options(settings: Settings) -> dict[str, object]:
    chosen: dict[str, object] = {"quality": settings.quality}
    if settings.tables:
        chosen = {"qtables": settings.tables[:1] if settings.sampling == "grey" else settings.tables}
    if settings.sampling == "rgb":
        return {**chosen, "keep_rgb": True, "subsampling": "4:4:4"}
    return chosen if settings.sampling == "grey" else {**chosen, "subsampling": settings.sampling}


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def draw_pair(crop: Tensor, side: int, rng: np.random.Generator) -> Pair:
    """A pair of side x side pixels from a crop of side + GRID, uint8.

    Half of the time in each direction it lies at the edge of the JPEG, and half within, so that the network meets both.
    """
    top, left = (GRID * int(rng.random() < 0.5) for _ in range(2))
    bottom, right = (GRID * int(rng.random() < 0.5) for _ in range(2))
    whole = crop[:, : side + max(top, bottom), : side + max(left, right)]
    pair = compress(whole, draw_settings(rng))
    clean, decoded = (image[:, top : top + side, left : left + side] for image in (pair.clean, pair.decoded))
    return Pair(clean, decoded, pair.conditions)


@dataclass(frozen=True)
class Batch:
    """Pairs of one size, as the network takes them; images in [-1,1]."""

    clean: Tensor
    decoded: Tensor
    planes: Tensor
    label: Tensor
    features: Tensor

    @classmethod
    def of(cls, pairs: list[Pair], device: torch.device) -> Batch:
        clean, decoded = (
            torch.stack([getattr(pair, name) for pair in pairs]).to(device).float() / 127.5 - 1
            for name in ("clean", "decoded")
        )
        planes = torch.stack([pair.conditions.planes(*clean.shape[-2:]) for pair in pairs])
        label = torch.tensor([pair.conditions.label for pair in pairs])
        features = torch.stack([pair.conditions.features for pair in pairs])
        decoded = decoded.contiguous(memory_format=torch.channels_last)
        return cls(clean, decoded, planes.to(device), label.to(device), features.to(device))
