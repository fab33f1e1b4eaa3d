"""A folder that `idem decode` restored, as the rows that a report shows: no sweep, no originals, but certificates."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import IdemError, IdemWarning, InputError, UsageError
from ..io.files import parse_json, read_file
from ..io.walking import JPEG_SUFFIXES, is_hidden
from ..results.certificate import CERTIFICATE, Certificate, PartFacts
from ..results.rows import ImageFacts, RunFiles, SweepRow
from ..sweeps.store import ROWS

SUFFIX = f".{CERTIFICATE}"
NAMED = 10
"""Files that one note names at most."""


def is_album(folder: Path) -> bool:
    """Does it hold certificates, and nothing of a sweep?"""
    return not (folder / ROWS).exists() and any(folder.rglob(f"*{SUFFIX}"))


def read_album(folder: Path, before: Path | None = None) -> list[SweepRow]:
    """A row for each picture with a certificate. `before` has the files that were decoded: JPEGs are shown beside.

    Warns of JPEGs in `before` that no picture was decoded from, and of pictures whose file is not there. Raises
    InputError if no certificate has a picture, UsageError if `before` is no folder.
    """
    if before and not before.is_dir():
        raise UsageError(f"{before} is not a folder.", "Name with --before the folder that was decoded.")
    before = before.resolve() if before else None  # a report looks for relative paths in the album
    files = {hashlib.sha256(read_file(path)).hexdigest(): path for path in _jpegs(before)} if before else {}
    names = {path: path.relative_to(before).as_posix() for path in files.values()} if before else {}
    rows = [row for path in sorted(folder.rglob(f"*{SUFFIX}")) if (row := _row(folder, path, files, names))]
    if not rows:
        hint = f"Type `idem decode PHOTOS -o {folder}` first."
        raise InputError(f"{folder} holds no picture with a certificate that this idem reads.", hint)
    shown = {row.image.sha256 for row in rows}
    if unused := [names[path] for sha256, path in files.items() if sha256 not in shown]:
        _warn(f"no picture in {folder} was decoded from {_listed(unused)}: not shown")
    if before and (alone := [str(row.files.reconstruction) for row in rows if not row.files.decoded]):
        _warn(f"{before} has no JPEG that was decoded to {_listed(alone)}: shown without it")
    return rows


def _warn(note: str) -> None:
    warnings.warn(IdemWarning(note), stacklevel=3)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _jpegs(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in JPEG_SUFFIXES and path.is_file()]


def _row(folder: Path, path: Path, files: Mapping[str, Path], names: Mapping[Path, str]) -> SweepRow | None:
    """None for a certificate of something else, or without its picture. Pictures of one file share its name."""
    picture = path.with_name(path.name.removesuffix(SUFFIX) + ".png")
    name = picture.relative_to(folder).as_posix()
    if is_hidden(name) or not picture.is_file():
        return None
    try:
        found = Certificate.from_json(parse_json(read_file(path)))
    except (IdemError, ValueError, TypeError):
        _warn(f"{path} is no certificate that this idem reads: {name} is not shown")
        return None
    before = files.get(found.bitstream.sha256)
    shown_name = names[before] if before else name
    rate = {"bpp": 8 * found.bitstream.bytes / (found.image.width * found.image.height)}
    parts = {"generator": found.generator, "solver": found.solver, "adapter": found.adapter, "restorer": found.restorer}
    versions = {"idemcore": found.computed.idemcore, "torch": found.computed.torch}
    versions[found.codec.plugin] = found.codec.version
    used = {kind: part for kind, part in parts.items() if part}
    shown: dict[str, Any] = {kind: _part(part) for kind, part in used.items()}
    return SweepRow(
        id=found.image.png_sha256[:16],
        status="ok",
        image=ImageFacts(shown_name, found.bitstream.sha256, found.image.width, found.image.height),
        codec={"name": found.codec.name},
        **({"solver": {"name": "plain decode"}} | shown),
        tradeoff=1.0 if found.tradeoff is None else found.tradeoff,
        versions=versions,
        weights={kind: part.weights_sha256 for kind, part in used.items() if part.weights_sha256},
        seed=found.seed,
        files=RunFiles(decoded=str(before) if before else None, reconstruction=name),
        metrics=rate,
        decoded_metrics=rate if before else {},
        exact=found.exact,
        differing_symbols=found.differing_symbols,
        psnr_moved=found.psnr_moved,
        bytes=found.bitstream.bytes,
        device=found.computed.device,
    )  # fmt: skip


def _part(part: PartFacts) -> dict[str, Any]:
    return {"name": part.name, **part.settings}
