"""The codec: every law of idem's conformance kit, then what is special about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import idemcore as idem
from idemcore.pipeline.certify import certify
from idemcore.testing import parametrize_with_checks

from myplugin.config import STEPS


@parametrize_with_checks("my-plugin")
def test_conformance(check: Any) -> None:
    check()


@pytest.mark.parametrize("quality", STEPS)
def test_any_image_is_moved_to_one_that_encodes_to_the_same_bytes(quality: int) -> None:
    image, other = torch.rand(2, 1, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    bitstream = idem.load_codec("my-plugin", quality=quality).encode(0.1 + 0.8 * image)
    assert certify(bitstream.cell, other).exact == [True]
