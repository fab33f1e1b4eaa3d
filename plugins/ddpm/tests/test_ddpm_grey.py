"""Networks of grey images, such as that of `ddpm-faces64`, as priors of colour images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from idemcore.errors import InputError, MissingError
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_ddpm import weights as stored
from idemcore_ddpm.adm import AdmGenerator, noise_schedule
from idemcore_ddpm.adm_unet import AdmUNet, AdmUNetConfig
from idemcore_ddpm.config import AdmConfig, FacesConfig

GREY = AdmUNetConfig(32, (1, 2), 1, frozenset({2}), image_channels=1)
SAID = {"schedule": "cosine", "steps": "50", "side": "16"}
MEAN, VARIANCE = 0.45, 0.04


def write(path: Path, config: AdmUNetConfig = GREY, metadata: dict[str, str] | None = None) -> Path:
    rng = torch.Generator().manual_seed(0)
    state = {key: torch.randn(value.shape, generator=rng) / 10 for key, value in AdmUNet(config).state_dict().items()}
    save_file(state, path, metadata)
    return path


@pytest.fixture
def prior(tmp_path: Path, runtime: Runtime) -> AdmGenerator:
    said = {"schedule": "linear", "side": "0"}
    return AdmGenerator(FacesConfig(str(write(tmp_path / "grey.safetensors", metadata=said))), runtime)


@pytest.fixture
def gaussian(prior: AdmGenerator, monkeypatch: pytest.MonkeyPatch) -> AdmGenerator:
    """As if the grey images were Gaussian, every pixel for itself; the noise is then known in closed form."""
    kept = 1 / (1 + 4 * noise_schedule("linear", 1000) ** 2)

    def network(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        abar = kept[t.long()].float()[:, None, None, None]
        mean, variance = (2 * MEAN - 1) * abar.sqrt(), 4 * VARIANCE * abar
        eps = (1 - abar).sqrt() * (x_t - mean) / (variance + 1 - abar)
        return torch.cat([eps, 0.5 * torch.ones_like(eps)], dim=1)

    monkeypatch.setitem(prior.network.__dict__, "forward", network)
    return prior


@pytest.mark.parametrize("t", [0, 1, 200, 700, 999])
def test_a_grey_prior_denoises_colour_images_exactly(t: int, gaussian: AdmGenerator) -> None:
    sigma = float(gaussian.sigmas[t])
    grey = MEAN + VARIANCE**0.5 * Noise([1, 2]).normal(1, 4, 6)
    x = grey + sigma * Noise([3, 4]).normal(3, 4, 6)
    ones = torch.ones(3, dtype=torch.float64)
    covariance = VARIANCE * torch.outer(ones, ones) + sigma**2 * torch.eye(3, dtype=torch.float64)
    gain = VARIANCE * torch.linalg.solve(covariance, ones)
    expected = MEAN + torch.einsum("c,bchw->bhw", gain, x.double() - MEAN)
    x0, share = gaussian.denoise_and_variance(x, sigma)
    torch.testing.assert_close(x0.double(), expected[:, None].expand(-1, 3, -1, -1), atol=1e-4, rtol=1e-4)
    assert share is not None
    assert share.equal(torch.full((2, 3, 4, 6), 0.75))


def test_levels_of_colour_images_are_wider_by_the_root_of_three(prior: AdmGenerator) -> None:
    torch.testing.assert_close(prior.sigmas, math.sqrt(3) * noise_schedule("linear", 1000))
    assert (prior.sigma_min, prior.sigma_max) == (float(prior.sigmas[0]), float(prior.sigmas[-1]))
    assert prior.timestep(prior.sigmas).equal(torch.arange(1000.0))
    assert prior.warm_start == pytest.approx(math.sqrt(3) * AdmGenerator.warm_start)


def test_differences_between_channels_are_taken_for_noise(prior: AdmGenerator) -> None:
    x = Noise([5]).uniform(3, 8, 8)
    tint = torch.tensor([0.3, -0.1, -0.2])[:, None, None]
    torch.testing.assert_close(prior.denoise(x + tint, 0.3), prior.denoise(x, 0.3))


def test_gradients_of_a_grey_prior_are_equal_in_all_channels(prior: AdmGenerator) -> None:
    x = Noise([5]).uniform(3, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.denoise(x, 0.3).square().sum(), x)
    assert gradient.any()
    torch.testing.assert_close(gradient, gradient[:, :1].expand(-1, 3, -1, -1))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2])
def test_an_image_depends_neither_on_its_batch_nor_on_threads(count: int, prior: AdmGenerator) -> None:
    x, levels = Noise(range(4)).uniform(3, 16, 16), torch.tensor([0.05, 0.4, 3.0, 50.0])
    with threads(1):
        alone = [prior.denoise(x[b : b + 1], float(sigma)) for b, sigma in enumerate(levels)]
    with threads(count):
        together = prior.denoise(x, levels)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_weights_say_schedule_and_size_and_settings_win(tmp_path: Path, runtime: Runtime) -> None:
    path = str(write(tmp_path / "said.safetensors", metadata=SAID))
    as_said = AdmGenerator(FacesConfig(path), runtime)
    assert as_said.size == (16, 16)
    torch.testing.assert_close(as_said.sigmas, math.sqrt(3) * noise_schedule("cosine", 50))
    settled = AdmGenerator(FacesConfig(path, schedule="linear", steps=10), runtime)
    torch.testing.assert_close(settled.sigmas, math.sqrt(3) * noise_schedule("linear", 10))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state, _: state.update({"input_blocks.0.0.weight": torch.zeros(32, 2, 3, 3)}), "have 2 channels"),
        (lambda state, _: state.update({"out.2.bias": torch.zeros(6)}), r"misshapen out\.2\.bias \(6,\) for \(2,\)"),
        (lambda _, said: said.update(steps="many"), "does not hold an ADM UNet"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[dict[str, torch.Tensor], dict[str, str]], None], named: str, tmp_path: Path, runtime: Runtime
) -> None:
    state, said = dict(AdmUNet(GREY).state_dict()), dict(SAID)
    change(state, said)
    save_file(state, tmp_path / "other.safetensors", said)
    with pytest.raises(InputError, match=named):
        AdmGenerator(AdmConfig(str(tmp_path / "other.safetensors")), runtime)


def test_missing_bundled_weights_say_how_to_train_them(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BUNDLED", tmp_path / "gone.safetensors")
    with pytest.raises(MissingError, match=r"gone\.safetensors") as caught:
        AdmGenerator(FacesConfig(), runtime)
    assert "idem train adm" in caught.value.hint
