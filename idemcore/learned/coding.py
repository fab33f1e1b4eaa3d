"""Latents to bytes and back: one range-coded stream an image, decodable on any machine.

    checksum of the symbols 2 | range coder's bytes: z channel by channel, then y group by group

All that decoding computes from the weights is done on the CPU in float64, with means rounded to a grid and scales to a
table, so that the float noise of another machine, thread count or batch gives the same symbols; should it not, the
checksum tells.
"""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import google_crc32c
import torch
from torch import Tensor

from ..errors import BitstreamError
from .model import Group, LatentModel, hyper_size
from .range_coder import SymbolDecoder, SymbolEncoder, Unreadable
from .tables import SCALE_MIN, Tables, gaussian_tables, on_grid, scale_indexes

CHECKSUM = struct.Struct(">H")
LARGEST = 2**24
"""Symbols beyond are refused: networks of float32 could not tell them apart."""

LEAST_BITS, SURELY_SMALL = 4, 1024
"""A stream has so many bits for each 64x64 pixels beyond so many of them: black ones take 140 bits and more with the
bundled weights. A short stream that claims a huge image is refused before anything is allocated for it."""

Symbols = Callable[[Group, Tensor, Tensor, Tensor], Tensor]
"""From group, mask [h,w], means and table indexes [B,C,positions] to the symbols there."""


@dataclass(frozen=True)
class Latents:
    """What bitstreams say, float64 on the CPU."""

    y_hat: Tensor
    """[B,M,h,w]."""
    z_hat: Tensor
    """[B,N,ceil(h/4),ceil(w/4)]."""
    means: Tensor
    """Of the Gaussians by which y was coded, of y's shape."""
    scales: Tensor


class EntropyCoder:
    """Codes the latents of one model. Built from it once; holds its own float64 copy of h_s and what follows."""

    def __init__(self, model: LatentModel) -> None:
        exact = copy.copy(model)  # shares the modules, of which only those that decoding needs are then copied
        exact._modules = {name: part for name, part in model._modules.items() if name not in ("g_a", "g_s", "h_a")}
        self.model = copy.deepcopy(exact).cpu().double().eval().requires_grad_(False)
        self.z_tables = model.entropy_bottleneck.tables()
        self.medians = self.model.entropy_bottleneck.medians

    def quantise(self, y: Tensor, z: Tensor) -> Latents:
        """The latents that `encode` would write for y and z [B,...]."""
        z_hat = (z.cpu().double() - self.medians).round() + self.medians
        return walk(self.model, z_hat, y.shape[-2:], rounder(y.cpu().double()))

    def encode(self, y: Tensor, z: Tensor) -> bytes:
        """The stream of one image's latents [1,...]. Raises ValueError if a symbol is not finite or beyond 2**24."""
        encoder, written = SymbolEncoder(), list[Tensor]()

        def write(symbols: Tensor, indexes: Tensor, tables: Tables) -> None:
            if not float(symbols.abs().max()) <= LARGEST:  # nor if it is not a number
                raise ValueError("latents that are not finite cannot be coded; are these weights of a trained network?")
            written.append(symbols)
            encoder.write(symbols.long().flatten().numpy(), indexes.flatten().numpy(), tables)

        z_symbols = (z.cpu().double() - self.medians).round()
        write(z_symbols, self._z_indexes(z_symbols.shape), self.z_tables)
        rounded = rounder(y.cpu().double())

        def step(group: Group, mask: Tensor, means: Tensor, indexes: Tensor) -> Tensor:
            symbols = rounded(group, mask, means, indexes)
            write(symbols, indexes, gaussian_tables())
            return symbols

        walk(self.model, z_symbols + self.medians, y.shape[-2:], step)
        body = encoder.flush()
        if not _plausible(body, y.shape[-2:]):
            raise ValueError("it takes so few bits that no decoder would believe its size; cut it into smaller images.")
        return _checksum(written) + body

    def decode(self, stream: bytes, size: tuple[int, int]) -> Latents:
        """The inverse of `encode`; `size` is (h, w) of y. Raises BitstreamError for anything else."""
        decoder, found = SymbolDecoder(stream[CHECKSUM.size :]), list[Tensor]()
        if not _plausible(stream[CHECKSUM.size :], size):
            raise BitstreamError("The bitstream is too short for the size that its file claims.", "Fetch it again.")

        def read(indexes: Tensor, tables: Tables) -> Tensor:
            try:
                values = decoder.read(indexes.flatten().numpy(), tables)
            except Unreadable as error:
                raise _unreadable() from error
            symbols = torch.from_numpy(values).double().view(indexes.shape)
            if float(symbols.abs().max()) > LARGEST:
                raise _unreadable()
            found.append(symbols)
            return symbols

        z_indexes = self._z_indexes((1, self.medians.shape[1], *hyper_size(size, self.model.hyper)))
        z_hat = read(z_indexes, self.z_tables) + self.medians
        latents = walk(self.model, z_hat, size, lambda group, mask, means, indexes: read(indexes, gaussian_tables()))
        if _checksum(found) != stream[: CHECKSUM.size]:
            raise _unreadable()
        return latents

    def _z_indexes(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.arange(shape[1]).view(1, -1, 1, 1).expand(shape)


@torch.no_grad()
def walk(model: LatentModel, z_hat: Tensor, size: Sequence[int], symbols: Symbols) -> Latents:
    """The latents, `size` (h, w) of them, group by group, from z_hat and whatever gives the symbols of a group."""
    if not model.groups:
        return Latents(z_hat, z_hat, torch.zeros_like(z_hat), torch.zeros_like(z_hat))
    hyper = model.hyper_synthesis(z_hat, size)
    y_hat = z_hat.new_zeros(len(z_hat), model.latents, *size)
    all_means, all_scales = torch.zeros_like(y_hat), torch.zeros_like(y_hat)
    for group in model.order(size):
        mask = group.mask(*size)
        if not mask.any():  # a board of one position has no odd ones
            continue
        means, scales = model.gaussian_at(group, mask, hyper, y_hat)
        means, scales = on_grid(means), scales.clamp(min=SCALE_MIN)
        y_hat[:, group.channels, mask] = symbols(group, mask, means, scale_indexes(scales)) + means
        all_means[:, group.channels, mask], all_scales[:, group.channels, mask] = means, scales
    return Latents(y_hat, z_hat, all_means, all_scales)


def rounder(y: Tensor) -> Symbols:
    """The symbols that `walk` finds in y when it encodes."""
    return lambda group, mask, means, indexes: (y[:, group.channels][..., mask] - means).round()


def _plausible(body: bytes, size: Sequence[int]) -> bool:
    return 8 * len(body) >= LEAST_BITS * (math.prod(hyper_size(size)) - SURELY_SMALL)


def _checksum(symbols: list[Tensor]) -> bytes:
    """The low half of the CRC-32C over all symbols in coding order, as little-endian 32-bit integers."""
    packed = b"".join(part.to(torch.int32).contiguous().numpy().astype("<i4").tobytes() for part in symbols)
    return CHECKSUM.pack(google_crc32c.value(packed) & 0xFFFF)


def _unreadable() -> BitstreamError:
    return BitstreamError(
        "The bitstream does not decode to the symbols that were written.",
        "It is damaged, or this machine computes other entropy parameters: please report that, with `idem doctor`.",
    )
