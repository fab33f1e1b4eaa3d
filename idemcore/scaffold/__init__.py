"""`idem plugins new`: a complete distribution of a plugin, small and working, to be edited. Light: imports no torch."""

from __future__ import annotations

from .naming import Names, names_of
from .writing import KINDS, write_plugin

__all__ = ["KINDS", "Names", "names_of", "write_plugin"]
