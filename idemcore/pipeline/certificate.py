"""The certificate that lies beside a picture: whether it re-encodes to its bitstream, and what made it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from torch import Tensor

from ..plugins.selection import Part
from ..weights.digest import weights_sha256
from .codec import Bitstream
from .decoder import Decoder, Reconstruction


def certificate(
    bitstream: Bitstream, decoder: Decoder | None, result: Reconstruction, **details: Any
) -> dict[str, Any]:
    """What is written beside a PNG: whether it re-encodes to its bitstream, and what is needed to check or redo it."""
    height, width = bitstream.size
    return {
        "exact": result.exact,
        "differing_symbols": result.differing_symbols,
        "psnr_moved": finite(result.psnr_moved),
        **details,
        "image": {"width": width, "height": height, "rgb_sha256": pixels_sha256(result.image)},
        "bitstream": {"bytes": len(bitstream.data), "sha256": bitstream.sha256},
        "codec": {
            **provided(bitstream.codec.part),
            "model_id": bitstream.codec.encoder.model_id.hex() or None,
            # Not the codec's settings, which say nothing of a file that another program wrote.
            "stream": bitstream.codec.encoder.describe(bitstream.stream),
        },
        "generator": configured(decoder.parts.prior if decoder else None),
        "solver": configured(decoder.parts.solver if decoder else None),
        "adapter": configured(decoder.parts.adapter if decoder else None),
        "restorer": configured(decoder.parts.restorer if decoder else None),
    }


def provided(part: Part[Any]) -> dict[str, str]:
    """For a certificate: a part's name and where it comes from."""
    return {"name": part.spec.name, "plugin": part.distribution, "version": version(part.distribution)}


def configured(part: Part[Any] | None) -> dict[str, Any] | None:
    """For a certificate: with its settings, and of weights the first digits of their sha256."""
    if part is None:
        return None
    weights = weights_sha256(part)
    return {**provided(part), "settings": asdict(part.config), **({"weights_sha256": weights} if weights else {})}


def pixels_sha256(byte_image: Tensor) -> str:
    """Of the samples row by row, RGB interleaved: the same whichever program wrote the PNG."""
    return hashlib.sha256(byte_image[0].permute(1, 2, 0).contiguous().cpu().numpy().tobytes()).hexdigest()


def finite(decibels: float) -> float | None:
    """None for the infinite PSNR of equal images, which JSON cannot hold."""
    return decibels if decibels != float("inf") else None
