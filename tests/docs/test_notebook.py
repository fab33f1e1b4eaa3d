"""The notebook of examples/ runs, without Jupyter, and what is kept of its cells is what they show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import notebook
from blocks import ROOT
from idemcore.plugins import objects

EXAMPLES = ROOT / "examples"


def shown(content: dict[str, Any]) -> list[list[str]]:
    """Of each code cell the kinds of its outputs."""
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    return [sorted(kind for output in cell["outputs"] for kind in output.get("data", {"stream": 0})) for cell in code]


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Any:
    before = dict(objects._REGISTERED)
    yield
    objects._REGISTERED.clear()
    objects._REGISTERED.update(before)


def test_parts_of_your_own_run_and_show_themselves(tmp_path: Path) -> None:
    for name in ("own_parts.ipynb", "photo.png"):
        shutil.copy(EXAMPLES / name, tmp_path)
    ran = notebook.run(tmp_path / "own_parts.ipynb")
    kept = json.loads((EXAMPLES / "own_parts.ipynb").read_text(encoding="utf-8"))
    assert shown(ran) == shown(kept), "run python docs/notebook.py examples/own_parts.ipynb"
    assert sum("image/png" in kinds for kinds in shown(ran)) == 4
    assert sum("text/html" in kinds for kinds in shown(ran)) == 1
    text = json.dumps(ran)
    assert text.count("exact 1.000") == 8
    assert "verified: True" in text


def test_a_cell_that_fails_is_named(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["x = 1\n", "x"]}, {"cell_type": "code", "source": ["1 / 0"]}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(ZeroDivisionError) as error:
        notebook.run(tmp_path / "a.ipynb")
    assert "a.ipynb, cell 2" in str([entry.path for entry in error.traceback])
