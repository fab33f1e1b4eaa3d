"""What this plugin provides, and its settings. Light: imports neither torch nor Pillow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from idemcore.hookspecs import EncoderSpec, hookimpl

FORMATS = {"webp": "WEBP", "avif": "AVIF", "jp2": "JPEG2000"}
"""From the setting `format` to Pillow's word."""


@hookimpl
def idem_encoders() -> list[EncoderSpec]:
    return [
        EncoderSpec(
            name="pillow",
            api=1,
            target="idem_pillow.codec:PillowCodec",
            summary="WebP, AVIF or JPEG 2000 by Pillow; g(f(x)) is all that is known of them",
            config="idem_pillow.plugin:PillowConfig",
            offers=frozenset({"measure"}),
            identify="idem_pillow.plugin:identify",
        )
    ]


@dataclass
class PillowConfig:
    """Settings of the codec."""

    format: str = "avif"  # webp, avif or jp2 (JPEG 2000)
    quality: int = 30  # 0 to 100: of webp and avif on their own scales, of jp2 the PSNR in dB

    def __post_init__(self) -> None:
        if self.format not in FORMATS or not 0 <= self.quality <= 100:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, and quality 0 to 100")

    @property
    def model_id(self) -> bytes:
        """4 bytes for the header of an `.idem` file: another version of a library may write other bytes."""
        from PIL import features

        library = features.version("jpg_2000" if self.format == "jp2" else self.format)
        return hashlib.sha256(f"idem-pillow {self.format} {library} {self.quality}".encode()).digest()[:4]


def identify(model_id: bytes, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that decode a file with this model id; None if these libraries have none."""
    known = (PillowConfig(format, quality) for format in FORMATS for quality in range(101))
    return next((asdict(config) for config in known if config.model_id == model_id), None)
