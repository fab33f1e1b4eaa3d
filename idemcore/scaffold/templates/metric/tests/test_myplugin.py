"""The metric: every law of idem's conformance kit, then a value that is known."""

from __future__ import annotations

from typing import Any

import torch

from idemcore.results.case import Case
from idemcore.runtime import Runtime
from idemcore.testing import parametrize_with_checks

from myplugin.metric import MeanAbsoluteError

METRIC = MeanAbsoluteError(None, Runtime(torch.device("cpu"), torch.float32))


@parametrize_with_checks("my-plugin")
def test_conformance(check: Any) -> None:
    check()


def test_it_is_in_grey_levels() -> None:
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert METRIC.measure(Case(("one",), reconstruction=black + 3, original=black)).tolist() == [3.0]


def test_without_an_original_it_is_undefined() -> None:
    assert METRIC.measure(Case(("one",), torch.zeros(1, 3, 4, 4, dtype=torch.uint8))).isnan().all()
