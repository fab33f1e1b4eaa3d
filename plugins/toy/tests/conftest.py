from __future__ import annotations

import pytest
import torch

from idemcore.runtime import Runtime
from idemcore_toy.config import ToyPriorConfig
from idemcore_toy.generator import ToyGenerator


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def prior(runtime: Runtime) -> ToyGenerator:
    return ToyGenerator(ToyPriorConfig(), runtime)
