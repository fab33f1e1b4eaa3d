"""The toy codec and its cell."""

from __future__ import annotations

import math
import subprocess
import sys
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idemcore.errors import BitstreamError, UsageError
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.runtime import Runtime
from idemcore_toy.config import STEPS, ToyCodecConfig, identify, model_id
from idemcore_toy.encoder import ToyEncoder

QUALITIES = sorted(STEPS)
CPU = Runtime(torch.device("cpu"), torch.float32)


def codec(quality: int) -> ToyEncoder:
    return ToyEncoder(ToyCodecConfig(quality), CPU)


def picture(count: int = 2, height: int = 9, width: int = 14, seed: int = 0) -> torch.Tensor:
    """Every level from 0 to 255 occurs."""
    return Noise(range(seed, seed + count)).uniform(3, height, width)


def to_bytes(image: torch.Tensor) -> torch.Tensor:
    return (image.clamp(0, 1) * 255).round().byte()


@pytest.mark.parametrize("quality", QUALITIES)
def test_decode_is_the_mean_of_the_levels_that_share_a_symbol(quality: int) -> None:
    levels = torch.arange(256.0).repeat(3, 1)[None, :, None]
    toy = codec(quality)
    decoded = toy.decode(toy.encode(levels / 255), (1, 256))[0, 0, 0] * 255
    symbols = torch.arange(256) // STEPS[quality]
    for symbol in symbols.unique():
        torch.testing.assert_close(decoded[symbols == symbol].mean(), levels[0, 0, 0][symbols == symbol].mean())


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_image_and_the_decode_lie_in_the_cell(quality: int) -> None:
    toy, image = codec(quality), picture()
    cell = toy.cell(toy.encode(image), (9, 14))
    for inside in (image, cell.centre):
        assert cell.contains(to_bytes(inside)).all()
        assert cell.differing_symbols(to_bytes(inside)).tolist() == [0, 0]
    assert float(cell.excess(to_bytes(image).float() / 255).max()) == 0


@pytest.mark.parametrize("quality", QUALITIES)
def test_projection_is_the_nearest_point_and_lies_inside(quality: int) -> None:
    toy = codec(quality)
    cell, other = toy.cell(toy.encode(picture()), (9, 14)), picture(seed=50)
    near = cell.project(other)
    assert float(cell.excess(near).max()) == 0
    assert cell.project(near).equal(near)
    grid = torch.linspace(0, 1, 4001)[:, None, None, None, None]
    inside = (grid >= cell.lower) & (grid <= cell.upper)
    nearest = torch.where(inside, (grid - other).abs(), torch.inf).amin(dim=0)
    torch.testing.assert_close((near - other).abs(), nearest, atol=1 / 4000, rtol=0)


@given(
    quality=st.sampled_from(QUALITIES),
    margin=st.floats(0.0, 0.5),
    seed=st.integers(0, 1000),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
)
@settings(max_examples=50, deadline=None)
def test_projection_keeps_its_margin(quality: int, margin: float, seed: int, height: int, width: int) -> None:
    toy = codec(quality)
    cell = toy.cell(toy.encode(picture(1, height, width, seed)), (height, width))
    x = cell.project(picture(1, height, width, seed + 7), margin)
    torch.testing.assert_close(cell.project(x, margin), x, atol=0, rtol=0)
    kept = torch.minimum(x - cell.lower, cell.upper - x) / cell.step
    room = torch.minimum(torch.tensor(margin), (cell.upper - cell.lower) / 2 / cell.step)
    at_the_border = (x == 0) | (x == 1)
    assert ((kept >= room - 1e-4) | at_the_border).all()


@pytest.mark.parametrize("quality", QUALITIES)
def test_half_a_step_of_margin_rounds_into_the_cell(quality: int) -> None:
    toy = codec(quality)
    cell = toy.cell(toy.encode(picture()), (9, 14))
    assert cell.contains(to_bytes(cell.project(picture(seed=50), cell.margin_limit))).all()


def test_another_image_is_outside_and_its_symbols_are_counted() -> None:
    toy, image = codec(6), to_bytes(picture())
    cell = toy.cell(toy.encode(image.float() / 255), (9, 14))
    changed = image.clone()
    changed[1, 0, 0, :3] = changed[1, 0, 0, :3].bitwise_xor(torch.tensor(128, dtype=torch.uint8))
    assert cell.contains(changed).tolist() == [True, False]
    assert cell.differing_symbols(changed).tolist() == [0, 3]


def test_excess_is_in_steps_and_its_gradient_points_out_of_the_cell() -> None:
    toy = codec(5)
    cell = toy.cell(toy.encode(torch.full((1, 3, 1, 1), 100 / 255)), (1, 1))
    x = torch.tensor([111.5 + 24, 104.0, 95.5 - 8]).reshape(1, 3, 1, 1).div(255).requires_grad_()
    excess = cell.excess(x)
    torch.testing.assert_close(excess, torch.tensor([[1.5, 0.0, 0.5]]))
    excess.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1) * 255 / 16)


def widths(cell) -> torch.Tensor:
    """[B,K] widths of the intervals in quantiser steps."""
    return ((cell.upper - cell.lower) / cell.step).flatten(1)


@pytest.mark.parametrize("quality", QUALITIES)
def test_position_is_half_a_width_at_the_edges_of_the_cell_and_nothing_at_its_centre(quality: int) -> None:
    toy, image = codec(quality), picture()
    cell = toy.cell(toy.encode(image), (9, 14))
    torch.testing.assert_close(cell.position(cell.centre), torch.zeros(2, 3 * 9 * 14))
    for edge, half in ((cell.lower, -0.5), (cell.upper, 0.5)):
        torch.testing.assert_close(cell.position(edge), torch.full((2, 3 * 9 * 14), half), atol=1e-4, rtol=0)
    other = picture(seed=50)
    assert torch.equal(cell.position(other).abs() > 0.501, cell.excess(other) > 0.001 * widths(cell))


def test_measure_is_decode_of_encode_with_a_straight_through_gradient() -> None:
    toy, image = codec(3), picture()
    cell = toy.cell(toy.encode(picture(seed=9)), (9, 14))
    x = image.clone().requires_grad_()
    measured = cell.measure(x)
    torch.testing.assert_close(measured.detach(), toy.decode(toy.encode(image), (9, 14)))
    (gradient,) = torch.autograd.grad((measured * image).sum(), x)
    torch.testing.assert_close(gradient, image)


def test_model_ids_tell_the_qualities_apart() -> None:
    assert len({model_id(quality) for quality in QUALITIES}) == len(QUALITIES)
    for quality in QUALITIES:
        assert codec(quality).model_id == model_id(quality)
        assert identify(model_id(quality), {}) == {"quality": quality}
    assert identify(b"none", {}) is None


def test_a_stream_is_described_by_its_quality_and_step() -> None:
    toy = codec(2)
    assert toy.describe(toy.encode(picture(1))[0]) == {"quality": 2, "step": 48}


@pytest.mark.parametrize("quality", [0, 9, -1])
def test_a_quality_that_does_not_exist_is_refused(quality: int) -> None:
    with pytest.raises(UsageError, match=str(quality)):
        codec(quality)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: b"",
        lambda s: b"not zlib",
        lambda s: s[:-1],
        lambda s: s[:10],
        lambda s: s + b"x",
        lambda s: s[:20] + bytes([s[20] ^ 4]) + s[21:],
        lambda s: zlib.compress(bytes(3 * 9 * 14 - 1)),
        lambda s: zlib.compress(bytes(100_000)),
        lambda s: zlib.compress(bytes([255]) * (3 * 9 * 14)),
    ],
)
def test_a_damaged_stream_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    toy = codec(4)
    (stream,) = toy.encode(picture(1))
    with pytest.raises(BitstreamError):
        toy.decode([damage(stream)], (9, 14))


def test_a_stream_without_its_size_is_refused() -> None:
    toy = codec(4)
    with pytest.raises(UsageError, match="size"):
        toy.decode(toy.encode(picture()))


def test_the_plugin_and_its_settings_import_no_torch() -> None:
    code = "import sys, idemcore_toy.plugin, idemcore_toy.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("quality", QUALITIES)
def test_any_image_is_certified_at_the_nearest_levels_of_the_cell(quality: int) -> None:
    toy, image, other = codec(quality), picture(), picture(seed=50)
    cell = toy.cell(toy.encode(image), (9, 14))
    certified = certify(cell, other)
    assert certified.exact == [True, True]
    levels, first = to_bytes(other).int(), (toy.quantise(image) * toy.step).int()
    nearest = levels.clamp(first, (first + toy.step - 1).clamp(max=255))
    # Rounding away from the edge of the cell may cost one level.
    assert int((certified.image.int() - nearest).abs().max()) <= max(1, math.ceil(0.02 * toy.step))
