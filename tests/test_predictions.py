"""Networks that predict noise, velocity or image, all ideal for one Gaussian: the denoiser is its posterior mean."""

from __future__ import annotations

import pytest
import torch
from fake_gpu import fake_gpu
from torch import Tensor

from idemcore.networks.predictions import TimestepDenoiser, cosine_abar, image_of, linear_abar

MEAN, DEVIATION = 0.45, 0.2
ABAR = linear_abar()


def ideal(predicts: str):  # type: ignore[no-untyped-def]
    """The network of samples that are independent and N(MEAN, DEVIATION^2) in [0,1]."""

    def network(z: Tensor, t: Tensor) -> Tensor:
        abar = ABAR[t].float()[:, None, None, None]
        mean, variance = 2 * MEAN - 1, 4 * DEVIATION**2
        x0 = mean + variance * abar.sqrt() / (variance * abar + 1 - abar) * (z - abar.sqrt() * mean)
        eps = (z - abar.sqrt() * x0) / (1 - abar).sqrt()
        found = {"x": x0, "eps": eps, "v": abar.sqrt() * eps - (1 - abar).sqrt() * x0}[predicts]
        return torch.cat([found, found[:, :1]], dim=1)  # a fourth channel, as of a learned variance

    return network


@pytest.mark.parametrize("predicts", ["eps", "v", "x"])
@pytest.mark.parametrize("t", [0, 10, 400, 999])
def test_the_denoiser_is_the_posterior_mean_whatever_is_predicted(predicts: str, t: int) -> None:
    prior = TimestepDenoiser(ideal(predicts), ABAR, predicts, multiple=8)  # type: ignore[arg-type]
    sigma = float(prior.sigmas[t])
    x = MEAN + (DEVIATION**2 + sigma**2) ** 0.5 * torch.randn(2, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    wanted = MEAN + DEVIATION**2 / (DEVIATION**2 + sigma**2) * (x - MEAN)
    torch.testing.assert_close(prior.denoise(x, sigma), wanted, atol=2e-3 if sigma > 1 else 2e-4, rtol=0)


def test_each_image_has_its_own_level_and_gradients_flow() -> None:
    prior = TimestepDenoiser(ideal("v"), ABAR, "v")
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    together = prior.denoise(x, torch.tensor([0.02, 0.8]))
    torch.testing.assert_close(together[1:], prior.denoise(x[1:], 0.8))
    (gradient,) = torch.autograd.grad(together.sum(), x)
    assert float(gradient[0].mean()) > float(gradient[1].mean()) > 0


def test_a_device_without_float64_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = TimestepDenoiser(ideal("x"), ABAR, "x")
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = prior.denoise(x, torch.tensor([0.1, 1.0]))
    with fake_gpu(monkeypatch, "mps"):
        there = TimestepDenoiser(lambda z, t: ideal("x")(z.cpu(), t.cpu()).to(z.device), ABAR, "x")
        found = there.denoise(x.to("mps"), torch.tensor([0.1, 1.0]).to("mps")).cpu()
    assert torch.equal(found, wanted)


def test_the_timestep_is_the_nearest_in_ratio() -> None:
    prior = TimestepDenoiser(ideal("x"), ABAR, "x")
    assert prior.timestep(prior.sigmas[[0, 321, 999]].float()).tolist() == [0, 321, 999]
    assert prior.timestep(torch.tensor([1e-9, 1e9])).tolist() == [0, 999]


@pytest.mark.parametrize("abar", [linear_abar(), linear_abar(250), cosine_abar()])
def test_schedules_go_from_hardly_any_noise_to_hardly_anything_else(abar: Tensor) -> None:
    assert (abar.diff() < 0).all()
    assert abar[0] > 0.98
    assert abar[-1] < 1e-4
    z, noise = torch.tensor(0.3), torch.tensor(0.1)
    assert float(image_of("eps", z, noise, torch.tensor(1.0))) == pytest.approx(0.3)
