"""`idem encode`: image to bitstream."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    INPUT,
    background_option,
    codec_options,
    gather_settings,
    json_option,
    output_option,
    runtime_options,
    settings_options,
)
from .output import check_suffix, print_json, print_record


@click.command()
@click.argument("image", type=INPUT)
@output_option
@codec_options
@settings_options
@runtime_options
@background_option
@json_option
def encode(
    image: str,
    output: str,
    codec: str,
    quality: int | None,
    overrides: tuple[str, ...],
    config_file: str | None,
    device: str,
    precision: str,
    background: str | None,
    as_json: bool,
) -> None:
    """Encode IMAGE: an ordinary .jpg with codec jpeg, an .idem file with others."""
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import choose

    settings = gather_settings(overrides, config_file, quality)
    part = choose(load_catalogue(), "codec", codec, settings.get("codec"))

    from ..io.files import atomic_write
    from ..io.images import parse_background, read_image
    from ..pipeline.codec import Codec
    from ..runtime import Runtime

    built = Codec.build(part, Runtime.choose(device, precision))
    check_suffix(output, part.spec.suffix)
    bitstream = built.encode(read_image(image, parse_background(background) if background else None))
    atomic_write(Path(output), bitstream.data)
    height, width = bitstream.size
    facts = {
        "codec": built.name,
        "size": [width, height],
        "bytes": len(bitstream.data),
        "bpp": bitstream.bits_per_pixel,
    }
    if as_json:
        print_json({"image": image, "bitstream": output, **facts})
    else:
        print_record(
            {"bitstream": output, **facts, "size": f"{width}x{height}", "bpp": f"{bitstream.bits_per_pixel:.3f}"}
        )
