"""What a sweep spans: axes over names and settings, from `KEY=VALUES` or a YAML file. Imports no torch.

A key is `codec`, `generator`, `solver`, `seed`, `tradeoff`, `quality` (short for `codec.quality`) or any
`SCOPE.SETTING`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import UsageError, nearest
from ..io.safe_yaml import TooMuch, compose, read_text, too_much
from ..plugins.settings import SCOPES, UNREADABLE, parse_overrides, quote_base_60

NAMES = ("codec", "generator", "solver")
PLAIN_KEYS = (*NAMES, "quality", "tradeoff", "seed")
GRID_KEYS, FILE_KEYS = ("axes", "base", "exclude"), ("title", "images", "crop", "size", "limit", "metrics", "until")
PART_KEYS = ("name", *GRID_KEYS)
"""Of one grid of several."""

MOST_POINTS = 1_000_000
"""Combinations of one grid; a range counts out as many values at most."""

_SHORT = {"codec.quality": "quality"}
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(\d+))?")

Point = Mapping[str, Any]
"""One value for each key, e.g. `{"codec": "jpeg", "quality": 10, "seed": 0}`."""


@dataclass(frozen=True)
class Grid:
    """The product of `axes`, around the fixed values of `base`."""

    axes: Mapping[str, tuple[Any, ...]]
    base: Point = field(default_factory=dict)
    exclude: tuple[Mapping[str, tuple[Any, ...]], ...] = ()
    """Points that have, for every key of one of these, one of its values are left out. `quality` is spelt so here."""
    name: str = ""
    """By which the command line can change this grid alone."""

    def points(self) -> Iterator[Point]:
        """The last axis varies fastest. Raises UsageError for more than MOST_POINTS."""
        if (count := math.prod(map(len, self.axes.values()))) > MOST_POINTS:
            raise UsageError(f"The axes span {count:,} combinations, more than {MOST_POINTS:,}.", "Split the sweep.")
        for values in product(*self.axes.values()):
            point = {**self.base, **dict(zip(self.axes, values, strict=True))}
            if not self._excludes(point):
                yield point

    def _excludes(self, point: Point) -> bool:
        named = {_SHORT.get(key, key): value for key, value in point.items()}
        return any(all(named.get(key) in values for key, values in rule.items()) for rule in self.exclude)


@dataclass(frozen=True)
class Definition:
    """A sweep as it was asked for."""

    grids: tuple[Grid, ...]
    images: tuple[str, ...] = ()
    """Files, folders and zip files."""
    crop: int | None = None
    """Side of the square cut from their middle, pixels."""
    size: int | None = None
    """Side to which their middle square is resized, pixels."""
    limit: int | None = None
    """Most images."""
    metrics: tuple[str, ...] = ()
    title: str = ""
    until: Mapping[str, float] = field(default_factory=dict)
    """By metric, the half-width of its 95 % interval at which a configuration needs no more images."""

    def points(self) -> list[Point]:
        """The points of all grids."""
        return [point for grid in self.grids for point in grid.points()]

    def with_axes(self, axes: Mapping[str, tuple[Any, ...]], base: Point) -> Definition:
        """These values in the place of the same keys of every grid; those of `GRID:KEY` in that grid alone.

        GRID is its name, or its number from 1 on. Raises UsageError for a grid that is not there.
        """
        names = [{grid.name, str(number)} - {""} for number, grid in enumerate(self.grids, 1)]
        for key in axes:
            if (owner := key.rpartition(":")[0]) and not any(owner in own for own in names):
                known = ", ".join(grid.name or str(number) for number, grid in enumerate(self.grids, 1))
                raise UsageError(f"{key}: the sweep has no grid '{owner}'.", f"Its grids are: {known}.")
        grids = (_overlaid(grid, _axes_of(axes, own), base) for grid, own in zip(self.grids, names, strict=True))
        return replace(self, grids=tuple(grids))

    def facts(self) -> dict[str, Any]:
        """For meta.json."""
        return dict(json.loads(json.dumps(asdict(self), default=str)))


def parse_axes(items: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """`["codec=jpeg,elic", "quality=1..4"]` to the values of each key, which are YAML or ranges `FIRST..LAST[..STEP]`.

    A key may be `GRID:KEY`, see `Definition.with_axes`. Raises UsageError for an unknown key, and for a key that is
    there twice.
    """
    axes: dict[str, tuple[Any, ...]] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not text.strip():
            raise UsageError(f"'{item}' is not KEY=VALUES.", "Write e.g. quality=1..4 or solver=cell,dps.")
        try:
            values = parse_overrides([f"axis.values=[{text}]"], ("axis",))["axis"]["values"]
        except UsageError as error:
            raise UsageError(f"'{item}' cannot be read.", "Quote a value that is not plain YAML.") from error
        check_key(key.rpartition(":")[2])
        if key in axes:
            raise UsageError(f"The key '{key}' is there twice.", f"Write all its values at once: {key}=A,B.")
        check_one_key(item, values)
        axes[key] = spread(values, key)
    return axes


def check_one_key(item: str, values: Sequence[Any]) -> None:
    """Raises UsageError where one of the values of `item` is itself a key with a value, as in `codec=a,solver=b`."""
    for value in values:
        key, equals, _ = str(value).partition("=")
        if equals and (key in PLAIN_KEYS or key.partition(".")[0] in SCOPES):
            first = item.partition(f",{key}=")[0]
            raise UsageError(f"'{item}' holds two keys.", f"Give each a word of its own: {first} and {value}.")


def load_definition(path: Path) -> Definition:
    """A YAML file with `axes` (a mapping, or a list of mappings whose grids are joined), `base`, `exclude`, `images`,
    `crop`, `size`, `limit`, `metrics` and `title`.

    Each grid of a list may be `{axes: ..., base: ..., exclude: ...}` too. Raises UsageError naming file and key.
    """
    try:
        return parse_definition(load_yaml(path))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def load_yaml(path: Path) -> Any:
    """Raises UsageError for a file that is none."""
    import yaml
    from omegaconf import OmegaConf  # unlike yaml, it takes 1e-3 for a number
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = read_text(path)
        compose(text)
        return OmegaConf.to_container(OmegaConf.create(quote_base_60(text)))
    except AssertionError:  # of OmegaConf, which holds no number alone; nor does anything that is read here
        return text
    except TooMuch as error:
        raise too_much(path, error) from error
    except (yaml.YAMLError, OmegaConfBaseException, *UNREADABLE) as error:
        raise UsageError(f"{path} is not a YAML file: {' '.join(str(error).split())}.") from error


def parse_definition(content: Any) -> Definition:
    """The definition in the content of such a file. Raises UsageError naming the key."""
    if not isinstance(content, dict):
        raise UsageError("expected a mapping.", f"Its keys are {', '.join((*GRID_KEYS, *FILE_KEYS))}.")
    _check_keys(content, (*GRID_KEYS, *FILE_KEYS))
    axes = content.get("axes") or {}
    listed = [_mapping(part, "axes") for part in _listed(axes)]
    parts = [part if "axes" in part else {"axes": part} for part in listed]
    return Definition(
        grids=tuple(_grid(part, content) for part in parts),
        images=tuple(map(str, _listed(content.get("images", [])))),
        crop=_count(content, "crop"),
        size=_count(content, "size"),
        limit=_count(content, "limit"),
        metrics=tuple(map(str, _listed(content.get("metrics", [])))),
        title=str(content.get("title", "")),
        until=_widths(_mapping(content.get("until"), "until")),
    )


def spread(values: Any, key: str) -> tuple[Any, ...]:
    """A value or a list of values, with ranges `1..4` counted out. Raises UsageError for an empty list or range."""
    found: list[Any] = []
    for value in values if isinstance(values, list) else [values]:
        match = _RANGE.fullmatch(value) if isinstance(value, str) else None
        found += _counted(match) if match else [value]
    if not found:
        raise UsageError(f"The key '{key}' has no values: {values!r}.", "Ranges go up, e.g. 1..4 or 10..90..20.")
    return tuple(found)


def check_key(key: str) -> str:
    """The key. Raises UsageError if it cannot be one."""
    scope, dot, setting = key.partition(".")
    if key in PLAIN_KEYS or (dot and setting and scope in SCOPES):
        return key
    guess = nearest(key, list(PLAIN_KEYS))
    keys = f"Keys: {', '.join(PLAIN_KEYS)}, or SCOPE.SETTING with one of the scopes {', '.join(SCOPES)}."
    raise UsageError(f"There is no key '{key}'.", f"{guess} {keys}".strip())


def _counted(match: re.Match[str]) -> list[int]:
    if len(match[0]) > 60:
        raise UsageError(f"The range {match[0][:20]}... has too many digits.", "Ranges are such as 1..4 or 10..90..20.")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    values = range(first, last + 1, step) if step else range(0)
    if values[MOST_POINTS:]:
        raise UsageError(f"The range {match[0]} has more than {MOST_POINTS:,} values.", "Give it a step: 0..90..10.")
    return list(values)


def _overlaid(grid: Grid, axes: Mapping[str, tuple[Any, ...]], base: Point) -> Grid:
    kept = {key: values for key, values in grid.axes.items() if key not in base}
    fixed = {key: value for key, value in {**grid.base, **base}.items() if key not in axes}
    return replace(grid, axes={**kept, **axes}, base=fixed)


def _axes_of(axes: Mapping[str, tuple[Any, ...]], grid: AbstractSet[str]) -> dict[str, tuple[Any, ...]]:
    """The axes of all grids, overlaid by those of the grid with one of these names."""
    split = {key: key.rpartition(":") for key in axes}
    shared = {key: values for key, values in axes.items() if not split[key][0]}
    return shared | {split[key][2]: values for key, values in axes.items() if split[key][0] in grid}


def _grid(part: Mapping[str, Any], shared: Mapping[str, Any]) -> Grid:
    _check_keys(part, PART_KEYS)
    axes = {check_key(key): spread(values, key) for key, values in _mapping(part["axes"], "axes").items()}
    base = {**_mapping(shared.get("base"), "base"), **_mapping(part.get("base"), "base")}
    rules = [*_listed(shared.get("exclude", [])), *_listed(part.get("exclude", []))]
    exclude = tuple(_rule(rule) for rule in rules)
    return Grid(
        axes,
        {check_key(key): value for key, value in base.items() if key not in axes},
        exclude,
        str(part.get("name", "")),
    )


def _rule(rule: Any) -> dict[str, tuple[Any, ...]]:
    found = {_SHORT.get(check_key(key), key): spread(values, key) for key, values in _mapping(rule, "exclude").items()}
    if not found:
        raise UsageError("exclude: a rule without keys would leave out everything.", "e.g. {solver: dps, quality: 5}")
    return found


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value or {}, dict):
        raise UsageError(f"{name}: expected a mapping of keys to values, not {value!r}.", "e.g. {solver.steps: 8}")
    return {str(key): inner for key, inner in (value or {}).items()}


def _check_keys(content: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            guess = nearest(str(key), list(known))
            raise UsageError(f"unknown key '{key}'.", f"{guess} Keys: {', '.join(known)}.".strip())


def _count(content: Mapping[str, Any], key: str) -> int | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise UsageError(f"{key} is {value!r}, not a number from 1 on.")
    return value


def _widths(found: Mapping[str, Any]) -> dict[str, float]:
    for name, width in found.items():
        if isinstance(width, bool) or not isinstance(width, int | float) or not width > 0:
            raise UsageError(f"until: {name} is {width!r}, not a width above 0.", "Write e.g. psnr=0.1.")
    return {name: float(width) for name, width in found.items()}


def parse_until(text: str) -> dict[str, float]:
    """`psnr=0.1,lpips=0.01` as the key `until` of a file has it. Raises UsageError."""
    try:
        pairs = [(name, float(width)) for name, _, width in (item.partition("=") for item in text.split(","))]
    except ValueError as error:
        raise UsageError(f"--until {text} is not METRIC=WIDTH.", "Write e.g. --until psnr=0.1.") from error
    return _widths(dict(pairs))


def _listed(value: Any) -> list[Any]:
    """What stands behind a key: nothing, one thing or several."""
    return [] if value is None else value if isinstance(value, list) else [value]
