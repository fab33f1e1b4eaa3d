from __future__ import annotations

import pytest
import torch

from idemcore.runtime import Runtime


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)
