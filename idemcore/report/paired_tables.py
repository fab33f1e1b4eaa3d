"""Paired differences as tables: for a terminal, Markdown, CSV and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from .exports import entry, heading, tex, tex_line
from .measures import Measure, digits_for
from .paired import Difference, Pair

HEAD = ("configuration", "metric", "anchor", "test", "difference", "95 % interval", "images")


def lines(pairs: Sequence[Pair], measures: Sequence[Measure]) -> list[tuple[str, ...]]:
    """One a pair and metric, under `HEAD`; a star marks a difference whose interval excludes 0."""
    named = {measure.name: measure for measure in measures}
    return [_texts(pair, found, named[found.metric]) for pair in pairs for found in pair.differences]


def notes(pairs: Sequence[Pair]) -> list[str]:
    """Why values are missing, each reason once."""
    found = (f"{one.metric}: {one.note}" for pair in pairs for one in pair.differences if one.note)
    return list(dict.fromkeys(found))


def markdown(pairs: Sequence[Pair], measures: Sequence[Measure]) -> str:
    """A table, and notes below."""
    table = [HEAD, ("---",) * 2 + ("---:",) * (len(HEAD) - 2)]
    body = [tuple(map(entry, line)) for line in lines(pairs, measures)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in [*table, *body])
    said = [_caption(pairs), *(f"{note}." for note in notes(pairs))]
    return "\n".join([text, "", *map(entry, said), ""])


def csv_text(pairs: Sequence[Pair]) -> str:
    """Numbers in full; empty where there is none, with the reason in the last column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("anchor_configuration", "test_configuration", "metric", "anchor", "test", "difference", "low", "high")
    writer.writerow([*head, "images", "note"])
    for pair in pairs:
        for one in pair.differences:
            numbers = (one.anchor, one.test, one.value, one.low, one.high, one.images)
            writer.writerow([pair.anchor.label, pair.test.label, one.metric, *numbers, one.note])
    return out.getvalue()


def latex(pairs: Sequence[Pair], measures: Sequence[Measure]) -> str:
    """For booktabs, a line a pair, a column a metric: the mean difference ± half its interval; a star excludes 0."""
    head = tex_line(["Configuration", *(tex(heading(measure)) for measure in measures)])
    body = [tex_line([tex(pair.test.label), *(_cell(m, pair) for m in measures)]) for pair in pairs]
    top = [rf"% {tex(text)}" for text in (_caption(pairs), *notes(pairs))]
    table = [r"\begin{tabular}{l" + "r" * len(measures) + "}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*top, *table, r"\end{tabular}", ""])


def _caption(pairs: Sequence[Pair]) -> str:
    anchors = list(dict.fromkeys(pair.anchor.label for pair in pairs))
    return (
        f"Mean difference to {', '.join(anchors)} over the same images, with 95 % intervals of Student's t; draws of "
        "one image are averaged first. A star marks intervals that exclude 0."
    )


def _texts(pair: Pair, found: Difference, measure: Measure) -> tuple[str, ...]:
    digits = _digits(measure, found)
    first, second = (measure.text(value, digits) for value in (found.anchor, found.test))
    interval = f"{_signed(measure, found.low, digits)} to {_signed(measure, found.high, digits)}"
    known = "–" if found.low is None else interval + (" *" if found.decided else "")
    difference = _signed(measure, found.value, digits) if found.value is not None else "undefined"
    images = str(found.images) if found.images else "–"
    return pair.test.label, heading(measure), first, second, difference, known, images


def _cell(measure: Measure, pair: Pair) -> str:
    found = next((one for one in pair.differences if one.metric == measure.name), None)
    if found is None:
        return ""
    if found.value is None:
        return "undefined"
    digits = _digits(measure, found)
    half = f" ± {measure.text((found.high - found.low) / 2, digits)}" if None not in (found.low, found.high) else ""  # type: ignore[operator]
    return tex(f"{_signed(measure, found.value, digits)}{half}") + ("$^{*}$" if found.decided else "")


def _digits(measure: Measure, found: Difference) -> int:
    return digits_for(measure, [found.anchor, found.test])


def _signed(measure: Measure, value: float | None, digits: int) -> str:
    text = measure.text(value, digits)
    return text if value is None or value < 0 else f"+{text}"
