"""Keeping stores: what one holds, taking out what nothing needs, and copying rows with their pictures. No torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import IntegrityError, UsageError
from ..io.files import atomic_write, parse_json, read_file, replacing, write_json
from ..results.base import JsonObject
from ..results.rows import SweepRow
from .export import flat
from .grid import NAMES, check_key, check_one_key, parse_axes
from .store import IMAGES, META, ROWS, Store

SCORES = "scores.json"
"""Metrics of whole sets, by what names a set of pictures: `report.scores` writes it."""
ROW_KEYS = ("image", "status")
"""What rows are chosen by, beside the keys of a sweep."""


@dataclass(frozen=True)
class Holding(JsonObject):
    """What a store holds."""

    store: str
    """Its folder."""
    runs: int
    """Rows, each run once."""
    failed: int
    """Runs among them that failed."""
    configurations: int
    """Combinations of parts and settings."""
    images: int
    """Originals."""
    bytes: int
    """On the disk."""
    changed: float
    """When a row was last written, seconds since 1970; 0 if there is none."""
    sweeps: int
    """That wrote here."""
    is_written: bool
    """A sweep writes now."""


@dataclass(frozen=True)
class Litter(JsonObject):
    """What a store can do without."""

    lines: int
    """Of rows.jsonl that a later line with the same id replaced."""
    rows: int
    """Runs that failed or are of earlier versions, where these were named."""
    pictures: tuple[str, ...]
    """Files that no row refers to any more, as the store names them."""
    bytes: int
    """On the disk."""


def stores_below(folder: Path) -> list[Path]:
    """The folder if it is a store, else those in it."""
    if (folder / META).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{META}"))


def holding(store: Store) -> Holding:
    """Raises what `Store.rows` raises."""
    rows, lines = store.rows(), store.path(ROWS)
    parts = {identity(row) for row in rows}
    return Holding(
        store=str(store.root),
        runs=len(rows),
        failed=sum(row.status == "failed" for row in rows),
        configurations=len(parts),
        images=len({row.image.sha256 for row in rows}),
        bytes=sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file()),
        changed=lines.stat().st_mtime if lines.is_file() else 0.0,
        sweeps=len(store.meta()["sweeps"]),
        is_written=store.is_written(),
    )


def identity(row: SweepRow) -> str:
    """What was run, apart from versions, the image and the seed."""
    kinds = ("codec", "generator", "solver", "adapter", "restorer", "device_kind", "precision", "tradeoff")
    return json.dumps([getattr(row, kind) for kind in kinds], sort_keys=True)


def prune(store: Store, failed: bool = False, outdated: bool = False, only_say: bool = True) -> Litter:
    """Takes out, or only names, lines that were replaced and pictures that no row refers to.

    `failed` takes out runs that failed too, `outdated` runs that were repeated with later versions of idem, a plugin or
    weights. Raises UsageError while a sweep writes.
    """
    with store.held():
        lines, rows = sum(1 for _ in store.scan()), store.rows()
        kept = _latest(rows) if outdated else rows
        kept = [row for row in kept if not (failed and row.status == "failed")]
        pictures = _unreferenced(store, kept)
        size = sum(path.stat().st_size for path in pictures)
        if not only_say:
            if len(kept) < lines:
                store.replace_rows(kept)
            for path in pictures:
                path.unlink()
    names = tuple(path.relative_to(store.root).as_posix() for path in pictures)
    return Litter(lines - len(rows), len(rows) - len(kept), names, size)


def copy_runs(
    sources: Sequence[Store], target: Store, wanted: Callable[[SweepRow], bool] = lambda row: True
) -> tuple[int, int]:
    """Adds the wanted rows of all sources to the target, with pictures and scores: how many were added, and were there.

    A run that went well there stays as it is; one that failed gives way to one that went well. Sources stay as they
    are. Raises UsageError for a source that is the target.
    """
    if any(store.root.resolve() == target.root.resolve() for store in sources):
        raise UsageError(f"{target.root} is both read and written.", "Choose another -o.")
    added = there = 0
    for store in sources:
        content = store.meta()["sweeps"]
        with target.writing(content[0] if content else {}):
            _note_sweeps(target, content)
            known = {row.id: row for row in target.scan()}
            for row in filter(wanted, store.rows()):
                if (mine := known.get(row.id)) and (mine.status == "ok" or row.status == "failed"):
                    there += 1
                    continue
                _copy_pictures(store, target, row)
                target.append(row)
                added += 1
            _merge_scores(store, target)
    return added, there


def condition(words: Sequence[str]) -> Callable[[SweepRow], bool]:
    """From `KEY=VALUES` as a sweep has them, and `image=NAME`, `status=ok`: does a row have one value of each key?

    Raises UsageError for a key that is none.
    """
    plain = [word for word in words if word.partition("=")[0] not in ROW_KEYS]
    axes: dict[str, Sequence[Any]] = {check_key(key): values for key, values in parse_axes(plain).items()}
    for word in words:
        if word not in plain:
            key, _, text = word.partition("=")
            axes[key] = text.split(",")
            check_one_key(word, axes[key])

    def holds(row: SweepRow) -> bool:
        facts = row_facts(row)
        return all(facts.get(key) in values for key, values in axes.items())

    return holds


def row_facts(row: SweepRow) -> dict[str, Any]:
    """By the keys of a sweep: `codec`, `quality`, `solver.steps`, `seed`, ..., and `image` and `status`."""
    facts = flat(row.to_json())
    named = {kind: facts.get(f"{kind}.name") for kind in NAMES}
    return {**facts, **named, "quality": facts.get("codec.quality"), "image": row.image.name, "status": row.status}


def _latest(rows: Iterable[SweepRow]) -> list[SweepRow]:
    """Keeps, among runs that differ only in versions or weights, the last that went well, if one did."""
    found: dict[tuple[str, str, int | None], SweepRow] = {}
    for row in rows:
        key = (identity(row), row.image.sha256, row.seed)
        if key not in found or row.status == "ok" or found[key].status == "failed":
            found[key] = row
    return list(found.values())


def _unreferenced(store: Store, rows: Iterable[SweepRow]) -> list[Path]:
    kept = {str(name) for row in rows for name in row.files.to_json().values() if name}
    everything = store.path(IMAGES).glob("*.png")
    return sorted(path for path in everything if f"{IMAGES}/{path.name}" not in kept)


def _note_sweeps(target: Store, content: Sequence[Mapping[str, Any]]) -> None:
    known = target.meta()
    known["sweeps"] += [sweep for sweep in content if sweep not in known["sweeps"]]
    write_json(known, target.path(META))


def _copy_pictures(store: Store, target: Store, row: SweepRow) -> None:
    """Copies the pictures that the target lacks. Raises IntegrityError for one that is not where the row says."""
    for name in filter(None, row.files.to_json().values()):
        source, place = store.path(str(name)), target.path(str(name))
        if place.is_file():
            continue
        if not source.resolve().is_relative_to(store.root.resolve()) or not source.is_file():
            raise IntegrityError(
                f"{store.root} lacks {name}, which a run refers to.",
                "Run that sweep again with --retry-failed, or restore the file.",
            )
        with replacing(place) as temporary:
            shutil.copyfile(source, temporary)


def _merge_scores(store: Store, target: Store) -> None:
    """Scores of sets of pictures, which have the same names in both."""
    if not store.path(SCORES).is_file():
        return
    mine = dict(_scores(target))
    for key, scores in _scores(store):
        mine[key] = {**scores, **mine.get(key, {})}
    atomic_write(target.path(SCORES), json.dumps(mine, indent=1).encode())


def _scores(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    if store.path(SCORES).is_file():
        try:
            yield from dict(parse_json(read_file(store.path(SCORES)))).items()
        except (ValueError, TypeError) as error:
            where = store.path(SCORES)
            raise IntegrityError(f"{where} is damaged: {error}.", "Delete it: it can be computed again.") from error
