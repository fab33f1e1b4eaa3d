"""Codecs and decoders, of names and of objects made in Python alike."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..hookspecs import Spec
from ..pipeline.codec import Codec
from ..pipeline.decoder import Decoder
from ..plugins.catalogue import KINDS, import_target, load_catalogue
from ..plugins.selection import (
    DEFAULT_CODEC,
    DEFAULT_GENERATOR,
    DEFAULT_SOLVER,
    Settings,
    check_scopes,
    part_of,
    select_decoder,
)
from ..plugins.settings import SCOPES, describe
from ..protocols import Encoder, Generator, InversionSolver
from ..runtime import Runtime


def available(kind: str) -> list[dict[str, Any]]:
    """What installed plugins provide of a kind, `available("solver")`: name, plugin, summary, and settings by default.

    Kinds are codec, generator, solver, metric, engine and recipe. A setting without a default is `"???"`.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.", f"Kinds are {', '.join(KINDS)}.")
    return [
        {"name": spec.name, "plugin": owner, "summary": spec.summary, "settings": _defaults(spec)}
        for owner, spec in load_catalogue().specs(kind)
    ]


def _defaults(spec: Spec) -> dict[str, Any]:
    return {field.name: field.default for field in describe(import_target(spec.config))} if spec.config else {}


def load_codec(
    codec: str | Encoder = DEFAULT_CODEC, *, device: str = "auto", precision: str = "auto", **settings: Any
) -> Codec:
    """A codec by name with its settings, `load_codec("elic", quality=2)`, or around an `Encoder` of your own.

    `Codec.encode` makes bitstreams. Raises UsageError for a name or setting that is wrong, MissingError for what must
    be installed first.
    """
    part = part_of(load_catalogue(), "codec", codec, settings)
    return Codec.build(part, Runtime.choose(device, precision))


def load_decoder(
    generator: str | Generator = DEFAULT_GENERATOR,
    solver: str | InversionSolver[Any] = DEFAULT_SOLVER,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
) -> Decoder:
    """A prior and a solver, loaded once for any number of bitstreams; names, or objects of your own.

    `settings` are by scope: `{"generator": {...}, "solver": {"steps": 8}, "adapter": {...}}`. `tile` is the longest
    side, in pixels, that a network sees at once. Raises UsageError, or MissingError for what must be installed first.
    """
    catalogue, settings = load_catalogue(), settings or {}
    check_scopes(settings, tuple(scope for scope in SCOPES if scope != "codec"))
    parts = select_decoder(catalogue, generator, solver, settings)
    return Decoder.build(parts, Runtime.choose(device, precision, tile))
