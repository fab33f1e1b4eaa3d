"""The weights that ELIC can be asked for. Light: builds no network, so that bitstreams are identified at once."""

from __future__ import annotations

from pathlib import Path

from idemcore.learned.weights import Library

LIBRARY = Library("elic", Path(__file__).parent / "weights", {"chandelier": "elic-chandelier"})

identify = LIBRARY.identify
"""The settings that decode a container of a model, or None."""
