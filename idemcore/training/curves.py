"""What a training logs as a table and as a picture."""

from __future__ import annotations

import csv
import io
import json
from importlib.util import find_spec
from pathlib import Path

from ..io.files import atomic_write

LOG = "log.jsonl"


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of the log; one that an interrupt cut is left out."""
    path, found = folder / LOG, list[dict[str, float]]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def write_curves(folder: Path) -> None:
    """`log.csv` of `log.jsonl`, for programs that plot, and `curves.png` where matplotlib is installed."""
    lines = read_log(folder)
    if not lines:
        return
    atomic_write(folder / "log.csv", _table(lines).encode())
    if find_spec("matplotlib"):
        atomic_write(folder / "curves.png", _plot(lines))


def _table(lines: list[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(key for line in lines for key in line))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return table.getvalue()


def _plot(lines: list[dict[str, float]]) -> bytes:
    """Training above, validation below, against minutes; counts are not drawn."""
    from matplotlib.figure import Figure

    kinds = [[line for line in lines if ("score" in line) == validation] for validation in (False, True)]
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axis, kind, title in zip(figure.subplots(2, sharex=True), kinds, ("training", "validation"), strict=True):
        for key in _drawn(kind):
            points = [(line["minutes"], line[key]) for line in kind if key in line]
            axis.plot(*zip(*points, strict=True), marker="." if title == "validation" else "", label=key)
        axis.set(title=title, xlabel="minutes")
        if kind:
            axis.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _drawn(lines: list[dict[str, float]]) -> list[str]:
    keys = dict.fromkeys(key for line in lines for key, value in line.items() if isinstance(value, float))
    return [key for key in keys if key != "minutes"]
