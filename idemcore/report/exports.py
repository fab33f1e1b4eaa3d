"""The summary for papers and other programs: Markdown, LaTeX, CSV and CompressAI's result format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols import Score
from .measures import Measure, canonical
from .published import PrintedRow, columns, comparable, entries
from .summary import RATE, ConfigurationSummary, RateCurve, Summary

_COMPRESSAI = {"psnr": "psnr-rgb", "ms_ssim": "ms-ssim-rgb"}


def markdown(summary: Summary) -> str:
    """One table of configurations: mean, and half the width of the 95 % interval where it is symmetric.

    If every run failed, a sentence that says so in its place.
    """
    if not summary.configurations:
        return "".join(entry(f"{note}.") + "\n" for note in summary.notes())
    digits = {m.name: summary.digits(m) for m in summary.measures}
    lines = [
        "| configuration | images | " + " | ".join(entry(heading(m)) for m in summary.measures) + " |",
        "|---|---:|" + "---:|" * len(summary.measures),
    ]
    for configuration in summary.configurations:
        numbers = [_numbers(m, configuration, digits[m.name]) for m in summary.measures]
        lines.append(" | ".join([f"| {entry(configuration.label)}", str(image_count(configuration)), *numbers]) + " |")
    lines += ["", "Means over images with 95 % intervals; seeds of one image are averaged first.", ""]
    lines += [text for note in summary.notes() for text in (entry(f"{note}."), "")]
    for table in comparable(summary):
        measures = columns(table, summary)
        head = ["published on the same images", "quality", *(entry(heading(m)) for m in measures)]
        lines += [f"| {' | '.join(head)} |", "|---|---:|" + "---:|" * len(measures)]
        lines += [f"| {' | '.join(entry(text) for text in entries(row, measures))} |" for row in table.rows]
        lines += ["", f"{table.source} ({table.date}). None of these was certified.", ""]
    return "\n".join(lines)


def latex(summary: Summary) -> str:
    """The table of configurations for a paper, in the style of the package booktabs, published rows below a rule."""
    digits = {m.name: summary.digits(m) for m in summary.measures}
    names = [tex(heading(m)) for m in summary.measures]
    lines = [
        *(f"% {tex(note)}" for note in summary.notes()),
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\toprule",
        tex_line(["Configuration", *names]),
        r"\midrule",
    ]
    for configuration in summary.configurations:
        numbers = [tex(_numbers(m, configuration, digits[m.name])) for m in summary.measures]
        lines.append(tex_line([tex(configuration.label), *numbers]))
    for table in comparable(summary):
        lines += [r"\midrule", *(tex_line(_printed(row, summary.measures, digits)) for row in table.rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _printed(row: PrintedRow, measures: Sequence[Measure], digits: Mapping[str, int]) -> list[str]:
    values = [m.text(row.values[m.name], digits[m.name]) if m.name in row.values else "–" for m in measures]
    return [tex(text) for text in (f"{row.system}, quality {row.rate}, as printed", *values)]


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def tex(text: str) -> str:
    """Text with what LaTeX would read as commands escaped."""
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


def tex_line(texts: Sequence[str]) -> str:
    """A line of a table, of texts that are LaTeX."""
    return " & ".join(texts) + r" \\"


def csv_text(summary: Summary) -> str:
    """One line a configuration; for each metric its mean, the bounds of its interval and the number of images."""
    head = ["configuration", "codec", "generator", "solver", "images"]
    for measure in summary.measures:
        head += [measure.name, f"{measure.name}_low", f"{measure.name}_high", f"{measure.name}_images"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for c in summary.configurations:
        kinds = [c.codec, *((c.decoder or {}).get(kind) for kind in ("generator", "solver"))]
        parts = [json.dumps(part, sort_keys=True) if part else "" for part in kinds]
        line: list[Any] = [c.label, *parts, image_count(c)]
        for measure in summary.measures:
            e = c.estimates.get(measure.name)
            line += [e.value, e.low, e.high, e.count] if e else [None] * 4
        writer.writerow(line)
    return out.getvalue()


def compressai(summary: Summary) -> dict[str, dict[str, Any]]:
    """By file name, each curve as `{"name", "description", "results": {"bpp": [...], "psnr-rgb": [...], ...}}`.

    A metric that a point of the curve lacks is left out; so is a curve without rates.
    """
    found: dict[str, dict[str, Any]] = {}
    for curve in summary.curves:
        results = {
            _COMPRESSAI.get(canonical(m.name), m.name): values for m in summary.measures if (values := _along(curve, m))
        }
        if RATE in results:
            count = max(image_count(point) for point in curve.points)
            description = f"means over {count} images; measured with idem"
            found[_file_name(curve)] = {"name": curve.label, "description": description, "results": results}
    return found


def image_count(configuration: ConfigurationSummary) -> int:
    return len({row.image.sha256 for row in configuration.rows})


def spread(measure: Measure, score: Score, digits: int) -> str:
    """`± 0.71`, or `(118.2 to 130.1)` for an interval that is not symmetric; '' if there is none, or no width."""
    if score.low is None or score.high is None or score.low == score.high:
        return ""
    below, above = score.value - score.low, score.high - score.value
    if abs(above - below) > 1e-6 * (abs(above) + abs(below)):
        return f"({measure.text(score.low, digits)} to {measure.text(score.high, digits)})"
    return f"± {measure.text(above, digits)}"


def _numbers(measure: Measure, configuration: ConfigurationSummary, digits: int) -> str:
    score = configuration.estimates.get(measure.name)
    return f"{measure.text(score.value, digits)} {spread(measure, score, digits)}".strip() if score else "–"


def _along(curve: RateCurve, measure: Measure) -> list[float]:
    found = [point.estimates.get(measure.name) for point in curve.points]
    values = [estimate.value for estimate in found if estimate]
    return values if len(values) == len(found) else []


def heading(measure: Measure) -> str:
    """Title and unit, with an arrow to where it is better."""
    return measure.title + {"higher": " ↑", "lower": " ↓", "": ""}[measure.direction]


def entry(text: str) -> str:
    """One line, with what Markdown would read as structure escaped."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", " ".join(text.split()))


def _file_name(curve: RateCurve) -> str:
    plain = re.sub(r"[^A-Za-z0-9.=-]+", "-", curve.label).strip("-.")
    return f"{curve.index:02}-{plain[:80]}.json"
