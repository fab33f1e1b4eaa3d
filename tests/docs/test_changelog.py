"""Fragments of the changelog: towncrier finds each, and shows it under its heading."""

from __future__ import annotations

import subprocess
import sys

from blocks import ROOT


def test_a_release_would_tell_every_fragment() -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert "## 9.9.9" in told
    assert told.count("\n- ") == len(fragments)
    for path in fragments:
        assert " ".join(path.read_text(encoding="utf-8").split()) in " ".join(told.split()), path.name
        assert f"### {path.name.split('.')[1].capitalize()}" in told
