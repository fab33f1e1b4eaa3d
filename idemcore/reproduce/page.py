"""The page over all studies: claims with their verdicts, the evidence, a chart of each study, and how it was run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ..errors import UsageError
from ..io.files import atomic_write, text_bytes, write_json
from ..report import tables
from ..report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plane_chart, rate_chart
from ..report.measures import Measure
from ..report.site import FILES, STYLE_FOLDER
from .claims import FAILS, HOLDS, OPEN, Finding
from .run import StudyResult

MARKER, PAGE = "reproduction.json", "index.html"
GENERATOR = '<meta name="generator" content="idem reproduce">'
BADGES = {HOLDS: "yes", FAILS: "no", OPEN: "unsure"}


def check_output(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but an earlier reproduction; else marks it as one."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", "Choose another folder with -o.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise UsageError(f"{folder} exists but is not a reproduction by idem.", "Choose another folder with -o.")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARKER).exists():
        atomic_write(folder / MARKER, b"{}\n")


def write_page(
    folder: Path,
    title: str,
    results: Sequence[StudyResult],
    skipped: Mapping[str, str],
    waiting: Sequence[str],
    command: str,
) -> Path:
    """Writes index.html, its style sheet and reproduction.json; `waiting` names the studies that are still to come."""
    atomic_write(folder / FILES[0], (STYLE_FOLDER / FILES[0]).read_bytes())
    template = Template((files(__package__) / PAGE).read_text(encoding="utf-8"))
    page = template.substitute(
        generator=GENERATOR,
        title=escape(title),
        facts="".join(f"<li>{escape(fact)}</li>" for fact in _headline(results, waiting)),
        models=escape(_models(results)),
        clip=f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH - LEFT - RIGHT:g}" height="{HEIGHT - TOP - BOTTOM:g}"/>',
        claims="".join(_claims(results)),
        evidence="".join(_evidence(result, finding) for result, finding in _found(results)),
        experiments="".join(map(_experiment, results)),
        command=escape(command),
        run=_run(results, skipped, waiting),
    )
    atomic_write(folder / PAGE, text_bytes(page))
    write_json(content(results, skipped), folder / MARKER)
    return folder / PAGE


def content(results: Sequence[StudyResult], skipped: Mapping[str, str]) -> dict[str, Any]:
    """For programs: studies with the evidence for each claim, and what was not run."""
    return {
        "studies": [
            {
                "name": result.study.name,
                "title": result.study.title,
                "models": result.study.variant.models,
                "runs": result.counts.planned,
                "failed": result.counts.failed,
                "seconds": round(result.seconds, 1),
                "claims": {
                    finding.claim.name: {
                        "verdict": finding.verdict,
                        "evidence": [asdict(one) for one in finding.evidence],
                    }
                    for finding in result.found
                },
            }
            for result in results
        ],
        "not_run": dict(skipped),
    }


def _headline(results: Sequence[StudyResult], waiting: Sequence[str]) -> list[str]:
    runs, failed = (sum(getattr(r.counts, key) for r in results) for key in ("planned", "failed"))
    found = [f"{len(results)} experiments", f"{runs:,} runs"]
    found += [f"{failed} failed"] if failed else []
    return [*found, f"{len(waiting)} still to run"] if waiting else found


def _models(results: Sequence[StudyResult]) -> str:
    """Whose models these are, first of all."""
    bundled = sum(result.study.variant.models == "bundled" for result in results)
    if not bundled:
        return "All experiments use the published checkpoints."
    which = "All experiments use" if bundled == len(results) else f"{bundled} of {len(results)} experiments use"
    return (
        f"{which} the small models that come with idem, on their own kinds of images: 64x64 grey faces, and "
        "photographs. So they test what the paper claims, not the figures that it reports."
    )


def _found(results: Sequence[StudyResult]) -> list[tuple[StudyResult, Finding]]:
    """Claim by claim."""
    names = dict.fromkeys(finding.claim.name for result in results for finding in result.found)
    return [(r, finding) for name in names for r in results for finding in r.found if finding.claim.name == name]


def _claims(results: Sequence[StudyResult]) -> list[str]:
    rows, before = [], ""
    for result, finding in _found(results):
        statement = "" if finding.claim.name == before else escape(finding.claim.statement)
        before = finding.claim.name
        rows.append(
            f'<tr><th scope="row">{statement}</th><td>{escape(result.study.title)}</td>'
            f"<td>{_badge(finding.verdict)}</td>"
            f'<td><a href="#{_anchor(result, finding)}">{escape(finding.count)}</a></td></tr>'
        )
    return rows


def _evidence(result: StudyResult, finding: Finding) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(one.label)}</th><td>{escape(one.measured)}</td><td>{escape(one.expected)}</td>'
        f"<td>{_badge(one.verdict)}</td></tr>"
        for one in finding.evidence
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Configuration", "Measured", "Claimed", "Verdict"))
    return (
        "<details>"
        f"<summary>{_badge(finding.verdict)} {escape(finding.claim.statement)} "
        f'<span class="spread">{escape(result.study.title)}: {escape(finding.count)}</span></summary>'
        f'<p class="note" id="{_anchor(result, finding)}">{escape(finding.claim.rule)} Intervals are of 95 %.</p>'
        f'<div class="scroll"><table class="wrapped"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        "</details>"
    )


def _experiment(result: StudyResult) -> str:
    study, summary = result.study, result.summary
    why = f" Why not the published checkpoints: {study.not_published}" if study.not_published else ""
    notes = [study.experiment.about + why, *(f"Left out: {reason}" for reason in result.refused)]
    notes += [f"Not measured: {name}. {reason}" for name, reason in result.missing.items()]
    charts = "".join(f'<div class="panel">{svg}</div>' for svg in _charts(result) if svg)
    return (
        f'<article id="{escape(study.name)}"><h3><a href="{escape(study.name)}/{PAGE}">{escape(study.title)}</a></h3>'
        + "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
        + f'<ul class="legend">{tables.legend(summary, [])}</ul><div class="panels">{charts}</div>'
        + f'<p><a href="{escape(study.name)}/{PAGE}">Curves, pictures and tables</a></p></article>'
    )


def _charts(result: StudyResult) -> list[str]:
    """Perception over rate and over distortion; the latter alone where there is one rate."""
    summary = result.summary
    distortion, perception = (_first(summary.of_group(group)) for group in ("distortion", "perception"))
    if distortion is None or perception is None:
        return [rate_chart(summary, measure) for measure in summary.of_group("distortion", "perception")[:2]]
    plane = plane_chart(summary, distortion, perception)
    return [rate_chart(summary, perception), plane] if any(len(c.points) > 1 for c in summary.curves) else [plane]


def _first(measures: Sequence[Measure]) -> Measure | None:
    """One with intervals if there is any."""
    return next((m for m in measures if m.name in ("kid", "kd")), next(iter(measures), None))


def _run(results: Sequence[StudyResult], skipped: Mapping[str, str], waiting: Sequence[str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(r.study.name)}</th><td class="n">{len(r.summary.images)}</td>'
        f'<td class="n">{r.counts.planned}</td><td class="n">{r.counts.failed}</td>'
        f'<td class="n">{r.seconds / 60:.1f}</td></tr>'
        for r in results
    )
    head = '<th scope="col">Study</th>' + "".join(
        f'<th scope="col" class="n">{name}</th>' for name in ("Images", "Runs", "Failed", "Minutes, this time")
    )
    others = [f"<dt>{escape(name)}</dt><dd>not run: {escape(why)}</dd>" for name, why in skipped.items()]
    others += [f"<dt>{escape(name)}</dt><dd>still to run</dd>" for name in waiting]
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return table + (f"<dl>{''.join(others)}</dl>" if others else "")


def _anchor(result: StudyResult, finding: Finding) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", f"{finding.claim.name}-{result.study.name}".lower())


def _badge(verdict: str) -> str:
    return f'<span class="badge {BADGES[verdict]}">{verdict}</span>'
