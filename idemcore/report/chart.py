"""Charts as inline SVG: curves with confidence bands, published curves behind them, axes with units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ..protocols import Score
from .measures import Measure
from .references import Reference
from .summary import RATE, ConfigurationSummary, RateCurve, Summary

WIDTH, HEIGHT = 480.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 14.0, 34.0, 46.0
COLOURS = 8
"""Of the style sheet; the ninth curve has the first colour again, and another marker."""
DASHES = ("5 3", "1.5 3", "9 3", "9 3 1.5 3", "5 2 1.5 2 1.5 2", "12 4")
_MARKERS = (
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",  # circle
    "M-3.6 -3.6H3.6V3.6H-3.6Z",  # square
    "M0 -4.8L4.6 3.4H-4.6Z",  # triangle
    "M0 -5L5 0L0 5L-5 0Z",  # diamond
    "M0 4.8L4.6 -3.4H-4.6Z",  # triangle, point down
    "M-1.5 -4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",  # plus
)


def marker(index: int) -> str:
    """The SVG path, about the origin, of the curve with this number."""
    return _MARKERS[(index + index // COLOURS) % len(_MARKERS)]


@dataclass(frozen=True)
class Scale:
    """A linear map from values to the drawing."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """Fits all values with a twentieth of room on either side."""
        found = list(values)
        low, high = min(found), max(found)
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values within."""
        raw = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def rate_chart(summary: Summary, measure: Measure, references: Sequence[Reference] = ()) -> str:
    """`measure` over file rate, with bands; '' if no curve has both."""
    rate = next((m for m in summary.measures if m.name == RATE), None)
    if rate is None:
        return ""
    published = [(index, r.name, r.points(measure.name)) for index, r in enumerate(references)]
    return _chart(summary, rate, measure, [p for p in published if p[2]], band=True)


def plane_chart(summary: Summary, distortion: Measure, perception: Measure) -> str:
    """Perception over distortion; thin lines lead from a plain decode to what was made of the same bitstreams."""
    return _chart(summary, distortion, perception, [], band=False)


def _chart(
    summary: Summary,
    x: Measure,
    y: Measure,
    references: Sequence[tuple[int, str, list[tuple[float, float]]]],
    band: bool,
) -> str:
    curves = [(c, [p for p in c.points if x.name in p.estimates and y.name in p.estimates]) for c in summary.curves]
    curves = [(curve, points) for curve, points in curves if points]
    if not curves:
        return ""
    shown = [point for _, points in curves for point in points]
    across = Scale.around(_extent(shown, x, bounds=not band), LEFT, WIDTH - RIGHT)
    along = Scale.around(_extent(shown, y, bounds=True), HEIGHT - BOTTOM, TOP)
    body = [_axes(across, along, x, y), '<g clip-path="url(#plot)">']
    body += [_reference(index, name, points, across, along) for index, name, points in references]
    body += [] if band else [_links(shown, x, y, across, along)]
    body += [_curve(curve, points, x, y, across, along, band) for curve, points in curves]
    summary_ = f"{y.title} over {x.title}, {len(curves)} curves; the table of configurations has the numbers."
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(summary_)}">'
        + "".join(body)
        + "</g></svg>"
    )


def _extent(points: list[ConfigurationSummary], measure: Measure, bounds: bool) -> list[float]:
    estimates = [point.estimates[measure.name] for point in points]
    values = [e.value for e in estimates]
    return values + [v for e in estimates for v in (e.low, e.high) if bounds and v is not None]


def _axes(across: Scale, along: Scale, x: Measure, y: Measure) -> str:
    parts = []
    for value in across.ticks(6):
        at = across(value)
        parts.append(f'<path class="grid" d="M{at:.1f} {along.end:g}V{along.start:g}"/>')
        parts.append(f'<text x="{at:.1f}" y="{along.start + 17:g}" text-anchor="middle">{_tick(value)}</text>')
    for value in along.ticks(6):
        at = along(value)
        parts.append(f'<path class="grid" d="M{across.start:g} {at:.1f}H{across.end:g}"/>')
        parts.append(f'<text x="{across.start - 7:g}" y="{at + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
    parts.append(f'<path class="axis" d="M{across.start:g} {along.start:g}H{across.end:g}"/>')
    parts.append(f'<text class="title" x="6" y="17">{escape(y.title)}{_better(y, "↑", "↓")}</text>')
    middle = (across.start + across.end) / 2
    better = _better(x, "→", "←") if x.name != RATE else ""
    parts.append(
        f'<text class="title" x="{middle:g}" y="{HEIGHT - 8:g}" text-anchor="middle">{escape(x.title)}{better}</text>'
    )
    return "".join(parts)


def _better(measure: Measure, higher: str, lower: str) -> str:
    if not measure.direction:
        return ""
    return f'<tspan class="better" dx="8">{higher if measure.direction == "higher" else lower} better</tspan>'


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _reference(index: int, name: str, points: list[tuple[float, float]], across: Scale, along: Scale) -> str:
    line = _line([(across(px), along(py)) for px, py in points])
    dash = DASHES[index % len(DASHES)]
    return (
        f'<g class="reference" data-reference="{index}"><title>{escape(name)}</title>'
        f'<path d="{line}" stroke-dasharray="{dash}"/></g>'
    )


def _links(points: list[ConfigurationSummary], x: Measure, y: Measure, across: Scale, along: Scale) -> str:
    plain = {str(point.codec): point for point in points if point.plain}
    parts = []
    for point in points:
        start = plain.get(str(point.codec))
        if start and start is not point:
            ends = [(across(p.estimates[x.name].value), along(p.estimates[y.name].value)) for p in (start, point)]
            parts.append(f'<path class="link" data-from="{start.index}" data-to="{point.index}" d="{_line(ends)}"/>')
    return "".join(parts)


def _curve(
    curve: RateCurve,
    points: list[ConfigurationSummary],
    x: Measure,
    y: Measure,
    across: Scale,
    along: Scale,
    band: bool,
) -> str:
    marks = [(point, point.estimates[x.name], point.estimates[y.name]) for point in points]
    parts = []
    if band and len(marks) > 1 and all(e.low is not None for _, _, e in marks):
        parts.append(_band([(ex.value, ey) for _, ex, ey in marks], across, along))
    else:
        parts += [_whiskers(ex if not band else None, ex.value, ey, across, along) for _, ex, ey in marks]
    line = _line([(across(ex.value), along(ey.value)) for _, ex, ey in marks])
    if len(marks) > 1:
        parts.append(f'<path class="line" d="{line}"/>')
    for point, ex, ey in marks:
        tip = f"{point.label}\n{describe(x, ex)}\n{describe(y, ey)}"
        parts.append(
            f'<g class="mark" data-configuration="{point.index}" transform="translate({across(ex.value):.1f} '
            f'{along(ey.value):.1f})"><circle class="hit" r="11"/><path d="{marker(curve.index)}"/>'
            f"<title>{escape(tip)}</title></g>"
        )
    kind = "curve plain" if curve.plain else "curve"
    return f'<g class="{kind} k{curve.index % COLOURS}" data-curve="{curve.index}">{"".join(parts)}</g>'


def describe(measure: Measure, estimate: Score) -> str:
    """`PSNR 23.10 dB (22.40 to 23.80, 12 images)`."""
    digits = measure.digits if measure.digits is not None else 4
    text = f"{measure.label} {measure.text(estimate.value, digits)} {measure.unit}".rstrip()
    if estimate.low is None or estimate.high is None:
        return text
    low, high = measure.text(estimate.low, digits), measure.text(estimate.high, digits)
    return f"{text} ({low} to {high}, {estimate.count} images)"


def _band(marks: list[tuple[float, Score]], across: Scale, along: Scale) -> str:
    upper = [(across(px), along(e.high)) for px, e in marks if e.high is not None]
    lower = [(across(px), along(e.low)) for px, e in marks if e.low is not None]
    return f'<path class="band" d="{_line([*upper, *reversed(lower)])}Z"/>'


def _whiskers(ex: Score | None, px: float, ey: Score, across: Scale, along: Scale) -> str:
    path = ""
    if ey.low is not None and ey.high is not None:
        path += f"M{across(px):.1f} {along(ey.low):.1f}V{along(ey.high):.1f}"
    if ex and ex.low is not None and ex.high is not None:
        path += f"M{across(ex.low):.1f} {along(ey.value):.1f}H{across(ex.high):.1f}"
    return f'<path class="whisker" d="{path}"/>' if path else ""


def _line(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
