"""What a report needs of a store."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..results.rows import SweepRow
from ..sweeps.store import Store


def read_store(folder: Path) -> list[SweepRow]:
    """All rows. Raises UsageError for a folder that is not a store, InputError for one without a row."""
    rows = Store.open(folder).rows()
    if not rows:
        raise InputError(f"{folder} holds no run yet.", "Type `idem sweep` with it again: it resumes where it stopped.")
    return rows
