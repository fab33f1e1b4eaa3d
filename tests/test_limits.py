"""What a file may ask for, and that it is refused before it gets it."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import click
import pytest
from PIL import Image

from idemcore.cli.group import LONGEST, explain, tell
from idemcore.errors import InputError, UsageError
from idemcore.io import limits
from idemcore.io.files import parse_json, read_file, write_together
from idemcore.io.image_sets import pictures
from idemcore.io.images import decode_bytes


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_device_without_an_end_is_not_read_for_ever() -> None:
    with pytest.raises(UsageError, match="/dev/zero has more than 1,000 bytes"):
        read_file(Path("/dev/zero"), 1000)


def test_a_longer_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(1001))
    assert read_file(path, 1001) == bytes(1001)
    with pytest.raises(UsageError, match="more than 1,000 bytes"):
        read_file(path, 1000)
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 1000)
    monkeypatch.setenv("IDEM_MAX_PIXELS", "10")
    with pytest.raises(UsageError, match="more than 1,000 bytes"):
        read_file(path)


def test_images_obey_the_limit_which_raises_pillows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow would refuse 2000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_bytes(png(100, 100), "x.png").shape == (1, 3, 100, 100)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setenv("IDEM_MAX_PIXELS", "9999")
    with pytest.raises(InputError, match="too large"):
        decode_bytes(png(100, 100), "x.png")
    with pytest.raises(InputError, match="a side below 64 counts"):
        decode_bytes(png(1, 200), "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", before)


def test_an_entry_of_a_zip_file_that_grows_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1_000_000))
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 1000)
    monkeypatch.setenv("IDEM_MAX_PIXELS", "10")
    with pytest.raises(InputError, match=r"a\.png in it has more than 1,000 bytes"):
        list(pictures(tmp_path / "bomb.zip"))


def test_json_that_is_nested_too_deep_is_damage() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json("[" * 100_000)


def test_files_written_together_are_all_there_or_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(UsageError):
        write_together({tmp_path / "a": b"new", tmp_path / "absent" / "b": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}
    write_together({tmp_path / "a": b"new", tmp_path / "b": b"more"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b"more"}


def test_the_end_of_a_file_is_no_interrupt() -> None:
    try:
        try:
            raise EOFError("a plugin met the end of its file")
        except EOFError as error:
            raise click.Abort from error
    except click.Abort as error:
        message, code = explain(error)
    assert (code, "EOFError: a plugin met" in message) == (1, True)


def test_an_error_that_quotes_much_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(InputError("begin " + "x" * 100_000 + " end")) == 1
    told = capsys.readouterr().err
    assert len(told) < LONGEST + 50
    assert told.startswith("error: begin")
    assert told.endswith("end\n")
