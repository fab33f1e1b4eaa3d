"""Samples of a prior, by name and of an object, are those of the command line, and show themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import idemcore
from idemcore.errors import UsageError
from idemcore.io.images import read_bytes


def test_samples_are_those_of_the_command_line(idem, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn = idemcore.sample("toy", 3, seed=5, size=(8, 12), steps=3, settings={"seed": 2})
    flags = ("--generator", "toy", "-n", 3, "--seed", 5, "--size", "12x8", "--steps", 3, "--set", "generator.seed=2")
    assert idem("sample", *flags, "-o", tmp_path / "theirs.png").exit_code == 0
    drawn.save(tmp_path / "ours.png")
    assert torch.equal(read_bytes(tmp_path / "ours.png"), read_bytes(tmp_path / "theirs.png"))
    assert repr(drawn) == "<Samples: 3 of 12x8 by toy, seed 5>"
    assert drawn._repr_png_()[1:4] == b"PNG"
    assert (drawn.report.steps, drawn.report.size, len(drawn)) == (3, (12, 8), 3)


def test_a_generator_made_in_python_is_sampled(mine: SimpleNamespace) -> None:
    told: list[float] = []
    drawn = idemcore.sample(mine.Grey(0.05), 2, size=(16, 16), steps=6, callback=lambda step: told.append(step.sigma))
    assert drawn.images.shape == (2, 3, 16, 16)
    assert 100 < drawn.images.float().mean() < 155
    assert len(told) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 0}, "count is 0"),
        ({"steps": 1}, "A diffusion takes at least 2"),
        ({"eta": 2}, "not a number from 0 to 1"),
        ({"generator": "toyy"}, "Did you mean 'toy'"),
        ({"generator": "toy-restorer"}, "restores images; without one it draws nothing"),
        ({"generator": "toy", "settings": {"sead": 1}}, "Did you mean 'generator.seed'"),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_one_sentence(arguments, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=words):
        idemcore.sample(**{"generator": "toy", **arguments})


def test_a_name_of_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Try .*grid\.png"):
        idemcore.sample("toy", 1, size=(8, 8), steps=2).save(tmp_path / "grid.jpg")
