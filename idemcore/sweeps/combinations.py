"""From the points of a grid to the configurations that can run, with every value checked first. Imports no torch.

points -> resolve (parts, settings) -> attempt (codec and solver built once) -+-> Configuration
                                                                             +-> left out, with the reason
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..adapters.specs import adapter_for
from ..errors import UnsupportedCombination, UsageError
from ..hookspecs import Spec
from ..pipeline.identity import CPU_FP32, Computed
from ..plugins.catalogue import Catalogue, import_target
from ..plugins.selection import (
    DEFAULT_CODEC,
    DEFAULT_GENERATOR,
    DEFAULT_SOLVER,
    Part,
    check_installed,
    choose,
    choose_adapter,
    choose_restorer,
    combine,
    restorer_name,
)
from ..plugins.settings import describe
from .grid import NAMES, Point
from .identity import Configuration

DEFAULTS = {"codec": DEFAULT_CODEC, "generator": DEFAULT_GENERATOR, "solver": DEFAULT_SOLVER}

Attempt = Callable[[str, Part[Any]], None]
"""Tries a part of a kind; raises UsageError for settings that it cannot have."""


def resolve(
    catalogue: Catalogue, point: Point, computed: Computed = CPU_FP32, attempt: Attempt = lambda kind, part: None
) -> tuple[Configuration, set[str]]:
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
        try:
            parts[kind] = choose(catalogue, kind, name, values)
            attempt(kind, parts[kind])
        except UsageError as error:
            if not error.message.startswith(f"{kind}: "):
                raise
            raise _naming(error, kind, name) from error
    codec, generator, solver = (parts[kind] for kind in NAMES)
    adapter = adapter_for(generator.spec, solver.spec)
    restorer = restorer_name(solver)
    beside = {"adapter": adapter, "restorer": catalogue.resolve("generator", restorer) if restorer else None}
    settings = {scope: _settings(point, scope, spec, used) for scope, spec in beside.items() if spec}
    selection = combine(catalogue, codec, generator, solver, settings)
    if not selection.uses_prior:  # the solver finds the plain decode, of which there are no shades
        return Configuration(selection, computed), used
    return Configuration(selection, computed, _tradeoff(point, used)), used


def resolve_all(
    catalogue: Catalogue,
    points: Sequence[Point],
    computed: Computed = CPU_FP32,
    attempt: Attempt = lambda kind, part: None,
) -> tuple[list[tuple[Configuration, Point]], list[str]]:
    """The configurations of all points that can work, each with a point, and why the others cannot, each reason once.

    A value that works with one codec and not with another leaves that combination out. Raises UsageError for a name
    that is none, for a value that works nowhere, and for a setting that no point's parts have.
    """
    for names in {tuple(str(point.get(kind, DEFAULTS[kind])) for kind in NAMES): None for point in points}:
        _check_names(catalogue, dict(zip(NAMES, names, strict=True)))
    found, refused, used = [], dict[str, None](), set[str]()
    known: dict[str, Configuration | UsageError] = {}  # points that differ in the seed alone share one
    working = set[str]()
    for point in points:
        check_seed(point.get("seed", 0))
        if (key := _but_seed(point)) not in known:
            try:
                known[key], keys = resolve(catalogue, point, computed, attempt)
                used |= keys
                working |= {value for key, value in _values(point) if key in keys}
            except UsageError as error:
                known[key], refused[str(error)] = error, None
        configuration = known[key]
        if isinstance(configuration, Configuration):
            found.append((configuration, point))
    _refuse_wrong_values(points, known, working)
    unused = [key for point in points for key in point if key not in used]
    if unused and found:
        _refuse_unknown(catalogue, points, unused[0])
    return found, list(refused)


def _naming(error: UsageError, kind: str, name: str) -> UsageError:
    """`codec: quality ...` as `codec jpeg: quality ...`: an axis may span several."""
    return UsageError(f"{kind} {name}: {error.message.removeprefix(f'{kind}: ')}", error.hint)


def trial() -> Attempt:
    """An `Attempt` that builds each codec and solver once, on the CPU: some values only they can judge.

    Whatever else goes wrong is left to the runs, which report it.
    """
    from ..runtime import Runtime

    runtime, judged = Runtime.choose("cpu"), dict[str, UsageError | None]()

    def attempt(kind: str, part: Part[Any]) -> None:
        key = json.dumps([kind, part.spec.name, asdict(part.config)], sort_keys=True, default=str)
        if key not in judged:
            judged[key] = _judged(kind, part, runtime)
        if error := judged[key]:
            raise error

    return attempt


def check_seed(value: Any) -> int:
    """The seed. Raises UsageError if it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"seed is {value!r}, not a whole number from 0 on.", "Write e.g. seed=0..3.")
    return value


def _judged(kind: str, part: Part[Any], runtime: Any) -> UsageError | None:
    with suppress(Exception):
        try:
            if kind != "generator":
                part.build(*([runtime] if kind == "codec" else []))
        except UsageError as error:
            return error
    return None


def _check_names(catalogue: Catalogue, names: Mapping[str, str]) -> None:
    check_installed(catalogue, names)
    for kind, name in names.items():
        catalogue.resolve(kind, name)


def _but_seed(point: Point) -> str:
    return json.dumps({key: value for key, value in point.items() if key != "seed"}, sort_keys=True, default=str)


def _refuse_wrong_values(
    points: Sequence[Point], known: Mapping[str, Configuration | UsageError], working: AbstractSet[str]
) -> None:
    """Raises the error of a value that works nowhere, however its combinations end: it is a slip, not a combination.

    What parts cannot do together is not a fault of a value.
    """
    outcomes = [(point, known[_but_seed(point)]) for point in points]
    wrong = [({value for _, value in _values(point)} - working, outcome) for point, outcome in outcomes
             if isinstance(outcome, UsageError) and not isinstance(outcome, UnsupportedCombination)]  # fmt: skip
    if blamed := [(values, error) for values, error in wrong if values]:
        raise min(blamed, key=lambda pair: len(pair[0]))[1]  # of one wrong value the error speaks of that value


def _values(point: Point) -> Iterator[tuple[str, str]]:
    """The key and `KEY=VALUE` of each setting."""
    return ((key, f"{key}={value!r}") for key, value in point.items() if key not in (*NAMES, "seed"))


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
        choose_restorer(catalogue, parts["solver"], None, {name: point[key]})
    else:
        choose(catalogue, scope, str(point.get(scope, DEFAULTS[scope])), {name: point[key]})
