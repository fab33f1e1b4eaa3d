"""`idem report`: what a store holds, as a page to look at or as tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep, strftime
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import INPUT, json_option, listed, runtime_options
from .output import echo, print_json, print_record, say

if TYPE_CHECKING:
    from ..plugins.catalogue import Catalogue
    from ..report.scores import Scores
    from ..report.site import Live
    from ..report.summary import Summary
    from ..results.rows import SweepRow

WATCH_SECONDS = 20
"""Between two pages of a sweep that runs."""

FORMATS = ("html", "md", "latex", "csv", "compressai")


@click.command()
@click.argument("store", metavar="STORE")
@click.option("-o", "--output", metavar="PATH", help="A folder for html and compressai, a file for the other formats.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="html", show_default=True, help="What to write.")
@click.option("--title", default="", metavar="TEXT", help="Title of the page.  [default: the store's name]")
@click.option(
    "--reference", "reference_files", multiple=True, type=INPUT, metavar="FILE", help="Draw this curve too; repeatable."
)
@click.option("--metrics", "names", metavar="NAMES", help="First compute these from the pictures, e.g. fd,kd.")
@click.option("--images", "limit", type=click.IntRange(min=0), metavar="N", help="Pictures of the first N images only.")
@click.option(
    "--before", type=INPUT, metavar="DIR", help="Where the files are that a restored album was decoded from: show them."
)
@click.option("--watch", is_flag=True, help="Update the page every 20 seconds until the sweep ends.")
@runtime_options
@json_option
def report(
    store: str,
    output: str | None,
    kind: str,
    title: str,
    reference_files: tuple[str, ...],
    names: str | None,
    limit: int | None,
    before: str | None,
    watch: bool,
    device: str,
    precision: str,
    as_json: bool,
) -> None:
    """Report on STORE, the folder that a sweep wrote, or that `idem decode` restored.

    \b
    html        a folder with charts, tables and a viewer of pictures: open its
                index.html, no server needed; see docs/reports.md
    md, latex, csv
                means with 95 % intervals, one line per configuration; on stdout
                unless -o names a file; latex wants the package booktabs
    compressai  a JSON file a curve, in a folder, which CompressAI's plot reads;
                --reference takes such files

    --metrics fd,kd computes metrics of sets of images, such as Fréchet distances, from the pictures in the store, and
    keeps them there; see `idem metrics list`.

    For a restored album, html shows the pictures and what their certificates say; --before adds the JPEGs, to compare.
    """
    page_options = {"--title": title, "--reference": reference_files, "--images": limit is not None, "--watch": watch,
                    "--before": before}  # fmt: skip
    _check(output, kind, {name: bool(given) for name, given in page_options.items()})

    from ..plugins.catalogue import load_catalogue

    folder, catalogue = Path(store), load_catalogue()
    if watch:
        _wait_for_rows(folder)
    while True:
        live = _live(folder) if watch else None
        summary, missing = _summary(catalogue, folder, names, device, precision, before)
        if kind == "html":
            page = Page(title, reference_files, limit, live, Path(before) if before else None)
            written = [_write_page(summary, folder, Path(output or ""), missing, page)]
        else:
            written = _export(summary, kind, output, as_json)
            if summary.failed:
                say(f"note: {summary.failures}")
        if not live:
            break
        sleep(live.seconds)
    if as_json:
        print_json({"written": [str(path) for path in written], **_counts(summary)})
    elif written:
        print_record({**_counts(summary), "written": written[0] if len(written) == 1 else f"{output}/"})


@dataclass(frozen=True)
class Page:
    """What the command line says of the page."""

    title: str
    reference_files: Sequence[str]
    limit: int | None
    live: Live | None
    before: Path | None


def _summary(
    catalogue: Catalogue, folder: Path, names: str | None, device: str, precision: str, before: str | None
) -> tuple[Summary, dict[str, str]]:
    """The summary of all rows, and why metrics are missing."""
    from ..report.album import is_album, read_album
    from ..report.measures import directions
    from ..report.reading import read_store
    from ..report.scores import Scores
    from ..report.summary import summarise

    if is_album(folder):
        if names:
            raise UsageError(f"{folder} is not a sweep, and has no originals to measure with.", "Leave --metrics out.")
        return summarise(read_album(folder, Path(before) if before else None)), {}
    if before:
        raise UsageError("--before is for a restored album; a sweep knows its files.", "Leave it out.")
    rows, scores = read_store(folder), Scores(folder)
    missing = {name: why for row in rows for name, why in row.missing_metrics.items()}
    if names:
        missing |= _compute(catalogue, scores, rows, names, device, precision)
    return summarise(rows, scores, directions(catalogue)), missing


def _write_page(summary: Summary, folder: Path, output: Path, missing: dict[str, str], page: Page) -> Path:
    from ..report.references import given_curves, published_curves
    from ..report.site import write_site

    pixels = [str(image.sha256) for image in summary.images]
    references = [*published_curves(pixels), *given_curves(map(Path, page.reference_files), pixels)]
    return write_site(summary, folder, output, references, page.title, missing, page.limit, page.live, page.before)


def _live(folder: Path) -> Live | None:
    """How far the sweep is; None if none writes there now."""
    from ..report.site import Live
    from ..sweeps.store import Store

    store = Store.open(folder)
    if not store.is_written():
        return None
    done, planned = len(store.ids()), store.meta().get("runs")
    of_all = f" of {planned}" if planned else ""
    say(f"{done}{of_all} runs at {strftime('%H:%M:%S')}")
    return Live(WATCH_SECONDS, f"still running: {done}{of_all} runs at {strftime('%H:%M:%S')}")


def _wait_for_rows(folder: Path) -> None:
    """A sweep that has just begun has none. Raises UsageError for a folder that is not a store."""
    from ..sweeps.store import Store

    store = Store.open(folder)
    while not store.ids() and store.is_written():
        sleep(1)


def _check(output: str | None, kind: str, page_options: dict[str, bool]) -> None:
    """Raises UsageError for options that do not go together."""
    if kind in ("html", "compressai") and not output:
        raise UsageError(f"--format {kind} writes a folder.", "Name it, e.g. `-o report`.")
    for name, given in page_options.items():
        if given and kind != "html":
            raise UsageError(f"{name} has no effect with --format {kind}.", "Leave it out.")


def _compute(
    catalogue: Catalogue, scores: Scores, rows: Sequence[SweepRow], names: str, device: str, precision: str
) -> dict[str, str]:
    """Adds set metrics of every configuration to the store's; returns why a metric could not be built."""
    from ..metrics.building import choose_metrics
    from ..report.scores import set_metrics
    from ..report.summary import summarise
    from ..runtime import Runtime

    chosen = choose_metrics(catalogue, listed(names, "--metrics"))
    metrics, missing = set_metrics(chosen, Runtime.choose(device, precision))
    for name, why in missing.items():
        say(f"{name} is missing: {why}")
    scores.compute(summarise(rows).configurations, metrics, lambda label: say(f"measuring {label}"))
    return missing


def _counts(summary: Summary) -> dict[str, int]:
    runs = sum(len(c.rows) for c in summary.configurations if not c.plain)
    return {
        "images": len(summary.images),
        "configurations": sum(not c.plain for c in summary.configurations),
        "runs": runs,
        "failed": len(summary.failed),
    }


def _export(summary: Summary, kind: str, output: str | None, as_json: bool) -> list[Path]:
    """Writes tables or curves; returns the files, none if all went to stdout."""
    import json

    from ..io.files import atomic_write, text_bytes
    from ..report.exports import compressai, csv_text, latex, markdown

    if kind == "compressai":
        folder = Path(output or "")
        folder.mkdir(parents=True, exist_ok=True)
        content = {folder / name: json.dumps(curve, indent=2) + "\n" for name, curve in compressai(summary).items()}
    else:
        text = {"md": markdown, "latex": latex, "csv": csv_text}[kind](summary)
        if output is None:
            if as_json:
                raise UsageError(
                    "--json describes a file, but none is written.", "Name it with -o, or leave --json out."
                )
            echo(text, nl=False)
            return []
        content = {Path(output): text}
    for path, text in content.items():
        atomic_write(path, text_bytes(text))
    return list(content)
