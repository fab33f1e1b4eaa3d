"""Certification of any codec: what is inside stays, the best attempt is kept, and what a user should know is said."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from idemcore.errors import IdemWarning, Unsupported
from idemcore.noise import Noise
from idemcore.pipeline import certify as certifying
from idemcore.pipeline.certify import Certified, certify, snap
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.protocols import Cell, InversionSolver, Solution
from idemcore.runtime import Runtime
from idemcore.testing.pictures import byte_image, pictures

CPU = Runtime(torch.device("cpu"), torch.float32)


class Narrow(Cell):
    """The images whose mean level, rounded, is 100; projections end `short` levels before it."""

    def __init__(self, short: float = 0.0, projects: bool = True) -> None:
        self.short, self.projects, self.asked = short, projects, 0
        self.centre = torch.full((1, 3, 4, 4), (100 + short) / 255)
        self.distortion = torch.full((1,), 0.1)

    def contains(self, byte_image: Tensor) -> Tensor:
        return self.differing_symbols(byte_image) == 0

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        """Levels that the mean is off."""
        return (byte_image.float().mean(dim=(1, 2, 3)).round() - 100).abs().long()

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        if not self.projects:
            raise Unsupported("no projection")
        self.asked += 1
        return x + (100 + self.short) / 255 - x.mean()


def level(value: float) -> Tensor:
    return torch.full((1, 3, 4, 4), value / 255)


def test_what_is_inside_is_returned_as_it_is_and_snap_is_not_asked() -> None:
    cell = Narrow()
    cell.snap = lambda x: pytest.fail("asked")  # type: ignore[method-assign]
    found = certify(cell, level(100.3))
    assert (found.exact, found.differing_symbols, found.psnr_moved) == ([True], [0], [math.inf])
    assert torch.equal(found.image, byte_image(level(100)))
    assert not found.concern()


def test_a_codec_without_snap_is_certified_by_its_projection() -> None:
    found = certify(Narrow(), level(103))
    assert found.exact == [True]
    assert found.psnr_moved[0] == pytest.approx(20 * math.log10(255 / 3))


def test_of_failed_attempts_the_one_with_the_fewest_differing_symbols_is_kept() -> None:
    """Not the last, and not the image itself if an attempt came nearer."""
    found = certify(Narrow(short=7), level(180))
    assert (found.exact, found.differing_symbols) == ([False], [7])
    assert torch.equal(found.image, byte_image(level(107)))
    found = certify(Narrow(short=7), level(103))
    assert (found.differing_symbols, found.psnr_moved) == ([3], [math.inf])


def test_an_image_that_finds_no_way_gives_way_to_the_decode() -> None:
    cell = Narrow()
    cell.project = lambda x, margin=0.0: x  # type: ignore[method-assign]
    assert certify(cell, level(50)).exact == [True]


def test_a_codec_without_projection_gets_its_best_attempt_too() -> None:
    found = certify(Narrow(projects=False), level(180))
    assert found.exact == [True]
    found = certify(Narrow(short=7, projects=False), level(180))
    assert (found.exact, found.differing_symbols) == ([False], [7])
    assert torch.equal(snap(Narrow(projects=False), level(100)), byte_image(level(100)))


def test_images_of_a_batch_have_their_best_attempts_each() -> None:
    codec = Codec.load("jpeg", CPU, quality=20)
    image = pictures(3, 17, 35)
    cell = codec.encoder.cell(codec.encoder.encode(image), (17, 35))
    mixed = torch.cat([image[:1], pictures(1, 17, 35, seed=9), image[2:]])
    found = certify(cell, mixed)
    assert found.exact == [True] * 3
    assert [math.isinf(moved) for moved in found.psnr_moved] == [True, False, True]
    assert torch.equal(found.image[[0, 2]], byte_image(image[[0, 2]]))


def test_exact_is_what_the_encoder_and_the_symbols_agree_on() -> None:
    cell = Narrow()
    cell.differing_symbols = lambda image: torch.tensor([5])  # type: ignore[method-assign]
    cell.contains = lambda image: torch.tensor([True])  # type: ignore[method-assign]
    assert (certify(cell, level(3)).exact, certify(cell, level(3)).differing_symbols) == ([False], [5])
    cell.contains = lambda image: torch.tensor([False])  # type: ignore[method-assign]
    cell.differing_symbols = lambda image: torch.tensor([0])  # type: ignore[method-assign]
    assert (certify(cell, level(3)).exact, certify(cell, level(3)).differing_symbols) == ([False], [1])


def test_the_real_encoder_is_asked_only_where_no_symbol_differs() -> None:
    """Of codecs whose entropy coder takes most of the time, each attempt that fails costs none of it."""
    cell, asked = Narrow(short=7), []
    real = cell.contains
    cell.contains = lambda image: asked.append(1) or real(image)  # type: ignore[method-assign,func-returns-value]
    assert certify(cell, level(180)).differing_symbols == [7]
    assert asked == []
    assert certify(cell, level(100)).exact == [True]
    assert len(asked) == 1


def certified(differing: int, moved: float) -> Certified:
    return Certified(byte_image(level(0)), [not differing], [differing], [moved])


@pytest.mark.parametrize(
    ("differing", "moved", "told"),
    [(0, 30.0, ""), (0, math.inf, ""), (0, 29.9, "visibly: PSNR 29.9 dB between"), (12, 50.0, "12 symbols differ")],
)
def test_moving_far_and_failing_are_concerns(differing: int, moved: float, told: str) -> None:
    concern = certified(differing, moved).concern()
    assert told in concern
    assert bool(concern) == bool(told)


class Mush(InversionSolver[None]):
    """Grey, far from any cell."""

    def solve(self, cell: Cell, generator: None, noise: Noise, callback: object = None) -> Solution:
        return Solution(torch.full_like(cell.centre, 0.5))


def test_a_solver_that_ends_far_away_is_a_warning() -> None:
    bitstream = Codec.load("jpeg", CPU, quality=30).encode(pictures(1, 32, 40))
    decoder = replace(Decoder.load("ddpm-photo", "cell", CPU), solver=Mush())
    with pytest.warns(IdemWarning, match="certifying changed the image visibly"):
        assert decoder.reconstruct(bitstream).exact


def test_a_good_reconstruction_is_none() -> None:
    bitstream = Codec.load("jpeg", CPU, quality=30).encode(pictures(1, 32, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Decoder.load("ddpm-photo", "cell", CPU, {"solver": {"steps": 2}}).reconstruct(bitstream).exact


def test_an_image_is_rounded_and_counted_once_before_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the codec's missing search falls back to begins with what was found already."""
    rounded, cell = [], Narrow()
    real = certifying.to_bytes
    monkeypatch.setattr(certifying, "to_bytes", lambda image: rounded.append(image) or real(image))  # type: ignore[func-returns-value]
    image = level(103)
    assert certify(cell, image).exact == [True]
    assert [one is image for one in rounded] == [True, False]
    assert cell.asked == 1
