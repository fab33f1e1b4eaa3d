"""Fills in the certificate of a picture, from its bitstream, what decoded it, and what `certify` found."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..plugins.selection import DecoderParts
from ..results.base import as_json
from ..results.certificate import BitstreamFacts, Certificate, CodecFacts, ComputedFacts, PictureFacts
from .codec import Bitstream
from .decoder import Reconstruction
from .identity import part_facts, source_sha256


def certificate(
    bitstream: Bitstream,
    result: Reconstruction,
    picture: PictureFacts,
    parts: DecoderParts | None = None,
    seed: int | None = None,
    sample: int | None = None,
    tradeoff: float | None = None,
    tile: int | None = None,
    special: tuple[str, ...] = (),
    codec_settings: Mapping[str, Any] = MappingProxyType({}),
    computed: ComputedFacts | None = None,
    notes: tuple[str, ...] = (),
) -> Certificate:
    """What is written beside a PNG. `parts` and what follows are None of a plain decode."""
    part, encoder = bitstream.codec.part, bitstream.codec.encoder
    used = {kind: part_facts(found) for kind, found in (parts.used if parts else {}).items()}
    return Certificate(
        exact=result.exact,
        differing_symbols=result.differing_symbols,
        reason=result.reason or None,
        psnr_moved=finite(result.psnr_moved),
        seed=seed,
        sample=sample,
        tradeoff=tradeoff,
        tile=tile,
        special=special,
        codec_settings=codec_settings,
        computed=computed or bitstream.codec.computed.facts,
        notes=notes,
        image=picture,
        bitstream=BitstreamFacts(len(bitstream.data), bitstream.sha256),
        codec=CodecFacts(
            name=part.spec.name,
            plugin=part.distribution,
            version=part.version,
            source_sha256=source_sha256(part.distribution) or None,
            settings=as_json(asdict(part.config)),
            model_id=encoder.model_id.hex() or None,
            stream=encoder.describe(bitstream.stream),
        ),
        generator=used.get("generator"),
        solver=used.get("solver"),
        adapter=used.get("adapter"),
        restorer=used.get("restorer"),
    )


def picture_facts(byte_image: Tensor, png: bytes, upright: bool = True) -> PictureFacts:
    """Of uint8 [1,3,H,W] and the PNG file that it was written to."""
    height, width = byte_image.shape[-2:]
    return PictureFacts(width, height, pixels_sha256(byte_image), hashlib.sha256(png).hexdigest(), upright)


def pixels_sha256(byte_image: Tensor) -> str:
    """Of the samples row by row, RGB interleaved: the same whichever program wrote the PNG."""
    return hashlib.sha256(byte_image[0].permute(1, 2, 0).contiguous().cpu().numpy().tobytes()).hexdigest()


def finite(decibels: float) -> float | None:
    """None for the infinite PSNR of equal images, which JSON cannot hold."""
    return decibels if math.isfinite(decibels) else None
