"""From a point of a grid to a configuration that can run, and what a run is called. Imports no torch.

A run is named by all that its result depends on: codec, generator, solver and adapter with every setting, the versions
of what provides them, the hashes of weights and of source that is edited in place, device and precision, the pixels of
the image and the seed; see `pipeline.identity`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..adapters.specs import adapter_for
from ..errors import UnsupportedCombination, UsageError
from ..hookspecs import Spec
from ..pipeline.identity import CPU_FP32, Computed, identity
from ..plugins.catalogue import Catalogue, import_target
from ..plugins.objects import HERE
from ..plugins.selection import (
    DEFAULT_CODEC,
    DEFAULT_GENERATOR,
    DEFAULT_SOLVER,
    Selection,
    check_installed,
    choose,
    choose_adapter,
    choose_restorer,
    combine,
    restorer_name,
)
from ..plugins.settings import SCOPES, describe
from ..weights.digest import digest
from .grid import NAMES, Point

DEFAULTS = {"codec": DEFAULT_CODEC, "generator": DEFAULT_GENERATOR, "solver": DEFAULT_SOLVER}


@dataclass(frozen=True)
class Configuration:
    """What the runs of one point of a curve share: parts that were checked to work together."""

    selection: Selection
    computed: Computed = CPU_FP32
    tradeoff: float = 1.0
    """Between least error (0) and most realism (1), see `Decoder.reconstruct`."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """`pipeline.identity.identity` of the parts. Raises MissingError for weights that are not here."""
        return identity(self.selection.used, self.computed)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """For a row: the part of each scope (name and settings, or None), what computes, `versions`, `weights`.

        `sources` has hashes of what is installed editable. Raises MissingError for weights that are not here.
        """
        parts = {kind: self.identity[kind] for kind in self.selection.used}
        core = self.identity["computed"]
        named = {part["name"] if part["plugin"] == HERE else part["plugin"]: part for part in parts.values()}
        versions = {name: part["version"] for name, part in named.items()}
        versions |= {name: core[name] for name in ("idemcore", "torch")}
        sources = {name: part["source_sha256"] for name, part in named.items()} | {"idemcore": core["source_sha256"]}
        return {
            **dict[str, Any].fromkeys(SCOPES),
            **{kind: {"name": part["name"], **part["settings"]} for kind, part in parts.items()},
            "precision": self.computed.precision,
            "device": self.computed.device,
            "tradeoff": self.tradeoff,
            "versions": dict(sorted(versions.items())),
            "sources": {name: found for name, found in sorted(sources.items()) if found},
            "weights": {kind: found for kind, part in parts.items() if (found := part["weights_sha256"])},
        }

    @cached_property
    def key(self) -> str:
        """The same for equal configurations; those that share a generator, then a codec, stand together in order."""
        kinds = ("generator", "codec", "solver", "adapter", "restorer", "weights", "tradeoff")
        return json.dumps([self.facts[kind] for kind in kinds], sort_keys=True)

    @cached_property
    def _digest(self) -> str:
        return digest([self.identity, self.tradeoff])

    @cached_property
    def _codec_digest(self) -> str:
        return digest([self.identity[key] for key in ("codec", "computed")])

    def run_id(self, image_sha256: str, seed: int) -> str:
        return digest([self._digest, image_sha256, seed])

    def decoded_id(self, image_sha256: str) -> str:
        """Of the plain decode, which is the same for every generator, solver and seed."""
        return digest([self._codec_digest, image_sha256])

    def command(self, image: str, seed: int) -> str:
        """The `idem run` that repeats a run on its own, with the settings that are not defaults.

        Empty for objects made in Python, which no command line knows.
        """
        parts, words = self.selection.used, ["idem", "run", image]
        if any(part.distribution == HERE for part in parts.values()):
            return ""
        words += [word for kind in NAMES if (part := parts.get(kind)) for word in (f"--{kind}", part.spec.name)]
        for kind, part in parts.items():
            for field in describe(type(part.config)):
                if (value := getattr(part.config, field.name)) != field.default:
                    words += ["--set", f"{kind}.{field.name}={_word(value)}"]
        words += [] if self.tradeoff == 1 else ["--tradeoff", f"{self.tradeoff:g}"]
        words += ["--seed", str(seed), "--device", self.computed.device, "--precision", self.computed.precision]
        return shlex.join(words)


def resolve(catalogue: Catalogue, point: Point, computed: Computed = CPU_FP32) -> tuple[Configuration, set[str]]:
    """The configuration of a point, and the keys of it that had an effect.

    A setting goes to the part that has it: where an axis spans several codecs or solvers, what one of them lacks is
    left out for it. Raises UnsupportedCombination where the parts cannot work together, UsageError for an unknown name
    or a wrong value.
    """
    check_installed(catalogue, {kind: str(point.get(kind, DEFAULTS[kind])) for kind in NAMES})
    parts, used = {}, {"seed", *NAMES}
    for kind in NAMES:
        name = str(point.get(kind, DEFAULTS[kind]))
        values = _settings(point, kind, catalogue.resolve(kind, name), used)
        parts[kind] = choose(catalogue, kind, name, values)
    codec, generator, solver = (parts[kind] for kind in NAMES)
    adapter = adapter_for(generator.spec, solver.spec)
    restorer = restorer_name(solver)
    beside = {"adapter": adapter, "restorer": catalogue.resolve("generator", restorer) if restorer else None}
    settings = {scope: _settings(point, scope, spec, used) for scope, spec in beside.items() if spec}
    selection = combine(codec, generator, solver, settings, catalogue)
    if not selection.uses_prior:  # the solver finds the plain decode, of which there are no shades
        return Configuration(selection, computed), used
    return Configuration(selection, computed, _tradeoff(point, used)), used


def resolve_all(
    catalogue: Catalogue, points: Sequence[Point], computed: Computed = CPU_FP32
) -> tuple[list[tuple[Configuration, Point]], list[str]]:
    """The configurations of all points that can work, each with a point, and why the others cannot, each reason once.

    Raises UsageError for a name, setting or value that cannot be right, and for a setting that no point's parts have.
    """
    found, refused, used = [], dict[str, None](), set[str]()
    known: dict[str, Configuration | None] = {}  # points that differ in the seed alone share one
    for point in points:
        key = json.dumps({k: v for k, v in point.items() if k != "seed"}, sort_keys=True, default=str)
        if key not in known:
            try:
                known[key], keys = resolve(catalogue, point, computed)
                used |= keys
            except UnsupportedCombination as error:
                known[key], refused[str(error)] = None, None
        if configuration := known[key]:
            found.append((configuration, point))
    unused = [key for point in points for key in point if key not in used]
    if unused and found:
        _refuse_unknown(catalogue, points, unused[0])
    return found, list(refused)


def _settings(point: Point, kind: str, spec: Spec, used: set[str]) -> dict[str, Any]:
    """The point's settings that `kind` has; adds their keys to `used`."""
    fields = {field.name for field in describe(import_target(spec.config))} if spec.config else set[str]()
    settings = {}
    for key, value in point.items():
        scope, _, name = ("codec.quality" if key == "quality" else key).partition(".")
        if scope == kind and name in fields:
            settings[name] = value
            used.add(key)
    return settings


def _tradeoff(point: Point, used: set[str]) -> float:
    """The point's. Raises UsageError if it cannot be one."""
    value = point.get("tradeoff", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"tradeoff is {value!r}, not a number from 0 to 1.", "0 is least error, 1 most realism.")
    used.add("tradeoff")
    return float(value)


def _refuse_unknown(catalogue: Catalogue, points: Sequence[Point], key: str) -> None:
    """Raises UsageError for a setting that no part has, as the part of the first point would refuse it."""
    scope, _, name = ("codec.quality" if key == "quality" else key).partition(".")
    point = next(point for point in points if key in point)
    parts = {kind: choose(catalogue, kind, str(point.get(kind, DEFAULTS[kind]))) for kind in NAMES}
    if not name:
        raise UsageError(f"{key} has no effect: no solver of the sweep draws from a prior.", "Leave it out.")
    if scope == "adapter":
        choose_adapter(parts["generator"].spec, parts["solver"].spec, {name: point[key]})
    elif scope == "restorer":
        choose_restorer(parts["solver"], None, {name: point[key]}, catalogue)
    else:
        choose(catalogue, scope, str(point.get(scope, DEFAULTS[scope])), {name: point[key]})


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | list | tuple | None) else str(value)
