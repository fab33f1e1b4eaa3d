"""Code of README and docs runs, page by page, on small images: docs/blocks.py tells how a page marks its blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from blocks import ROOT, Block, blocks, commands, pages
from idemcore.cli import main

RUNNING = [path for path in pages() if any(block.runs for block in blocks(path))]
SLOW = [path for path in RUNNING if any(block.slow for block in blocks(path))]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that pages run in, with the images that they name, from which Python imports."""
    with Image.open(ROOT / "examples" / "photo.png") as photo:
        crops = {name: photo.crop((x, 200, x + width, 200 + height)) for name, x, width, height in (
            ("photo.png", 300, 48, 40), ("face.png", 100, 64, 64), ("PHOTOS/a.png", 200, 40, 48),
            ("PHOTOS/b.png", 420, 48, 40), ("photos/a.png", 200, 40, 48), ("photos/b.png", 420, 48, 40),
            ("examples/photo.png", 300, 48, 40),
        )}  # fmt: skip
        for name, crop in crops.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            crop.save(tmp_path / name)
        (tmp_path / "album").mkdir()
        for name in ("old.jpg", "photo.jpg", "album/a.jpg", "album/b.jpg"):
            crops["photo.png"].save(tmp_path / name, quality=15)
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "old.jpg").read_bytes()[:-100])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield tmp_path
    # All are found before any is forgotten: the place of one within a folder follows from that folder's.
    mine = [n for n in set(sys.modules) - before if any(str(tmp_path) in place for place in places(sys.modules[n]))]
    for name in mine:
        del sys.modules[name]


def places(module: ModuleType) -> list[str]:
    """Where it lies: a folder without `__init__.py` is a module without a file."""
    return [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]


def perform(block: Block, namespace: dict[str, Any]) -> None:
    """Runs a block in the current folder."""
    if block.file:
        Path(block.file).parent.mkdir(parents=True, exist_ok=True)
        Path(block.file).write_text(block.text, encoding="utf-8")
    if block.language == "python" and block.file:
        import_module(block.file.removesuffix(".py").replace("/", "."))
    elif block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), namespace)
    elif block.language == "shell":
        for line, (program, *words) in commands(block):
            assert program in ("idem", "pip"), f"{block.page}:{line}: only idem runs here, not {program}"
            if program == "idem":
                call(f"{block.page}:{line}", words)


def call(where: str, words: list[str]) -> None:
    """`idem` with these words, which must end well."""
    result = CliRunner().invoke(main, words, prog_name="idem")
    assert result.exit_code == 0, f"{where}: idem {' '.join(words)} exits {result.exit_code}: {result.stderr[-600:]}"


def play(path: Path, slow: bool) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(path):
        if (block.runs or (block.file and not block.mark)) and (slow or not block.slow):
            perform(block, namespace)


@pytest.mark.parametrize("path", RUNNING, ids=named)
def test_page_runs(path: Path, stage: Path) -> None:
    play(path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", SLOW, ids=named)
def test_page_runs_with_all_that_takes_long(path: Path, stage: Path) -> None:
    play(path, slow=True)


def test_code_that_does_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """And is listed: `pytest -rP -k says_why`."""
    resting = [block for path in pages() for block in blocks(path) if block.mark.startswith("not run: ")]
    for block in resting:
        print(f"{block}: {block.language}: {block.mark}")
    reasons = [block.mark.removeprefix("not run: ") for block in resting]
    assert all(len(reason.split()) >= 2 for reason in reasons)


@pytest.mark.parametrize(
    ("language", "text"),
    [("python", "1 / 0"), ("python", "# broken.py\nimport nowhere"), ("shell", "idem decode nothing.jpg -o a.png")],
)
def test_a_wrong_block_is_found(language: str, text: str, stage: Path) -> None:
    with pytest.raises((ZeroDivisionError, ImportError, AssertionError)):
        perform(Block("page.md", 1, language, text, "runs"), {})
