"""`idem reproduce`: a paper's experiments, a report of each, and a page that says which of its claims hold."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_OK, EXIT_RUNS, UsageError, nearest
from .options import FOLDER, RunOptions, engine_options, json_option, runtime_options, take_options
from .output import print_json, print_table, say
from .sweep import build_engine, overridden, sweep_progress

if TYPE_CHECKING:
    from ..reproduce.experiments import Experiment, Study
    from ..reproduce.run import How, StudyResult

MOST_WORKERS = 8
"""That are started without being asked for, a CPU core each: every one loads the models anew."""


@dataclass(frozen=True)
class StudyOptions:
    """The experiments to run, and the images."""

    bundled: bool
    images: tuple[str, ...]
    faces: tuple[str, ...]
    only: tuple[str, ...]
    scale: float

    def datasets(self) -> dict[str, list[str]]:
        """Places by domain: the photograph that a checkout holds if none is given. Raises UsageError."""
        places = {"photos": list(self.images), "faces": list(self.faces)}
        return places if self.images or self.faces else {**places, "photos": _shipped()}

    def is_wanted(self, study: str, experiment: str) -> bool:
        """Is it among what --only names?"""
        return not self.only or any(o in (experiment, study) or study.startswith(f"{o}-") for o in self.only)


@click.command()
@click.argument("name", metavar="list|paper|jpeg|codecs|FOLDER")
@click.option("--bundled", is_flag=True, help="The bundled models, even where published checkpoints are here.")
@click.option("--images", multiple=True, metavar="PLACE", help="Photographs: a folder or zip file; repeatable.")
@click.option("--faces", multiple=True, metavar="PLACE", help="Aligned faces: a folder or zip file; repeatable.")
@click.option("--only", multiple=True, metavar="NAME", help="An experiment, e.g. rates or rates-faces; repeatable.")
@click.option("--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, metavar="F",
              help="Use F times as many images, but at least two.")  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    default="runs/paper",
    show_default=True,
    metavar="DIR",
    help="Folder for stores and reports.",
)
@engine_options(batch=1)
@runtime_options
@json_option
@take_options(asked=StudyOptions)
def reproduce(name: str, output: str, asked: StudyOptions, options: RunOptions) -> int:
    """Run the experiments of "Idempotence and Perceptual Image Compression" and report on its claims.

    \b
    idem reproduce list
    idem reproduce paper --bundled --images photos/ --faces faces.zip -o runs/paper
    idem reproduce jpeg --bundled --images LIVE1/ -o runs/jpeg
    idem reproduce paper --images imagenet/ --faces ffhq/ --device cuda --batch 8

    Each experiment uses the published checkpoints if all of them are installed, otherwise the bundled models on the
    kind of images that these were trained on; every title says which. Open DIR/index.html. If it is killed at any
    moment, the same command resumes. `codecs` has curves below 0.3 bits a pixel, with WebP, AVIF, JPEG XL and JPEG
    2000 on the same images. `jpeg` has the tables of JPEG restoration: a report on LIVE1 or Classic5 also shows the
    printed rows. FOLDER holds experiments of your own; see docs/paper.md. Exit 5 if runs failed.
    """
    from ..plugins.catalogue import load_catalogue
    from ..reproduce.experiments import load_experiments, shipped_experiments, studies

    if name == "list":
        _list({known: load_experiments(known) for known in shipped_experiments()}, options.as_json)
        return EXIT_OK
    experiments = load_experiments(name)
    catalogue = load_catalogue()
    chosen = _chosen(experiments, asked.only)
    found, skipped = studies(chosen, catalogue, asked.datasets(), asked.bundled, asked.scale)
    found = [study for study in found if asked.is_wanted(study.name, study.experiment.name)]
    skipped = {key: why for key, why in skipped.items() if asked.is_wanted(key, key.rpartition("-")[0])}
    for study, why in skipped.items():
        say(f"{study} is not run: {why}")
    if not found:
        raise UsageError("There is nothing to run.", "See above, and `idem reproduce list`.")
    base, workers = overridden(options.overrides), _workers(options)
    found = [replace(study, definition=study.definition.with_axes({}, base)) for study in found]

    from ..reproduce.run import How

    built = build_engine(catalogue, options.engine, [*workers, *options.overrides])
    chosen_device = options.device, options.precision
    how = How(catalogue, built, *chosen_device, options.batch, options.retry_failed, sweep_progress, say)
    command = shlex.join(["idem", *sys.argv[1:]]) if sys.argv[1:2] == ["reproduce"] else f"idem reproduce {name}"
    results = _run(found, skipped, Path(output), how, _title(name), command)
    _show(results, skipped, Path(output), options.as_json)
    return EXIT_RUNS if any(result.counts.failed for result in results) else EXIT_OK


def _run(
    found: Sequence[Study], skipped: Mapping[str, str], out: Path, how: How, title: str, command: str
) -> list[StudyResult]:
    """One study after the other, with the page as far as it goes after each."""
    from ..reproduce.page import check_output, write_page
    from ..reproduce.run import run_study

    check_output(out)
    results: list[StudyResult] = []
    for number, study in enumerate(found, 1):
        say(f"[{number}/{len(found)}] {study.title}")
        if study.not_published:
            say(f"the published checkpoints are not used: {study.not_published}")
        try:
            results.append(run_study(study, out, how))
        except KeyboardInterrupt:
            say(f"{out} keeps what is done; the same command resumes from there")
            raise
        write_page(out, title, results, skipped, [later.name for later in found[number:]], command)
    return results


def _list(collections: Mapping[str, Sequence[Experiment]], as_json: bool) -> None:
    rows = [
        {
            "of": collection,
            "name": f"{experiment.name}-{variant.domain}",
            "models": variant.models,
            "title": experiment.title,
            "images": variant.definition.limit,
            "minutes": variant.minutes,
            "claims": ",".join(experiment.claims),
        }
        for collection, experiments in collections.items()
        for experiment in experiments
        for variant in experiment.variants
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    head = ("of", "experiment", "models", "images", "minutes", "claims", "title")
    print_table(head, [(r["of"], r["name"], r["models"], r["images"] or "all", r["minutes"] or "-",
                        r["claims"] or "-", r["title"]) for r in rows])  # fmt: skip


def _show(results: Sequence[StudyResult], skipped: Mapping[str, str], out: Path, as_json: bool) -> None:
    if as_json:
        from ..reproduce.page import content

        print_json({**content(results, skipped), "page": str(out / "index.html")})
        return
    rows = [(r.study.name, f.claim.name, f.verdict, f.count) for r in results for f in r.found]
    print_table(("experiment", "claim", "verdict", "where"), rows)
    say(f"open {out / 'index.html'}")


def _chosen(experiments: Sequence[Experiment], only: Sequence[str]) -> list[Experiment]:
    """The experiments that were asked for. Raises UsageError for an unknown name."""
    names = [f"{e.name}-{v.domain}" for e in experiments for v in e.variants] + [e.name for e in experiments]
    for name in only:
        if name not in names:
            raise UsageError(f"There is no experiment '{name}'.", f"{nearest(name, names)} See `idem reproduce list`.")
    return [e for e in experiments if not only or any(o == e.name or o.startswith(f"{e.name}-") for o in only)]


def _workers(options: RunOptions) -> list[str]:
    """A process a core where small images are solved on a CPU, unless the user says otherwise."""
    from ..sweeps.local import usable_cores

    if options.engine != "local" or options.runtime().device.type != "cpu":
        return []
    return [f"engine.workers={min(usable_cores(), MOST_WORKERS)}"]


def _shipped() -> list[str]:
    """The photograph that a checkout holds. Raises UsageError for an installation, which has none."""
    from ..plugins.registry import registry_folder

    photo = registry_folder().parent / "examples" / "photo.png"
    if not photo.is_file():
        raise UsageError("No images were given.", "Name some: --images photos/ --faces faces.zip.")
    say(f"no images were given: {photo.name} of the examples is all that there is, so nothing has an interval")
    return [str(photo)]


def _title(name: str) -> str:
    titles = {
        "paper": "Idempotence and Perceptual Image Compression, reproduced",
        "jpeg": "JPEG restoration, certified",
        "codecs": "Learned codecs and JPEG at low rates, certified",
    }
    return titles.get(name, Path(name).name)
