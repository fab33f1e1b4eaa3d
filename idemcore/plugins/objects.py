"""Objects made in Python, in the place of what plugins provide: a solver of a notebook cell needs no package.

What a Spec would say is read from the object: its class's name or `name`, first line of its docstring, `offers` or
`needs`, and as settings its public attributes of plain values. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast, get_args

from ..errors import UsageError, article, nearest
from ..hookspecs import (
    API_VERSION,
    CAPABILITIES,
    Capabilities,
    Capability,
    EncoderSpec,
    EngineSpec,
    GeneratorSpec,
    MetricSpec,
    SolverSpec,
    Spec,
)
from ..protocols import Encoder, Engine, Generator, InversionSolver, Metric, SetMetric

HERE = "python"
"""Stands for the distribution of what a plugin would provide."""
KINDS: dict[str, type[Any]] = {
    "codec": Encoder,
    "generator": Generator,
    "solver": InversionSolver,
    "metric": Metric,
    "engine": Engine,
}
_PLAIN = (bool, int, float, str, types.NoneType)


@dataclass(frozen=True, eq=False)
class Made:
    """The target of an object's Spec: gives the object itself, or a copy of a dataclass with other settings."""

    thing: Any

    def __call__(self, config: Any, *others: Any) -> Any:
        """`config` is an instance of the Spec's. Raises UsageError for other settings of what is not a dataclass."""
        wanted = dataclasses.asdict(config)
        changed = {key: value for key, value in wanted.items() if value != getattr(self.thing, key)}
        if not changed:
            return self.thing
        fields = {field.name for field in dataclasses.fields(self.thing)} if _is_dataclass(self.thing) else set[str]()
        if fixed := changed.keys() - fields:
            what = type(self.thing).__name__
            raise UsageError(f"{min(fixed)} of a {what} that is made already cannot be changed.", _AS_DATACLASS)
        return dataclasses.replace(self.thing, **changed)

    @property
    def version(self) -> str:
        """Digest of its class's code and of what it holds beside settings, such as weights: what results depend on."""
        hashed = hashlib.sha256()
        for part in (*_code_of(type(self.thing)), *_held(vars(self.thing) if hasattr(self.thing, "__dict__") else {})):
            hashed.update(part)
        return hashed.hexdigest()[:16]


_AS_DATACLASS = "Make it a dataclass with that field, or make another object."


def spec_of(thing: Any, name: str = "", kind: str = "") -> Spec:
    """What a plugin would say of an object, or of a function as a metric; `name` in place of its own.

    Raises UsageError for what is none of the kinds, and where `offers` or `needs` is missing.
    """
    found = kind_of(thing)
    if kind and found != kind:
        raise UsageError(f"{_shown(thing)} is a {found}, not a {kind}.", f"A {kind} is a {KINDS[kind].__name__}.")
    if found == "metric" and not isinstance(thing, Metric):
        from ..adapters.function_as_metric import FunctionMetric

        thing = FunctionMetric(thing)
    common: dict[str, Any] = {
        "name": name or str(getattr(thing, "name", "") or type(thing).__name__),
        "target": Made(thing),
        "summary": (inspect.getdoc(type(thing)) or "").partition("\n")[0] or f"made in {type(thing).__module__}",
        "config": settings_class(thing),
        "api": API_VERSION,
    }
    return _SPECS[found](thing, common)


def kind_of(thing: Any) -> str:
    """Codec, generator, solver, metric or engine. Raises UsageError for a class, and for anything else."""
    for kind, base in KINDS.items():
        if isinstance(thing, base):
            return kind
        if isinstance(thing, type) and issubclass(thing, base):
            raise UsageError(f"{thing.__name__} is a class.", f"Pass an instance of it: {thing.__name__}(...).")
    if isinstance(thing, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return "metric"
    kinds = ", ".join(f"{article(base.__name__)} ({kind})" for kind, base in KINDS.items())
    raise UsageError(f"{_shown(thing)} is not a part of idem.", f"Give a name, or {kinds}.")


def settings_class(thing: Any) -> type[Any]:
    """A dataclass of its settings as they are, for certificates and rows: fields or attributes of plain values."""
    named = [field.name for field in dataclasses.fields(thing)] if _is_dataclass(thing) else vars(thing)
    plain = [(key, value) for key in named if not key.startswith("_") and _is_plain(value := getattr(thing, key))]
    fields = [(key, type(value), dataclasses.field(default=value)) for key, value in plain if key != "name"]
    make: Any = dataclasses.make_dataclass
    made: type[Any] = make("Settings", fields)
    return made


def _codec(thing: Any, common: dict[str, Any]) -> Spec:
    suffix = ".idem" if thing.model_id else str(getattr(thing, "suffix", ".bin"))
    return EncoderSpec(**common, offers=_said(thing, "offers"), suffix=suffix)


def _metric(thing: Any, common: dict[str, Any]) -> Spec:
    said = {key: str(getattr(thing, key, "")) for key in ("direction", "range")}
    return MetricSpec(**common, kind="set" if isinstance(thing, SetMetric) else "image", **said)  # type: ignore[arg-type]


_SPECS: dict[str, Callable[[Any, dict[str, Any]], Spec]] = {
    "codec": _codec,
    "generator": lambda thing, common: GeneratorSpec(**common, offers=_said(thing, "offers")),
    "solver": lambda thing, common: SolverSpec(**common, needs=_said(thing, "needs"), draws=thing.draws),
    "metric": _metric,
    "engine": lambda thing, common: EngineSpec(**common),
}


def _said(thing: Any, what: str) -> Capabilities:
    """`offers` or `needs`, as any set or sequence of capabilities. Raises UsageError if it is missing or wrong."""
    found, where = getattr(thing, what, None), type(thing).__name__
    example = f'Write e.g. `{what} = {{"project", "measure"}}` in the class; `idem solvers info cell` shows one.'
    if found is None or isinstance(found, str):
        raise UsageError(f"{where} does not say what it {what}.", example)
    for name in found:
        if name not in CAPABILITIES:
            hint = nearest(str(name), list(CAPABILITIES), 0.6) or f"Capabilities: {', '.join(get_args(Capability))}."
            raise UsageError(f"{where} {what} '{name}', which is not a capability.", hint)
    return cast(Capabilities, frozenset(found))


def _is_dataclass(thing: Any) -> bool:
    return dataclasses.is_dataclass(thing) and not isinstance(thing, type)


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN)


def _shown(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _code_of(made: type[Any]) -> Iterator[bytes]:
    """The code of all its classes except Python's own and the protocols."""
    for base in made.__mro__:
        if base.__module__ not in ("builtins", "abc", "typing", "idemcore.protocols"):
            for key, value in sorted(vars(base).items(), key=lambda pair: pair[0]):
                function = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else value
                if code := getattr(function, "__code__", None):
                    yield from (key.encode(), *_of_code(code))


def _of_code(code: types.CodeType) -> Iterator[bytes]:
    """What it does, whatever lines it is on."""
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _of_code(constant)
        else:  # the order of a set is another one in each process
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode()


def _held(values: dict[str, Any]) -> Iterator[bytes]:
    """Tensors and networks among attributes, by name."""
    for key, value in sorted(values.items()):
        state = value.state_dict() if hasattr(value, "state_dict") else {"": value}
        for name, tensor in state.items():
            if hasattr(tensor, "detach"):
                yield f"{key}.{name}".encode()
                yield tensor.detach().cpu().contiguous().float().numpy().tobytes()
            elif callable(value) and (code := getattr(value, "__code__", None)):
                yield from (key.encode(), *_of_code(code))


_REGISTERED: dict[tuple[str, str], Spec] = {}


def registered() -> list[tuple[str, Spec]]:
    """(kind, Spec) of all that `keep` was given, latest last."""
    return [(kind, spec) for (kind, _), spec in _REGISTERED.items()]


def keep(spec: Spec, kind: str) -> str:
    """Has an object's Spec listed with those of plugins, in the place of one of the same name; returns the name."""
    _REGISTERED.pop((kind, spec.name), None)
    _REGISTERED[kind, spec.name] = spec
    return spec.name
