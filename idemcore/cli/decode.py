"""`idem decode`: bitstreams to images, with a certificate beside each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_OK, UsageError
from ..io.inputs import declare_folder, declare_output
from ..io.remote import is_address
from ..io.walking import Source, expanded
from ..plugins.settings import SCOPES
from ..results.certificate import beside
from .album import codec_suffixes, find_jobs, is_several
from .decoded import facts, not_exact
from .file_work import FileJob
from .options import (
    INPUT,
    RunOptions,
    check_samples,
    engine_option,
    exact_option,
    fast_option,
    json_option,
    prior_options,
    runtime_options,
    salvage_option,
    settings_options,
    take_options,
    tile_option,
    tradeoff_option,
)
from .output import check_suffix, moved, print_json, print_record, say, yes
from .recording import Recorder, recording_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..pipeline.codec import Bitstream
    from ..pipeline.decode_file import Decoded, Decoding


@dataclass(frozen=True)
class Results:
    """What is made of each file, and where it goes."""

    output: str | None = None
    jpeg: str | None = None
    samples: int = 1
    as_stored: bool = False
    mse: bool = False
    jobs: int = 1

    @property
    def place(self) -> Path | None:
        """The PNG, or the folder of several."""
        return Path(self.output) if self.output else None

    @property
    def folder(self) -> Path | str | None:
        """The folder of several pictures, here or at an address."""
        return self.output if self.output and is_address(self.output) else self.place

    @property
    def rewritten(self) -> Path | None:
        """The JPEG, or the folder of several."""
        return Path(self.jpeg) if self.jpeg else None


@click.command()
@click.argument("files", nargs=-1, required=True, type=INPUT, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="File to write, or folder for several.  [default: x.png beside x.jpg, or x-2.png if that exists]",
)
@click.option(
    "--write-jpeg", "jpeg", metavar="FILE", help="Write the JPEG that the picture re-encodes to, as FILE was written."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Draw N pictures of each file, x-1.png to x-N.png, with seeds from --seed on.",
)
@click.option(
    "--as-stored", is_flag=True, help="Do not turn the pixels upright: the PNG says how, as the JPEG does (EXIF)."
)
@salvage_option
@prior_options
@click.option("--mse", is_flag=True, help="The codec's own decode g(y), without a prior.")
@fast_option
@tradeoff_option
@recording_options
@settings_options
@runtime_options
@tile_option
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Files of a folder decoded at once.")
@engine_option
@json_option
@exact_option
@take_options(made=Results)
def decode(files: tuple[str, ...], made: Results, options: RunOptions) -> int:
    """Decode each FILE, a .jpg or .idem, to a PNG, and write its certificate beside it: x.certificate.json for x.png.

    Without -o, the PNG goes beside FILE, and nothing is overwritten.

    FILE may be a pattern, such as 'photos/*.jpg', a folder or a zip file: all bitstreams in it and in its folders are
    decoded, each to a PNG of its name. -o then names a folder, which folders and zip files need. A file that fails does
    not stop the others, and one that was decoded before with the same settings is left out, so that the same command
    resumes an interrupted one. --write-jpeg names a folder, too. --jobs decodes several files at once; --engine ray
    shares them out among the machines of a cluster that see the same folders.

    FILE and -o may be addresses, such as s3://bucket/photos, gs://bucket/photos or https://host/old.jpg: files are read
    from there, and results sent there one by one. `pip install "idemcore[remote]"` brings what this needs.

    A JPEG that is cut or damaged is an error, unless you add --salvage: then the picture keeps what is there and is
    certified on that, the prior fills in the rest, and the certificate counts both. --write-jpeg also copies what
    follows the picture in a JPEG, such as the video of a motion photo.

    With --trace, x.trace.jsonl and x.trace.png are written too; with --save-steps, x.steps.png.
    """
    _check_mse(made, options)
    if any(map(is_address, [*files, made.output or ""])):
        _check_addresses(files, made)
        mixed = [place for file in files for place in ([file] if is_address(file) else expanded([file]))]
        return _decode_several(mixed, *_prepared(made, options), made, options)
    places = expanded(files)
    _check_places(places, made.output, made.jpeg)
    decoding, workers = _prepared(made, options)
    if len(places) > 1 or is_several(places[0]):
        return _decode_several(places, decoding, workers, made, options)
    return _decode_one(places[0], decoding, made, options)


def _check_mse(made: Results, options: RunOptions) -> None:
    """Raises UsageError for flags that a plain decode has no use for."""
    if not made.mse:
        return
    if options.tradeoff != 1:
        raise UsageError(
            "--mse and --tradeoff exclude each other.", "--solver mean gives the exact image of least error."
        )
    if options.fast:
        raise UsageError("--mse takes no pass of a prior that --fast could spare.", "Leave one of them out.")
    if options.trace or options.save_steps:
        raise UsageError("--mse takes no steps that --trace or --save-steps could show.", "Leave one of them out.")
    if made.samples > 1:
        raise UsageError("--mse has one picture, whatever the seed.", "Leave --samples out.")


def _prepared(made: Results, options: RunOptions) -> tuple[Decoding, dict[str, Any]]:
    """How files are decoded, and the settings of the engine."""
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import select_decoder

    catalogue = load_catalogue()
    settings = options.settings((*SCOPES, "engine"), {"engine": {"workers": made.jobs}} if made.jobs > 1 else None)
    workers = settings.pop("engine", {})
    parts = select_decoder(catalogue, options.generator, options.solver, settings)
    check_samples(parts, made.samples)

    from ..pipeline.decode_file import Decoding

    upright, runtime = not made.as_stored, options.runtime()
    how = made.mse, options.seed, options.tradeoff, upright, options.special
    return Decoding(parts, catalogue, runtime, settings, *how), workers


def _decode_several(
    places: Sequence[Path | str], decoding: Decoding, workers: dict[str, Any], made: Results, options: RunOptions
) -> int:
    from ..pipeline.decode_file import tags
    from .file_work import FileWork
    from .folder import decode_several
    from .sweep import make_engine

    alone = options.engine == "local" and workers.get("workers", 1) == 1
    engine = None if alone else make_engine(decoding.catalogue, options.engine, workers)
    work = FileWork(decoding, (options.trace, options.save_steps), options.require_exact)
    jobs = find_jobs(places, made.folder, made.rewritten, codec_suffixes(decoding.catalogue), tags(made.samples))
    title = f"{places[0] if len(places) == 1 else f'{len(places)} places'} -> {made.folder or 'beside the files'}"
    return decode_several(work, jobs, title, options.as_json, engine)


def _decode_one(file: Path, decoding: Decoding, made: Results, options: RunOptions) -> int:
    """Each of its samples."""
    from ..pipeline.decode_file import check_rewritable, tags

    bitstream = decoding.open(file)
    if made.jpeg:
        check_rewritable(bitstream)
    for number, tag in enumerate(tags(made.samples)):
        job = FileJob(Source(file, file.name), made.place, made.rewritten if number == 0 else None, number, tag)
        recorder = Recorder(options.trace, options.save_steps)
        _decode_file(decoding, job, bitstream, recorder, options.as_json, options.require_exact)
    return EXIT_OK


def _check_addresses(files: Sequence[str], made: Results) -> None:
    """Raises UsageError for results without a folder."""
    if not made.output:
        address = next(file for file in files if is_address(file))
        raise UsageError(f"Results of {address} need a place.", "Name a folder here, or an address: `-o FOLDER`.")
    if is_address(made.output) and made.jpeg:
        raise UsageError("--write-jpeg writes here only.", "Leave it out, or name a folder with -o and copy it.")
    if made.output.lower().endswith(".png"):
        raise UsageError(f"-o {made.output} names a file.", "Name a folder for the results: `-o FOLDER`.")


def _check_places(places: Sequence[Path], output: str | None, jpeg: str | None) -> None:
    """Raises UsageError for names of results that cannot be right."""
    several = [place for place in places if is_several(place)]
    if several and not output:
        raise UsageError(f"{several[0]} holds several files.", "Name a folder for the results: `-o FOLDER`.")
    if len(places) > 1 or several:
        if output and output.lower().endswith(".png") and not Path(output).exists():
            raise UsageError(f"-o {output} names a file, but there are several to write.", "Name a folder.")
        declare_folder(*filter(None, (output, jpeg)))
        return
    if output is not None:
        check_suffix(output, ".png")
    elif places[0].exists() and not places[0].is_file():
        raise UsageError(f"{places[0]} is not a regular file.", "Name the file to write: `-o FILE.png`.")
    if output:
        declare_output(output, beside(Path(output)))
    if jpeg:
        check_suffix(jpeg, ".jpg")
        declare_output(jpeg)


def _decode_file(
    decoding: Decoding, job: FileJob, bitstream: Bitstream, recorder: Recorder, as_json: bool, require_exact: bool
) -> None:
    """Writes one picture of a file that was named alone."""
    from ..pipeline.decode_file import free_name, names_beside

    file, output = job.source.path, job.output and job.output.with_stem(f"{job.output.stem}{job.tag}")
    if not decoding.plain:
        decoding.parts.check(bitstream.codec.part.spec, decoding.catalogue)
    with recorder(file.name, decoding.decoder.name if decoding.decoder else "") as callback:
        decoded = decoding.decode(bitstream, callback, job.number)
    if not output:
        output, first = free_name(file, recorder.files, job.tag), next(names_beside(file, job.tag))
        if output != first:
            say(f"note: {first} is kept; the new picture is {output.name}. -o FILE.png names and replaces one.")
    decoded.write(output, job.jpeg, recorder.files)
    _show(decoded, output, job.jpeg, list(recorder.files), as_json)
    if require_exact and not decoded.result.exact:
        raise not_exact(decoded.certificate, file, output)


def _show(decoded: Decoded, output: Path, jpeg: Path | None, steps: list[str], as_json: bool) -> None:
    if as_json:
        print_json(facts(decoded, output, jpeg))
        return
    content = decoded.certificate
    print_record(
        {
            "image": f"{output}, {content.image.width}x{content.image.height}",
            "certificate": beside(output),
            **({"jpeg": jpeg} if jpeg else {}),
            **({"steps": ", ".join(beside(output, name).name for name in steps)} if steps else {}),
            "certifying moved": moved(content.psnr_moved),
            "differing symbols": decoded.result.differing_symbols,
            "exact": yes(decoded.result.exact),
            **({"reason": content.reason} if content.reason else {}),
        }
    )
