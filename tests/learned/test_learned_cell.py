"""The cell of a learned codec: what it says of an image is what the real encoder does with it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from idemcore.io.images import to_bytes
from idemcore.learned.cell import TOLERANCE, LatentCell
from idemcore.learned.encoder import LearnedEncoder
from idemcore.pipeline.certify import certify

SIZES = [(1, 1), (17, 33), (65, 64), (64, 128)]


@pytest.fixture(scope="module")
def codec(make: SimpleNamespace) -> LearnedEncoder:
    return make.codec(project_steps=40)


def cell_of(codec: LearnedEncoder, image: Tensor) -> LatentCell:
    """The cell of byte images."""
    return codec.cell(codec.encode(image.float() / 255), tuple(image.shape[-2:]))


def nearby(image: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """[B,3,H,W] in [0,1], off by noise."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image.float() / 255 + sigma * noise).clamp(0, 1)


def outside(cell: LatentCell, x: Tensor) -> Tensor:
    """[B]: of the symbol that is farthest outside, in quantiser steps."""
    return cell.excess(x).amax(dim=1)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_lies_in_its_own_cell(codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]) -> None:
    image = make.picture(2, *size)
    cell = cell_of(codec, image)
    assert cell.contains(image).tolist() == [True, True]
    assert cell.differing_symbols(image).tolist() == [0, 0]
    assert float(outside(cell, make.real(image)).max()) == 0
    assert float(cell.position(make.real(image)).abs().max()) <= 0.5
    assert cell.centre.shape == (2, 3, *size)
    assert cell.distortion.shape == (2,)
    assert (cell.distortion > 0).all()


@pytest.mark.parametrize("sigma", [0.003, 0.01, 0.03, 0.3])
def test_every_answer_about_an_image_agrees_with_the_encoder(
    codec: LearnedEncoder, make: SimpleNamespace, sigma: float
) -> None:
    image = make.picture(4)
    cell, inside = cell_of(codec, image), 0
    for seed in range(6):
        other = to_bytes(nearby(image, sigma / (1 + seed), seed))
        real = [new == old for new, old in zip(codec.encode(other.float() / 255), cell.streams, strict=True)]
        position, excess = cell.position(other.float() / 255), cell.excess(other.float() / 255)
        assert cell.contains(other).tolist() == real
        assert (cell.differing_symbols(other) == 0).tolist() == real
        assert (excess.amax(dim=1) == 0).tolist() == real
        assert torch.equal((excess > 0).sum(dim=1), cell.differing_symbols(other))
        torch.testing.assert_close(excess, (position.abs() - 0.5).clamp(min=0))
        inside += sum(real)
    assert inside < 24 if sigma > 0.01 else inside > 0, "both answers occur"


def test_position_is_of_y_and_then_of_z_in_quantiser_steps(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.picture(1)
    cell = cell_of(codec, image)
    y, z = codec.analyse(make.real(image))
    found = codec.coder.quantise(y, z)
    expected = torch.cat([(y - found.y_hat).flatten(), (z - found.z_hat).flatten()])
    torch.testing.assert_close(cell.position(make.real(image))[0].double(), expected, rtol=0, atol=1e-4)
    assert expected.shape == (4 * 4 * 4 + 3,)


def test_the_gradient_of_the_excess_is_that_of_finite_differences(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    cell = cell_of(codec, make.picture(1, 64, 64))
    x = nearby(make.picture(1, 64, 64, seed=1), 0.0).clamp(0.05, 0.95).requires_grad_(True)
    energy = cell.excess(x).square().sum()
    (gradient,) = torch.autograd.grad(energy, x)
    for seed in range(3):
        along = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) + 50 * gradient / gradient.norm()
        step = 1e-3 * along / along.norm()
        with torch.no_grad():
            change = cell.excess(x + step).double().square().sum() - cell.excess(x - step).double().square().sum()
        assert float(change) == pytest.approx(2 * float((gradient * step).sum()), rel=0.02)


def test_measure_is_what_decoding_the_encoding_gives(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    cell = cell_of(codec, make.picture(2, 40, 90))
    image = make.real(make.picture(2, 40, 90, seed=5))
    measured = cell.measure(image)
    torch.testing.assert_close(measured, codec.decode(codec.encode(image), (40, 90)), rtol=0, atol=1e-5)
    assert (measured - cell.centre).abs().max() > 0.1, "of the image asked about, not of the cell's own"


def test_the_gradient_of_measure_passes_the_rounding_straight_through(
    codec: LearnedEncoder, make: SimpleNamespace
) -> None:
    cell, x = cell_of(codec, make.picture()), make.real(make.picture(seed=2)).requires_grad_(True)
    weights = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((cell.measure(x) * weights).sum(), x)
    y, z = codec.analyse(x)
    y_hat = codec.coder.quantise(y.detach(), z.detach()).y_hat.float().requires_grad_(True)
    (of_decoder,) = torch.autograd.grad((codec.synthesise(y_hat) * weights).sum(), y_hat)
    (expected,) = torch.autograd.grad((y * of_decoder).sum(), x)
    assert expected.norm() > 0
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("size", "margin"), [*((size, 0.0) for size in SIZES), ((64, 64), 0.2), ((64, 128), 0.2)])
def test_a_projection_lies_in_the_cell_and_in_range(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int], margin: float
) -> None:
    image = make.picture(2, *size)
    cell, x = cell_of(codec, image), nearby(image, 0.1)
    projected = cell.project(x, margin)
    assert float(cell.position(projected).abs().max()) <= 0.5 - margin + TOLERANCE + 1e-5
    assert 0 <= float(projected.min()) <= float(projected.max()) <= 1
    torch.testing.assert_close(cell.project(projected, margin), projected, rtol=0, atol=0)


def test_what_lies_inside_is_not_moved(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.picture(2)
    cell = cell_of(codec, image)
    assert torch.equal(cell.project(make.real(image)), make.real(image))
    assert torch.equal(cell.snap(make.real(image)), image)


def test_a_projection_moves_less_than_the_way_to_the_centre_or_the_original(
    codec: LearnedEncoder, make: SimpleNamespace
) -> None:
    image = make.picture(3)
    cell, x = cell_of(codec, image), nearby(image, 0.1)
    moved = (cell.project(x) - x).flatten(1).norm(dim=1)
    assert (moved > 0).all()
    assert (moved < 0.3 * (cell.centre - x).flatten(1).norm(dim=1)).all()
    assert (moved < 0.3 * (make.real(image) - x).flatten(1).norm(dim=1)).all()


def test_a_projection_outside_the_range_of_images_is_of_the_clamped_image(
    codec: LearnedEncoder, make: SimpleNamespace
) -> None:
    image = make.picture()
    cell, x = cell_of(codec, image), 3 * nearby(image, 0.1) - 1
    assert torch.equal(cell.project(x), cell.project(x.clamp(0, 1)))
    assert torch.equal(cell.snap(x), cell.snap(x.clamp(0, 1)))


@pytest.mark.parametrize("size", SIZES)
def test_snap_finds_a_byte_image_of_the_cell_near_a_candidate(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]
) -> None:
    image = make.picture(2, *size)
    cell, x = cell_of(codec, image), nearby(image, 0.05)
    certified = certify(cell, x)
    assert certified.image.dtype == torch.uint8
    assert certified.exact == [True, True]
    assert certified.differing_symbols == [0, 0]
    if size != (1, 1):  # of one pixel there is no other image of the cell nearby
        assert min(certified.psnr_moved) > 35


def test_snap_from_the_centre_and_from_another_image(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    cell = cell_of(codec, make.picture(2))
    for start in (cell.centre, make.real(make.picture(2, seed=9))):
        assert cell.contains(cell.snap(start)).tolist() == [True, True]


def test_a_batch_is_its_images_one_by_one(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.picture(2, 40, 70)
    cell, x = cell_of(codec, image), nearby(image, 0.1)
    together = (cell.centre, cell.distortion, cell.position(x), cell.measure(x), cell.project(x))
    snapped = cell.snap(x)
    for k in range(2):
        alone = cell_of(codec, image[k : k + 1])
        x_k = x[k : k + 1]
        parts = (alone.centre, alone.distortion, alone.position(x_k), alone.measure(x_k), alone.project(x_k))
        for both, single in zip(together, parts, strict=True):
            torch.testing.assert_close(both[k : k + 1], single, rtol=1e-4, atol=2e-4)
        apart = (snapped[k].int() - alone.snap(x_k)[0].int()).abs()
        assert int(apart.max()) <= 1
        assert float((apart > 0).float().mean()) < 0.02


def test_an_image_that_stalls_takes_no_passes_from_its_neighbour(
    codec: LearnedEncoder, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image of a batch is sought with passes of its own: as many as alone."""
    image = make.picture(2, 40, 70)
    cell, x, asked = cell_of(codec, image), nearby(image, 0.1), []
    approach = LatentCell._approach

    def counted(self: LatentCell, start: torch.Tensor, reach: float, most: int):  # type: ignore[no-untyped-def]
        found = approach(self, start, reach, most)
        asked.append((len(start), most, found[2]))
        return found

    monkeypatch.setattr(LatentCell, "_approach", counted)
    cell.snap(x)
    together = asked.copy()
    asked.clear()
    for k in range(2):
        cell_of(codec, image[k : k + 1]).snap(x[k : k + 1])
    assert together == asked


def test_gradients_flow_under_no_grad_where_a_solver_asks_for_a_projection(
    codec: LearnedEncoder, make: SimpleNamespace
) -> None:
    image = make.picture()
    cell, x = cell_of(codec, image), nearby(image, 0.1)
    with torch.no_grad():
        silent = cell.project(x)
    assert torch.equal(silent, cell.project(x))
    assert not silent.requires_grad
    assert all(parameter.grad is None for parameter in codec.model.parameters())


def test_the_process_is_left_as_it_was(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.picture()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    cell, x = cell_of(codec, image), nearby(image, 0.1)
    cell.measure(x)
    cell.project(x)
    cell.snap(x)
    cell.contains(image)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.tensor(1e-40) / 2 > 0, "denormals are not flushed"


def test_certifying_is_bounded_and_says_so(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far a candidate is, passes are counted, and the reason names the setting."""
    codec, image = make.codec(certify_passes=7), make.picture(1, 600, 600)
    cell = cell_of(codec, image)
    passes, step = [], cell._step
    monkeypatch.setattr(cell, "_step", lambda *a: (passes.append(1), step(*a))[1])
    monkeypatch.setattr("idemcore.learned.cell.SAFE", 0.5)  # no symbol is ever deep enough
    cell.snap(make.real(make.picture(1, 600, 600, seed=4)))
    assert len(passes) == cell.most_passes == 7
    told = cell.reason(make.picture(1, 600, 600, seed=4))
    assert "at most 7 passes" in told
    assert "codec.certify_passes" in told
    assert cell.reason(image) == ""


@pytest.mark.parametrize(("size", "most"), [((512, 512), 180), ((2000, 3000), 180), ((256, 256), 360), ((1, 1), 720)])
def test_small_images_may_take_more_passes(make: SimpleNamespace, size: tuple[int, int], most: int) -> None:
    cell = LatentCell.__new__(LatentCell)
    cell.encoder, cell.size = make.codec(), size
    assert cell.most_passes == most


def test_an_image_that_finds_no_way_in_gives_way_to_the_decode(
    codec: LearnedEncoder, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, starts = cell_of(codec, make.picture()), []
    approach = cell._approach

    def blocked(x: Tensor, reach: float, most: int) -> tuple[Tensor, Tensor, int]:
        starts.append(x)
        return approach(x, reach, most if torch.equal(x, cell.centre) else 1)

    monkeypatch.setattr(cell, "_approach", blocked)
    assert cell.contains(cell.snap(make.real(make.picture(seed=9)))).all()
    assert torch.equal(starts[-1], cell.centre)
    assert len(starts) > 1
