"""Images made in the test: with what photographs have (1/f spectra, edges, clipped areas) and what they have not."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.runtime import Runtime
from idemcore_jpeg.config import JpegConfig
from idemcore_jpeg.encoder import JpegEncoder


def natural(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Uint8 [1,3,H,W]: 1/f noise with correlated channels, two hard edges and a clipped corner."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(4, height, width))) / frequency
    planes = np.fft.irfft2(spectrum, s=(height, width))
    planes /= planes.std(axis=(1, 2), keepdims=True) + 1e-9
    image = 120 + 45 * planes[:1] + 12 * planes[1:]
    image[:, height // 3 :, width // 2 :] += 60
    image[0, : height // 4] -= 50
    image[:, -height // 4 :, : width // 4] += 140
    return torch.from_numpy(image.clip(0, 255).round().astype(np.uint8))[None]


def extreme(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Uint8 [1,3,H,W] of 0 and 255."""
    bits = np.random.default_rng(seed).integers(0, 2, (1, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(bits * 255)


def gradient(height: int, width: int) -> torch.Tensor:
    """Uint8 [1,3,H,W], smooth."""
    y, x = np.meshgrid(np.linspace(0, 255, height), np.linspace(255, 0, width), indexing="ij")
    return torch.from_numpy(np.stack([x, y, (x + y) / 2]).astype(np.uint8))[None]


def real(byte_image: torch.Tensor) -> torch.Tensor:
    return byte_image.float() / 255


def pillow_jpeg(byte_image: torch.Tensor, mode: str = "RGB", **options: object) -> bytes:
    """What Pillow writes for one image, with any of its options."""
    buffer = io.BytesIO()
    Image.fromarray(byte_image[0].permute(1, 2, 0).numpy()).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture
def encoder() -> Callable[..., JpegEncoder]:
    def build(**settings: object) -> JpegEncoder:
        return JpegEncoder(JpegConfig(**settings), Runtime.choose("cpu", "fp32"))

    return build


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above, which pytest's import mode keeps tests from importing."""
    return SimpleNamespace(natural=natural, extreme=extreme, gradient=gradient, real=real, pillow_jpeg=pillow_jpeg)
