"""The loss that makes estimates natural: distance of features, critic, and a training that uses and keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from idemcore.errors import InputError
from idemcore.networks.efficientnet import feature_maps
from idemcore.pipeline.certify import certify
from idemcore.runtime import Runtime
from idemcore.training.crops import Crops
from idemcore_jpeg.config import JpegConfig, SharpTrainConfig
from idemcore_jpeg.encoder import JpegEncoder
from idemcore_jpeg.naturalness import Critic, Naturalness, feature_distance
from idemcore_jpeg.train_estimate import EstimateTraining

CPU = torch.device("cpu")
TINY = SharpTrainConfig(
    pixels=8192, crops=(64,), scales=(1.0,), channels=(8, 8), blocks=1, init="", held_out=0.25, threads=1,
)  # fmt: skip


@pytest.fixture
def pictures(make: SimpleNamespace) -> torch.Tensor:
    return torch.cat([make.natural(64, 64, seed=k) for k in range(3)]).float() / 127.5 - 1


@pytest.fixture
def crops(tmp_path: Path, make: SimpleNamespace) -> Crops:
    for k in range(4):
        Image.fromarray(make.natural(88, 96, seed=k)[0].permute(1, 2, 0).numpy()).save(tmp_path / f"{k}.png")
    return Crops(tmp_path, max(TINY.crops) + 16, TINY.scales, TINY.held_out)


def test_maps_get_smaller_and_pass_gradients() -> None:
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    found = feature_maps("cpu")(image)
    assert [one.shape[-1] for one in found] == [32, 16, 8, 4]
    sum(one.mean() for one in found).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_features_miss_blur_more_than_noise_of_the_same_error(pictures: torch.Tensor) -> None:
    maps = feature_maps("cpu")
    blurred = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    error = (blurred - pictures).square().mean().sqrt()
    brighter = pictures + error
    assert feature_distance(maps, pictures, pictures) == 0
    assert feature_distance(maps, blurred, pictures) > 2 * feature_distance(maps, brighter, pictures) > 0


def test_a_critic_learns_to_tell_photographs_from_blur(pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    natural = Naturalness(0.0, 1.0, CPU)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    untaught = natural.loss(blurred, pictures, blurred)
    for _ in range(60):
        natural.teach(blurred, pictures, blurred)
    with torch.no_grad():
        judged = [float(natural.critic(image, blurred).mean()) for image in (pictures, blurred)]
    assert judged[0] > judged[1] + 0.5
    assert natural.loss(blurred, pictures, blurred) > untaught
    assert Critic()(pictures, blurred).shape == (3, 1, 4, 4)


def test_a_resumed_training_keeps_its_critic(crops: Crops, tmp_path: Path) -> None:
    straight, stopped = (EstimateTraining(tmp_path / name, TINY, CPU, crops) for name in ("straight", "stopped"))
    losses = []
    for step in range(4):
        losses.append(straight.update()["loss"])
        straight.step += 1
        if step < 2:
            stopped.update()
            stopped.step += 1
    (tmp_path / "stopped").mkdir()
    stopped.save()
    resumed = EstimateTraining(tmp_path / "stopped", TINY, CPU, crops)
    assert resumed.resume()
    assert [resumed.update()["loss"] for _ in range(1)] == pytest.approx(losses[2:3], rel=1e-5)
    plain = EstimateTraining(tmp_path / "stopped", replace(TINY, perceptual=0.0, adversarial=0.0), CPU, crops)
    assert plain.resume(), "the error alone can be trained on from there"


def test_a_checkpoint_without_a_critic_is_refused(crops: Crops, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    EstimateTraining(tmp_path / "out", replace(TINY, perceptual=0.0, adversarial=0.0), CPU, crops).save()
    with pytest.raises(InputError, match="cannot be resumed"):
        EstimateTraining(tmp_path / "out", TINY, CPU, crops).resume()


def test_the_score_is_the_distance_of_features(crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = EstimateTraining(tmp_path / "out", TINY, CPU, crops)
    measured = training.validate()
    assert measured["score"] < 0
    monkeypatch.setattr("idemcore_jpeg.train_estimate.feature_distance", lambda maps, x, y: torch.tensor(0.25))
    assert training.validate()["score"] == pytest.approx(-0.25)
    assert np.isfinite(list(measured.values())).all()


def test_weights_of_the_recipe_make_exact_pictures(crops: Crops, tmp_path: Path, make: SimpleNamespace) -> None:
    training = EstimateTraining(tmp_path / "out", TINY, CPU, crops)
    assert np.isfinite(training.update()["loss"])
    (tmp_path / "out").mkdir()
    config = JpegConfig(estimate=str(training.write_weights()))
    cell = JpegEncoder(config, Runtime(CPU, torch.float32)).cell([make.pillow_jpeg(make.natural(40, 56), quality=10)])
    assert certify(cell, cell.estimate).exact == [True]
