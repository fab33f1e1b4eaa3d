"""`idem baseline`: curves of WebP, AVIF, JPEG XL, JPEG 2000 and JPEG, to stand beside one's own."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import EXIT_OK, UsageError
from .options import INPUT, OUTPUT, ImagesOptions, RunOptions, images_options, json_option, listed, take_options
from .output import print_json, print_table, say

METRICS = "bpp,psnr,ms-ssim,exact,nfe"


@click.command()
@click.argument("name", metavar="FORMAT|list")
@click.argument("place", required=False, type=INPUT, metavar="IMAGES")
@click.option("--quality", "qualities", metavar="A,B,...", help="On the format's scale.  [default: see `list`]")
@click.option("--metrics", "names", default=METRICS, show_default=True, metavar="A,B,...", help="See `idem metrics`.")
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write the curve, in CompressAI's format.")
@images_options
@json_option
@take_options(part=ImagesOptions)
def baseline(
    name: str,
    place: str | None,
    qualities: str | None,
    names: str,
    output: str | None,
    part: ImagesOptions,
    options: RunOptions,
) -> int:
    """Measure a format over a folder or zip file of images: its curve, to draw beside a sweep's or to compare with.

    \b
    idem baseline list
    idem baseline webp photos/ -o webp.json
    idem report runs/rates -o report --reference webp.json

    These formats have no cell to draw from. The file says which images it was measured on: a report on other images
    refuses it. `exact` is the share of images that the encoder maps to the same bytes again, once decoded.
    """
    from ..evaluation.baselines import baseline as find
    from ..evaluation.baselines import baseline_curve

    if name == "list":
        _list()
        return EXIT_OK
    one = find(name)
    if place is None:
        raise UsageError(f"{one.title} is measured on images.", f"Name them: idem baseline {one.name} photos/")

    from ..evaluation.evaluation import Images
    from ..metrics.building import build, choose_metrics
    from ..plugins.catalogue import load_catalogue
    from ..sweeps.grid import parse_axes

    one.version()  # before models are loaded
    if output and not (folder := Path(output).parent).is_dir():
        raise UsageError(f"Cannot write {output}: there is no folder {folder}.", "Make the folder first.")
    steps = parse_axes([f"quality={qualities}"])["quality"] if qualities else ()
    if wrong := [step for step in steps if isinstance(step, bool) or not isinstance(step, int)]:
        raise UsageError(f"--quality: {wrong[0]!r} is not a whole number.", f"It is {one.scale}.")
    metrics, missing = build(choose_metrics(load_catalogue(), listed(names, "--metrics")), options.runtime())
    for metric, reason in missing.items():
        say(f"{metric} is missing: {reason}")
    found = baseline_curve(one, Images(Path(place), part.frame(), part.limit), metrics, steps, missing)
    if output:
        found.write(Path(output))
    if options.as_json:
        print_json(found.content())
        return EXIT_OK
    keys = [found.key(metric.name) for metric in metrics]
    lines = [(point["quality"], *(_shown(found.results[key][k]) for key in keys))
             for k, point in enumerate(found.meta.points if found.meta else ())]  # fmt: skip
    print_table(("quality", *(metric.name for metric in metrics)), lines)
    return EXIT_OK


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _list() -> None:
    from ..errors import MissingError
    from ..evaluation.baselines import BASELINES

    rows = []
    for one in BASELINES.values():
        try:
            state = one.version()
        except MissingError as error:
            state = str(error)
        rows.append((one.name, one.title, ",".join(map(str, one.qualities)), one.scale, state))
    print_table(("format", "title", "qualities", "quality is", "encoder"), rows)
