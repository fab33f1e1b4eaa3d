"""Where training starts: an orthogonal transform of photographs and its inverse, and rounding steps for lambda."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from idemcore.learned.klt import principal_components, start_from_klt


class Linear(nn.Module):
    """Four layers of stride 2 and back, of these widths; it remembers the spread that it is told."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        sides = list(zip((3, *widths), widths, strict=False))
        self.g_a = nn.Sequential(*(nn.Conv2d(a, b, 5, 2, 2) for a, b in sides))
        self.g_s = nn.Sequential(*(nn.ConvTranspose2d(b, a, 5, 2, 2, 1) for a, b in sides[::-1]))
        self.spread = torch.zeros(widths[-1])

    def set_spread(self, spread: Tensor) -> None:
        self.spread = spread


def started(make: SimpleNamespace, *widths: int, trade_off: float = 0.01) -> tuple[Linear, Tensor]:
    """A network started from photographs, and these."""
    crops = make.real(make.picture(24, 64, 64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Linear(*widths)
    before = torch.get_rng_state()
    start_from_klt(model, crops, trade_off)
    assert torch.equal(torch.get_rng_state(), before)
    return model, crops


def test_with_room_for_all_coefficients_the_synthesis_is_the_inverse(make: SimpleNamespace) -> None:
    model, crops = started(make, 14, 48, 192, 768)
    with torch.no_grad():
        torch.testing.assert_close(model.g_s(model.g_a(crops[:4])), crops[:4], rtol=0, atol=1e-3)


def test_with_less_room_most_of_the_picture_remains(make: SimpleNamespace) -> None:
    model, crops = started(make, 12, 20, 24, 32)
    with torch.no_grad():
        error = (model.g_s(model.g_a(crops)) - crops).square().mean()
    assert float(error) < 0.35 * float(crops.var())


def test_latents_are_uncorrelated_the_largest_first_and_their_spread_is_told(make: SimpleNamespace) -> None:
    model, crops = started(make, 12, 20, 24, 16)
    with torch.no_grad():
        y = model.g_a(crops).transpose(0, 1).flatten(1)
    covariance = y @ y.T / y.shape[1]
    variances = covariance.diagonal()
    assert (variances[:-1] >= variances[1:] - 1e-4).all()
    assert float((covariance - variances.diag()).abs().max()) < 1e-3 * float(variances[0])
    torch.testing.assert_close(model.spread, y.std(dim=1).clamp(min=0.2), rtol=1e-3, atol=1e-3)


def test_the_rounding_step_is_best_for_lambda(make: SimpleNamespace) -> None:
    """Where the slopes of lambda * 255^2 * d^2 / 12, the squared error, and of -3 log2(d) bits are equal."""
    trade_off = 0.01
    model, crops = started(make, 12, 48, 192, 8, trade_off=trade_off)
    with torch.no_grad():
        y = model.g_a(crops[:1])
        moved = model.g_s(y + torch.eye(8)[0].view(1, 8, 1, 1) * (torch.arange(16).view(4, 4) == 5)) - model.g_s(y)
    size = float(moved.norm())  # of one rounding step, since the transform is orthogonal
    slopes = 3 / (size * math.log(2)), trade_off * 255**2 * size / 6
    assert abs(slopes[0] / slopes[1] - 1) < 0.01


def test_principal_components_are_orthonormal(make: SimpleNamespace) -> None:
    x = make.real(make.picture(3))
    basis = principal_components(x, 99)
    assert basis.shape == (12, 3, 2, 2)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(12), rtol=0, atol=1e-5)
    assert torch.equal(principal_components(x, 5), basis[:5])
