"""`idem sample`: images from a prior alone, without any bitstream."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import (
    FOLDER,
    OUTPUT,
    RunOptions,
    batch_option,
    config_option,
    generator_option,
    json_option,
    runtime_options,
    seed_option,
    set_option,
    take_options,
)
from .output import check_suffix, print_json, print_record, solver_progress

if TYPE_CHECKING:
    from ..pipeline.sample_prior import Sampler
    from ..results.samples_report import SamplesReport


@dataclass(frozen=True)
class SampleOptions:
    """The flags of `idem sample` alone."""

    count: int
    output: str | None
    columns: int | None
    separate: str | None
    size: str | None
    steps: int | None
    eta: float | None
    batch: int | None


@click.command()
@generator_option
@click.option("-n", "--count", type=click.IntRange(min=1), default=16, show_default=True, help="Images to draw.")
@seed_option
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="PNG of all images, row by row.")
@click.option("--columns", type=click.IntRange(min=1), help="Images per row.  [default: as many as rows]")
@click.option("--separate", type=FOLDER, metavar="DIR", help="Each image as DIR/0000.png and so on, with report.json.")
@click.option("--size", metavar="WxH", help="Size of an image, if the generator makes any.  [default: 128x128]")
@click.option("--steps", type=click.IntRange(min=2), help="Denoiser passes of a diffusion prior.  [default: 50]")
@click.option(
    "--eta", type=click.FloatRange(0, 1), help="Fresh noise in a diffusion prior, from 0 to 1 (DDPM).  [default: 0]"
)
@batch_option("Images at a time.  [default: 262,144 pixels]", default=None)
@set_option("A setting; repeatable.", metavar="generator.KEY=VALUE")
@config_option("YAML with a mapping `generator:`")
@runtime_options
@json_option
@take_options(asked=SampleOptions)
def sample(asked: SampleOptions, options: RunOptions) -> None:
    """Draw images from a generator without a bitstream, to see what it considers natural.

    Image i depends on the seed and on i only, not on the number of images or on --batch.
    """
    from ..adapters.specs import check_sampling
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import choose

    _check_outputs(asked.output, asked.columns, asked.separate)
    wanted = _parse_size(asked.size) if asked.size else None
    settings = options.settings(("generator",)).get("generator")
    part = choose(load_catalogue(), "generator", options.generator, settings)
    check_sampling(part.spec, {"--steps": asked.steps, "--eta": asked.eta})

    from ..pipeline.sample_prior import STEPS, Sampler, fitting_size, samples_report

    runtime = options.runtime()
    built = part.build(runtime)
    shape = fitting_size(built, part.spec.name, wanted)
    sampler = Sampler(built, shape, asked.steps or STEPS, asked.eta or 0.0, runtime.device, part)
    _check_size(asked, shape)
    report = _draw(sampler, options.seed, asked, partial(samples_report, part, sampler, options.seed, asked.count))
    if options.as_json:
        print_json({**report.to_json(), "file": asked.output, "folder": asked.separate})
    else:
        written = ", ".join(filter(None, [asked.output, asked.separate and f"{asked.separate}/"]))
        print_record({**_record(report), "written": written})


def _check_outputs(output: str | None, columns: int | None, separate: str | None) -> None:
    """Raises UsageError before anything is drawn."""
    if not output and not separate:
        raise UsageError(
            "No destination is given for the images.", "Type -o grid.png for all in one, or --separate DIR."
        )
    if columns and not output:
        raise UsageError("--columns has no effect without a grid.", "Type -o grid.png too, or leave it out.")
    if output:
        check_suffix(output, ".png")
        if not (folder := Path(output).parent).is_dir():
            raise UsageError(f"Cannot write {output}: there is no folder {folder}.", "Make the folder first.")
    if separate:
        from ..pipeline.run_image import check_replaceable

        try:
            check_replaceable(Path(separate))
        except UsageError as error:
            error.hint = "Choose another folder with --separate."
            raise


def _check_size(asked: SampleOptions, size: tuple[int, int]) -> None:
    """Raises UsageError for more pixels than idem reads: what is written is read back."""
    from ..io.limits import RAISE, too_large
    from ..pipeline.sample_prior import grid_size

    shapes = {"An image": size}
    if asked.output:
        shapes["The grid"] = grid_size(asked.count, size, asked.columns)
    for what, shape in shapes.items():
        if why := too_large(*shape):
            raise UsageError(f"{what} of {why}.", f"Draw fewer with -o, or with --separate alone. {RAISE}")


def _parse_size(text: str) -> tuple[int, int]:
    """(H, W) of `WxH`."""
    found = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", text)
    if not found:
        raise UsageError(f"--size {text!r} is not a size.", "Write width and height in pixels, e.g. --size 96x64.")
    return int(found[2]), int(found[1])


def _draw(sampler: Sampler, seed: int, asked: SampleOptions, report: Callable[[float], SamplesReport]) -> SamplesReport:
    """Draws and writes; `report` is made of the seconds that it took."""
    import torch

    from ..io.files import write_json
    from ..io.images import write_png
    from ..pipeline.run_image import REPORT, folder_in_place_of
    from ..pipeline.sample_prior import grid

    begin, kept = time.perf_counter(), []
    place = folder_in_place_of(Path(asked.separate)) if asked.separate else nullcontext()
    with place as folder, solver_progress("sampling", then="") as callback:
        drawn = sampler.samples(seed, asked.count, asked.batch, callback)
        for index, image in enumerate(chain.from_iterable(drawn)):
            if asked.output:
                kept.append(image.cpu())
            if folder:
                write_png(image, folder / f"{index:04}.png")
        made = report(time.perf_counter() - begin)
        if folder:
            write_json(made.to_json(), folder / REPORT)
    if asked.output:
        write_png(grid(torch.stack(kept), asked.columns), asked.output)
    return made


def _record(report: SamplesReport) -> dict[str, str]:
    width, height = report.size
    return {
        "generator": report.generator,
        "images": f"{report.count} of {width}x{height}, seed {report.seed}",
        "passes": f"{report.steps} an image, eta {report.eta:g}" if report.steps else "1 an image",
        "seconds": f"{report.seconds:.1f}, {report.seconds / report.count:.2f} an image",
    }
