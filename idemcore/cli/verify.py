"""`idem verify`: does an image lie in the cell of a bitstream?"""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import EXIT_OK, NotExact
from .album import is_several
from .options import (
    INPUT,
    RunOptions,
    background_option,
    json_option,
    runtime_options,
    salvage_option,
    take_options,
)
from .output import print_json, print_record, yes


@click.command()
@click.argument("image", type=INPUT)
@click.argument("bitstream", type=INPUT)
@background_option
@salvage_option
@runtime_options
@json_option
@take_options()
def verify(image: str, bitstream: str, options: RunOptions) -> int:
    """Exit 0 if IMAGE re-encodes to BITSTREAM, 3 if not.

    If both are folders, every picture in the first is compared with the file in the second that it was decoded from, by
    its certificate, or by its name. Pictures without a file, and files without a picture, make exit 1.

    A file that idem wrote must give the very same bytes; a JPEG of another program the same quantised coefficients,
    with its own tables and sampling. idem tries IMAGE's pixels as they are stored; then turned back if BITSTREAM's EXIF
    says that its picture lies on its side; then as `idem encode` would read them: upright, in sRGB.
    """
    if Path(image).is_dir() or is_several(Path(bitstream)):
        from .verify_folder import verify_folders

        return verify_folders(Path(image), Path(bitstream), options)

    from ..io.files import read_file
    from ..pipeline.codec import open_bitstream
    from ..pipeline.verify import readings, verdict

    opened = open_bitstream(read_file(Path(bitstream)), bitstream, options.runtime(), special=options.special)
    found = verdict(opened, readings(Path(image), opened, options.colour()))
    if options.as_json:
        facts = {"exact": found.exact, "differing_symbols": found.differing_symbols}
        print_json({"image": image, "bitstream": bitstream, **facts})
    else:
        differing = "all" if found.differing_symbols is None else found.differing_symbols
        print_record({"differing symbols": differing, "exact": yes(found.exact)})
    if not found:
        raise NotExact(f"{image} does not re-encode to {bitstream}: {found.reason}.")
    return EXIT_OK
