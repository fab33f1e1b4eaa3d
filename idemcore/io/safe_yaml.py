"""YAML that someone else wrote: its size, its depth and what its aliases expand to are bounded before it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .files import read_file
from .limits import MAX_SETTINGS_BYTES

if TYPE_CHECKING:
    import yaml

MAX_NODES, MAX_DEPTH = 10_000, 50
"""Of a document with every alias written out."""


class TooMuch(ValueError):
    """A document that would take more memory or time than any settings do."""


def read_text(path: Path) -> str:
    """Reads a file. Raises UsageError if it cannot be read or is too long, UnicodeDecodeError if it is no text."""
    return read_file(path, MAX_SETTINGS_BYTES).decode()


def compose(text: str) -> yaml.Node | None:
    """The document's tree, None if it is empty. Raises yaml.YAMLError, and TooMuch if it is beyond the limits."""
    import yaml

    depth = 0
    for number, event in enumerate(yaml.parse(text, _loader())):  # bit by bit, unlike what follows
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise TooMuch(f"it is nested deeper than {MAX_DEPTH} levels")
        if number > 2 * MAX_NODES:
            raise TooMuch(f"it has more than {MAX_NODES:,} values")
    root: yaml.Node | None = yaml.compose(text, _loader())
    if root is not None:
        _check(root)
    return root


def safe_load(text: str) -> Any:
    """As `yaml.safe_load`. Raises ValueError for whatever cannot be loaded: yaml.YAMLError is none."""
    import yaml

    try:
        root = compose(text)
        return None if root is None else yaml.constructor.SafeConstructor().construct_document(root)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except (AttributeError, TypeError, LookupError, ArithmeticError) as error:  # of values such as `!!int ''`
        raise ValueError(f"a value does not fit its type: {error}") from error


def _loader() -> Any:
    """libyaml's where PyYAML was built with it: ten times as fast as the one in Python."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check(root: yaml.Node) -> None:
    """Counts each node as often as aliases name it."""
    import yaml

    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise TooMuch(f"it is nested deeper than {MAX_DEPTH} levels, or within itself")
        if id(node) not in sizes:
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            pairs = [child for pair in children for child in pair] if isinstance(node, yaml.MappingNode) else children
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in pairs)
        if sizes[id(node)] > MAX_NODES:
            raise TooMuch(f"it has more than {MAX_NODES:,} values")
        return sizes[id(node)]

    size(root, 0)


def too_much(path: Path | str, error: TooMuch) -> UsageError:
    """For a user."""
    return UsageError(f"{path} is refused: {error}.", "Settings and sweeps are shorter: split it.")
