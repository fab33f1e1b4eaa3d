"""Any hyperprior-type network as an Encoder: real bytes, any image size, a known quantisation cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from ..errors import BitstreamError, InputError
from ..io.images import to_bytes
from ..pipeline.tiles import chosen_tile, tiled, windows
from ..protocols import Encoder
from ..runtime import Runtime, full_float32
from .cell import LatentCell
from .coding import EntropyCoder, Latents, rounder, walk
from .config import LearnedConfig
from .model import LATENT, LatentModel, latent_size, padded
from .weights import ERROR_RATIO


class LearnedEncoder(Encoder):
    """A trained `LatentModel` with its entropy coder.

    Symbols depend on no precision: g_a and h_a run in float32, also where TF32 or autocast is on, image by image, and
    whatever decoding computes runs in float64 on the CPU. Only g_s, which draws the image, obeys `config.precision`.

    Of large images g_a and g_s see a tile at a time, with as much around it as they look at, so that latents and
    images are the same as without tiles, but for float noise.
    """

    def __init__(
        self,
        model: LatentModel,
        model_id: bytes,
        runtime: Runtime,
        config: LearnedConfig,
        error_ratio: float = ERROR_RATIO,
    ) -> None:
        """`model_id` and `error_ratio` as `Library.load` gives them."""
        self.config, self.device, self.model_id, self.error_ratio = config, runtime.device, model_id, error_ratio
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.coder = EntropyCoder(model)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.tile = runtime.tile

    def encode(self, image: Tensor) -> list[bytes]:
        """[B,3,H,W] in [0,1], rounded to 8 bits -> a stream each."""
        with torch.no_grad():
            return [self._encode_one(one[None]) for one in to_bytes(image)]

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """g(y), [B,3,H,W]. Raises BitstreamError if a stream is damaged."""
        height, width = _known(size)
        with torch.no_grad():
            return self.synthesise(self.latents(streams, (height, width)).y_hat)[..., :height, :width]

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> LatentCell:
        """The quantisation cells of streams of one size."""
        return LatentCell(self, list(streams), _known(size))

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        """Names the weights that wrote the stream."""
        return {"weights": self.config.weights, "quality": self.config.quality}

    def analyse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y [B,M,h,w] and z of images [B,3,H,W] in [0,1], of the sizes that `model` states; differentiable."""
        with full_float32():
            y = self._tiled(self.model.g_a, padded(x), takes=LATENT)
            return y, self.model.hyper_latents(y)

    def quantise(self, y: Tensor, z: Tensor) -> Tensor:
        """y_hat that `encode` would write, but for float noise: in float32 on the device, as solvers need it often."""
        with full_float32():
            medians = self.coder.medians.to(z)
            return walk(self.model, (z - medians).round() + medians, y.shape[-2:], rounder(y)).y_hat

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """The images of latents, of whole latents' size, clamped to [0,1]."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            image = self._tiled(self.model.g_s, y_hat.to(self.device, torch.float32), gives=LATENT)
            return image.float().clamp(0, 1)

    def latents(self, streams: Sequence[bytes], size: tuple[int, int]) -> Latents:
        """What the streams of images of (H, W) say. Raises BitstreamError."""
        found = [self.coder.decode(stream, latent_size(size)) for stream in streams]
        return Latents(*(torch.cat([getattr(f, part.name) for f in found]) for part in fields(Latents)))

    def _tiled(self, network: nn.Module, x: Tensor, takes: int = 1, gives: int = 1) -> Tensor:
        """`network` of x; windows are cut in latents, of which each has `takes` pixels of x and `gives` of the result.

        They are larger than asked for where less would not hold twice what the network looks at beyond each side.
        """
        height, width = (length // takes for length in x.shape[-2:])
        side, halo = chosen_tile((height * LATENT, width * LATENT), self.tile), self.model.halo
        size = max(height, width) if side is None else max(side // LATENT, 4 * halo)
        return tiled(network, x, windows(height, size, halo, 0), windows(width, size, halo, 0), takes, gives)

    def _encode_one(self, byte_image: Tensor) -> bytes:
        y, z = self.analyse(byte_image.to(self.device).float() / 255)
        try:
            return self.coder.encode(y, z)
        except ValueError as error:
            raise InputError(f"The image cannot be encoded: {error}") from error


def _known(size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise BitstreamError("A learned codec's stream does not hold the image's size.", "Read it from an .idem file.")
    return size
