"""What a law is, and the words in which one says that it is broken. Light: imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..adapters.specs import FAMILIES
from ..errors import UsageError, article
from ..hookspecs import CAPABILITIES

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("codec", "generator", "solver", "metric", "engine")
"""Kinds of plugins that have laws. `encoder` is another word for `codec`."""

VARIANTS = (*FAMILIES, "image-metric", "set-metric")
"""Of which a subject is one or another: laws of the others are not about it."""

_MODULES = {
    "codec": ("common", "codec", "cell", "box"),
    "generator": ("common", "diffusion", "latent", "restorer"),
    "solver": ("common", "solver"),
    "metric": ("common", "metric"),
    "engine": ("common", "engine"),
}
DESCRIPTIONS = ("described", "light")
"""Laws of how a plugin describes itself: they need no instance, and come first."""
BASES = ("protocol", "encode-bytes", "decode-image", "denoise-image", "restored-image", "synthesis",
         "needs-are-enough", "solution")  # fmt: skip
"""Laws that all later ones rely on: where one of these is broken, the others would fail for the same cause."""

_FOUND: list[Law] = []


class Broken(AssertionError):
    """A law does not hold; the message says what was found, and what was wanted."""


class NotTried(Exception):
    """A law cannot be tried on this subject here; the message says why."""


@dataclass(frozen=True)
class Law:
    """One promise of a kind of plugin."""

    name: str
    """Short, with hyphens, e.g. `project-idempotent`."""
    kinds: tuple[str, ...]
    sentence: str
    """What is promised, for people."""
    run: Callable[[Any], None]
    """Takes the kind's trial (see `trials.py`); raises Broken, or NotTried."""
    needs: frozenset[str] = field(default_factory=frozenset)
    """Capabilities that it is about: where the spec does not name them all, it is not tried."""

    @property
    def is_base(self) -> bool:
        """Later laws are not tried where this one is broken."""
        return self.name in BASES


def law(*kinds: str, needs: Iterable[str] = ()) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Makes a law of a function, named like it, whose docstring is the sentence."""

    def register(run: Callable[[Any], None]) -> Callable[[Any], None]:
        sentence = re.sub(r"\s+", " ", run.__doc__ or "").strip()
        wanted = frozenset(needs)
        assert sentence.endswith("."), f"{run.__name__} has no sentence"
        assert wanted <= {*CAPABILITIES, *VARIANTS}, f"{run.__name__} needs {wanted}"
        _FOUND.append(Law(run.__name__.replace("_", "-"), kinds, sentence, run, wanted))
        return run

    return register


def laws(kind: str) -> tuple[Law, ...]:
    """All laws of `codec` (or `encoder`), `generator`, `solver`, `metric` or `engine`, in the order of checking.

    First those of the description, then `BASES`, then the others. Raises UsageError for another kind.
    """
    kind = "codec" if kind == "encoder" else kind
    if kind not in KINDS:
        raise UsageError(f"There are no laws of the kind '{kind}'.", f"Kinds: {', '.join(KINDS)}.")
    modules = [import_module(f".{name}_laws", __package__).__name__ for name in _MODULES[kind]]
    found = (one for one in _FOUND if kind in one.kinds)
    return tuple(sorted(found, key=lambda one: (_rank(one), modules.index(one.run.__module__))))


def _rank(one: Law) -> int:
    first = (*DESCRIPTIONS, *BASES)
    return first.index(one.name) if one.name in first else len(first)


def laws_about(kind: str, capabilities: Iterable[str]) -> tuple[Law, ...]:
    """`laws` without those of another family of generators, or of another kind of metrics."""
    others = set(VARIANTS) - set(capabilities)
    return tuple(one for one in laws(kind) if not one.needs & others)


def require(condition: object, message: str) -> None:
    """Raises Broken with the message unless the condition holds."""
    if not condition:
        raise Broken(message)


def equal(found: Tensor, wanted: Tensor, what: str) -> None:
    """Raises Broken unless both are the same, bit by bit; nan equals nan."""
    like(found, wanted, what)
    if difference := float(_differences(found, wanted).max()) if found.numel() else 0.0:
        count = int((_differences(found, wanted) > 0).sum())
        raise Broken(f"{what}: {count} of {found.numel()} values differ, by up to {difference:.3g}")


def close(found: Tensor, wanted: Tensor, atol: float, what: str) -> None:
    """Raises Broken unless the values differ by at most `atol`, or where they are above 1 by that share of them."""
    like(found, wanted, what)
    scaled = _differences(found, wanted) / wanted.double().abs().nan_to_num(0.0).clamp(min=1.0)
    difference = float(scaled.max()) if found.numel() else 0.0
    if not difference <= atol:
        raise Broken(f"{what}: values differ by up to {difference:.3g}, more than {atol:.3g}")


def _differences(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|, float64: 0 where both are equal or nan, infinite where one is."""
    both = (a == b) | (a.isnan() & b.isnan())
    return (a.double() - b.double()).abs().nan_to_num(math.inf).masked_fill(both, 0.0)


def like(found: Tensor, wanted: Tensor, what: str) -> None:
    """Raises Broken unless shapes and types are the same."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise Broken(f"{what}: {show(found)} and {show(wanted)}")


def image(found: Any, shape: tuple[int, ...], what: str, bounded: bool = True) -> None:
    """Raises Broken unless `found` is a finite float32 image of the shape [B,3,H,W], in [0,1] if `bounded`."""
    import torch

    require(isinstance(found, torch.Tensor), f"{what} is {article(type(found).__name__)}, not a tensor")
    wanted = f"float32 {list(shape)}"
    require(tuple(found.shape) == shape and found.dtype == torch.float32, f"{what} is {show(found)}, not {wanted}")
    require(found.isfinite().all(), f"{what} has values that are not finite")
    low, high = float(found.min()), float(found.max())
    if bounded and (low < 0 or high > 1):
        raise Broken(f"{what} reaches from {low:.4g} to {high:.4g}, outside [0,1]")


def show(tensor: Tensor) -> str:
    """Its type and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
