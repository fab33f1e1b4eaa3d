"""The report as a static folder: index.html with its data inside, a style sheet, a script and the pictures."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ..errors import UsageError
from ..io.files import atomic_write, replacing, text_bytes
from . import tables
from .chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plane_chart, rate_chart
from .measures import Measure
from .page_data import page_data
from .published import section
from .references import Reference
from .summary import Summary

GENERATOR = '<meta name="generator" content="idem report">'
FILES, IMAGES = ("style.css", "report.js"), "images"
_PICTURE = re.compile(r"[0-9a-f]{20}\.(png|jpg|jpeg|webp)")
STYLE_FOLDER = files(__package__) / "templates"


@dataclass
class Pictures:
    """Copies pictures of a store into the report, each once, under names that no store chooses."""

    store: Path
    folder: Path
    before: Path | None = None
    """Another folder from which pictures may come."""
    names: dict[Path, str] = field(default_factory=dict)

    def add(self, relative: object) -> str | None:
        """The page's path to a copy of the store's file; None if the store has none such inside."""
        source = (self.store / str(relative)).resolve() if relative else None
        places = [place.resolve() for place in (self.store, self.before) if place]
        if source is None or not any(map(source.is_relative_to, places)) or not source.is_file():
            return None
        if source not in self.names:
            suffix = source.suffix.lower() if source.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") else ".png"
            stat = source.stat()
            within = next(source.relative_to(place) for place in places if source.is_relative_to(place))
            key = f"{within}\0{stat.st_size}\0{stat.st_mtime_ns}"
            name = hashlib.sha256(text_bytes(key)).hexdigest()[:20] + suffix
            if not (self.folder / name).exists():
                with replacing(self.folder / name) as temporary:
                    shutil.copyfile(source, temporary)
            self.names[source] = name
        return f"{self.folder.name}/{self.names[source]}"

    def prune(self) -> None:
        """Removes copies that an earlier report left here and this one does not show."""
        kept = set(self.names.values())
        for path in self.folder.iterdir():
            if _PICTURE.fullmatch(path.name) and path.name not in kept:
                path.unlink()


@dataclass(frozen=True)
class Live:
    """A report of a sweep that still runs."""

    seconds: int
    """After which the page loads itself again."""
    fact: str
    """How far the sweep is, for the headline."""


def check_output(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but an earlier report, or what an interrupted one left."""
    if not folder.exists():
        return
    page = folder / "index.html"
    if page.is_file():
        ours = GENERATOR in page.read_text(encoding="utf-8", errors="replace")[:1000]
    else:
        ours = folder.is_dir() and {path.name for path in folder.iterdir()} <= {*FILES, IMAGES}
    if not ours:
        raise UsageError(f"{folder} exists but is not an idem report.", "Choose another folder with -o.")


def write_site(
    summary: Summary,
    store: Path,
    folder: Path,
    references: Sequence[Reference] = (),
    title: str = "",
    missing: Mapping[str, str] | None = None,
    limit: int | None = None,
    live: Live | None = None,
    before: Path | None = None,
) -> Path:
    """Writes the report and returns its index.html, which is written last; pictures of the first `limit` images only.

    `before` is another folder that holds pictures. `live` makes a page that loads itself again. `missing` is why a
    metric could not be measured, by name. Raises UsageError for a folder that is not a report.
    """
    check_output(folder)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    pictures = Pictures(store, folder / IMAGES, before)
    data = page_data(summary, pictures.add, limit).to_json()
    for name in FILES:
        atomic_write(folder / name, (STYLE_FOLDER / name).read_bytes())
    page = folder / "index.html"
    content = _page(summary, references, data, title or store.resolve().name, missing or {}, live)
    atomic_write(page, text_bytes(content))
    pictures.prune()
    return page


def _page(
    summary: Summary,
    references: Sequence[Reference],
    data: Any,
    title: str,
    missing: Mapping[str, str],
    live: Live | None,
) -> str:
    used = [
        (i, r) for i, r in enumerate(references) if any(r.points(m.name) for m in summary.measures if m.group != "rate")
    ]
    rows = [row for configuration in summary.configurations for row in configuration.rows]
    panels = "".join(_panels(summary, references))
    return Template((STYLE_FOLDER / "index.html").read_text(encoding="utf-8")).substitute(
        generator=GENERATOR + (f'<meta http-equiv="refresh" content="{live.seconds}">' if live else ""),
        title=escape(title),
        facts="".join(f"<li>{escape(fact)}</li>" for fact in [*_headline(summary), *([live.fact] if live else [])]),
        failed_link='<a href="#failures">Failed</a>' if summary.failed else "",
        clip=f'<rect x="{LEFT:g}" y="{TOP:g}" width="{WIDTH - LEFT - RIGHT:g}" height="{HEIGHT - TOP - BOTTOM:g}"/>',
        legend=tables.legend(summary, used),
        panels=panels,
        no_curves="" if panels else " hidden",
        configurations=tables.configurations(summary),
        published=section(summary),
        failures=tables.failures(summary.failed),
        provenance=tables.provenance(rows, used, missing, summary.undefined),
        data=_script_json(data),
    )


def _headline(summary: Summary) -> list[str]:
    """What was run, in a few words each."""
    runs = [row for c in summary.configurations if not c.plain for row in c.rows]
    exact = sum(bool(row.exact) for row in runs)
    found = [
        _count(len(summary.images), "image"),
        _count(sum(not c.plain for c in summary.configurations), "configuration"),
        _count(len(runs), "run"),
        f"{exact} of {len(runs)} byte-exact",
    ]
    return [*found, f"{len(summary.failed)} failed"] if summary.failed else found


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _panels(summary: Summary, references: Sequence[Reference]) -> list[str]:
    """Panels of charts: one chart a metric, of which the script shows the chosen one."""
    distortions, perceptions = summary.of_group("distortion"), summary.of_group("perception")
    others = [m for m in summary.of_group("fidelity", "cost", "other") if len(_distinct(summary, m)) > 1]
    panels = [
        ("Rate and distortion", [(m, rate_chart(summary, m, references)) for m in distortions]),
        ("Rate and perception", [(m, rate_chart(summary, m, references)) for m in perceptions]),
    ]
    if distortions:
        planes = [(m, plane_chart(summary, distortions[0], m)) for m in perceptions]
        panels.append(("Perception and distortion", planes))
    panels.append(("Cost and other metrics", [(m, rate_chart(summary, m)) for m in others]))
    return [_panel(heading, [(m, svg) for m, svg in charts if svg]) for heading, charts in panels]


def _distinct(summary: Summary, measure: Measure) -> set[float]:
    return {c.estimates[measure.name].value for c in summary.configurations if measure.name in c.estimates}


def _panel(heading: str, charts: list[tuple[Measure, str]]) -> str:
    if not charts:
        return ""
    options = "".join(f"<option>{escape(m.label)}</option>" for m, _ in charts)
    choice = f'<select aria-label="{heading}: metric">{options}</select>' if len(charts) > 1 else ""
    figures = "".join(f'<div class="figure">{svg}</div>' for _, svg in charts)
    return f'<div class="panel"><div class="panel-head"><h3>{heading}</h3>{choice}</div>{figures}</div>'


def _script_json(value: Any) -> str:
    """JSON that no string in it can end or comment out, in an HTML script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
