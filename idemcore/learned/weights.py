"""Weight files of learned codecs: where the settings point, what they hold, and the id that names them in bitstreams.

A file is `NAME-QUALITY.safetensors` with the codec's name, quality and model id as metadata: inside a plugin, in a
folder that `idem train` wrote, or in the cache (`PUBLISHED-QUALITY.safetensors`) after `idem models pull`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError, IntegrityError, MissingError, UsageError
from ..weights.checkpoints import fill, read_safetensors
from ..weights.store import cache_folder, find, stored
from .model import LatentModel

ID_BYTES = 4
ERROR_RATIO = 1.9
"""`calibration.error_ratio` of weights that do not say it: between those of the bundled codecs' rates."""

Model = TypeVar("Model", bound=LatentModel)


def model_id(state: Mapping[str, Tensor], name: str) -> bytes:
    """First bytes of the sha256 over codec name, and names, shapes and float32 values of all weights."""
    digest = hashlib.sha256(name.encode())
    for key in sorted(state):
        value = state[key].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"\0{key}\0{tuple(value.shape)}\0".encode())
        digest.update(value.numpy().astype("<f4").tobytes())
    return digest.digest()[:ID_BYTES]


def codec_metadata(state: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """What a weight file of the codec `name` must say of itself."""
    return {"codec": name, "model_id": model_id(state, name).hex()}


def codec_file(state: Mapping[str, Tensor], name: str, note: Mapping[str, str]) -> bytes:
    """A safetensors file in float16 with `note` and `codec_metadata`."""
    half = {key: value.detach().to("cpu", torch.float16).contiguous() for key, value in state.items()}
    return save(half, metadata={**note, **codec_metadata(half, name)})


@dataclass(frozen=True)
class Library:
    """The weights that a codec can be asked for by its settings `weights` and `quality`."""

    name: str
    """The codec's."""
    bundled: Path
    """Folder inside the plugin."""
    published: Mapping[str, str]
    """From a value of `weights` to the name of a model card with a file `CARD-QUALITY` for each quality."""

    def locate(self, weights: str, quality: int) -> Path:
        """Raises UsageError for a quality that there is not, MissingError for weights that are not here."""
        if weights == "bundled":
            return self._of_folder(self.bundled, quality)
        if weights in self.published:
            card = self.published[weights]
            known = {file.id for file in find(card)}
            if f"{card}-{quality}" not in known:
                raise self._no_quality(weights, quality, [int(i.removeprefix(f"{card}-")) for i in known])
            return stored(f"{card}-{quality}")
        path = Path(weights)
        if path.is_dir():
            return self._of_folder(path, quality)
        if not path.is_file():
            choices = ", ".join(["bundled", *self.published])
            hint = f"Give {choices}, or the folder that `idem train {self.name}` wrote."
            raise MissingError(f"{self.name}: there are no weights '{weights}'.", hint)
        return path

    def identify(self, wanted: bytes, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings whose weights have this model id: bundled, in the cache, or where `settings` point."""
        for weights, quality, path in self._files(settings.get("weights")):
            told = _metadata(path)
            if told.get("codec") == self.name and told.get("model_id") == wanted.hex():
                return {"weights": weights, "quality": quality}
        return None

    def load(self, path: Path, build: Callable[[Mapping[str, Tensor]], Model]) -> tuple[Model, bytes, float]:
        """The network that `build` makes for these weights, filled and frozen, its model id and its error ratio.

        Raises InputError if they are no weights of this codec, IntegrityError if they changed since they were written.
        """
        state, told = read_safetensors(path)
        if told.get("codec") != self.name:
            raise InputError(f"{path} holds no weights of the codec '{self.name}'.", "See `idem models`.")
        found = model_id(state, self.name)
        if found.hex() != told.get("model_id"):
            raise IntegrityError(f"{path} is damaged: its weights are not those that its model id names.")
        try:
            network = build(state)
        except (KeyError, IndexError) as error:
            raise InputError(f"{path} does not fit the codec '{self.name}': {error} is missing.") from error
        fill(network, state, path)
        return network, found, _error_ratio(told, path)

    def _of_folder(self, folder: Path, quality: int) -> Path:
        path = folder / f"{self.name}-{quality}.safetensors"
        if not path.is_file():
            found = [known for known, _ in _by_quality(folder, self.name)]
            raise self._no_quality(str(folder) if folder != self.bundled else "bundled", quality, found)
        return path

    def _no_quality(self, weights: str, quality: int, found: list[int]) -> UsageError:
        told = ", ".join(map(str, sorted(found))) or "none"
        return UsageError(
            f"{self.name}: the weights '{weights}' have no quality {quality}.", f"Give --quality one of: {told}."
        )

    def _files(self, also: str | None) -> Iterator[tuple[str, int, Path]]:
        """Every weight file of this codec that is here, with the values of `weights` and `quality` that find it."""
        yield from (("bundled", *found) for found in _by_quality(self.bundled, self.name))
        for weights, card in self.published.items():
            yield from ((weights, *found) for found in _by_quality(cache_folder(), card))
        if also and (own := Path(also)).is_dir():
            yield from ((also, *found) for found in _by_quality(own, self.name))
        elif also and own.is_file():
            yield also, 1, own


def _by_quality(folder: Path, name: str) -> list[tuple[int, Path]]:
    """The files `NAME-QUALITY.safetensors` of a folder."""
    ends = {path.stem.removeprefix(f"{name}-"): path for path in folder.glob(f"{name}-*.safetensors")}
    return sorted((int(end), path) for end, path in ends.items() if end.isdecimal())


def _error_ratio(told: Mapping[str, str], path: Path) -> float:
    try:
        ratio = float(told.get("error_ratio", ERROR_RATIO))
    except ValueError:
        ratio = 0.0
    if not 0 < ratio < 1000:
        raise InputError(f"{path} has no usable error_ratio in its metadata: {told['error_ratio']!r}.")
    return ratio


def _metadata(path: Path) -> dict[str, str]:
    """What the file says of itself; nothing if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}
