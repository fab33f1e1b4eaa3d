"""Whether a Spec says what it must, and why a plugin cannot be used. Imports nothing heavy."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Set
from dataclasses import fields
from typing import Literal

from ..adapters.specs import FAMILIES
from ..errors import article, nearest
from ..hookspecs import API_VERSION, CAPABILITIES, Spec

State = Literal["ok", "broken", "incompatible", "disabled"]

_PLAIN = {
    "str": str,
    "str | Callable[..., Any]": str,  # of a plugin; the target of an object made in Python is no text
    "str | type[Any]": str,
    "int | None": int,
    "bool": bool,
    "bytes": bytes,
    "tuple[str, ...]": tuple,
    "Capabilities": Set,
}
"""Of the annotations of Specs."""

OFFERED: Mapping[str, frozenset[str]] = {
    "codec": frozenset({"measure", "gradient", "excess", "position", "project", "estimate", "salvage"}),
    "generator": frozenset({"diffusion", "diffusion-gradient", "latent", "restorer"}),
}
"""The capabilities of each kind. Codecs may also name `image`, which holds without that."""
_CLOSE = 0.6
"""Likeness, of 1, from which a capability is worth a guess."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class Fault(Exception):
    """Why a plugin cannot be used."""

    def __init__(self, reason: str, state: State = "broken") -> None:
        super().__init__(reason)
        self.state: State = state


def check_spec(kind: str, spec: Spec, distribution: str, earlier: list[tuple[str, Spec]]) -> None:
    """Raises Fault for a Spec of a plugin that is wrong, or is among the `earlier` ones, (kind, Spec), already."""
    what = f"{kind} '{spec.name}' of {distribution}"
    if spec.api is None:
        raise Fault(f"{what} does not say which plugin API it is written for: add api={API_VERSION} to its Spec")
    if spec.api != API_VERSION:
        older = distribution if spec.api < API_VERSION else "idemcore"
        reason = f"{what} is written for plugin API {spec.api}, this idem speaks {API_VERSION}: upgrade {older}"
        raise Fault(reason, "incompatible")
    for key, annotation in ((f.name, str(f.type)) for f in fields(spec)):
        if annotation == "Capabilities" and not _fits(getattr(spec, key), annotation):
            raise Fault(f"{what}: {key} must be a set of words, such as frozenset({{{_example(spec, kind, key)!r}}})")
        if not _fits(getattr(spec, key), annotation):
            raise Fault(f"{what}: {key} is {getattr(spec, key)!r}, not {annotation}")
    if not _NAME.fullmatch(spec.name):
        raise Fault(f"{what}: a name has letters, digits and . _ + - only")
    if any(kind == k and spec.name == s.name for k, s in earlier):
        raise Fault(f"{what} is there twice")
    for key in ("target", "config", "identify"):
        value = getattr(spec, key, "")
        if (value or key == "target") and not _TARGET.fullmatch(value):
            raise Fault(f"{what}: {key} is {value!r}, not 'package.module:Name'")
    for capability in sorted({*getattr(spec, "offers", ()), *getattr(spec, "needs", ())}):
        _check_capability(kind, capability, what)
    if kind == "generator" and not {*FAMILIES} & getattr(spec, "offers", frozenset()):
        raise Fault(f"{what} offers no family: add {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]} to its offers")


def _check_capability(kind: str, capability: str, what: str) -> None:
    """Raises Fault for a word that is no capability, or that another kind of plugin offers."""
    if capability not in CAPABILITIES:
        own = sorted(OFFERED.get(kind, CAPABILITIES))
        listed = f"{article(kind).capitalize()} may {'offer' if kind in OFFERED else 'need'}: {', '.join(own)}"
        raise Fault(f"{what}: '{capability}' is not a capability. {nearest(capability, own, _CLOSE) or listed}")
    for other, theirs in OFFERED.items():
        if kind in OFFERED and kind != other and capability in theirs:
            raise Fault(f"{what} offers '{capability}', which only {other}s have")


def _example(spec: Spec, kind: str, key: str) -> str:
    """A capability for a field of a spec: the one that it names in another form, if it does."""
    value = getattr(spec, key)
    likely = "diffusion" if kind == "generator" else "project"
    return value if isinstance(value, str) and value in CAPABILITIES else likely


def _fits(value: object, annotation: str) -> bool:
    """Whether a field of a Spec holds what its annotation says."""
    if annotation.startswith("Literal"):
        return isinstance(value, str) and value in ast.literal_eval(annotation.removeprefix("Literal"))
    if annotation.startswith("Callable"):
        return value is None or callable(value)
    if annotation.startswith("Mapping"):
        inner = annotation.removeprefix("Mapping[str, ").removesuffix("]")
        return isinstance(value, Mapping) and all(_fits(k, "str") and _fits(v, inner) for k, v in value.items())
    if not isinstance(value, _PLAIN.get(annotation, object)):
        return False
    return not isinstance(value, (tuple, Set)) or all(isinstance(each, str) for each in value)
