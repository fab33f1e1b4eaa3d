"""Running a study: its sweep into a store, its set metrics, its report, and what it says of the claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..errors import IdemError
from ..evaluation.baselines import baseline, baseline_curve, pixels_digest
from ..evaluation.evaluation import Images
from ..io.image_sets import Frame
from ..metrics.building import build, choose_metrics
from ..pipeline.identity import Computed
from ..plugins.catalogue import Catalogue
from ..protocols import Engine
from ..report.measures import directions
from ..report.reading import read_store
from ..report.references import Reference, given_curves, published_curves
from ..report.scores import Scores, set_metrics
from ..report.site import write_site
from ..report.summary import Summary, summarise
from ..runtime import Runtime
from ..sweeps.grid import Definition
from ..sweeps.rounds import execute
from ..sweeps.run import Counts, Plan, plan, remaining
from ..sweeps.store import Store
from ..sweeps.worker import Worker
from .claims import Finding, findings
from .experiments import Study

STORES, BASELINES = "stores", "baselines"

WatchRuns = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""From a number of runs to a context that is told how many more are done."""


@dataclass(frozen=True)
class How:
    """What runs studies, and how."""

    catalogue: Catalogue
    engine: Engine
    device: str = "auto"
    precision: str = "auto"
    batch: int = 1
    retry_failed: bool = False
    progress: WatchRuns = lambda runs: nullcontext(lambda more: None)
    say: Callable[[str], None] = lambda line: None

    @property
    def computed(self) -> Computed:
        """After `auto` is decided."""
        return Computed.by(self.device, self.precision)


@dataclass(frozen=True)
class StudyResult:
    """What a study gave."""

    study: Study
    summary: Summary
    counts: Counts
    found: list[Finding]
    seconds: float
    """Wall time of this call, which a resumed study shares with those before."""
    refused: list[str] = field(default_factory=list)
    """Combinations that cannot work, and why."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Metrics that could not be measured, and why."""


def run_study(study: Study, out: Path, how: How) -> StudyResult:
    """Runs what `out` lacks of the study, and writes its report to `out/NAME`.

    Raises UsageError for what cannot be right, MissingError for weights that went away.
    """
    begin = time.monotonic()
    planned = plan(study.definition, how.catalogue, how.computed)
    store = Store(out / STORES / study.name)
    for reason in planned.refused:
        how.say(f"left out: {reason}")
    counts = _execute(study, planned, store, how)
    summary, missing = summarised(study, planned, store, how)
    pixels = [str(image.sha256) for image in summary.images]
    curves, lacking = baseline_references(study, out / BASELINES / study.name, pixels, how)
    missing = {**counts.missing, **missing, **lacking}
    references = [*published_curves(pixels), *curves]
    write_site(summary, store.root, out / study.name, references, study.title, missing)
    found = findings(study.experiment.claims, summary)
    return StudyResult(study, summary, counts, found, time.monotonic() - begin, planned.refused, missing)


def baseline_references(
    study: Study, folder: Path, pixels: Sequence[str], how: How
) -> tuple[list[Reference], dict[str, str]]:
    """The curves of the study's baselines on the images of these sha256, each measured once, and why others lack.

    A curve is kept under the name of its images; one that has others than the runs, some of which failed, is left out.
    """
    found, missing = list[Reference](), dict[str, str]()
    for name in study.variant.baselines:
        path = folder / f"{name}-{pixels_digest(pixels)}.json"
        try:
            if not path.is_file():
                how.say(f"{study.name}: measuring {baseline(name).title}")
                _measure_baseline(name, study.definition, path, how)
            found += given_curves([path], pixels)
        except IdemError as error:
            missing[name] = str(error)
    return found, missing


def _measure_baseline(name: str, definition: Definition, path: Path, how: How) -> None:
    images = [one for one in choose_metrics(how.catalogue, definition.metrics) if one.spec.kind == "image"]
    baseline(name).version()
    metrics, _ = build(images, Runtime.choose(how.device, how.precision))
    curve = baseline_curve(baseline(name), _images(definition), metrics)
    path.parent.mkdir(parents=True, exist_ok=True)
    curve.write(path)


def _images(definition: Definition) -> Images:
    """The images of the one place that a study has."""
    (place,) = definition.images
    return Images(Path(place), Frame(definition.crop, definition.size), definition.limit)


def summarised(study: Study, planned: Plan, store: Store, how: How) -> tuple[Summary, dict[str, str]]:
    """What the store has of the study, with the study's set metrics; and why some of these are missing."""
    rows, scores = [row for row in read_store(store.root) if row.id in planned.ids], Scores(store.root)
    chosen = [one for one in choose_metrics(how.catalogue, study.definition.metrics) if one.spec.kind == "set"]
    metrics, missing = set_metrics(chosen, Runtime.choose(how.device, how.precision))
    if metrics:
        how.say(f"{study.name}: measuring {', '.join(metric.name for metric in metrics)}")
        scores.compute(summarise(rows).configurations, metrics, lambda label: None)
    return summarise(rows, scores, directions(how.catalogue)), missing


def _execute(study: Study, planned: Plan, store: Store, how: How) -> Counts:
    with store.writing({**study.definition.facts(), "title": study.title}, len(planned.runs)):
        left = remaining(store, planned, how.retry_failed)
        count = len(left.runs) + len(left.rows)
        how.say(f"{study.name}: {len(planned.runs)} runs, {len(planned.runs) - len(left.runs)} of them here already")
        computed = how.computed
        work = partial(Worker, computed.named(how.device), computed.precision, planned.metrics)
        with how.progress(count) as advance:
            return execute(store, planned, how.engine, work, how.batch, how.retry_failed, advance)
