"""The solver: every law of idem's conformance kit, on toy codecs and priors, then what is special about it."""

from __future__ import annotations

from typing import Any

import pytest

import idemcore as idem
from idemcore.errors import UsageError
from idemcore.testing import parametrize_with_checks


@parametrize_with_checks("my-plugin")
def test_conformance(check: Any) -> None:
    check()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="steps must be at least 1"):
        idem.load_decoder(solver="my-plugin", settings={"solver": {"steps": 0}})
