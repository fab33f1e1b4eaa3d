"""From the names a user typed to a codec, a generator and a solver that can work together. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from ..adapters.specs import AdapterSpec, adapter_for
from ..errors import UnsupportedCombination, UsageError
from ..hookspecs import CAPABILITIES, Capability, EncoderSpec, GeneratorSpec, SolverSpec, Spec
from .catalogue import Catalogue, NotInstalled, import_target
from .settings import build_config

DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER = "jpeg", "ddpm-photo", "cell"

SpecT = TypeVar("SpecT", bound=Spec)
Settings = Mapping[str, Mapping[str, Any]]
"""Overrides by scope: `{"codec": {"quality": 10}, "solver": {"steps": 8}}`; the scope `adapter` too."""


@dataclass
class _NoSettings:
    """Config of a spec that names none."""


@dataclass(frozen=True)
class Part(Generic[SpecT]):
    """A plugin's codec, generator or solver, chosen and configured but not built."""

    spec: SpecT
    distribution: str
    """Of the plugin that provides it."""
    config: Any
    """Instance of its config dataclass."""


@dataclass(frozen=True)
class Selection:
    """Three parts that were checked to work together."""

    codec: Part[EncoderSpec]
    generator: Part[GeneratorSpec]
    solver: Part[SolverSpec]


def choose(catalogue: Catalogue, kind: str, name: str, values: Mapping[str, Any] | None = None) -> Part[Any]:
    """The `kind` called `name`, with its settings. Raises UsageError or MissingError for what is not there."""
    spec = catalogue.resolve(kind, name)
    distribution = next(owner for owner, other in catalogue.specs(kind) if other is spec)
    config = configure(spec, values or {}, kind)
    return Part(_with_needs_of(spec, config), distribution, config)


def choose_all(catalogue: Catalogue, names: Mapping[str, str], settings: Settings) -> dict[str, Part[Any]]:
    """`choose` of each kind in `names`, after `check_installed`."""
    check_installed(catalogue, names)
    return {kind: choose(catalogue, kind, name, settings.get(kind)) for kind, name in names.items()}


def check_installed(catalogue: Catalogue, names: Mapping[str, str]) -> None:
    """Raises one NotInstalled that names every plugin which must be installed first; `names` by kind."""
    absent: dict[str, str] = {}
    for kind, name in names.items():
        try:
            catalogue.resolve(kind, name)
        except NotInstalled as error:
            absent.update(error.absent)
    if absent:
        raise NotInstalled(absent)


def _with_needs_of(spec: Spec, config: Any) -> Spec:
    """A solver's spec with the needs of its settings in place of those of its defaults."""
    if isinstance(spec, SolverSpec) and spec.needs_with:
        return replace(spec, needs=spec.needs_with(config))
    return spec


def configure(spec: Spec, values: Mapping[str, Any], scope: str) -> Any:
    """Its config dataclass with `values` in place of defaults. Raises UsageError for one that does not fit."""
    return build_config(import_target(spec.config) if spec.config else _NoSettings, values, scope)


def select(
    catalogue: Catalogue,
    codec: str = DEFAULT_CODEC,
    generator: str = DEFAULT_GENERATOR,
    solver: str = DEFAULT_SOLVER,
    settings: Settings | None = None,
) -> Selection:
    """Raises UsageError for an unknown name or key, UnsupportedCombination if the three cannot work together."""
    settings = settings or {}
    parts = choose_all(catalogue, {"codec": codec, "generator": generator, "solver": solver}, settings)
    check_combination(parts["codec"].spec, parts["generator"].spec, parts["solver"].spec, catalogue)
    choose_adapter(parts["generator"].spec, parts["solver"].spec, settings.get("adapter"))
    return Selection(parts["codec"], parts["generator"], parts["solver"])


def choose_adapter(
    generator: GeneratorSpec, solver: SolverSpec, values: Mapping[str, Any] | None = None
) -> Part[AdapterSpec] | None:
    """What stands between the two, with its settings; None if the solver runs on the generator natively or not at all.

    Raises UsageError for settings that do not fit, or have no adapter to go to.
    """
    adapter = adapter_for(generator, solver)
    if adapter:
        return Part(adapter, "idemcore", configure(adapter, values or {}, "adapter"))
    if values:
        raise UsageError(
            f"adapter.{next(iter(values))} has no effect: no adapter stands between generator '{generator.name}' and "
            f"solver '{solver.name}'.",
            f"Leave it out; `idem generators info {generator.name}` shows where an adapter is used.",
        )
    return None


def missing_capabilities(codec: EncoderSpec, generator: GeneratorSpec, solver: SolverSpec) -> list[Capability]:
    """What the solver needs and the two do not offer, with the adapter between them where there is one; sorted."""
    adapter = adapter_for(generator, solver)
    of_cell = (codec.offers | {"image"}) - (adapter.withdraws if adapter else frozenset())
    return sorted(solver.needs - of_cell - (adapter.gives if adapter else generator.offers))


def check_combination(
    codec: EncoderSpec, generator: GeneratorSpec, solver: SolverSpec, catalogue: Catalogue | None = None
) -> None:
    """Raises UnsupportedCombination, naming what is missing and a combination from the catalogue that would work."""
    missing = missing_capabilities(codec, generator, solver)
    if not missing:
        return
    needs = "; ".join(f"'{name}' ({CAPABILITIES[name]})" for name in missing)
    adapter = adapter_for(generator, solver)
    through = f" through the adapter '{adapter.name}'" if adapter else ""
    raise UnsupportedCombination(
        f"Solver '{solver.name}' cannot work with codec '{codec.name}' and generator '{generator.name}': "
        f"it needs {needs}, which neither of them offers{through}.",
        _alternative(codec, generator, solver, catalogue) if catalogue else "Choose another solver.",
    )


def _alternative(codec: EncoderSpec, generator: GeneratorSpec, solver: SolverSpec, catalogue: Catalogue) -> str:
    """One change that makes the combination work: another solver, else another generator, else another codec."""
    codecs = [cast(EncoderSpec, s) for _, s in catalogue.specs("codec")]
    generators = [cast(GeneratorSpec, s) for _, s in catalogue.specs("generator")]
    others = [cast(SolverSpec, s) for _, s in catalogue.specs("solver") if s.name != solver.name]
    works = {
        "--solver": [s.name for s in others if not missing_capabilities(codec, generator, s)],
        "--generator": [g.name for g in generators if not missing_capabilities(codec, g, solver)],
        "--codec": [c.name for c in codecs if not missing_capabilities(c, generator, solver)],
    }
    offers = [f"{flag} {' or '.join(names)}" for flag, names in works.items() if names]
    return f"Use {', or '.join(offers)}." if offers else "No installed plugin completes it; see `idem plugins list`."
