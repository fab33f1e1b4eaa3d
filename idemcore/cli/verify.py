"""`idem verify`: does an image lie in the cell of a bitstream?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import NotExact
from .options import INPUT, background_option, json_option, runtime_options, salvage_option
from .output import print_json, print_record, yes

if TYPE_CHECKING:
    from torch import Tensor

    from ..io.images import Colour
    from ..pipeline.codec import Bitstream


@click.command()
@click.argument("image", type=INPUT)
@click.argument("bitstream", type=INPUT)
@background_option
@salvage_option
@runtime_options
@json_option
def verify(
    image: str, bitstream: str, background: str | None, salvage: bool, device: str, precision: str, as_json: bool
) -> None:
    """Exit 0 if IMAGE re-encodes to BITSTREAM, 3 if not.

    A file that idem wrote must give the very same bytes; a JPEG of another program the same quantised coefficients,
    with its own tables and sampling. IMAGE's pixels are taken as they are stored; then turned back if BITSTREAM's EXIF
    says that its picture lies on its side; then as `idem encode` would take them: upright, in sRGB.
    """
    from ..io.files import read_file
    from ..io.images import parse_background
    from ..pipeline.codec import open_bitstream
    from ..runtime import Runtime

    runtime, special = Runtime.choose(device, precision), ("salvage",) if salvage else ()
    opened = open_bitstream(read_file(Path(bitstream)), bitstream, runtime, special=special)
    colour = parse_background(background) if background else None
    exact, differing, why = False, None, ""
    for pixels in _readings(image, opened, colour):
        if tuple(pixels.shape[-2:]) != opened.size:
            found, wanted = ("{1}x{0}".format(*size) for size in (pixels.shape[-2:], opened.size))
            why = why or f"it has {found} pixels, not {wanted}"
            continue
        pixels = pixels.to(opened.decoded.device)
        exact = bool(opened.cell.contains(pixels))
        count = 0 if exact else int(opened.cell.differing_symbols(pixels))
        differing = count if differing is None else min(differing, count)
        why = f"{differing} symbols differ"
        if exact:
            break
    if as_json:
        print_json({"image": image, "bitstream": bitstream, "exact": exact, "differing_symbols": differing})
    else:
        print_record({"differing symbols": "all" if differing is None else differing, "exact": yes(exact)})
    if not exact:
        raise NotExact(f"{image} does not re-encode to {bitstream}: {why}.")


def _readings(image: str, opened: Bitstream, background: Colour | None) -> Iterator[Tensor]:
    """The pixels of an image file that may be meant, uint8 [1,3,H,W], none of them twice."""
    from ..io.exif import turn_back
    from ..io.files import read_file
    from ..io.images import decode_bytes

    data = read_file(Path(image))
    stored = decode_bytes(data, image, background, as_stored=True)
    yield stored
    metadata = opened.codec.encoder.metadata(opened.stream)
    if metadata and metadata.orientation > 1:
        yield turn_back(stored, metadata.orientation)
    shown = decode_bytes(data, image, background)
    if shown.shape != stored.shape or not shown.equal(stored):
        yield shown
