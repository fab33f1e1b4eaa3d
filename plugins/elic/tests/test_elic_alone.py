"""ELIC needs no CompressAI: not to encode, not to decode, not to train."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = """
import sys
sys.modules["compressai"] = None  # whoever imports it gets an ImportError
import torch
from idemcore.pipeline.codec import Codec, open_bitstream
image = torch.rand(1, 3, 33, 17)
data = Codec.load("elic", quality=1).encode(image).data
import idemcore_elic.encoder
print(open_bitstream(data).decoded.shape, callable(idemcore_elic.encoder.train))
"""


def test_it_works_where_compressai_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=300)
    assert done.stdout == "torch.Size([1, 3, 33, 17]) True\n", done.stderr[-2000:]


def test_its_package_asks_for_no_compressai() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert "compressai" not in project
