"""Fills in the certificate of a picture, from its bitstream, what decoded it, and what `certify` found."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..results.certificate import BitstreamFacts, Certificate, PictureFacts
from .codec import Bitstream
from .decoder import Decoder, Reconstruction


def certificate(
    bitstream: Bitstream,
    result: Reconstruction,
    picture: PictureFacts,
    decoder: Decoder | None = None,
    seed: int | None = None,
    sample: int | None = None,
    tradeoff: float | None = None,
    special: tuple[str, ...] = (),
    codec_settings: Mapping[str, Any] = MappingProxyType({}),
    notes: tuple[str, ...] = (),
) -> Certificate:
    """What is written beside a PNG. `decoder` and what follows are None of a plain decode."""
    codec = bitstream.codec
    used = decoder.facts if decoder else {}
    return Certificate(
        exact=result.exact,
        differing_symbols=result.differing_symbols,
        reason=result.reason or None,
        psnr_moved=finite(result.psnr_moved),
        seed=seed,
        sample=sample,
        tradeoff=tradeoff,
        tile=decoder.runtime.tile if decoder else None,
        special=special,
        codec_settings=codec_settings,
        computed=(decoder or codec).computed.facts,
        notes=notes,
        image=picture,
        bitstream=BitstreamFacts(len(bitstream.data), bitstream.sha256),
        codec=replace(codec.facts, stream=codec.encoder.describe(bitstream.stream)),
        generator=used.get("generator"),
        solver=used.get("solver"),
        adapter=used.get("adapter"),
        restorer=used.get("restorer"),
    )


def picture_facts(byte_image: Tensor, png: bytes, upright: bool = True) -> PictureFacts:
    """Describes uint8 [1,3,H,W] and the PNG file that holds it."""
    height, width = byte_image.shape[-2:]
    return PictureFacts(width, height, pixels_sha256(byte_image), hashlib.sha256(png).hexdigest(), upright)


def pixels_sha256(byte_image: Tensor) -> str:
    """The sha256 of the samples row by row, RGB interleaved: the same whichever program wrote the PNG."""
    return hashlib.sha256(byte_image[0].permute(1, 2, 0).contiguous().cpu().numpy().tobytes()).hexdigest()


def finite(decibels: float) -> float | None:
    """None for the infinite PSNR of equal images, which JSON cannot hold."""
    return decibels if math.isfinite(decibels) else None
