"""From the names a user typed to a codec, a generator and a solver that can work together. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Generic, TypeVar, cast

from ..adapters.specs import AdapterSpec, adapter_for
from ..errors import IdemError, UnsupportedCombination, UsageError, nearest
from ..hookspecs import CAPABILITIES, Capability, EncoderSpec, GeneratorSpec, SolverSpec, Spec
from ..protocols import Generator, InversionSolver
from .catalogue import Catalogue, NotInstalled, import_target
from .objects import HERE, Made, spec_of
from .settings import REQUIRED, SCOPES, build_config, describe

DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER = "jpeg", "ddpm-photo", "cell"

SpecT = TypeVar("SpecT", bound=Spec)
Settings = Mapping[str, Mapping[str, Any]]
"""Overrides by scope: `{"codec": {"quality": 10}, "solver": {"steps": 8}}`; the scopes `adapter` and `restorer` too."""


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

    @property
    def version(self) -> str:
        """That of its distribution; of an object made in Python, the digest of what it does."""
        target = self.spec.target
        return target.version if isinstance(target, Made) else version(self.distribution)

    @property
    def how_to_check(self) -> str:
        """The sentence that says how its laws are tried."""
        if self.distribution == HERE:
            return "`idemcore.testing` has laws for plugins: `idem plugins new` writes one to put it in."
        return f"Type `idem plugins check {self.distribution}` to see which of its laws are broken."

    def build(self, *others: Any) -> Any:
        """The object itself: `Class(config, *others)`.

        Raises MissingError for weights that are not here, IdemError for a class that lacks methods of its contract.
        """
        target = import_target(self.spec.target)
        if missing := sorted(getattr(target, "__abstractmethods__", ())):
            raise IdemError(f"{target.__name__} of {self.distribution} lacks {', '.join(missing)}.", self.how_to_check)
        return target(self.config, *others)


@dataclass(frozen=True)
class DecoderParts:
    """A generator and a solver that were chosen together, with the adapter between them where they need one."""

    generator: Part[GeneratorSpec]
    solver: Part[SolverSpec]
    adapter: Part[AdapterSpec] | None
    """What lets a solver of one family run on a generator of another."""
    restorer: Part[GeneratorSpec] | None
    """The generator whose restoration of g(y) takes the place of the cell's estimate."""

    @property
    def uses_prior(self) -> bool:
        """False where the solver needs nothing of the generator, whose weights are then not loaded."""
        return bool(self.adapter or self.solver.spec.needs & self.generator.spec.offers)

    def different(self, seeds: Sequence[int]) -> Sequence[int]:
        """The seeds that can give different images: only the first where nothing is drawn."""
        return seeds if self.draws else seeds[:1]

    @property
    def draws(self) -> bool:
        """Can another seed give another image?"""
        return self.uses_prior and self.solver.spec.draws

    @property
    def prior(self) -> Part[GeneratorSpec] | None:
        """The generator; None if the solver does without."""
        return self.generator if self.uses_prior else None

    @property
    def used(self) -> dict[str, Part[Any]]:
        """By kind, the parts that a result depends on."""
        named = {"generator": self.prior, "solver": self.solver, "adapter": self.adapter, "restorer": self.restorer}
        return {kind: part for kind, part in named.items() if part}

    @property
    def name(self) -> str:
        """Generator and solver, for people."""
        return " + ".join(part.spec.name for part in (self.prior, self.solver) if part)

    def check(self, codec: EncoderSpec, catalogue: Catalogue | None = None) -> None:
        """Raises UnsupportedCombination for a codec whose cells the solver cannot work with."""
        check_combination(codec, self.generator.spec, self.solver.spec, catalogue)
        if self.restorer and "project" not in codec.offers:
            raise UnsupportedCombination(
                f"Solver '{self.solver.spec.name}' cannot start at what '{self.restorer.spec.name}' restores: codec "
                f"'{codec.name}' does not offer 'project' ({CAPABILITIES['project']}).",
                "Leave solver.start_at out.",
            )


@dataclass(frozen=True)
class Selection(DecoderParts):
    """A codec beside a generator and a solver, checked to work together."""

    codec: Part[EncoderSpec]

    @property
    def used(self) -> dict[str, Part[Any]]:
        """By kind, the parts that a result depends on."""
        return {"codec": self.codec, **super().used}

    def check(self, codec: EncoderSpec, catalogue: Catalogue | None = None) -> None:
        """Raises UnsupportedCombination for another codec whose cells the solver cannot work with."""
        if codec != self.codec.spec:  # its own was checked when it was chosen
            super().check(codec, catalogue)


def choose(catalogue: Catalogue, kind: str, name: str, values: Mapping[str, Any] | None = None) -> Part[Any]:
    """The `kind` called `name`, with its settings. Raises UsageError or MissingError for what is not there."""
    spec = catalogue.resolve(kind, name)
    distribution = next(owner for owner, other in catalogue.specs(kind) if other is spec)
    config = configure(spec, values or {}, kind)
    return Part(_with_needs_of(spec, config), distribution, config)


def part_of(catalogue: Catalogue, kind: str, given: Any, values: Mapping[str, Any] | None = None) -> Part[Any]:
    """`choose` of a name; of an object made in Python, what `choose` would say of it; a Part is one already."""
    if isinstance(given, Part):
        return given
    if isinstance(given, str):
        return choose(catalogue, kind, given, values)
    spec = spec_of(given, kind=kind)
    return Part(spec, HERE, configure(spec, values or {}, kind))


def check_scopes(settings: Settings, scopes: Sequence[str] = SCOPES) -> None:
    """Raises UsageError for settings of nothing that is there: `{"solvr": {...}}`."""
    for scope, values in settings.items():
        if scope not in scopes:
            guess = nearest(str(scope), list(scopes))
            raise UsageError(f"settings: unknown scope '{scope}'.", f"{guess} Scopes: {', '.join(scopes)}.".strip())
        if not isinstance(values, Mapping):
            raise UsageError(f"settings: '{scope}' is {values!r}, not a mapping.", f'e.g. {{"{scope}": {{...}}}}.')


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
    """A solver's spec with the needs of its settings in place of those of its defaults.

    Without the function that tells them, which another process could not be sent.
    """
    if isinstance(spec, SolverSpec) and spec.needs_with:
        return replace(spec, needs=spec.needs_with(config), needs_with=None)
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
    check_scopes(settings := settings or {})
    parts = choose_all(catalogue, {"codec": codec, "generator": generator, "solver": solver}, settings)
    return combine(catalogue, parts["codec"], parts["generator"], parts["solver"], settings)


def combine(
    catalogue: Catalogue,
    codec: Part[EncoderSpec],
    generator: Part[GeneratorSpec],
    solver: Part[SolverSpec],
    settings: Settings | None = None,
) -> Selection:
    """`select` of parts that are chosen already; `settings` are those of what comes beside them."""
    settings = settings or {}
    check_combination(codec.spec, generator.spec, solver.spec, catalogue)
    adapter = choose_adapter(generator.spec, solver.spec, settings.get("adapter"))
    restorer = choose_restorer(catalogue, solver, adapter, settings.get("restorer"))
    found = Selection(generator, solver, adapter, restorer, codec)
    super(Selection, found).check(codec.spec, catalogue)
    return found


def select_decoder(
    catalogue: Catalogue,
    generator: str | Generator = DEFAULT_GENERATOR,
    solver: str | InversionSolver[Any] = DEFAULT_SOLVER,
    settings: Settings | None = None,
) -> DecoderParts:
    """`select` where each bitstream brings its codec, with which it is then checked; names, or objects made in Python.

    Raises UsageError. Where no codec is installed at all, the error names one with all else that is missing.
    """
    check_scopes(settings := settings or {})
    names = {kind: given for kind, given in (("generator", generator), ("solver", solver)) if isinstance(given, str)}
    check_installed(catalogue, names if catalogue.specs("codec") else {**names, "codec": DEFAULT_CODEC})
    prior = part_of(catalogue, "generator", generator, settings.get("generator"))
    chosen = part_of(catalogue, "solver", solver, settings.get("solver"))
    adapter = choose_adapter(prior.spec, chosen.spec, settings.get("adapter"))
    restorer = choose_restorer(catalogue, chosen, adapter, settings.get("restorer"))
    return DecoderParts(prior, chosen, adapter, restorer)


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


def choose_restorer(
    catalogue: Catalogue,
    solver: Part[SolverSpec],
    adapter: Part[AdapterSpec] | None,
    values: Mapping[str, Any] | None = None,
) -> Part[GeneratorSpec] | None:
    """The generator that restores g(y) before the solver starts, with its settings; None if there is none.

    Raises UsageError for a name that is none, for a generator that cannot restore, where `adapter` has the solver move
    latents, and for settings without effect.
    """
    name = restorer_name(solver)
    if not name and values:
        raise UsageError(
            f"restorer.{next(iter(values))} has no effect: solver '{solver.spec.name}' starts at no restored image.",
            "Leave it out, or name a restorer: --set solver.start_at=NAME.",
        )
    if not name:
        return None
    if adapter and "image" in adapter.spec.withdraws:
        raise UsageError(
            f"solver.start_at={name} has no effect: by '{adapter.spec.name}' the solver starts at a latent.",
            "Leave it out, or choose another --generator.",
        )
    found = choose(catalogue, "generator", name)
    found = replace(found, config=configure(found.spec, values or {}, "restorer"))
    if not {"restorer", "diffusion"} & found.spec.offers:
        raise UsageError(
            f"solver.start_at={name}: generator '{name}' restores no images.",
            "Name one that offers `restorer` or `diffusion`; `idem generators info NAME` says which do.",
        )
    return found


def restorer_name(solver: Part[SolverSpec]) -> str:
    """The generator that the solver starts at, with its settings; "" if there is none."""
    return solver.spec.starts_at(solver.config) if solver.spec.starts_at else ""


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
    if "restorer" in generator.offers and "diffusion" in missing:
        through += ": a restorer maps an image to an image, and is not a denoiser of any noise level"
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
        "--generator": [g.name for g in generators if not (missing_capabilities(codec, g, solver) or asks(g))],
        "--codec": [c.name for c in codecs if not missing_capabilities(c, generator, solver)],
    }
    offers = [f"{flag} {' or '.join(names)}" for flag, names in works.items() if names]
    return f"Use {', or '.join(offers)}." if offers else "No installed plugin completes it; see `idem plugins list`."


def asks(spec: Spec) -> bool:
    """Is there a setting without a default, so that the name alone does not do?"""
    return any(field.default == REQUIRED for field in describe(import_target(spec.config))) if spec.config else False
