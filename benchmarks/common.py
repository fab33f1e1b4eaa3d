"""What the benchmarks share: crops of a folder, distances to the originals, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idemcore.io.images import read_image, to_bytes
from idemcore.metrics.distance import Features, frechet, kernel
from idemcore.metrics.features import extractor

SUFFIXES = {".png", ".webp", ".jpg", ".jpeg"}


def crops(folder: Path, side: int | None) -> dict[str, Tensor]:
    """Centre crops [1,3,side,side] in [0,1] by file name, or whole images if `side` is None."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    return {path.name: _centre(read_image(path), side) for path in paths}


def _centre(image: Tensor, side: int | None) -> Tensor:
    if side is None:
        return image
    top, left = (image.shape[2] - side) // 2, (image.shape[3] - side) // 2
    return image[:, :, top : top + side, left : left + side]


def features(images: Iterable[Tensor]) -> Features:
    """EfficientNet-Lite0 features of the 64x64 patches of images [1,3,H,W]."""
    extract = extractor("efficientnet-lite0", "cpu")
    return torch.cat([extract(to_bytes(image)[0], 64) for image in images]).double().numpy()


def distances(images: Iterable[Tensor], originals: Features, paired: bool = True) -> dict[str, float]:
    """Fréchet and kernel distance (x 1000) to the features of the originals, `paired` if each is of one of these."""
    found = features(images)
    key = np.stack([np.zeros(len(found), np.uint64), np.arange(len(found), dtype=np.uint64)], axis=1)
    far = kernel(found, originals, (key, key) if paired else None)
    return {"frechet": frechet(found, originals), "kernel x 1e3": 1e3 * far}


def psnr(a: Tensor, b: Tensor) -> float:
    """dB, of images in [0,1] rounded to 8 bits."""
    difference = (a.clamp(0, 1) * 255).round() - (b.clamp(0, 1) * 255).round()
    return float(10 * torch.log10(255**2 / difference.double().square().mean()))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown; every row has the keys of the first."""
    keys = list(rows[0])
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(row[k]) for k in keys) + " |" for row in rows)])


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def save(path: Path | None, content: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
