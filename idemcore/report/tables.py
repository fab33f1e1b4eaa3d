"""HTML that needs no script to be read: legend, table of configurations, failures, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..results.rows import SweepRow
from .chart import COLOURS, DASHES, marker
from .exports import image_count, spread
from .measures import Measure
from .references import Reference
from .summary import ConfigurationSummary, RateCurve, Summary

ARROWS = {"higher": "↑", "lower": "↓", "": ""}
MEANING = {"higher": "higher is better", "lower": "lower is better", "": ""}


def legend(summary: Summary, references: Sequence[tuple[int, Reference]]) -> str:
    """A switch for each curve and each published curve."""
    items = [_switch("curve", c.index, c.label, swatch(c)) for c in summary.curves]
    for index, reference in references:
        dash = DASHES[index % len(DASHES)]
        line = f'<svg class="swatch reference" viewBox="0 0 30 12"><path d="M1 6H29" stroke-dasharray="{dash}"/></svg>'
        items.append(_switch("reference", index, reference.name, line, reference.description))
    return "".join(items)


def swatch(curve: RateCurve) -> str:
    """A piece of the curve with its marker."""
    kind = "curve plain" if curve.plain else "curve"
    return (
        f'<svg class="swatch {kind} k{curve.index % COLOURS}" viewBox="0 0 30 12" aria-hidden="true">'
        f'<path class="line" d="M1 6H29"/><g class="mark" transform="translate(15 6)">'
        f'<path d="{marker(curve.index)}"/></g></svg>'
    )


def _switch(kind: str, index: int, label: str, picture: str, hint: str = "") -> str:
    return (
        f'<li><button type="button" class="switch" aria-pressed="true" data-{kind}="{index}" title="{escape(hint)}">'
        f"{picture}<span>{escape(label)}</span></button></li>"
    )


def configurations(summary: Summary) -> str:
    """One row a configuration, sortable by what `data-value` holds."""
    digits = {m.name: summary.digits(m) for m in summary.measures}
    head = _heading("Configuration") + _heading("Images", number=True)
    head += "".join(_heading(m.label, m.unit, m, number=True) for m in summary.measures)
    swatches = {point.index: swatch(curve) for curve in summary.curves for point in curve.points}
    rows = []
    for c in summary.configurations:
        count = image_count(c)
        cells = [
            f'<th scope="row">{swatches[c.index]}{escape(c.label)}</th><td class="n" data-value="{count}">{count}</td>'
        ]
        cells += [_estimate(m, c, digits[m.name]) for m in summary.measures]
        rows.append(f'<tr data-configuration="{c.index}">{"".join(cells)}</tr>')
    return f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _heading(label: str, unit: str = "", measure: Measure | None = None, number: bool = False) -> str:
    direction = measure.direction if measure else ""
    arrow = f' <span class="better" title="{MEANING[direction]}">{ARROWS[direction]}</span>' if direction else ""
    shown = f"{escape(label)}{arrow}" + (f' <span class="unit">{escape(unit)}</span>' if unit else "")
    return f'<th scope="col"{" class=n" if number else ""}>{shown}</th>'


def _estimate(measure: Measure, configuration: ConfigurationSummary, digits: int) -> str:
    estimate = configuration.estimates.get(measure.name)
    if estimate is None:
        return '<td class="n none">–</td>'
    text, between = measure.text(estimate.value, digits), spread(measure, estimate, digits)
    small = f' <span class="spread">{between}</span>' if between else ""
    return f'<td class="n" data-value="{estimate.value!r}">{text}{small}</td>'


def failures(rows: Sequence[SweepRow]) -> str:
    """One row a failed run, with its error."""
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{escape(str(row.image.name))}</td><td>{escape(parts(row))}</td>"
        f"<td>{escape(str(row.seed))}</td><td>{escape(str(row.error or 'unknown'))}</td></tr>"
        for row in rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Image", "Configuration", "Seed", "Error"))
    return (
        f'<section id="failures"><h2>Failed runs</h2><div class="scroll"><table class="sortable"><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div></section>"
    )


def parts(row: SweepRow) -> str:
    """Codec, generator and solver of a row, each with all its settings."""
    found = (row.codec, row.generator, row.solver)
    return " · ".join(_settings(part) for part in found if part)


def _settings(part: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{key}={value}" for key, value in part.items() if key != "name")
    return f"{part['name']} ({rest})" if rest else str(part["name"])


def provenance(
    rows: Iterable[SweepRow],
    references: Sequence[tuple[int, Reference]],
    missing: Mapping[str, str],
    undefined: Mapping[str, str],
) -> str:
    """Versions, hashes of weights, the source of published curves, and metrics without a value."""
    versions, weights = (_collected(list(rows), key) for key in ("versions", "weights"))
    items = [
        f"<dt>{escape(name)}</dt><dd>{escape(', '.join(values))}</dd>" for name, values in (versions | weights).items()
    ]
    items += [
        f"<dt>{escape(r.name)}</dt><dd>{escape('; '.join(text for text in said if text))}</dd>"
        for r, said in ((r, ("published curve", r.description, r.source)) for _, r in references)
    ]
    items += [f"<dt>{escape(name)}</dt><dd>not measured: {escape(why)}</dd>" for name, why in missing.items()]
    empty = {name: why for name, why in undefined.items() if name not in missing}
    items += [f"<dt>{escape(name)}</dt><dd>no value: {escape(why)}</dd>" for name, why in empty.items()]
    return f"<dl>{''.join(items)}</dl>" if items else "<p>The store tells no versions.</p>"


def _collected(rows: Sequence[SweepRow], key: str) -> dict[str, list[str]]:
    """All values that each entry of a row's mapping `key` takes."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, value in getattr(row, key).items():
            found.setdefault(str(name), {})[str(value)] = None
    return {name: list(values) for name, values in sorted(found.items())}
