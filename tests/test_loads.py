"""A command looks for plugins once: the catalogue is loaded at its start and passed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idemcore.plugins import catalogue

TOY = ("--codec", "toy", "--generator", "toy", "--solver", "cell", "--set", "solver.steps=1")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every load of the catalogue."""
    found: list[str] = []
    real = catalogue.entries_by_distribution
    monkeypatch.setattr(catalogue, "entries_by_distribution", lambda group: found.append(group) or real(group))
    return found


@pytest.fixture
def jpeg(idem, photo: Path, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    idem("encode", photo, "-o", tmp_path / "a.jpg", "--quality", "10")
    return tmp_path / "a.jpg"


@pytest.fixture
def store(idem, photo: Path, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    result = idem(
        "sweep", "codec=toy", "generator=toy", "solver=mse", photo, "--store", tmp_path / "s", "--metrics", "psnr"
    )
    assert result.exit_code == 0, result.stderr
    return tmp_path / "s"


def commands(photo: Path, jpeg: Path, store: Path, place: Path) -> dict[str, tuple[object, ...]]:
    measured = ("--metrics", "psnr,bpp")
    return {
        "run": ("run", photo, *TOY, "--out", place / "run"),
        "encode": ("encode", photo, "-o", place / "b.jpg"),
        "decode": ("decode", jpeg, "-o", place / "b.png", *TOY[2:]),
        "verify": ("verify", photo, jpeg),
        "inspect": ("inspect", jpeg),
        "sample": ("sample", "--generator", "toy", "-n", "1", "--steps", "2", "-o", place / "grid.png"),
        "eval": ("eval", photo, *TOY, *measured),
        "sweep": ("sweep", "codec=toy", "generator=toy", "solver=mse,cell", photo, "--store", place / "new", *measured),
        "report": ("report", store, "--format", "md", "--metrics", "swd"),
        "doctor": ("doctor",),
        "codecs": ("codecs", "list"),
    }


@pytest.mark.parametrize("name", commands(*[Path()] * 4))
def test_a_command_loads_the_catalogue_once(idem, loads, photo, jpeg, store, tmp_path, name):  # type: ignore[no-untyped-def]
    loads.clear()
    result = idem(*commands(photo, jpeg, store, tmp_path)[name])
    assert result.exit_code in (0, 1, 3), result.stderr  # doctor may find something bad, verify that it is not exact
    assert len(loads) == 1, json.dumps(loads)
