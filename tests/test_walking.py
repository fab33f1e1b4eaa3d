"""Folders and zip files: one rule of what is taken, for all commands, and a count of what is left out."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idemcore.errors import IdemWarning, UsageError
from idemcore.io.image_sets import pictures, sources
from idemcore.io.inputs import declare_folder, ledger
from idemcore.io.walking import BITSTREAM_SUFFIXES, IMAGE_SUFFIXES, JPEG_SUFFIXES, walk


def picture(kind: str = "PNG", seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


FILES = {
    "a.png": picture(),
    "in/b.jpg": picture("JPEG", 1),
    "c.mpo": picture("JPEG", 2),
    "d.jps": picture("JPEG", 3),
    "e.JFIF": picture("JPEG", 4),
    "f.jpe": picture("JPEG", 5),
}
PASSED_OVER = {
    "._a.png": b"\0\5\x16\7junk",
    "in/._b.jpg": b"\0\5\x16\7junk",
    ".hidden.png": picture(seed=6),
    ".thumbs/a.png": picture(seed=7),
    "__MACOSX/a.png": picture(seed=8),
    "__MACOSX/in/._b.jpg": b"junk",
}
OTHERS = {"letter.txt": b"Dear reader", "raw.nef": b"raw", "notes.TXT": b"more", "Makefile": b"all:"}


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path: Path) -> Path:
    files = FILES | PASSED_OVER | OTHERS
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
            archive.writestr("in/", b"")
            for name, content in files.items():
                archive.writestr(name, content)
        return tmp_path / "p.zip"
    for name, content in files.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(content)
    return tmp_path / "p"


def test_hidden_files_and_companions_are_passed_over_and_others_counted(place: Path) -> None:
    with pytest.warns(IdemWarning, match="left out 4 files: 2 .txt, 1 ") as notes:
        found = walk(place, IMAGE_SUFFIXES)
    assert sorted(source.name for source in found) == sorted(FILES)
    assert len(notes) == 1


def test_all_commands_take_the_same_jpegs() -> None:
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".jps", ".mpo"} <= JPEG_SUFFIXES
    assert JPEG_SUFFIXES <= IMAGE_SUFFIXES & BITSTREAM_SUFFIXES


@pytest.mark.filterwarnings("ignore::idemcore.errors.IdemWarning")
def test_images_for_measuring_and_for_training_are_the_same(place: Path) -> None:
    assert len(sources(place)) == len(list(pictures(place))) == len(FILES)


def test_a_place_with_nothing_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "x.nef").write_bytes(b"raw")
    (tmp_path / "._a.png").write_bytes(b"junk")
    with pytest.raises(UsageError, match=r"holds no images. It has 1 file: 1 \.nef"):
        walk(tmp_path, IMAGE_SUFFIXES)


def test_many_kinds_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    for number in range(9):
        (tmp_path / f"x.k{number}").write_bytes(b"")
    with pytest.warns(IdemWarning, match=r"9 files: .*, 4 others$"):
        walk(tmp_path, IMAGE_SUFFIXES)


def test_what_a_command_writes_is_no_input(tmp_path: Path) -> None:
    for name in ("a.png", "out/samples.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture())
    with ledger():
        declare_folder(tmp_path / "out")
        assert [source.name for source in walk(tmp_path, IMAGE_SUFFIXES)] == ["a.png"]


@pytest.fixture
def mac(tmp_path: Path) -> Path:
    folder = tmp_path / "mac"
    folder.mkdir()
    for name, content in {"a.png": picture(), "._a.png": b"junk", ".hidden.png": picture(seed=1)}.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_sweep_and_an_eval_of_a_folder_from_a_mac(idem, mac: Path, tmp_path: Path) -> None:
    toy = ("--set", "solver.steps=2")
    result = idem("sweep", "codec=toy", "generator=toy", mac, "--store", tmp_path / "s", "--metrics", "psnr", *toy,
                  "--json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    result = idem("eval", mac, "--codec", "toy", "--generator", "toy", "--metrics", "psnr", *toy, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["rows"]) == 1


def test_a_folder_named_like_a_setting_is_a_folder(idem, tmp_path: Path) -> None:
    folder = tmp_path / "d=1,2"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = idem("sweep", "codec=toy", "generator=toy", "d=1,2", "--store", "s", "--metrics", "psnr",
                      "--set", "solver.steps=2")  # fmt: skip
    assert result.exit_code == 0, result.stderr
