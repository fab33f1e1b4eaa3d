"""Files of another kind than their name says are called what they are, and plain decodes that are not exact say why."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from idemcore.cli import main
from idemcore.errors import BitstreamError
from idemcore.pipeline.codec import open_bitstream


def saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WebP", "GIF", "TIFF", "BMP", "PPM"])
def test_image_named_jpg_is_called_what_it_is(kind: str) -> None:
    with pytest.raises(BitstreamError, match=f"a/x.jpg is a {kind} file, whatever its name says") as error:
        open_bitstream(saved(kind.upper()), "a/x.jpg")
    assert "idem encode x.jpg -o OUT.jpg" in error.value.hint


def test_image_with_its_own_name_is_not_said_to_have_another() -> None:
    with pytest.raises(BitstreamError, match="x.png is a PNG file: not a bitstream of any installed codec"):
        open_bitstream(saved("PNG"), "x.png")


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"<!DOCTYPE html><p>", "a web page"), (b"\xef\xbb\xbf \n<HTML>", "a web page"), (b"%PDF-1.7", "PDF"),
     (b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\5\x16\7junk", "AppleDouble"), (b"\0\0\0\x18ftypmp42", "MP4"),
     (b"PK\3\4", "ZIP"), (b"what is this", "it starts with b'what is '")],
)  # fmt: skip
def test_other_files_are_called_what_they_are(data: bytes, name: str) -> None:
    with pytest.raises(BitstreamError, match=name):
        open_bitstream(data, "x.jpg")


def test_plain_decode_that_is_not_exact_says_what_helps(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((48, 32), 90).convert("RGB").save(buffer, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:-2])
    arguments = ["decode", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "a.png"), "--mse", "--require-exact"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3
    assert "--seed" not in result.output
    assert "leave out --mse" in result.output
    assert f"note: {tmp_path / 'a.jpg'}: it has no end-of-image marker." in result.output
    content = json.loads((tmp_path / "a.certificate.json").read_text())
    assert content["notes"] == ["it has no end-of-image marker"]
    assert content["special"] == []
