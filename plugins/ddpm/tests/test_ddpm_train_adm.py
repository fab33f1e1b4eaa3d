"""The recipe of `idem train adm`: seconds of training on images made here, and the terms of its loss."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from idemcore.errors import InputError, UsageError
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore.training.loop import process_settings
from idemcore_ddpm.adm import AdmGenerator, noise_schedule
from idemcore_ddpm.adm_unet import AdmUNet
from idemcore_ddpm.config import AdmConfig, AdmTrainConfig, FacesConfig
from idemcore_ddpm.train_adm import AdmTraining, Diffusion, train
from idemcore_ddpm.weights import load_network

TINY = AdmTrainConfig(
    minutes=60.0,
    side=8,
    channels=32,
    multipliers=(1, 1),
    attention=(2,),
    batch=8,
    learning_rate=0.05,
    held_out=0.0,
)
CPU = torch.device("cpu")


@pytest.fixture
def images() -> Tensor:
    """[24,1,8,8]: grey, dark to bright from left to right, of several contrasts."""
    ramp = torch.linspace(-1, 1, 8).expand(8, 8)
    contrast = torch.linspace(40, 90, 24)[:, None, None]
    return (128 + contrast * ramp).round().to(torch.uint8)[:, None]


@pytest.fixture
def diffusion() -> Diffusion:
    return Diffusion("linear", 1000, CPU)


def updates(training: AdmTraining, count: int) -> list[dict[str, float]]:
    """What so many updates tell, each taken as no time, so that the schedule stands still."""
    told = []
    with process_settings(0):
        for _ in range(count):
            told.append(training.update())
            training.step += 1
    return told


def test_training_lowers_both_losses_and_its_weights_denoise(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, replace(TINY, mirror=False), CPU, images)
    told = updates(training, 40)
    for key in ("loss", "bits"):
        assert sum(record[key] for record in told[-10:]) < 0.6 * sum(record[key] for record in told[:10]), key
    prior = AdmGenerator(FacesConfig(str(training.save())), Runtime(CPU, torch.float32))
    assert prior.size == (8, 8)
    assert Image.open(tmp_path / "samples.png").size == (8 * 8, 2 * 8)
    clean = images[:8].float().expand(-1, 3, -1, -1) / 255
    noisy = clean + 0.5 * Noise(range(8)).normal(3, 8, 8)
    grey_error = (noisy.mean(dim=1, keepdim=True) - clean).square().mean()
    assert (prior.denoise(noisy, 0.5) - clean).square().mean() < 0.3 * grey_error


def test_a_stopped_training_goes_on_where_it_was(images: Tensor, tmp_path: Path) -> None:
    whole, first = (AdmTraining(tmp_path / name, TINY, CPU, images) for name in ("whole", "first"))
    first.out.mkdir()
    told, begun = updates(whole, 5), updates(first, 3)
    first.save()
    second = AdmTraining(first.out, replace(TINY, minutes=120.0), CPU, images)
    assert second.resume()
    assert begun + updates(second, 2) == told
    assert all(second.ema[name].equal(value) for name, value in whole.ema.items())


def test_train_tells_images_and_losses_and_its_weights_say_how_they_came(images: Tensor, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(tmp_path / "faces" / f"{k}.png")
    out, told, before = tmp_path / "out", list[dict[str, float]](), torch.get_rng_state()
    path = train(tmp_path / "faces", out, replace(TINY, minutes=0.01, schedule="cosine", steps=50), CPU, told.append)
    assert [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] == told
    last = told[-1]
    assert last.keys() == {"step", "minutes", "images", "loss", "bits"}
    assert last["images"] == last["step"] * TINY.batch
    assert torch.get_rng_state().equal(before)
    with safe_open(path, "pt") as file:
        trained = {"images": str(last["images"]), "minutes": f"{last['minutes']:.1f}"}
        assert file.metadata() == {
            "schedule": "cosine",
            "steps": "50",
            "side": "8",
            "groups": "1",
            "predicts": "v",
            **trained,
            "head_channels": "64",
            "attention_order": "legacy",
        }
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_weights_with_fewer_groups_give_the_network_that_was_trained(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, replace(TINY, groups=4), CPU, images)
    updates(training, 2)
    network, trained = load_network(AdmConfig(str(training.save())))
    assert trained.groups == network.config.groups == 4
    averaged = training._new_network()
    averaged.load_state_dict(training.ema)
    x, t = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0, 500.0])
    with torch.no_grad():
        torch.testing.assert_close(network(x, t), averaged(x, t), atol=2e-3, rtol=0)
        wrong = AdmUNet(replace(training.shape, groups=32))
        wrong.load_state_dict(training.ema)
        assert not torch.allclose(wrong(x, t), averaged(x, t), atol=1e-2)


def test_colour_images_train_a_colour_network(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, TINY, CPU, torch.cat([images, images, 255 - images], dim=1))
    updates(training, 1)
    with safe_open(training.save(), "pt") as file:
        assert file.get_slice("out.2.weight").get_shape() == [6, 32, 3, 3]


def test_another_network_cannot_resume(images: Tensor, tmp_path: Path) -> None:
    AdmTraining(tmp_path, TINY, CPU, images).save()
    with pytest.raises(InputError, match=r"cannot be resumed.*size mismatch"):
        AdmTraining(tmp_path, replace(TINY, channels=64), CPU, images).resume()


def test_the_default_network_is_small_enough_to_ship(tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, AdmTrainConfig(), CPU, torch.zeros(1, 1, 64, 64, dtype=torch.uint8))
    assert 2 * sum(value.numel() for value in training.ema.values()) < 15_000_000


def test_the_noise_that_a_velocity_stands_for_is_the_noise(diffusion: Diffusion) -> None:
    clean, noise = Noise(range(4)).normal(1, 8, 8).clamp(-1, 1), Noise(range(4, 8)).normal(1, 8, 8)
    t = torch.tensor([0, 20, 400, 999])
    velocity, noisy = diffusion.velocity(clean, noise, t), diffusion.noised(clean, noise, t)
    torch.testing.assert_close(diffusion.noise_of(velocity, noisy, t), noise)
    kept = diffusion.kept[t].float()[:, None, None, None]
    torch.testing.assert_close(kept.sqrt() * noisy - (1 - kept).sqrt() * velocity, clean)


@pytest.mark.parametrize("predicts", ["v", "noise"])
def test_whatever_is_predicted_weights_denoise_as_they_were_trained(
    predicts: str, images: Tensor, tmp_path: Path
) -> None:
    """A network that predicts nothing: then x0 is sqrt(abar) x_t if that is v, and all of x if it is the noise."""
    training = AdmTraining(tmp_path, replace(TINY, predicts=predicts), CPU, images)
    prior = AdmGenerator(FacesConfig(str(training.write_weights())), Runtime(CPU, torch.float32))
    x, sigma = Noise(range(2)).normal(1, 8, 8).expand(-1, 3, -1, -1), 0.8
    kept = 1 / (1 + 4 * sigma**2 / 3)  # abar at what is the noise of the mean of three channels
    expected = (kept * (2 * x - 1) + 1) / 2 if predicts == "v" else x
    torch.testing.assert_close(prior.denoise(x, sigma), expected)


def test_a_network_starts_by_predicting_no_noise(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, TINY, CPU, images)
    x = Noise(range(2)).normal(1, 8, 8)
    assert not training.network(x, torch.tensor([3.0, 700.0])).any()


def test_the_timesteps_of_a_batch_are_spread_evenly(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, TINY, CPU, images)
    drawn = torch.stack([training._timesteps(8) for _ in range(500)])
    assert (drawn // 125).equal(torch.arange(8).expand(500, 8))
    assert float((drawn % 125).float().mean()) == pytest.approx(62, abs=4)
    assert int(drawn.min()) < 2
    assert int(drawn.max()) > 997


def test_averaged_weights_follow_a_share_of_the_steps(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, replace(TINY, ema=0.1), CPU, images)
    bias = training.network.out["2"].bias
    with torch.no_grad():
        for training.step in range(401):
            bias.fill_(training.step)
            training._average()
    lag = 400 - float(training.ema["out.2.bias"][0])
    assert lag == pytest.approx(400 * 0.1 / 1.1, rel=0.1)


def test_half_of_the_images_are_mirrored(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, replace(TINY, batch=400), CPU, images)
    rightwards = training._batch().diff(dim=3).mean(dim=(1, 2, 3)) > 0
    assert 150 < int(rightwards.sum()) < 250
    training.config.mirror = False
    assert (training._batch().diff(dim=3) > 0).all()


@pytest.mark.parametrize("t", [1, 2, 50, 500, 999])
def test_the_bound_is_the_divergence_of_the_posteriors(t: int, diffusion: Diffusion) -> None:
    rng = torch.Generator().manual_seed(t)
    clean = 2 * torch.rand(1, 1, 4, 4, generator=rng) - 1
    noise, predicted = (torch.randn(1, 1, 4, 4, generator=rng) for _ in range(2))
    v = 2 * torch.rand(1, 1, 4, 4, generator=rng) - 1
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - beta).cumprod(0)
    small = float(beta[t] * (1 - kept[t - 1]) / (1 - kept[t]))
    x_t = kept[t].sqrt() * clean + (1 - kept[t]).sqrt() * noise

    def mean(eps: Tensor) -> Tensor:
        return (x_t - beta[t] / (1 - kept[t]).sqrt() * eps) / (1 - beta[t]).sqrt()

    log_variance = (v + 1) / 2 * beta[t].log() + (1 - v) / 2 * math.log(small)
    true = torch.distributions.Normal(mean(noise), torch.tensor(small, dtype=torch.float64).sqrt())
    model = torch.distributions.Normal(mean(predicted), (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(true, model).mean() / math.log(2)
    found = diffusion.variance_bound(clean, noise, torch.tensor([t]), predicted, v)
    torch.testing.assert_close(found.double(), expected[None], atol=1e-5, rtol=1e-3)


def test_the_first_term_is_the_code_length_of_8_bit_images(diffusion: Diffusion) -> None:
    levels = (torch.arange(256.0) / 127.5 - 1)[None, None]
    t, v = torch.tensor([0]), torch.zeros(1, 1, 1, 256)
    drawn, noise = torch.randn(1, 1, 1, 256, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 1, 256)
    x_t = diffusion.noised(levels[0, 0, 100].expand(1, 1, 1, 256), drawn[..., :1], t)
    # The noise that would have brought each level to this x_t: one mean for all, so their probabilities add up to 1.
    kept = float(diffusion.kept[0])
    noise = (x_t - kept**0.5 * levels[:, :, None]) / (1 - kept) ** 0.5
    nats = [
        diffusion.variance_bound(levels[..., k, None, None], noise[..., k, None], t, drawn[..., :1], v[..., :1])
        for k in range(256)
    ]
    total = sum(2 ** -float(bits) for bits in nats)
    assert total == pytest.approx(1, abs=1e-3)


def test_noised_images_have_the_levels_of_the_schedule(diffusion: Diffusion) -> None:
    t = torch.tensor([0, 300, 999])
    ones, zeros = torch.ones(3, 1, 1, 1), torch.zeros(3, 1, 1, 1)
    ratio = diffusion.noised(zeros, ones, t) / diffusion.noised(ones, zeros, t)
    torch.testing.assert_close(ratio.flatten().double() / 2, noise_schedule("linear", 1000)[t], atol=1e-6, rtol=1e-5)


def test_a_schedule_that_does_not_exist_is_refused(images: Tensor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="linaer"):
        AdmTraining(tmp_path, replace(TINY, schedule="linaer"), CPU, images)


@pytest.mark.parametrize(
    "values",
    [
        {"minutes": math.nan},
        {"side": 48},
        {"side": 4},
        {"channels": 40},
        {"groups": 12},
        {"predicts": "x0"},
        {"multipliers": ()},
        {"multipliers": (1, 1, 1, 1, 1, 1, 1, 1)},
        {"multipliers": (0, 1)},
        {"blocks": 0},
        {"batch": 0},
        {"ema": math.nan},
    ],
)
def test_settings_that_cannot_train_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        AdmTrainConfig(**values)


def test_training_starts_from_given_weights(images: Tensor, tmp_path: Path) -> None:
    first = AdmTraining(tmp_path, replace(TINY, seed=1), CPU, images)
    updates(first, 3)
    weights = str(first.write_weights())
    training = AdmTraining(tmp_path, replace(TINY, init=weights), CPU, images)
    assert not training.resume()
    for name, value in load_network(AdmConfig(weights))[0].state_dict().items():
        assert torch.equal(training.network.state_dict()[name], value)
        assert torch.equal(training.ema[name], value)


def test_weights_of_another_network_are_no_start(images: Tensor, tmp_path: Path) -> None:
    weights = str(AdmTraining(tmp_path, TINY, CPU, images).write_weights())
    other = replace(TINY, multipliers=(1, 2), init=weights)
    with pytest.raises(InputError, match="another network") as caught:
        AdmTraining(tmp_path, other, CPU, images).resume()
    assert "'train.multipliers=[1, 1]' --set train.blocks=1 --set 'train.attention=[2]'" in caught.value.hint


def test_validation_sees_what_is_held_out_and_disturbs_nothing(images: Tensor, tmp_path: Path) -> None:
    training = AdmTraining(tmp_path, replace(TINY, held_out=0.25), CPU, images)
    assert len(training.held_out) == 6
    seen = {tuple(image.flatten().tolist()) for image in training.images}
    assert not seen & {tuple(image.flatten().tolist()) for image in training.held_out}
    updates(training, 3)
    state, weights = training.rng.get_state(), {k: v.clone() for k, v in training.network.state_dict().items()}
    assert training.validate() == training.validate()
    assert training.validate()["score"] < 0
    assert torch.equal(training.rng.get_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in training.network.state_dict().items())
