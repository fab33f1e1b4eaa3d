"""The range coder is loaded without CompressAI, and is CompressAI's own if that is imported before or after."""

from __future__ import annotations

import subprocess
import sys

import pytest

from idemcore.errors import MissingError
from idemcore_elic import rans


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CODER = "encoder = coder.BufferedRansEncoder(); encoder.encode_with_indexes([3], [0], [[0, 1, 65536]], [3], [0])\n"


def test_it_is_loaded_without_compressai_and_is_the_same_when_that_comes_later() -> None:
    code = (
        "import sys\nfrom idemcore_elic.rans import range_coder\ncoder = range_coder()\n"
        "assert not {'compressai', 'torch'} & set(sys.modules), 'light'\n"
        f"{CODER}data = encoder.flush()\n"
        "from compressai.ans import RansDecoder\nfrom compressai import ans\n"
        "assert ans is coder is sys.modules['compressai.ans'] and RansDecoder is coder.RansDecoder\n"
        "assert range_coder() is coder\n"
        "import compressai.models\ncompressai.available_entropy_coders()\n"
        "decoder = ans.RansDecoder(); decoder.set_stream(data + bytes(64))\n"
        "print(decoder.decode_stream([0], [[0, 1, 65536]], [3], [0]))"
    )
    assert python(code) == "[3]\n"


def test_it_is_that_of_a_compressai_imported_before() -> None:
    assert (
        python("from compressai import ans\nfrom idemcore_elic.rans import range_coder\nprint(range_coder() is ans)")
        == "True\n"
    )


def test_without_compressai_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, rans.NAME, raising=False)
    monkeypatch.setattr(rans.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="range coder") as caught:
        rans.range_coder()
    assert "pip install compressai" in caught.value.hint
