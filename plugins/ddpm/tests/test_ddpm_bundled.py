"""The weights that the package carries, and what their model card says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import yaml

from idemcore.registry import registry_folder
from idemcore.runtime import Runtime
from idemcore_ddpm.config import PhotoConfig
from idemcore_ddpm.photo import BUNDLED, PhotoGenerator

CARD = yaml.safe_load((registry_folder() / "models" / "ddpm-photo.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def prior() -> PhotoGenerator:
    return PhotoGenerator(PhotoConfig(), Runtime(torch.device("cpu"), torch.float32))


def photograph() -> torch.Tensor:
    """[1,3,64,96]: soft shading with a few hard edges, as no training image has exactly."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 96), indexing="ij")
    disc = ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.06).float()
    return torch.stack([0.3 + 0.3 * x + 0.2 * disc, 0.5 - 0.2 * y + 0.2 * disc, 0.6 - 0.4 * x * y])[None]


def test_the_card_describes_the_file() -> None:
    data = BUNDLED.read_bytes()
    assert Path(CARD["file"]).name == BUNDLED.name
    assert CARD["bytes"] == len(data) <= 10_000_000
    assert CARD["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_card_counts_the_parameters(prior: PhotoGenerator) -> None:
    assert sum(p.numel() for p in prior.network.parameters()) == CARD["parameters"]


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.25])
def test_it_removes_most_noise_from_a_smooth_picture(prior: PhotoGenerator, sigma: float) -> None:
    clean = photograph()
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert (prior.denoise(noisy, sigma) - clean).square().mean() < 0.2 * sigma**2


def test_it_leaves_a_clean_picture_alone(prior: PhotoGenerator) -> None:
    clean = photograph()
    assert (prior.denoise(clean, 0.002) - clean).abs().max() < 0.02
