"""CompressAI's range coder without the rest of CompressAI, whose import takes seconds."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from types import ModuleType

from idemcore.errors import MissingError

NAME = "compressai.ans"


def range_coder() -> ModuleType:
    """The module `compressai.ans`. Raises MissingError if CompressAI is not installed."""
    if NAME not in sys.modules:
        package = importlib.util.find_spec("compressai")  # finds it without running it
        found = PathFinder.find_spec(NAME, package.submodule_search_locations) if package else None
        if found is None or found.loader is None:
            raise MissingError("The codec 'elic' needs CompressAI's range coder.", "Type `pip install compressai`.")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        sys.modules[NAME] = module  # so that an import of CompressAI later on finds the same one
    return sys.modules[NAME]
