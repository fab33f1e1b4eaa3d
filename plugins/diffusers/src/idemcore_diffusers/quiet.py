"""Without the progress bars and remarks of the libraries, which are as they were afterwards."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from diffusers.utils import is_transformers_available

LIBRARIES = ("diffusers", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Errors are raised as ever."""
    names = LIBRARIES if is_transformers_available() else LIBRARIES[:1]
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    bars = [bar for bar in (import_module(f"{name}.utils.logging") for name in names) if bar.is_progress_bar_enabled()]
    _switch(bars, "disable")
    for logger, _ in before:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        _switch(bars, "enable")
        for logger, level in before:
            logger.setLevel(level)


def _switch(bars: list[Any], way: str) -> None:
    for bar in bars:
        getattr(bar, f"{way}_progress_bar")()
