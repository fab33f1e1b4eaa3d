"""The bundled prior of faces."""

from __future__ import annotations

import pytest
import torch

from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_stylegan.config import FacesConfig
from idemcore_stylegan.generator import StyleGanGenerator


@pytest.fixture(scope="module")
def generator() -> StyleGanGenerator:
    return StyleGanGenerator(FacesConfig(), Runtime.choose("cpu", "fp32"))


@pytest.fixture(scope="module")
def images(generator: StyleGanGenerator) -> torch.Tensor:
    with torch.no_grad():
        return generator.synthesize(generator.sample(Noise(range(64))))


def test_samples_are_grey_images_of_one_size_that_differ(generator: StyleGanGenerator, images: torch.Tensor) -> None:
    assert generator.size == (64, 64)
    assert images.shape == (64, 3, 64, 64)
    assert (images == images[:, :1]).all()
    assert 0.2 < float(images.mean()) < 0.7
    assert float(images.std(dim=0).mean()) > 0.08


def test_on_average_samples_are_a_face(images: torch.Tensor) -> None:
    """Aligned and mirrored: the mean is symmetric, and eyes and mouth are darker than the cheeks between them."""
    face = images.mean(dim=0)[0]
    assert torch.corrcoef(torch.stack([face.flatten(), face.flip(1).flatten()]))[0, 1] > 0.9
    rows = face[:, 12:26].mean(dim=1)
    eyes, cheeks = rows[14:28].min(), rows[30:42].max()
    assert eyes < cheeks - 0.05


def test_a_sample_depends_on_its_seed_alone(generator: StyleGanGenerator, images: torch.Tensor) -> None:
    with torch.no_grad():
        alone = generator.synthesize(generator.sample(Noise([5])))
    torch.testing.assert_close(alone, images[5:6], atol=1e-5, rtol=0)
