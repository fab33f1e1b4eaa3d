"""`idem compare` of stores: paired differences between configurations, as a table or for a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .output import echo, print_json, print_table, say

if TYPE_CHECKING:
    from ..report.measures import Direction, Measure
    from ..report.paired import Pair
    from ..report.summary import ConfigurationSummary, Summary
    from ..results.rows import SweepRow

PLAIN = "plain"
"""What `--anchor` says for the plain decode."""


def is_store(place: str) -> bool:
    """A folder that a sweep wrote; any other folder is told what it lacks when it is opened."""
    return Path(place).is_dir()


def compare_stores(
    places: Sequence[str], anchors: Sequence[str], tests: Sequence[str], names: Sequence[str], kind: str, as_json: bool
) -> None:
    """Compares configurations of one store or of two. Raises UsageError where it is not clear which."""
    from ..plugins.catalogue import load_catalogue
    from ..report.measures import directions
    from ..report.paired import compare, measures_of, pair_up

    better = directions(load_catalogue())
    one = len({Path(place).resolve() for place in places}) == 1
    anchors = anchors or ((PLAIN,) if one else ())
    first = _summary(better, places[0], anchors)
    second = _summary(better, places[-1], tests, but=anchors if one and not tests else ())
    pairs = pair_up(_configurations(first, PLAIN in anchors), _configurations(second, PLAIN in tests))
    _label(pairs, places)
    measures = measures_of((first, second), names)
    found = [compare(anchor, test, measures, bool(names)) for anchor, test in pairs]
    compared = {one.metric for pair in found for one in pair.differences}
    measures = [measure for measure in measures if measure.name in compared]
    if as_json:
        print_json([pair.to_json() for pair in found])
        return
    _print(found, measures, kind)


def _summary(better: Mapping[str, Direction], place: str, words: Sequence[str], but: Sequence[str] = ()) -> Summary:
    """Summarises the runs of a store that match `words` and do not match `but`. Raises UsageError if there is none."""
    from ..report.reading import read_store
    from ..report.scores import Scores
    from ..report.summary import summarise

    wanted, unwanted = _condition(words), _condition(but)
    rows = [row for row in read_store(Path(place)) if row.status == "ok" and wanted(row)]
    rows = [row for row in rows if not (set(but) - {PLAIN} and unwanted(row))]
    if not rows:
        asked = " ".join([*words, *(f"not {word}" for word in but)])
        raise UsageError(f"No run of {place} is {asked or 'ok'}.", f"`idem report {place} --format csv` lists them.")
    return summarise(rows, Scores(Path(place)), better)


def _condition(words: Sequence[str]) -> Callable[[SweepRow], bool]:
    from ..sweeps.upkeep import condition

    return condition([word for word in words if word != PLAIN])


def _configurations(summary: Summary, plain: bool) -> list[ConfigurationSummary]:
    return [one for one in summary.configurations if one.plain == plain]


def _label(pairs: Sequence[tuple[ConfigurationSummary, ...]], places: Sequence[str]) -> None:
    from ..report.summary import name_together

    name_together([one for pair in pairs for one in pair])
    for anchor, test in pairs if len(places) > 1 else ():
        for one, place in ((anchor, places[0]), (test, places[1])):
            if not one.label.startswith(f"{place}: "):
                one.label = f"{place}: {one.label}"


def _print(found: Sequence[Pair], measures: Sequence[Measure], kind: str) -> None:
    from ..report.paired_tables import HEAD, csv_text, latex, lines, markdown, notes

    if kind == "csv":
        echo(csv_text(found), nl=False)
        return
    if kind != "table":
        echo({"md": markdown, "latex": latex}[kind](found, measures), nl=False)
        return
    print_table(HEAD, lines(found, measures))
    say(f"differences to {', '.join(dict.fromkeys(pair.anchor.label for pair in found))}; * excludes 0")
    for note in notes(found):
        say(note)
