"""What is checked: a codec, generator, solver, metric or engine, with the spec that describes it and how it is made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..errors import IdemWarning, MissingError, UsageError, nearest
from ..hookspecs import MetricSpec, Spec
from ..plugins.catalogue import Catalogue, import_target, load_catalogue
from ..plugins.selection import choose
from .law import KINDS, Law, laws, laws_about

HURRIED: Mapping[str, Mapping[str, Any]] = {"solver": {"steps": 6}, "engine": {"workers": 2}}
"""Settings that are checked in place of defaults where a kind's config has them: enough to see, and quick."""


@dataclass(frozen=True)
class Subject:
    """One thing to check. `Subject.installed` finds it by its name; a literal one needs no installed plugin."""

    kind: str
    """codec, generator, solver, metric or engine."""
    spec: Spec
    make: Callable[[], Any]
    """Builds a new instance. MissingError, for weights that are not here, leaves it unchecked."""
    config: Any = None
    """The instance of the config dataclass that `make` uses."""
    distribution: str = ""
    """That provides it; empty where no installed one does."""
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    """From names of laws that are known not to hold to the reasons. One that holds after all is reported."""
    size: tuple[int, int] | None = None
    """(H, W) of the images to check on; None for the kit's own choice."""
    asked: list[str] = field(default_factory=list, compare=False)
    """Other machines that it asked for while laws were tried; what came from them may be in a cache since."""

    @classmethod
    def installed(
        cls,
        kind: str,
        name: str,
        *,
        expected_failures: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
        catalogue: Catalogue | None = None,
        **settings: Any,
    ) -> Subject:
        """The `kind` that installed plugins call `name` or `distribution:name`, with its `settings`.

        Raises UsageError or MissingError as `idem run` would.
        """
        kind, catalogue = "codec" if kind == "encoder" else kind, catalogue or load_catalogue()
        spec = catalogue.resolve(kind, name)
        part = choose(catalogue, kind, name, {**_hurried(kind, spec), **settings})
        return cls(
            kind,
            part.spec,
            lambda: _build(kind, part.spec, part.config),
            part.config,
            part.distribution,
            {**part.spec.expected_failures, **(expected_failures or {})},
            size,
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.spec.name}"

    @property
    def capabilities(self) -> frozenset[str]:
        """What the spec offers, or needs; of a metric, whether it is of images or of sets."""
        if isinstance(self.spec, MetricSpec):
            return frozenset({f"{self.spec.kind}-metric"})
        return frozenset(getattr(self.spec, "offers", getattr(self.spec, "needs", ())))

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws that are about it."""
        return laws_about(self.kind, self.capabilities)

    @cached_property
    def instance(self) -> Any:
        """One that laws share; those that need another call `make`."""
        return self.make()

    def expecting(self, failures: Mapping[str, str]) -> Subject:
        """The same with more expected failures."""
        return replace(self, expected_failures={**self.expected_failures, **failures})


def subjects_of(name: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[Subject]:
    """All that the plugin `name` (a distribution; `jpeg` is short for `idemcore-jpeg`) provides and has laws.

    `settings` by kind. Raises UsageError if it is not installed or has nothing to check, MissingError if it is not ok
    or cannot be imported.
    """
    catalogue = load_catalogue().examined()
    plugin = catalogue.plugin(name)
    if plugin.state != "ok":
        stop = "" if plugin.reason.endswith("?") else "."
        raise MissingError(f"{plugin.name} is {plugin.state}: {plugin.reason}{stop}", "Mend that first.")
    found = [(kind, spec) for kind, spec in plugin.specs if kind in KINDS]
    if not found:
        raise UsageError(f"{plugin.name} provides nothing that has laws.", f"Kinds with laws: {', '.join(KINDS)}.")
    for kind, spec in found:
        import_target(spec.target)
        _note_unknown_laws(kind, spec)
    return [
        Subject.installed(kind, f"{plugin.name}:{spec.name}", catalogue=catalogue, **(settings or {}).get(kind, {}))
        for kind, spec in found
    ]


def _note_unknown_laws(kind: str, spec: Spec) -> None:
    """Warns of expected failures that name no law: they would be without effect, unnoticed."""
    known = [one.name for one in laws(kind)]
    for name in spec.expected_failures:
        if name not in known:
            guess = nearest(name, known) or "`idem plugins check` lists the laws."
            text = f"{kind} {spec.name} expects the law '{name}' to fail, but there is none of that name. {guess}"
            warnings.warn(IdemWarning(text), stacklevel=3)


def _hurried(kind: str, spec: Spec) -> Mapping[str, Any]:
    known = getattr(import_target(spec.config), "__dataclass_fields__", {}) if spec.config else {}
    return {key: value for key, value in HURRIED.get(kind, {}).items() if key in known}


def _build(kind: str, spec: Spec, config: Any) -> Any:
    """Builds it on the CPU in float32: laws are about what is computed, not where."""
    import torch

    from ..runtime import Runtime

    target = import_target(spec.target)
    if kind in ("solver", "engine"):
        return target(config)
    built = target(config, Runtime(torch.device("cpu"), torch.float32))
    if kind == "metric":
        built.name, built.spec = spec.name, spec
    return built
