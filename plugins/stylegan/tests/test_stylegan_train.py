"""The recipe of `idem train stylegan`: seconds of training on images made here."""

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

from idemcore.errors import InputError
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore.training.loop import process_settings
from idemcore_stylegan.augment import augment
from idemcore_stylegan.config import FacesConfig, TrainConfig
from idemcore_stylegan.discriminator import Discriminator, with_spread
from idemcore_stylegan.generator import StyleGanGenerator
from idemcore_stylegan.train import StyleGanTraining, train

TINY = TrainConfig(minutes=60.0, side=8, width=8, max_width=16, latent=8, batch=8, ema_images=200.0, r1=1.0)
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    """[24,1,8,8]: grey, dark to bright from left to right, of several contrasts."""
    ramp = torch.linspace(-1, 1, 8).expand(8, 8)
    contrast = torch.linspace(40, 90, 24)[:, None, None]
    return (128 + contrast * ramp).round().to(torch.uint8)[:, None]


def updates(training: StyleGanTraining, count: int) -> list[dict[str, float]]:
    """What so many updates tell, each taken as no time."""
    told = []
    with process_settings(0):
        for _ in range(count):
            told.append(training.update())
            training.step += 1
    return told


@pytest.mark.slow
def test_training_makes_images_like_the_given_ones(images: Tensor, tmp_path: Path) -> None:
    training = StyleGanTraining(tmp_path, replace(TINY, mirror=False, batch=16), CPU, images)
    updates(training, 250)
    prior = StyleGanGenerator(FacesConfig(str(training.save())), Runtime(CPU, torch.float32))
    made = prior.synthesize(prior.sample(Noise(range(32))))
    assert made.shape == (32, 3, 8, 8)
    real = images.float() / 255
    assert (made.mean(dim=(0, 1)) - real.mean(dim=(0, 1))).abs().mean() < 0.1  # 0.27 before training
    rightwards = made.mean(dim=(1, 2)).diff(dim=1)
    assert (rightwards > 0).float().mean() > 0.7  # 0.44 before training
    assert Image.open(tmp_path / "samples.png").size == (8 * 8, 4 * 8)


def test_a_stopped_training_goes_on_where_it_was(images: Tensor, tmp_path: Path) -> None:
    config = replace(TINY, augment_target=-1.0, augment_images=100.0, r1_every=3)
    whole, first = (StyleGanTraining(tmp_path / name, config, CPU, images) for name in ("whole", "first"))
    first.out.mkdir()
    told, begun = updates(whole, 9), updates(first, 5)
    assert whole.share == pytest.approx(0.64)
    first.save()
    second = StyleGanTraining(first.out, config, CPU, images)
    assert second.resume()
    assert begun + updates(second, 4) == told
    assert all(second.ema[name].equal(value) for name, value in whole.ema.items())


def test_train_tells_images_and_losses_and_its_weights_load(images: Tensor, tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(tmp_path / "faces" / f"{k}.png")
    out, told, before = tmp_path / "out", list[dict[str, float]](), torch.get_rng_state()
    path = train(tmp_path / "faces", out, replace(TINY, minutes=0.02), CPU, told.append)
    assert [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] == told
    last = told[-1]
    assert last.keys() == {"step", "minutes", "images", "loss", "discriminator", "augmented"}
    assert last["images"] == last["step"] * TINY.batch
    assert torch.get_rng_state().equal(before)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"images": str(last["images"]), "minutes": f"{last['minutes']:.1f}"}
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    prior = StyleGanGenerator(FacesConfig(str(path)), Runtime(CPU, torch.float32))
    z = prior.sample(Noise(range(2000)))
    torch.testing.assert_close(prior.advance((z,), 0, 1)[0][:, 0].mean(dim=0), prior.w_mean, atol=0.05, rtol=0)


def test_colour_images_train_a_colour_network(images: Tensor, tmp_path: Path) -> None:
    training = StyleGanTraining(tmp_path, TINY, CPU, torch.cat([images, images, 255 - images], dim=1))
    updates(training, 1)
    with safe_open(training.save(), "pt") as file:
        assert file.get_slice("synthesis.b4.torgb.weight").get_shape() == [3, 16, 1, 1]


def test_another_network_cannot_resume(images: Tensor, tmp_path: Path) -> None:
    StyleGanTraining(tmp_path, TINY, CPU, images).save()
    with pytest.raises(InputError, match=r"cannot be resumed.*size mismatch"):
        StyleGanTraining(tmp_path, replace(TINY, width=16), CPU, images).resume()


def test_the_default_network_is_small_enough_to_ship(tmp_path: Path) -> None:
    training = StyleGanTraining(tmp_path, TrainConfig(), CPU, torch.zeros(1, 1, 64, 64, dtype=torch.uint8))
    assert training.config.widths == (256, 128, 64, 32, 16)
    assert training.save().stat().st_size < 15_000_000


@pytest.mark.parametrize(("target", "share"), [(-1.0, 1.0), (1.0, 0.0)])
def test_augmentation_grows_where_real_images_are_told_too_surely(
    target: float, share: float, images: Tensor, tmp_path: Path
) -> None:
    training = StyleGanTraining(tmp_path, replace(TINY, augment_target=target, augment_images=64.0), CPU, images)
    training.share = 0.5
    updates(training, 12)
    assert training.share == share


def test_the_penalty_flattens_the_discriminator(images: Tensor, tmp_path: Path) -> None:
    training = StyleGanTraining(tmp_path, replace(TINY, r1=10.0, learning_rate=1e-3), CPU, images)
    real = training._batch()

    def slope() -> float:
        shown = real.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(training.discriminator(shown).sum(), shown)
        return float(slopes.norm())

    before = slope()
    for _ in range(10):
        training._penalise(real)
    assert slope() < 0.8 * before


def test_half_of_the_images_are_mirrored(images: Tensor, tmp_path: Path) -> None:
    training = StyleGanTraining(tmp_path, replace(TINY, batch=400), CPU, images)
    rightwards = training._batch().diff(dim=3).mean(dim=(1, 2, 3)) > 0
    assert 150 < int(rightwards.sum()) < 250
    training.config.mirror = False
    assert (training._batch().diff(dim=3) > 0).all()


def test_only_the_chosen_share_is_augmented() -> None:
    x = torch.rand(600, 1, 8, 8, generator=seeded())
    assert augment(x, 0.0, seeded()) is x
    changed = ~torch.isclose(augment(x, 0.1, seeded(1)), x, atol=1e-4).flatten(1).all(dim=1)
    assert float(changed.float().mean()) == pytest.approx(1 - 0.9**7, abs=0.06)
    assert augment(x, 0.5, seeded(2)).equal(augment(x, 0.5, seeded(2)))


def test_augmented_images_are_moved_and_toned_copies() -> None:
    x = torch.zeros(500, 1, 32, 32)
    x[..., 12:20, 12:20] = 1
    y = augment(x, 1.0, seeded())
    lowest, highest = y.amin(dim=(1, 2, 3)), y.amax(dim=(1, 2, 3))
    assert float(lowest.std()) == pytest.approx(0.2, abs=0.05), "brightness"
    assert float((highest - lowest).log2().std()) == pytest.approx(0.5, abs=0.1), "contrast"
    square = (y - lowest[:, None, None, None]) / (highest - lowest)[:, None, None, None]
    area = square.sum(dim=(1, 2, 3))
    assert float((area / 64).log2().median()) == pytest.approx(0, abs=0.15)
    places = torch.arange(32.0) - 15.5
    shift = (square.sum(dim=(1, 2))[:, None] @ places).flatten() / area
    assert 2 < float(shift.std()) < 6


def test_augmentation_passes_gradients_on() -> None:
    x = torch.rand(4, 3, 8, 8, generator=seeded()).requires_grad_()
    (slopes,) = torch.autograd.grad(augment(x, 1.0, seeded()).sum(), x)
    assert slopes.flatten(1).any(dim=1).all()


def test_the_discriminator_sees_the_spread_within_its_groups() -> None:
    x = torch.rand(8, 3, 4, 4, generator=seeded())
    groups = [x[k::2] for k in range(2)]
    spread = torch.stack([group.std(dim=0, correction=0).mean() for group in groups]).repeat(4)
    seen = with_spread(x)
    assert seen[:, :3].equal(x)
    torch.testing.assert_close(seen[:, 3], spread[:, None, None].expand(-1, 4, 4), atol=1e-4, rtol=1e-4)


def test_the_discriminator_keeps_the_variance_of_its_features() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        discriminator = Discriminator((64, 64, 64), 3)
        x = torch.randn(8, 64, 16, 16)
    with torch.no_grad():
        for block in discriminator.blocks:
            x = block(x)
    assert 0.1 < float(x.std()) < 2
    assert discriminator(torch.rand(8, 3, 16, 16)).shape == (8,)


@pytest.mark.parametrize("values", [{"minutes": math.nan}, {"side": 48}, {"side": 4}, {"batch": 6}, {"batch": 0}])
def test_settings_that_cannot_train_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        TrainConfig(**values)
