"""A bare `idemcore`, or one that lacks a plugin: one error names all that is missing, and what to type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from idemcore.errors import EXIT_FAILED, EXIT_MISSING
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins import catalogue
from idemcore.plugins.catalogue import NotInstalled

ALL = ("codec 'jpeg' (idemcore-jpeg)", "generator 'ddpm-photo' (idemcore-ddpm)", "solver 'cell' (idemcore-dps)")
STANDARD = 'pip install "idemcore[standard]"'


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`without("idemcore-jpeg")`: as if those were not installed; without a name, nothing but the core is."""
    find = catalogue.entries_by_distribution

    def hide(*names: str) -> None:
        def kept(group: str) -> dict:
            return {k: v for k, v in find(group).items() if (k not in names if names else k == "idemcore")}

        monkeypatch.setattr(catalogue, "entries_by_distribution", kept)

    return hide


@pytest.fixture
def jpeg(photo: Path) -> Path:
    path = photo.with_name("old.jpg")
    Image.open(photo).save(path, quality=20)
    return path


@pytest.mark.parametrize("command", ["run", "decode", "doctor", "sweep"])
def test_one_error_names_everything_that_is_missing_at_once(command, without, idem, photo, jpeg, tmp_path):
    without()
    arguments = {
        "run": (photo,), "decode": (jpeg, "-o", tmp_path / "a.png"), "doctor": (),
        "sweep": (photo, "--store", tmp_path / "sweep"),
    }  # fmt: skip
    result = idem(command, *arguments[command])
    assert result.exit_code == (EXIT_FAILED if command == "doctor" else EXIT_MISSING)
    told = result.stdout if command == "doctor" else result.stderr
    assert all(what in told for what in (*ALL, STANDARD)), told
    assert told.count("pip install") == 1


def test_python_is_told_the_same(without):
    without()
    with pytest.raises(NotInstalled) as caught:
        Decoder.load()
    assert all(what in caught.value.message for what in ALL[1:])
    assert STANDARD in caught.value.hint


def test_a_single_plugin_is_installed_by_its_name(without, idem, photo):
    without("idemcore-jpeg")
    result = idem("encode", photo, "-o", photo.with_suffix(".jpg"))
    assert result.exit_code == EXIT_MISSING
    assert result.stderr == (
        "error: Not installed: codec 'jpeg' (idemcore-jpeg). Install with: pip install idemcore-jpeg\n"
    )


def test_what_is_in_no_extra_is_installed_by_name(without, idem, photo):
    without("idemcore-hyperprior", "idemcore-dps")
    result = idem("run", photo, "--codec", "hyperprior")
    assert "Install with: pip install idemcore-hyperprior idemcore-dps\n" in result.stderr


def test_a_file_says_which_codec_it_lacks(without, idem, jpeg, tmp_path):
    without("idemcore-jpeg")
    result = idem("decode", jpeg, "-o", tmp_path / "a.png")
    assert result.exit_code == EXIT_MISSING
    assert "a codec that reads" in result.stderr
    assert "pip install idemcore-jpeg" in result.stderr
