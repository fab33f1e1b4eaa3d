"""`idem encode`: image to bitstream."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    INPUT,
    RunOptions,
    background_option,
    codec_options,
    json_option,
    output_option,
    runtime_options,
    settings_options,
    take_options,
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
@take_options()
def encode(image: str, output: str, options: RunOptions) -> None:
    """Encode IMAGE: an ordinary .jpg with codec jpeg, an .idem file with others."""
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import choose

    part = choose(load_catalogue(), "codec", options.codec, options.settings().get("codec"))

    from ..io.files import atomic_write
    from ..io.images import read_image
    from ..pipeline.codec import Codec

    built = Codec.build(part, options.runtime())
    check_suffix(output, part.spec.suffix)
    bitstream = built.bitstream_of(read_image(image, options.colour()))
    atomic_write(Path(output), bitstream.data)
    height, width = bitstream.size
    facts = {
        "codec": built.name,
        "size": [width, height],
        "bytes": len(bitstream.data),
        "bpp": bitstream.bits_per_pixel,
    }
    if options.as_json:
        print_json({"image": image, "bitstream": output, **facts})
    else:
        print_record(
            {"bitstream": output, **facts, "size": f"{width}x{height}", "bpp": f"{bitstream.bits_per_pixel:.3f}"}
        )
