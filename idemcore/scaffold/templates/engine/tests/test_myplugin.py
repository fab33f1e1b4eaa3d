"""The engine: every law of idem's conformance kit, then what is special about it."""

from __future__ import annotations

from typing import Any

import pytest

from idemcore.testing import parametrize_with_checks

from myplugin.config import EngineConfig


@parametrize_with_checks("my-plugin")
def test_conformance(check: Any) -> None:
    check()


def test_an_engine_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        EngineConfig(workers=0)
