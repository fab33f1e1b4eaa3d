"""Objects by name, as if a plugin provided them."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..plugins.catalogue import load_catalogue
from ..plugins.objects import HERE, keep, kind_of, spec_of


def register(thing: Any, name: str = "") -> str:
    """Makes an object, or a function as a metric, available by name in this process; returns the name.

    `register(MySolver(steps=8), "mine")`, then `decode("old.jpg", solver="mine")` and `{"solver": ["mine", "cell"]}` of
    `sweep`. A later object takes the place of an earlier one, so that a notebook's cell may run again. Raises
    UsageError for a name that an installed plugin provides.
    """
    spec, kind = spec_of(thing, name), kind_of(thing)
    for owner, other in load_catalogue().specs(kind):
        if other.name == spec.name and owner != HERE:
            hint = f'Give another: `register(..., "my-{spec.name}")`.'
            raise UsageError(f"{owner} provides a {kind} named '{spec.name}' already.", hint)
    return keep(spec, kind)
