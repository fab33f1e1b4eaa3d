"""The weights that the package carries, and what their model card says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from idemcore.noise import Noise
from idemcore.pipeline.sample_prior import Sampler
from idemcore.plugins.registry import registry_folder
from idemcore.runtime import Runtime
from idemcore_ddpm import photo, weights
from idemcore_ddpm.adm import AdmGenerator
from idemcore_ddpm.config import FacesConfig, PhotoConfig
from idemcore_ddpm.photo import PhotoGenerator

CPU = Runtime(torch.device("cpu"), torch.float32)
BUNDLED = {"ddpm-photo": photo.BUNDLED, "ddpm-faces64": weights.BUNDLED}
LIMITS = {"ddpm-photo": 10_000_000, "ddpm-faces64": 15_000_000}


def card(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((registry_folder() / "models" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def prior() -> PhotoGenerator:
    return PhotoGenerator(PhotoConfig(), CPU)


@pytest.fixture(scope="module")
def faces() -> AdmGenerator:
    return AdmGenerator(FacesConfig(), CPU)


def photograph() -> torch.Tensor:
    """[1,3,64,96]: soft shading with a few hard edges, as no training image has exactly."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 96), indexing="ij")
    disc = ((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.06).float()
    return torch.stack([0.3 + 0.3 * x + 0.2 * disc, 0.5 - 0.2 * y + 0.2 * disc, 0.6 - 0.4 * x * y])[None]


@pytest.mark.parametrize("name", BUNDLED)
def test_the_card_describes_the_file(name: str) -> None:
    said, data = card(name), BUNDLED[name].read_bytes()
    assert Path(said["file"]).name == BUNDLED[name].name
    assert said["bytes"] == len(data) <= LIMITS[name]
    assert said["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_card_counts_the_parameters(prior: PhotoGenerator, faces: AdmGenerator) -> None:
    for name, generator in (("ddpm-photo", prior), ("ddpm-faces64", faces)):
        assert sum(p.numel() for p in generator.network.parameters()) == card(name)["parameters"]


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.25])
def test_it_removes_most_noise_from_a_smooth_picture(prior: PhotoGenerator, sigma: float) -> None:
    clean = photograph()
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert (prior.denoise(noisy, sigma) - clean).square().mean() < 0.2 * sigma**2


def test_it_leaves_a_clean_picture_alone(prior: PhotoGenerator) -> None:
    clean = photograph()
    assert (prior.denoise(clean, 0.002) - clean).abs().max() < 0.02


def face() -> torch.Tensor:
    """[1,3,64,64]: what all aligned faces share, drawn: a bright oval, dark eyes and mouth."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")

    def spot(u: float, v: float, wide: float, high: float) -> torch.Tensor:
        return torch.exp(-(((x - u) / wide) ** 2) - ((y - v) / high) ** 2)

    grey = 0.35 + 0.3 * spot(0, 0, 0.8, 1) - 0.25 * (spot(-0.35, -0.25, 0.2, 0.1) + spot(0.35, -0.25, 0.2, 0.1))
    return (grey - 0.15 * spot(0, 0.5, 0.3, 0.1)).expand(1, 3, 64, 64)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.25, 0.5])
def test_the_prior_of_faces_removes_most_noise_from_a_face(faces: AdmGenerator, sigma: float) -> None:
    clean = face()
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        denoised = faces.denoise(noisy, sigma)
    assert (denoised == denoised[:, :1]).all()
    # Of the noise, what the mean over three grey channels leaves alone would be a third.
    assert (denoised - clean).square().mean() < 0.1 * sigma**2


@pytest.mark.slow
def test_samples_of_the_prior_of_faces_are_one_face_on_average(faces: AdmGenerator) -> None:
    """Mirrored in training: their mean is symmetric."""
    assert faces.size == (64, 64)
    (batch,) = Sampler(faces, (64, 64), steps=20, eta=0.0, device=CPU.device).samples(seed=0, count=16)
    mean = batch.float().mean(dim=(0, 1))
    assert torch.corrcoef(torch.stack([mean.flatten(), mean.flip(1).flatten()]))[0, 1] > 0.7


def test_a_prior_of_faces_denoises_an_image_alone_as_in_a_batch(faces: AdmGenerator) -> None:
    noisy = face() + 0.2 * Noise(range(3)).like(face().expand(3, -1, -1, -1))
    with torch.no_grad():
        torch.testing.assert_close(faces.denoise(noisy, 0.2)[1:2], faces.denoise(noisy[1:2], 0.2), atol=1e-5, rtol=0)
