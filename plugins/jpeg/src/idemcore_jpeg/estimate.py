"""The least-error image of a JPEG's cell: what the bundled network makes of the decode, before it is projected."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.networks.border import image_by_image, pad_to_multiple
from idemcore.pipeline.tiles import fitted, least_tile
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import fill, read_safetensors

from .box import Box
from .estimate_network import Conditions, EstimateNetwork

BUNDLED = Path(__file__).parent / "weights" / "jpeg-estimate.safetensors"
WEIGHTS_HINT = "Train one with `idem train jpeg-estimate FOLDER`, or leave codec.estimate out for the bundled one."


class Estimator:
    """Loads its network when it is first asked for an estimate."""

    def __init__(self, weights: str, runtime: Runtime) -> None:
        """`weights`: `bundled`, or the path of a weights.safetensors."""
        self.weights, self.runtime = weights, runtime

    @torch.no_grad()
    def image(self, box: Box, decoded: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1]: least error, as far as the network knows, but not yet in the cell.

        Raises MissingError or InputError for weights that cannot be loaded.
        """
        found = [self._one(box.image(b), decoded[b : b + 1]) for b in range(len(decoded))]
        return torch.cat(found)

    def error_share(self, box: Box) -> Tensor:
        """[B] float32: the expected rms error of the estimate, as a share of that of the decode."""
        labels = [Conditions.of(box.layout, tables[0, 0]).label for tables in box.tables]
        known, shares = self.loaded.shares
        return torch.tensor(np.interp(labels, known, shares), dtype=torch.float32, device=box.steps.device)

    @cached_property
    def loaded(self) -> LoadedNetwork:
        return LoadedNetwork.read(self.weights, self.runtime.device)

    def _one(self, box: Box, decoded: Tensor) -> Tensor:
        height, width = decoded.shape[-2:]
        denoiser = DecodeDenoiser(self.loaded.network, box, self.runtime)
        tile = self.runtime.tile and max(self.runtime.tile, least_tile(denoiser))
        return fitted(denoiser, (height, width), tile).denoise(decoded, denoiser.sigma_max).clamp(0, 1)


class DecodeDenoiser(DiffusionGenerator):
    """The network with one file's conditions as a denoiser of its decode, so that large images are cut into tiles.

    Tiles begin at multiples of `multiple`, which are corners of MCUs.
    """

    halo = 32
    """What lies beyond moves a picture by less than 0.03 of 255 levels, rms, at quality 10."""

    def __init__(self, network: EstimateNetwork, box: Box, runtime: Runtime) -> None:
        self.network, self.runtime = network, runtime
        self.conditions = Conditions.of(box.layout, box.tables[0, 0, 0])
        self.multiple = int(np.lcm.reduce([network.multiple, *box.layout.tile]))
        self.sigma_min = self.sigma_max = self.conditions.label / 2

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """x [B,3,H,W] is the decode from the corner of an MCU on; its noise level is known, so `sigma` is not used."""
        return image_by_image(self._denoise, x, x.new_full((len(x),), self.conditions.label))

    def _denoise(self, x: Tensor, label: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = pad_to_multiple(2 * x - 1, self.multiple).contiguous(memory_format=torch.channels_last)
        planes = self.conditions.planes(*padded.shape[-2:]).to(x.device).expand(len(x), -1, -1, -1)
        features = self.conditions.features.to(x.device).expand(len(x), -1)
        dtype = self.runtime.dtype
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
            found = self.network.estimate(padded, planes, label, features)
        return (found[..., :height, :width].contiguous() + 1) / 2


class LoadedNetwork:
    """A network with what its training measured."""

    def __init__(self, network: EstimateNetwork, shares: tuple[list[float], list[float]]) -> None:
        self.network = network
        self.shares = shares
        """Labels, ascending, and the error of the estimate there as a share of that of the decode."""

    @classmethod
    def read(cls, weights: str, device: torch.device) -> LoadedNetwork:
        """Raises MissingError if the file is not there, InputError if it cannot be read."""
        bundled = weights == "bundled"
        path = BUNDLED if bundled else Path(weights)
        hint = "Reinstall the plugin with `pip install --force-reinstall idemcore-jpeg`." if bundled else WEIGHTS_HINT
        state, metadata = read_safetensors(path, hint)
        try:
            channels, blocks = tuple(json.loads(metadata["channels"])), int(metadata["blocks"])
            labels, shares = json.loads(metadata["error_shares"])
            with torch.random.fork_rng(devices=[]):
                network = EstimateNetwork(channels, blocks)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} does not hold the network of a JPEG estimate.", hint) from error
        fill(network, state, path, hint)
        return cls(network.to(device).to(memory_format=torch.channels_last), (labels, shares))
