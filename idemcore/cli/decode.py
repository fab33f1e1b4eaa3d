"""`idem decode`: bitstreams to images, with a certificate beside each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_OK, UsageError
from ..io.inputs import declare_folder, declare_output
from ..plugins.settings import SCOPES
from .decoded import facts, not_exact
from .options import (
    INPUT,
    RunOptions,
    exact_option,
    json_option,
    prior_options,
    runtime_options,
    salvage_option,
    settings_options,
    take_options,
    tile_option,
    tradeoff_option,
)
from .output import check_suffix, moved, print_json, print_record, yes
from .recording import Recorder, recording_options

if TYPE_CHECKING:
    from ..pipeline.decode_file import Decoded, Decoding


@click.command()
@click.argument("file", type=INPUT)
@click.option(
    "-o", "--output", metavar="FILE", help="File to write.  [default: x.png beside x.jpg, or x-2.png if that exists]"
)
@click.option(
    "--write-jpeg", "jpeg", metavar="FILE", help="Write the JPEG that the picture re-encodes to, as FILE was written."
)
@click.option(
    "--as-stored", is_flag=True, help="Do not turn the pixels upright: the PNG says how, as the JPEG does (EXIF)."
)
@salvage_option
@prior_options
@click.option("--mse", is_flag=True, help="The codec's own decode g(y), without a prior.")
@tradeoff_option
@recording_options
@settings_options
@runtime_options
@tile_option
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Files of a folder decoded at once.")
@click.option("--engine", default="local", show_default=True, metavar="NAME", help="What decodes a folder's files.")
@json_option
@exact_option
@take_options()
def decode(
    file: str, output: str | None, jpeg: str | None, as_stored: bool, mse: bool, jobs: int, options: RunOptions
) -> int:
    """Decode FILE, a .jpg or .idem, to a PNG, and write its certificate beside it: x.certificate.json for x.png.

    Without -o, the PNG goes beside FILE, and nothing is overwritten.

    If FILE is a folder or a zip file, -o names a folder: all of its files and those of folders in it are decoded, each
    to a PNG of its name. A file that fails does not stop the others, and one that was decoded before with the same
    settings is left out, so that an interrupted call resumes. --write-jpeg then names a folder too. --jobs decodes
    several files at once; --engine ray shares them out among the machines of a cluster that see the same folders.

    A JPEG that is cut or damaged is refused, unless --salvage is given: then the picture keeps what is there and is
    certified on that, the prior fills in the rest, and the certificate counts both. What follows the picture in a JPEG,
    such as the video of a motion photo, is copied by --write-jpeg.

    With --trace, x.trace.jsonl and x.trace.png are written too; with --save-steps, x.steps.png.
    """
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import select_decoder

    if mse and options.tradeoff != 1:
        raise UsageError(
            "--mse and --tradeoff exclude each other.",
            "--solver mean gives the exact image of least error.",
        )
    if mse and (options.trace or options.save_steps):
        raise UsageError("--mse takes no steps that --trace or --save-steps could show.", "Leave one of them out.")
    _check_places(Path(file), output, jpeg)
    catalogue = load_catalogue()
    settings = options.settings((*SCOPES, "engine"), {"engine": {"workers": jobs}} if jobs > 1 else None)
    workers = settings.pop("engine", {})
    parts = select_decoder(catalogue, options.generator, options.solver, settings)

    from ..pipeline.decode_file import Decoding

    runtime = options.runtime()
    decoding = Decoding(
        parts, catalogue, runtime, settings, mse, options.seed, options.tradeoff, not as_stored, options.special
    )
    place, rewritten = (Path(name) if name else None for name in (output, jpeg))
    if is_several(Path(file)) and place:
        from .file_work import FileWork
        from .folder import decode_folder
        from .sweep import make_engine

        alone = options.engine == "local" and workers.get("workers", 1) == 1
        engine = None if alone else make_engine(catalogue, options.engine, workers)
        work = FileWork(decoding, (options.trace, options.save_steps), options.require_exact)
        return decode_folder(work, Path(file), place, rewritten, options.as_json, engine)
    _decode_file(
        decoding,
        Path(file),
        place,
        rewritten,
        Recorder(options.trace, options.save_steps),
        options.as_json,
        options.require_exact,
    )
    return EXIT_OK


def _check_places(file: Path, output: str | None, jpeg: str | None) -> None:
    """Raises UsageError for names of results that cannot be right."""
    if is_several(file):
        if not output:
            raise UsageError(f"{file} holds several files.", "Name a folder for the results: `-o FOLDER`.")
        declare_folder(*filter(None, (output, jpeg)))
        return
    if output is not None:
        check_suffix(output, ".png")
    elif file.exists() and not file.is_file():
        raise UsageError(f"{file} is not a regular file.", "Name the file to write: `-o FILE.png`.")
    if output:
        declare_output(output, Path(output).with_name(f"{Path(output).stem}.certificate.json"))
    if jpeg:
        check_suffix(jpeg, ".jpg")
        declare_output(jpeg)


def is_several(place: Path) -> bool:
    """Is it a folder or a zip file?"""
    return place.is_dir() or place.suffix.lower() == ".zip"


def _decode_file(
    decoding: Decoding,
    file: Path,
    output: Path | None,
    jpeg: Path | None,
    recorder: Recorder,
    as_json: bool,
    require_exact: bool,
) -> None:
    from ..pipeline.decode_file import check_rewritable, free_name

    bitstream = decoding.open(file)
    if jpeg:
        check_rewritable(bitstream)
    if not decoding.plain:
        decoding.parts.check(bitstream.codec.part.spec, decoding.catalogue)
    with recorder(file.name, decoding.decoder.name if decoding.decoder else "") as callback:
        decoded = decoding.decode(bitstream, callback)
    output = output or free_name(file, recorder.files)
    decoded.write(output, jpeg, recorder.files)
    _show(decoded, output, jpeg, list(recorder.files), as_json)
    if require_exact and not decoded.result.exact:
        raise not_exact(decoded, file, output)


def _show(decoded: Decoded, output: Path, jpeg: Path | None, steps: list[str], as_json: bool) -> None:
    from ..pipeline.decode_file import CERTIFICATE, beside

    if as_json:
        print_json(facts(decoded, output, jpeg))
        return
    content = decoded.certificate
    print_record(
        {
            "image": f"{output}, {content.image.width}x{content.image.height}",
            "certificate": beside(output, CERTIFICATE),
            **({"jpeg": jpeg} if jpeg else {}),
            **({"steps": ", ".join(beside(output, name).name for name in steps)} if steps else {}),
            "certifying moved": moved(content.psnr_moved),
            "differing symbols": decoded.result.differing_symbols,
            "exact": yes(decoded.result.exact),
            **({"reason": content.reason} if content.reason else {}),
        }
    )
