"""Each wrong input: the right exit code, one paragraph that says what and what next, and nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from idemcore.cli.group import explain

TOY = ("--codec", "toy", "--generator", "toy")


@pytest.fixture
def check(idem, tmp_path):
    """`check(code, words, *arguments)` runs the command and checks all that holds for every error."""

    def call(code: int, words: tuple[str, ...], *arguments: object) -> str:
        before = files(tmp_path)
        result = idem(*arguments)
        message = result.stderr
        assert result.exit_code == code, message
        assert message.startswith("error: ")
        assert message.count("\n") == 1, "one paragraph"
        for word in words:
            assert word in message
        assert result.stdout == ""
        assert files(tmp_path) == before, "nothing half-written"
        return message

    return call


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture
def stream(idem, photo, tmp_path) -> Path:
    path = tmp_path / "photo.idem"
    assert idem("encode", photo, "-o", path, "--codec", "toy").exit_code == 0
    return path


def test_missing_file(check, tmp_path):
    check(2, ("absent.png", "No such file"), "run", tmp_path / "absent.png", *TOY, "--out", tmp_path / "out")
    check(2, ("absent.idem", "No such file"), "decode", tmp_path / "absent.idem", "-o", tmp_path / "out.png")


def test_text_file_named_png(check, tmp_path):
    path = tmp_path / "letter.png"
    path.write_text("Dear reader,")
    check(1, ("letter.png", "not an image"), "run", path, *TOY, "--out", tmp_path / "out")
    check(3, ("letter.png", "not a bitstream"), "decode", path, "-o", tmp_path / "out.png")


def test_truncated_jpg(check, photo, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.open(photo).resize((160, 96)).save(path, quality=90)
    path.write_bytes(path.read_bytes()[:2000])
    check(1, ("photo.jpg", "cut short"), "run", path, *TOY, "--out", tmp_path / "out")
    check(3, ("photo.jpg: ", "JPEG"), "decode", path, "-o", tmp_path / "out.png", "--mse")


def test_empty_file(check, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"")
    check(1, ("photo.jpg", "empty"), "run", path, *TOY, "--out", tmp_path / "out")
    check(3, ("photo.jpg", "empty"), "decode", path, "-o", tmp_path / "out.png")


def test_folder_as_an_image(check, tmp_path):
    check(2, ("is a folder", "*.png"), "run", tmp_path, *TOY, "--out", tmp_path / "out")
    check(2, ("directory",), "encode", tmp_path, "-o", tmp_path / "out.jpg")


@pytest.mark.parametrize("length", [0, 2, 10, 100, -1])
def test_truncated_idem(check, stream, tmp_path, length):
    stream.write_bytes(stream.read_bytes()[:length])
    check(3, ("photo.idem",), "decode", stream, "-o", tmp_path / "out.png", "--generator", "toy")


@pytest.mark.parametrize("position", [0, 3, 5, 8, 9, 40, -1])
def test_bit_flipped_idem(check, stream, tmp_path, position):
    data = bytearray(stream.read_bytes())
    data[position] ^= 4
    stream.write_bytes(data)
    check(3, ("photo.idem",), "decode", stream, "-o", tmp_path / "out.png", "--generator", "toy")


def test_idem_of_an_unknown_model(check, tmp_path):
    from idemcore.pipeline.container import Container

    path = tmp_path / "other.idem"
    path.write_bytes(Container(b"\1\2\3\4", 8, 8, b"payload").pack())
    check(4, ("other.idem", "01020304", "idem codecs list"), "decode", path, "-o", tmp_path / "out.png")


@pytest.mark.parametrize(
    ("option", "typed", "meant"), [("--codec", "jpge", "jpeg"), ("--generator", "ddpm-foto", "ddpm-photo")]
)
def test_unknown_name_offers_the_nearest(check, photo, tmp_path, option, typed, meant):
    check(2, (typed, f"Did you mean '{meant}'"), "run", photo, option, typed, "--out", tmp_path / "out")


def test_unknown_config_key_offers_the_nearest(check, photo, tmp_path):
    check(
        2,
        ("codec.qualty", "codec.quality"),
        "run", photo, *TOY, "--set", "codec.qualty=3", "--out", tmp_path / "out",
    )  # fmt: skip
    check(2, ("'codecs'", "codec"), "run", photo, *TOY, "--set", "codecs.quality=3")
    check(2, ("'codec'", "no '='"), "run", photo, *TOY, "--set", "codec")


def test_config_file_with_an_unknown_key(check, photo, tmp_path):
    config = tmp_path / "idem.yaml"
    config.write_text("solver:\n  stepz: 3\n")
    check(2, ("solver.stepz", "solver.steps"), "run", photo, *TOY, "--config", config)


@pytest.mark.parametrize("codec", ["toy", "jpeg"])
def test_quality_zero(check, photo, tmp_path, codec):
    check(
        2, ("quality", "0", "1"), "run", photo, "--codec", codec, "--generator", "toy", "--quality", 0,
        "--out", tmp_path / "out",
    )  # fmt: skip
    check(2, ("quality",), "encode", photo, "--codec", codec, "--quality", 0, "-o", tmp_path / "out.idem")


def test_cuda_without_one(check, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check(4, ("--device cuda", "--device cpu"), "run", photo, *TOY, "--device", "cuda", "--out", tmp_path / "out")
    check(2, ("gpu",), "run", photo, *TOY, "--device", "gpu", "--out", tmp_path / "out")
    check(2, ("fp8",), "run", photo, *TOY, "--precision", "fp8", "--out", tmp_path / "out")


def test_nothing_typed_shows_the_help(idem):
    result = idem()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: idem ")
    assert "\n  verify " in result.stderr


def test_usage_errors_of_the_command_line(check, photo):
    check(2, ("idem run --help",), "run")
    check(2, ("--qualty", "--quality"), "run", photo, "--qualty", 3)
    check(2, ("rum", "run"), "rum")
    check(2, ("--mse", "--tradeoff"), "decode", photo, "-o", "x.png", "--mse", "--tradeoff", 0.5)
    check(2, ("--mse", "--fast"), "decode", photo, "-o", "x.png", "--mse", "--fast")
    check(2, ("1.5",), "decode", photo, "-o", "x.png", "--tradeoff", 1.5)


def test_output_that_cannot_be_written(check, photo, tmp_path):
    check(2, ("absent", "make it first"), "encode", photo, "-o", tmp_path / "absent" / "photo.jpg")
    check(2, ("photo.png", "not a folder"), "run", photo, *TOY, "--out", photo)


def test_a_result_is_not_written_under_the_name_of_another_kind_of_file(check, photo, stream, tmp_path):
    check(2, (".jpg file", "-o other.jpg"), "encode", photo, "-o", tmp_path / "other.png")
    check(2, ("photo.idem", ".png file", "-o photo.png"), "decode", stream, "-o", stream, "--generator", "toy")
    check(2, ("/dev/stdout", ".png file"), "decode", stream, "-o", "/dev/stdout", "--generator", "toy")


def test_error_of_a_path_is_one_of_usage():
    assert explain(PermissionError(errno.EACCES, "Permission denied", "out")) == (
        "out: Permission denied. Check the path and its permissions.",
        2,
    )
    assert explain(OSError(errno.EIO, "Input/output error", "out"))[1] == 1
    assert "standard output" in explain(OSError(errno.ENOSPC, "No space left on device"))[0]


def test_a_folder_of_other_things_is_not_replaced(check, photo, tmp_path):
    precious = tmp_path / "out" / "photo"
    precious.mkdir(parents=True)
    (precious / "letter.txt").write_text("keep me")
    check(2, ("--out",), "run", photo, *TOY, "--out", tmp_path / "out")


def test_two_images_of_one_name(check, photo, tmp_path):
    twin = tmp_path / "other" / "photo.jpg"
    twin.parent.mkdir()
    Image.open(photo).save(twin)
    check(2, ("photo.png", "photo.jpg"), "run", photo, twin, *TOY, "--out", tmp_path / "out")


def test_unknown_plugin_and_recipe(check, tmp_path):
    check(2, ("idemcore-jpge", "idemcore-jpeg"), "plugins", "info", "idemcore-jpge")
    check(2, ("dppm", "recipe"), "train", "dppm", tmp_path, "--out", tmp_path / "out")
    check(
        2,
        ("absent", "neither a folder nor a zip file"),
        "train",
        "ddpm",
        tmp_path / "absent",
        "--out",
        tmp_path / "out",
    )


def test_certificate_that_is_none(check, tmp_path):
    path = tmp_path / "some.json"
    path.write_text('{"exact": true}')
    check(1, ("some.json", "certificate"), "inspect", path)


def test_unexpected_error_asks_for_debug(check, photo, tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("idemcore_toy.encoder.ToyEncoder.encode", broken)
    check(1, ("RuntimeError", "first line second line", "IDEM_DEBUG=1"), "run", photo, *TOY, "--out", tmp_path / "out")


def test_interrupt_leaves_nothing_half_written(idem, photo, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("idemcore.pipeline.run_image.write_json", interrupted)
    result = idem("run", photo, *TOY, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted; nothing was left half-written."
    assert list((tmp_path / "out").iterdir()) == []


def test_failed_run_keeps_the_earlier_result(idem, photo, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert idem("run", photo, *TOY, "--out", out).exit_code == 0
    before = files(out)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.json")

    monkeypatch.setattr("idemcore.pipeline.run_image.write_json", full)
    result = idem("run", photo, *TOY, "--seed", 1, "--out", out)
    assert result.exit_code == 1
    assert "no space left" in result.stderr
    assert files(out) == before


def test_interrupt_between_the_renames_keeps_the_earlier_result(idem, photo, tmp_path, monkeypatch):
    out, rename, renamed = tmp_path / "out", os.replace, []
    assert idem("run", photo, *TOY, "--out", out).exit_code == 0
    before = files(out)

    def interrupted(source: Path, target: Path) -> None:
        if Path(target) == out / "photo" and not renamed:
            renamed.append(target)
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("idemcore.pipeline.run_image.os.replace", interrupted)
    assert idem("run", photo, *TOY, "--seed", 1, "--out", out).exit_code == 130
    assert renamed
    assert files(out) == before


def test_a_reader_that_leaves_ends_the_run_without_a_word(photo, tmp_path):
    twin = tmp_path / "twin.png"
    twin.write_bytes(photo.read_bytes())
    command = [sys.executable, "-m", "idemcore.cli", "run", photo, twin, *TOY, "--json", "--out", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        told = process.stderr.read()
    assert (process.returncode, told) == (1, "")


def test_each_failed_image_is_named_once(idem, photo, tmp_path, monkeypatch):
    (tmp_path / "empty.png").write_bytes(b"")
    result = idem("run", photo, tmp_path / "empty.png", *TOY, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"error: {tmp_path / 'empty.png'} is empty."

    def broken(*_: object) -> None:
        raise RuntimeError("no image in this message")

    monkeypatch.setattr("idemcore_toy.encoder.ToyEncoder.encode", broken)
    result = idem("run", photo, tmp_path / "empty.png", *TOY, "--out", tmp_path / "out")
    assert result.stderr.startswith(f"error: {photo}: RuntimeError")


def test_a_name_that_the_terminal_cannot_show_stops_nothing(photo: Path, tmp_path: Path) -> None:
    named = photo.rename(tmp_path / "s\u00fc\u6d77.png")
    command = (sys.executable, "-m", "idemcore.cli", "run", named, *TOY, "--out", tmp_path / "out")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"s\xfc\\u6d77.png" in done.stdout
