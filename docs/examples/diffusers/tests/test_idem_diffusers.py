"""Denoisers of diffusers, on tiny networks with random weights in a local folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import idemcore as idem
from idemcore.errors import MissingError, UsageError
from idemcore.noise import Noise
from idemcore.testing import Subject, check

diffusers = pytest.importorskip("diffusers", reason="pip install 'idemcore[examples]' brings diffusers")


@pytest.fixture
def save(tmp_path: Path) -> Any:
    """`save("epsilon")`: a network and its scheduler, as `save_pretrained` of a pipeline lays them out."""

    def write(prediction: str, folder: Path = tmp_path / "model", **network: Any) -> Path:
        state = torch.get_rng_state()
        torch.manual_seed(0)
        small = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 4}
        down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
        unet = diffusers.UNet2DModel(16, down_block_types=down, up_block_types=up, **small, **network)
        unet.conv_out.weight.data.mul_(0.1)  # predictions near 0
        torch.set_rng_state(state)
        unet.save_pretrained(folder / "unet")
        diffusers.DDPMScheduler(prediction_type=prediction).save_pretrained(folder / "scheduler")
        return folder

    return write


def prior(folder: Path, **settings: Any) -> Any:
    generator = {"model": str(folder), **settings}
    exact = {"device": "cpu", "precision": "fp32"}
    return idem.load_decoder("diffusers", "cell", settings={"generator": generator}, **exact).generator


def test_conformance(save: Any) -> None:
    """Where the prediction v = n - x0 is near 0, the network is a denoiser: that of white noise of half the range."""
    subject = Subject.installed("generator", "diffusers", model=str(save("v_prediction")))
    subject = replace(subject, expected_failures={"samples": "a third of such noise lies outside [0,1]"})
    results = check(subject)
    assert results
    assert not [f"{r.law.name}: {r.message}" for r in results if not r.ok]


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_estimates_are_those_of_the_scheduler(save: Any, prediction: str) -> None:
    folder = save(prediction)
    unet = diffusers.UNet2DModel.from_pretrained(folder / "unet").eval()
    scheduler = diffusers.DDPMScheduler.from_pretrained(folder / "scheduler", clip_sample=False)
    found, noise = prior(folder), Noise([0]).normal(3, 16, 16)
    for t in (5, 500, 999):
        z = 0.3 * noise
        abar = scheduler.alphas_cumprod[t]
        with torch.no_grad():
            wanted = scheduler.step(unet(z, t).sample, t, z).pred_original_sample
            x0 = found.denoise((z / abar.sqrt() + 1) / 2, float(found.sigmas[t]))
        torch.testing.assert_close(2 * x0 - 1, wanted, atol=1e-3, rtol=1e-3)


def test_noise_levels_are_those_of_the_scheduler(save: Any) -> None:
    found = prior(save("epsilon"))
    abar = diffusers.DDPMScheduler().alphas_cumprod.double()
    torch.testing.assert_close(found.sigmas, ((1 - abar) / abar).sqrt() / 2)
    assert (found.sigma_min, found.sigma_max) == (float(found.sigmas[0]), float(found.sigmas[-1]))


def test_network_and_scheduler_may_lie_in_one_folder(save: Any, tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    for file in save("epsilon").rglob("*.*"):
        file.rename(together / file.name)
    assert prior(together).denoise(torch.zeros(1, 3, 7, 9), 0.1).shape == (1, 3, 7, 9)


def test_an_image_is_decoded_with_it(save: Any) -> None:
    bitstream = idem.load_codec("jpeg", quality=10).encode(Noise([0]).uniform(3, 24, 16))
    settings = {"generator": {"model": str(save("v_prediction"))}, "solver": {"steps": 2}}
    result = idem.load_decoder("diffusers", "cell", settings=settings).reconstruct(bitstream)
    assert result.exact
    assert result.nfe == 2


def test_what_is_not_here_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="generator.download=true"):
        prior(tmp_path / "nothing")


def test_a_network_of_other_images_is_refused(save: Any) -> None:
    with pytest.raises(UsageError, match="RGB"):
        prior(save("epsilon", in_channels=1, out_channels=1))
