"""`idem run`: photographs the whole way, one folder each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_OK, NotExact, UsageError
from ..io.inputs import declare_replaced
from .group import exit_code, tell
from .options import (
    INPUT,
    RunOptions,
    background_option,
    check_samples,
    codec_options,
    exact_option,
    fast_option,
    json_option,
    prior_options,
    runtime_options,
    settings_options,
    take_options,
    tile_option,
    tradeoff_option,
)
from .output import decibels, moved, print_json, print_record, print_table, say, yes
from .recording import Recorder, recording_options

if TYPE_CHECKING:
    from ..protocols import Callback
    from ..results.run_report import RunReport


@click.command()
@click.argument("images", nargs=-1, required=True, type=INPUT, metavar="IMAGE...")
@codec_options
@prior_options
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="How many images to draw.")
@fast_option
@tradeoff_option
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="Results go to DIR/STEM/.")
@recording_options
@settings_options
@runtime_options
@tile_option
@background_option
@json_option
@exact_option
@take_options()
def run(images: tuple[str, ...], samples: int, out: str, options: RunOptions) -> int:
    """Encode each IMAGE, decode it with a prior, certify the result and compare.

    Writes DIR/STEM/ with bitstream, decoded.png, reconstruction.png, the re-encoded bitstream, comparison.png,
    certificate.json and report.json; with --samples, reconstruction-1.png and so on; with --trace, trace.jsonl and
    trace.png; with --save-steps, steps.png. An image that fails does not stop the others.
    """
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import select

    folders = _folders(images, Path(out))
    for folder in folders.values():
        declare_replaced(folder)
    chosen = options.codec, options.generator, options.solver
    selection = select(load_catalogue(), *chosen, options.settings())

    check_samples(selection, samples)

    from ..pipeline.codec import Codec
    from ..pipeline.decode_file import tags
    from ..pipeline.decoder import Decoder
    from ..pipeline.run_image import check_replaceable, run_image

    colour, runtime = options.colour(), options.runtime()
    built = Codec.build(selection.codec, runtime)
    decoder = Decoder.build(selection, runtime)

    def one(image: Path, folder: Path) -> RunReport:
        check_replaceable(folder)
        recorder = Recorder(options.trace, options.save_steps)

        def watched(sample: int) -> AbstractContextManager[Callback | None]:
            return recorder(image.name, decoder.name, tags(samples)[sample])

        result = run_image(image, built, decoder, options.seed, samples, colour, watched, options.tradeoff)
        result.write(folder, recorder.files)
        _show(result.report, folder, options.as_json, alone=len(folders) == 1)
        if options.require_exact and not result.report.exact:
            hint = (
                "Try another --seed." if selection.uses_prior else "Take a solver with a prior, such as --solver cell."
            )
            differing = result.report.differing_symbols
            raise NotExact(f"{folder} is not exact: {differing} symbols differ.", hint)
        return result.report

    if len(folders) == 1:
        one(*next(iter(folders.items())))
        return EXIT_OK
    return _several(folders, one, options.as_json)


def _several(folders: dict[Path, Path], one: Callable[[Path, Path], RunReport], as_json: bool) -> int:
    """Runs each image; one that fails is told and does not stop the others."""
    reports: list[RunReport] = []
    codes: set[int] = set()
    for image, folder in folders.items():
        try:
            reports.append(one(image, folder))
        except BrokenPipeError:
            raise
        except Exception as error:
            codes.add(tell(error, str(image)))
    if reports and not as_json:
        _show_table(reports)
    return exit_code(codes)


def _folders(images: tuple[str, ...], out: Path) -> dict[Path, Path]:
    """The result folder of each image. Raises UsageError for a folder, or if two images would share a result."""
    paths = [Path(image) for image in dict.fromkeys(images)]
    for folder in filter(Path.is_dir, paths):
        raise UsageError(f"{folder} is a folder.", f"Name its images, e.g. `idem run {folder / '*.png'}`.")
    stem, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        twins = " and ".join(str(path) for path in paths if path.stem == stem)
        raise UsageError(f"{twins} would all be written to {out / stem}.", "Run them one by one, each with its --out.")
    return {path: out / path.stem for path in paths}


def _show(report: RunReport, folder: Path, as_json: bool, alone: bool) -> None:
    if as_json:
        print_json({**report.to_json(), "folder": str(folder)})
    elif alone:
        print_record(_record(report, folder))
    else:
        say(f"{report.image}: exact {yes(report.exact)}, written to {folder}/")


def _record(report: RunReport, folder: Path) -> dict[str, str]:
    width, height = report.size
    quality = "" if report.quality is None else f", quality {report.quality}"
    count, exact = len(report.reconstructions), sum(sample.exact for sample in report.reconstructions)
    prior = f" with {report.generator}" if report.generator else ""
    return {
        "image": f"{report.image}, {width}x{height}",
        "bitstream": f"{report.bytes:,} bytes, {report.bpp:.3f} bpp ({report.codec}{quality})",
        "decoded": decibels(report.psnr.decoded),
        "reconstruction": decibels(report.psnr.reconstruction),
        "solver": f"{report.solver}{prior}, {report.nfe} passes forwards, {report.backwards} backwards",
        "seconds": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items()),
        "certifying moved": moved(report.psnr_moved),
        "exact": yes(report.exact) if count == 1 else f"{exact} of {count}",
        "written": f"{folder}/",
    }


def _show_table(reports: list[RunReport]) -> None:
    headers = ("image", "bytes", "bpp", "decoded", "reconstruction", "passes", "seconds", "exact")
    print_table(headers, [
        (r.image, r.bytes, f"{r.bpp:.3f}", decibels(r.psnr.decoded), decibels(r.psnr.reconstruction), r.nfe,
         f"{sum(r.seconds.values()):.1f}", yes(r.exact))
        for r in reports
    ])  # fmt: skip
