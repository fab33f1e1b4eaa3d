"""Settings: dataclasses with defaults, filled from `--set scope.key=value` and YAML files, checked by OmegaConf."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from ..errors import IdemError, UsageError, nearest
from ..io.safe_yaml import TooMuch, compose, read_text, too_much

SCOPES = ("codec", "generator", "solver", "adapter", "restorer")
REQUIRED = "???"
"""Default of a field that has none, as OmegaConf writes it."""

UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What PyYAML and OmegaConf raise, beside their own errors, for values such as `!!int ''`, `9...9` or `${a}`."""

_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")

T = TypeVar("T")
Values = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Field:
    """One setting of a config dataclass, for `idem codecs info` and its kin."""

    name: str
    type: str
    default: Any
    """The default, or `REQUIRED`."""
    help: str
    """The comment behind the field in the source: meaning, unit, range."""


def parse_overrides(items: Sequence[str], scopes: Sequence[str] = SCOPES) -> Values:
    """`["solver.steps=20"]` to `{"solver": {"steps": 20}}`; later items win. Values are YAML: `20`, `1e-3`, `[1, 2]`.

    Raises UsageError for an item that is not `scope.key=value` with one of `scopes`.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for item in items:
        _check_override(item, scopes)
    merged: Any = OmegaConf.create({})
    for item in items:
        key, _, text = item.partition("=")
        try:
            compose(text)
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([f"{key}={quote_base_60(text)}"]))
        except (OmegaConfBaseException, yaml.YAMLError, *UNREADABLE) as error:
            raise UsageError(f"--set {item}: {_first_line(error)}.", "Quote a value that is not plain YAML.") from error
    return _plain(merged)


def load_config_file(path: str | PathLike[str], scopes: Sequence[str] = SCOPES) -> Values:
    """A YAML mapping from scopes to settings. Raises UsageError that names file, line and reason."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = read_text(Path(path))
        root = compose(text)
        if root is not None:
            _check_scopes(root, path, scopes)
        return _plain(OmegaConf.create(quote_base_60(text))) if root is not None else {}
    except TooMuch as error:
        raise too_much(Path(path), error) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reason = (error.problem or "not YAML").rstrip(".")
        raise UsageError(f"{path}, line {line}: {reason}.", "The file must be YAML.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a text file in YAML: {_first_line(error)}.") from error
    except (OmegaConfBaseException, *UNREADABLE) as error:
        raise UsageError(f"{path}, {getattr(error, 'full_key', '') or 'a value'}: {_first_line(error)}.") from error


def _as_number(value: Any, kind: str) -> Any:
    """Turns a whole number into a float for a field of `float | str`, which OmegaConf does not."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    names = kind.replace(" ", "").split("|")
    return float(value) if whole and "float" in names and "int" not in names else value


def build_config(config_class: type[T], values: Mapping[str, Any], scope: str) -> T:
    """`config_class` with `values` in place of its defaults, each checked against its field's type.

    Raises UsageError for an unknown key, a value of another type, a missing value, and for any ValueError that the
    class raises about its own values in `__post_init__`.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    types = {field.name: field.type for field in describe(config_class)}
    config = OmegaConf.structured(config_class)
    for key, value in values.items():
        if key not in types:
            raise _unknown_key(str(key), list(types), scope)
        try:
            config = OmegaConf.merge(config, {key: _as_number(value, types[key])})
        except (OmegaConfBaseException, *UNREADABLE) as error:
            where = f"{scope}.{getattr(error, 'full_key', None) or key}"
            message = f"{where}: {value!r} is not of type {types[key]}: {_first_line(error)}."
            raise UsageError(message, f"Default: {_shown(config, key)}.") from error
    try:
        return OmegaConf.to_object(config)  # type: ignore[return-value]
    except IdemError:
        raise
    except OmegaConfBaseException as error:
        raise UsageError(f"{scope}.{getattr(error, 'full_key', '')}: {_first_line(error)}.") from error
    except UNREADABLE as error:
        raise UsageError(f"{scope}: {error}.".replace("..", ".")) from error


def describe(config_class: type[Any]) -> list[Field]:
    """The fields in order, each with its trailing comment in the source (empty where there is no source)."""
    comments: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        comments.update(_comments(base) if dataclasses.is_dataclass(base) else {})
    return [
        Field(field.name, _type_name(field.type), _default(field), comments.get(field.name, ""))
        for field in dataclasses.fields(config_class)
    ]


def _check_override(item: str, scopes: Sequence[str]) -> None:
    key, equals, _ = item.partition("=")
    scope, dot, name = key.partition(".")
    example = f"Write {scopes[0]}.KEY=VALUE, with one of the scopes {', '.join(scopes)}."
    if not equals:
        raise UsageError(f"--set {item!r} has no '='.", example)
    if not dot or not all(name.split(".")):
        raise UsageError(f"--set {item!r} is not SCOPE.KEY=VALUE.", example)
    if scope not in scopes:
        raise UsageError(
            f"--set {item!r}: unknown scope '{scope}'.", f"{nearest(scope, list(scopes))} {example}".strip()
        )


def _check_scopes(root: Any, path: str | PathLike[str], scopes: Sequence[str]) -> None:
    """`root` is a YAML node, which knows its line."""
    import yaml

    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{path}, line {root.start_mark.line + 1}: expected a mapping of scopes.", _layout(scopes))
    for key, value in root.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        if key.value not in scopes:
            hint = f"{nearest(key.value, list(scopes))} {_layout(scopes)}".strip()
            raise UsageError(f"{where}: unknown scope '{key.value}'.", hint)
        if not isinstance(value, yaml.MappingNode):
            raise UsageError(f"{where}: '{key.value}' must be a mapping of settings.", _layout(scopes))


def _layout(scopes: Sequence[str]) -> str:
    return f"The scopes are {', '.join(scopes)}; under each stand lines of `key: value`."


def _unknown_key(key: str, keys: list[str], scope: str) -> UsageError:
    guess = nearest(key, keys)
    hint = f"{guess.replace(chr(39), chr(39) + scope + '.', 1)} " if guess else ""
    return UsageError(f"Unknown key {scope}.{key}.", f"{hint}Keys: {', '.join(keys) or 'none'}.")


def quote_base_60(text: str) -> str:
    """Quotes what YAML 1.1 takes for a number to base 60, so that `4:2:0` is text and not 14520."""
    import yaml

    found = [t for t in yaml.scan(text) if isinstance(t, yaml.ScalarToken) and t.plain and _BASE_60.fullmatch(t.value)]
    parts, end = list[str](), 0
    for token in found:
        parts += [text[end : token.start_mark.index], f"'{token.value}'"]
        end = token.end_mark.index
    return "".join([*parts, text[end:]])


def _plain(config: Any) -> Values:
    from omegaconf import OmegaConf

    container = OmegaConf.to_container(config)
    return {str(scope): dict(values) for scope, values in container.items()}  # type: ignore[union-attr]


def _shown(config: Any, key: str) -> str:
    from omegaconf import OmegaConf

    return REQUIRED if OmegaConf.is_missing(config, key) else repr(config[key])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else REQUIRED


@cache
def _comments(config_class: type[Any]) -> dict[str, str]:
    """From the name of each field to the comment that ends its last line."""
    try:
        source = textwrap.dedent(inspect.getsource(config_class))
    except (OSError, TypeError):
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    fields = [node for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    return {node.target.id: comments.get(node.end_lineno or 0, "") for node in fields}  # type: ignore[union-attr]
