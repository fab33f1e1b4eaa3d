"""Sweeps of the toy codec over small photos: their command lines, and what of two stores can be compared."""

from __future__ import annotations

import json

from idemcore.results.rows import SweepRow
from idemcore.sweeps.store import Store

SWEEP = ("sweep", "-m", "codec=toy", "generator=toy", "solver.steps=2")
QUICK = ("--metrics", "bpp,psnr,exact", "--json")
VARIES = ("seconds", "batch")
"""Keys of a row that differ from one time to the next."""


def comparable(store: Store) -> dict[str, dict[str, object]]:
    """The rows by id, without what varies."""
    return {row.id: {key: value for key, value in row.to_json().items() if key not in VARIES} for row in store.rows()}


def sweep_row(**values: object) -> SweepRow:
    """A row with these values, as JSON has them."""
    image = {"name": "a.png", "sha256": "a", "width": 8, "height": 8}
    return SweepRow.from_json(
        {"id": "a", "status": "ok", "codec": {"name": "jpeg"}, "image": image, "schema": 1} | values
    )


def lines(store: Store) -> list[str]:
    """The ids in the file, each time that they are there."""
    return [json.loads(line)["id"] for line in store.path("rows.jsonl").read_text().splitlines()]


def lines_so_far(store: Store) -> list[str]:
    """As they stand in the file, of a store that may not be there yet."""
    path = store.path("rows.jsonl")
    return path.read_text().splitlines() if path.exists() else []
