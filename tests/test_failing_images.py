"""One path for an image that fails, in eval, sweep and the others: a row or a line that says why, and then the next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from idemcore.cli.group import explain
from idemcore.plugins.blame import as_failure

OUT_OF_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")
TOY = ("--metrics", "psnr", "--set", "solver.steps=2", "--json")


@pytest.mark.parametrize(
    "error", [OUT_OF_MEMORY, MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_ran_out_says_what_to_try(error: Exception) -> None:
    assert "--batch" in as_failure(error).hint
    assert "\n" not in str(as_failure(error))
    assert explain(error) == (str(as_failure(error)), 1)


@pytest.fixture
def two(photo: Path, tmp_path: Path) -> Path:
    from PIL import Image

    (tmp_path / "set").mkdir()
    shutil.copy(photo, tmp_path / "set" / "small.png")
    Image.open(photo).resize((80, 48)).save(tmp_path / "set" / "large.png")
    return tmp_path / "set"


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which the larger image does not fit."""
    from idemcore_toy.generator import ToyGenerator

    real = ToyGenerator.denoise

    def denoise(self, x, sigma):  # type: ignore[no-untyped-def]
        if x.shape[-1] > 50:
            raise OUT_OF_MEMORY
        return real(self, x, sigma)

    monkeypatch.setattr(ToyGenerator, "denoise", denoise)


@pytest.mark.usefixtures("small_memory")
def test_an_eval_goes_on_after_memory_ran_out(idem, two: Path) -> None:
    result = idem("eval", two, "--codec", "toy", "--generator", "toy", *TOY, "--batch", "4")
    assert result.exit_code == 1
    assert [row["image"] for row in json.loads(result.stdout)["rows"]] == ["small.png"]
    assert "large.png: Out of memory" in result.stderr
    assert "--batch" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("small_memory")
def test_a_run_of_several_goes_on_after_memory_ran_out(idem, two: Path, tmp_path: Path) -> None:
    result = idem("run", two / "small.png", two / "large.png", "--codec", "toy", "--generator", "toy", "--out",
                  tmp_path / "runs", "--set", "solver.steps=2")  # fmt: skip
    assert result.exit_code == 1
    assert (tmp_path / "runs" / "small").is_dir()
    assert "Out of memory" in result.stderr
