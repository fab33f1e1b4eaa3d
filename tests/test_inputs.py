"""No command writes over any of its own inputs, by path, link or inode: exit 2, before any work."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from idemcore.errors import UsageError
from idemcore.io.files import atomic_write, write_together
from idemcore.io.inputs import declare_folder, declare_input, declare_output, declare_replaced, ledger, result_folders

TOY = ("--codec", "toy", "--generator", "toy", "--set", "solver.steps=2")
PRIOR = ("--generator", "toy", "--set", "solver.steps=2")


@pytest.fixture
def jpeg(photo: Path, tmp_path: Path) -> Path:
    Image.open(photo).convert("RGB").save(tmp_path / "old.jpg", quality=50)
    return tmp_path / "old.jpg"


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


@pytest.fixture
def refused(idem, tmp_path: Path):
    """Checks that a command exits with 2, names the input, and leaves every file as it is."""

    def call(*arguments: object, words: str = "destroy an input") -> None:
        before = content(tmp_path)
        result = idem(*arguments)
        assert result.exit_code == 2, (arguments, result.stderr)
        assert words in result.stderr
        assert content(tmp_path) == before

    return call


def as_link(path: Path, kind: str) -> Path:
    other = path.with_name(f"{kind}-{path.name}")
    if kind == "symlink":
        other.symlink_to(path)
    elif kind == "hard link":
        os.link(path, other)
    else:
        return path.parent / "." / "x" / ".." / path.name if (path.parent / "x").mkdir() is None else path
    return other


KINDS = ["symlink", "hard link", "dots"]


def test_decode_does_not_write_its_own_jpeg(refused, jpeg: Path, tmp_path: Path) -> None:
    refused("decode", jpeg, "-o", tmp_path / "x.png", "--write-jpeg", jpeg, *PRIOR)


@pytest.mark.parametrize("kind", KINDS)
def test_links_to_the_input_are_the_input(kind: str, refused, jpeg: Path, tmp_path: Path) -> None:
    other = as_link(jpeg, kind)
    refused("decode", jpeg, "-o", tmp_path / "x.png", "--write-jpeg", other, *PRIOR)
    refused("decode", other, "-o", tmp_path / "x.png", "--write-jpeg", jpeg, *PRIOR)
    refused("encode", jpeg, "-o", other)
    refused("encode", other, "-o", jpeg)


def test_settings_and_files_of_settings_are_inputs(refused, jpeg: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jpg").write_text("solver: {steps: 2}\n")
    refused("encode", jpeg, "-o", tmp_path / "c.jpg", "--config", tmp_path / "c.jpg")
    (tmp_path / "w.png").write_bytes(b"weights")
    refused("decode", jpeg, "-o", tmp_path / "w.png", "--set", f"generator.weights={tmp_path / 'w.png'}")


def test_a_certificate_beside_the_result_is_a_result(refused, jpeg: Path, tmp_path: Path) -> None:
    shutil.copy(jpeg, tmp_path / "a.certificate.json")
    refused("decode", tmp_path / "a.certificate.json", "-o", tmp_path / "a.png", *PRIOR)


def test_a_folder_is_not_decoded_over_its_own_files(refused, jpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.move(jpeg, tmp_path / "in" / "a.jpg")
    refused("decode", tmp_path / "in", "-o", tmp_path / "out", "--write-jpeg", tmp_path / "in", *PRIOR)
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "in" / "a.jpg", tmp_path / "out" / "a.jpg")
    refused("decode", tmp_path / "in", "-o", tmp_path / "out", "--write-jpeg", tmp_path / "out", *PRIOR)


def test_a_run_does_not_replace_the_folder_that_its_image_is_in(idem, refused, photo: Path, tmp_path: Path) -> None:
    assert idem("run", photo, "--out", tmp_path / "runs", *TOY).exit_code == 0
    inside = tmp_path / "runs" / "photo" / "photo.png"
    shutil.copy(photo, inside)
    refused("run", inside, "--out", tmp_path / "runs", *TOY, words="would replace the input")


def test_sampling_over_its_settings_is_refused(refused, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("generator: {}\n")
    refused("sample", "--generator", "toy", "-o", tmp_path / "x.png", "--config", tmp_path / "x.png")


def test_an_export_is_not_written_over_the_sweep(refused, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("axes: [{codec: toy, generator: toy}]\n")
    os.link(tmp_path / "s.yaml", tmp_path / "rows.csv")
    refused("sweep", tmp_path / "s.yaml", photo, "--store", tmp_path / "st", "--export", tmp_path / "rows.csv")


def test_training_does_not_replace_the_weights_that_it_starts_from(refused, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(photo, tmp_path / "data")
    (tmp_path / "out").mkdir()
    weights = tmp_path / "out" / "weights.safetensors"
    weights.write_bytes(b"weights")
    refused("train", "adm", tmp_path / "data", "--out", tmp_path / "out", "--set", f"train.init={weights}")


def test_another_existing_file_is_written(idem, jpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"another")
    for _ in range(2):
        assert idem("decode", jpeg, "-o", tmp_path / "x.png", *PRIOR).exit_code == 0
    assert Image.open(tmp_path / "x.png").size == Image.open(jpeg).size


def test_every_writer_asks(tmp_path: Path) -> None:
    """Whatever a command forgets to declare."""
    source = tmp_path / "a"
    source.write_bytes(b"mine")
    with ledger():
        declare_input(source)
        for write in (lambda: atomic_write(source, b""), lambda: write_together({tmp_path / "b": b"", source: b""})):
            with pytest.raises(UsageError, match="destroy an input"):
                write()
    assert source.read_bytes() == b"mine"
    assert not (tmp_path / "b").exists()
    atomic_write(source, b"other")  # nothing is known outside of a command


def test_order_of_declarations_does_not_matter(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"mine")
    with ledger():
        declare_output(source)
        with pytest.raises(UsageError):
            declare_input(source)
    with ledger():
        declare_input(source)
        with pytest.raises(UsageError, match="replace the input"):
            declare_replaced(tmp_path)


def test_names_that_cannot_be_files_are_none(tmp_path: Path) -> None:
    with ledger():
        declare_input("", "a\0b", "x" * 5000, tmp_path)
        declare_output("", "a\0b", "x" * 5000, tmp_path)


def test_results_in_a_folder_are_no_inputs_of_it(tmp_path: Path) -> None:
    with ledger():
        declare_folder(tmp_path / "in" / "out", tmp_path)
        assert result_folders(tmp_path / "in") == ((tmp_path / "in" / "out").resolve(),)
    assert result_folders(tmp_path / "in") == ()


def test_a_zip_file_is_decoded_as_a_folder_is(idem, jpeg: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(jpeg, "1998/a.jpg")
        archive.write(jpeg, "__MACOSX/1998/._a.jpg")
    result = idem("decode", tmp_path / "p.zip", "-o", tmp_path / "out", *PRIOR)
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "1998").iterdir()) == ["a.certificate.json", "a.png"]
    again = idem("decode", tmp_path / "p.zip", "-o", tmp_path / "out", *PRIOR, "--json")
    assert '"done_before": 1' in again.stdout
