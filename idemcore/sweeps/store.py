"""Where the runs of a sweep are kept: a folder that stays whole when its writer is killed. Imports no torch.

STORE/meta.json       version of the format, and the sweeps that wrote here
STORE/rows.jsonl      one JSON object a line, one line a run; of several lines with one id, the last counts
STORE/images/*.png    originals, plain decodes and reconstructions, as the `files` of the rows name them
STORE/.lock           held by the sweep that is writing
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import IntegrityError, UsageError
from ..io.files import atomic_write, parse_json, read_file, text_bytes, write_json
from ..io.locks import held_alone, locked
from ..results.base import OtherSchema
from ..results.rows import SweepRow

FORMAT = 1
ROWS, META, IMAGES = "rows.jsonl", "meta.json", "images"


_BLOCK = 1 << 16


class Store:
    """The folder `root`. Reading needs no lock, and may happen while a sweep writes."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Store:
        """One that exists. Raises UsageError for a folder that no sweep wrote."""
        store = cls(root)
        if not store.path(META).is_file():
            raise UsageError(f"{root} is not the store of a sweep.", f"Make one: `idem sweep -m ... --store {root}`.")
        return store

    def path(self, name: str) -> Path:
        """The path of a file by its name in the store, e.g. `row.files.reconstruction`."""
        return self.root / name

    def rows(self) -> list[SweepRow]:
        """Every run once, in the order in which it was first recorded. Raises what `scan` raises."""
        return list({row.id: row for row in self.scan()}.values())

    def scan(self) -> Iterator[SweepRow]:
        """The lines one by one, a run's last one last; the torn line of a killed writer is left out.

        Raises IntegrityError for a line that no writer of ours left.
        """
        if not self.path(ROWS).is_file():
            return
        with open(self.path(ROWS), "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                yield self._parsed(line, number)

    def _parsed(self, line: bytes, number: int) -> SweepRow:
        where = f"{self.path(ROWS)}, line {number}"
        try:
            return SweepRow.from_json(parse_json(line))
        except OtherSchema as error:
            hint = "Use the idem that wrote it, or another --store."
            raise IntegrityError(f"{where} is of another version of idem: {error}.", hint) from error
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{where} is damaged: {error!r}.", "Delete that line: its run is repeated.") from error

    def ids(self, status: str = "") -> set[str]:
        """The ids of the runs that are here; with `status`, only of those that are `ok` or `failed`."""
        found = {row.id: row.status for row in self.scan()}
        return {name for name, its in found.items() if status in ("", its)}

    def append(self, row: SweepRow) -> None:
        """Adds a run, or takes the place of the one with its id. It is on the disk when this returns.

        What a killed writer left of a line is cut off first.
        """
        line = _line(row)
        with locked(self.path(".rows.lock")), open(self.path(ROWS), "a+b") as file:
            _cut_torn_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def image(self, name: str) -> Path:
        """Where `write_image` puts it: `images/NAME.png`."""
        return self.path(f"{IMAGES}/{name}.png")

    def write_image(self, name: str, png: bytes) -> None:
        """Whole or not at all."""
        atomic_write(self.image(name), png)

    def meta(self) -> dict[str, Any]:
        """The content of meta.json: `format`, `sweeps`, each with its definition, and `runs` that the last one planned.

        Raises IntegrityError.
        """
        try:
            content = parse_json(read_file(self.path(META)))
        except ValueError as error:
            raise IntegrityError(
                f"{self.path(META)} is damaged: {error}.", "Delete it, and type the sweep again."
            ) from error
        if not isinstance(content, dict) or not isinstance(content.get("sweeps"), list):
            raise IntegrityError(f"{self.path(META)} is damaged.", "Delete it, and type the sweep again.")
        if content.get("format") != FORMAT:
            raise UsageError(
                f"{self.root} has format {content.get('format')}; this idem reads {FORMAT}.", "Upgrade idem."
            )
        return dict(content)

    @contextmanager
    def writing(self, definition: Mapping[str, Any], runs: int = 0) -> Iterator[None]:
        """Makes the folder, notes the sweep in meta.json, and keeps other sweeps out until the block ends.

        `runs` are those that it plans, for who watches.

        Raises UsageError for a folder that holds something else, or while another sweep writes.
        """
        _make(self.root)
        with self.held():
            self.path(IMAGES).mkdir(exist_ok=True)
            known: dict[str, Any] = self.meta() if self.path(META).exists() else {"format": FORMAT, "sweeps": []}
            if definition not in known["sweeps"]:
                known["sweeps"].append(dict(definition))
            known["runs"] = runs
            write_json(known, self.path(META))
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps sweeps out until the block ends. Raises UsageError while one writes."""
        message, hint = f"Another sweep is writing to {self.root}.", "Wait for its end, or choose another --store."
        with held_alone(self.path(".lock"), message, hint):
            yield

    def is_written(self) -> bool:
        """Does a sweep write here now?"""
        try:
            with self.held():
                return False
        except UsageError:
            return True

    def replace_rows(self, rows: Iterable[SweepRow]) -> None:
        """Writes these in the place of all rows, whole or not at all. The caller holds the store."""
        with locked(self.path(".rows.lock")):
            atomic_write(self.path(ROWS), b"".join(map(_line, rows)))


def _line(row: SweepRow) -> bytes:
    return text_bytes(json.dumps(row.to_json(), ensure_ascii=False, allow_nan=False) + "\n")


def _make(root: Path) -> None:
    """The folder of a store, unless it is there."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file, not a folder.", "Choose another --store.")
    # A sweep that was killed at once leaves its lock alone.
    if root.is_dir() and not (root / META).exists() and {path.name for path in root.iterdir()} - {".lock", IMAGES}:
        raise UsageError(f"{root} holds other files and is not the store of a sweep.", "Choose another --store.")
    root.mkdir(parents=True, exist_ok=True)


def _cut_torn_line(file: IO[bytes]) -> None:
    """Cuts off what follows the last line's end."""
    size = whole = file.seek(0, os.SEEK_END)
    while whole:
        begin = max(0, whole - _BLOCK)
        file.seek(begin)
        end = file.read(whole - begin).rfind(b"\n") + 1
        if end:
            whole = begin + end
            break
        whole = begin
    if whole < size:
        file.truncate(whole)
