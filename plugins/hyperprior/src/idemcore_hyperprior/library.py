"""The weights that the hyperprior models can be asked for. Light: imports no CompressAI."""

from __future__ import annotations

from pathlib import Path

from idemcore.learned.weights import Library

from .config import PUBLISHED

LIBRARY = Library("hyperprior", Path(__file__).parent / "weights", {name: name for name in PUBLISHED})

identify = LIBRARY.identify
"""The settings that decode a container of a model, or None."""
