"""Scales after training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.learned.calibration import GAINS, calibrate, error_ratio
from idemcore.learned.coding import EntropyCoder


def length(model: torch.nn.Module, x: torch.Tensor) -> int:
    """Bytes of all streams."""
    coder = EntropyCoder(model)
    with torch.no_grad():
        y = model.g_a(x)
        z = model.hyper_analysis(y)
    return sum(len(coder.encode(y[i : i + 1], z[i : i + 1])) for i in range(len(x)))


def sure(make: SimpleNamespace) -> torch.nn.Module:
    """A model whose scales are of the size of its latents, as a trained one's are."""
    model = make.model()
    with torch.no_grad():
        model.h_s.weight.mul_(0.1)
        model.context.weight.mul_(0.1)
        model.set_spread(torch.tensor([2.0, 1.5, 1.0, 1.2]))
    return model


def test_scales_that_are_off_by_channel_are_set_right(make: SimpleNamespace) -> None:
    x = make.real(make.picture(6, 256, 256))
    model = sure(make)
    calibrate(model, x)
    right, best = model.gains.clone(), length(model, x)
    wrong = torch.tensor([0.7, 1.4, 0.8, 1.3])
    model.widen(wrong)
    assert length(model, x) > 1.01 * best
    calibrate(model, x)
    torch.testing.assert_close(model.gains / right, torch.ones(4), atol=0, rtol=float(GAINS[1] / GAINS[0]) - 1 + 1e-3)
    assert length(model, x) < 1.003 * best


def test_calibrating_moves_no_symbol(make: SimpleNamespace) -> None:
    x = make.real(make.picture(3))
    model = make.model()
    with torch.no_grad():
        y = model.g_a(x)
        z = model.hyper_analysis(y)
    before = EntropyCoder(model).quantise(y, z)
    calibrate(model, x)
    after = EntropyCoder(model).quantise(y, z)
    assert torch.equal(after.y_hat, before.y_hat)
    assert not torch.equal(after.scales, before.scales)


@pytest.mark.parametrize("count", [1, 40])
def test_any_number_of_crops_will_do(make: SimpleNamespace, count: int) -> None:
    model = make.model()
    calibrate(model, make.real(make.picture(count)))
    assert bool((model.gains > 0).all())


def test_the_error_ratio_is_of_the_decoded_image(make: SimpleNamespace) -> None:
    encoder, x = make.codec(), make.real(make.picture(3))
    ratio = error_ratio(encoder.model, x)
    cell = encoder.cell(encoder.encode(x), (64, 64))
    within = cell.distortion / encoder.error_ratio
    lost = (cell.centre - x).square().mean().sqrt()
    assert ratio == pytest.approx(float(lost / within.square().mean().sqrt()), rel=1e-3)
