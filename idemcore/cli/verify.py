"""`idem verify`: does an image lie in the cell of a bitstream?"""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import NotExact
from .options import background_option, json_option, runtime_options
from .output import print_json, print_record, yes


@click.command()
@click.argument("image")
@click.argument("bitstream")
@background_option
@runtime_options
@json_option
def verify(image: str, bitstream: str, background: str | None, device: str, precision: str, as_json: bool) -> None:
    """Exit 0 if IMAGE re-encodes to the very bytes of BITSTREAM, 3 if not."""
    from ..files import read_file
    from ..imageio import parse_background, read_bytes
    from ..pipeline import open_bitstream
    from ..runtime import Runtime

    opened = open_bitstream(read_file(Path(bitstream)), bitstream, Runtime.choose(device, precision))
    pixels = read_bytes(image, parse_background(background) if background else None)
    if tuple(pixels.shape[-2:]) != opened.size:
        found, wanted = ("{1}x{0}".format(*size) for size in (pixels.shape[-2:], opened.size))
        exact, differing, why = False, None, f"it has {found} pixels, not {wanted}"
    else:
        pixels = pixels.to(opened.decoded.device)
        exact = bool(opened.cell.contains(pixels))
        differing = 0 if exact else int(opened.cell.differing_symbols(pixels))
        why = f"{differing} symbols differ"
    if as_json:
        print_json({"image": image, "bitstream": bitstream, "exact": exact, "differing_symbols": differing})
    else:
        print_record({"differing symbols": "all" if differing is None else differing, "exact": yes(exact)})
    if not exact:
        raise NotExact(f"{image} does not re-encode to {bitstream}: {why}.")
