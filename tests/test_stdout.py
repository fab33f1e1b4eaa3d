"""stdout belongs to data, whatever prints while a command runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from idemcore.io.stdout import data_stream, guarded_stdout

CODE = """
import os, sys
from pathlib import Path
from idemcore.io.files import atomic_write
from idemcore.io.stdout import data_stream, guarded_stdout
with guarded_stdout():
    print("noise")
    sys.stdout.buffer.write(b"noise")
    os.write(1, b"noise")
    os.system("echo noise")
    print("data", file=data_stream())
    {extra}
    atomic_write(Path("/dev/stdout"), b"more data\\n")
print("after")
"""


@pytest.mark.parametrize("extra", ["pass", "sys.stdout.close()", "os.close(1)"])
def test_only_data_reaches_stdout(extra: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(extra=extra)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["data", "more data", "after"]
    assert done.stderr.count("noise") == 4


def test_a_stdout_that_is_closed_already_is_no_traceback() -> None:
    command = ["sh", "-c", '"$0" -m idemcore.cli codecs list >&-', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_the_stream_of_before_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with guarded_stdout(), guarded_stdout():
        print("talk")
        print("data", file=data_stream())
    assert sys.stdout is before is data_stream()
    assert capsys.readouterr() == ("data\n", "talk\n")


def test_commands_print_json_only(idem, photo, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    import idemcore_toy.encoder as toy

    real = toy.ToyEncoder.encode

    def loud(self, image):  # type: ignore[no-untyped-def]
        print("NOISE")
        return real(self, image)

    monkeypatch.setattr(toy.ToyEncoder, "encode", loud)
    for words in (
        ("run", photo, "--out", tmp_path / "runs", "--codec", "toy", "--generator", "toy"),
        ("encode", photo, "-o", tmp_path / "a.idem", "--codec", "toy"),
        ("decode", tmp_path / "a.idem", "-o", tmp_path / "a.png", "--generator", "toy"),
        ("verify", tmp_path / "a.png", tmp_path / "a.idem"),
        ("eval", photo, "--codec", "toy", "--generator", "toy", "--metrics", "psnr"),
        ("sweep", photo, "codec=toy", "generator=toy", "--store", tmp_path / "s", "--metrics", "psnr"),
    ):
        result = idem(*words, "--json")
        assert result.exit_code == 0, (words, result.stderr)
        assert [json.loads(line) for line in result.stdout.splitlines()]
        assert "NOISE" not in result.stdout
