"""The recipe of `idem train ddpm`: seconds of training on images made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from idemcore.errors import InputError, MissingError
from idemcore.runtime import Runtime
from idemcore.training.crops import Crops
from idemcore.training.loop import process_settings
from idemcore.training.network import learning_rate
from idemcore_ddpm import photo
from idemcore_ddpm.config import PhotoConfig, TrainConfig
from idemcore_ddpm.photo import PhotoGenerator, load_network
from idemcore_ddpm.train_photo import PhotoTraining, draw_sigma, train, weights_file

TINY = TrainConfig(
    minutes=60.0, pixels=2048, crops=(16,), scales=(1.0, 0.5), channels=(8, 8), blocks=1, learning_rate=3e-3
)
CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, columns = np.mgrid[:80, :96]
    for k in range(3):
        pixels = np.stack([rows * 2, columns * 2, rows + columns + 20 * k], -1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


@pytest.fixture
def crops(photos: Path) -> Crops:
    return Crops(photos, max(TINY.crops), TINY.scales)


def updates(training: PhotoTraining, count: int) -> list[float]:
    """Losses of so many updates, each taken as no time, so that the schedule stands still."""
    losses = []
    for _ in range(count):
        losses.append(training.update()["loss"])
        training.step += 1
    return losses


def test_training_lowers_the_loss_and_its_weights_load(crops: Crops, tmp_path: Path) -> None:
    training = PhotoTraining(tmp_path, TINY, CPU, crops)
    with process_settings(0):
        losses = updates(training, 250)
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    weights = training.save()
    assert Image.open(tmp_path / "samples.png").size == (4 * 96, 2 * 96)
    prior = PhotoGenerator(PhotoConfig(weights=str(weights)), Runtime(CPU, torch.float32))
    clean = crops.batch(4, 16, torch.Generator().manual_seed(5))
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(6))
    assert (prior.denoise(noisy, 0.1) - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


def test_a_stopped_training_goes_on_where_it_was(crops: Crops, tmp_path: Path) -> None:
    whole = PhotoTraining(tmp_path / "whole", TINY, CPU, crops)
    first = PhotoTraining(tmp_path, TINY, CPU, crops)
    losses, begun = updates(whole, 6), updates(first, 3)
    first.save()
    second = PhotoTraining(tmp_path, TINY, CPU, crops)
    assert second.resume()
    assert begun + updates(second, 3) == losses
    assert second.seen == whole.seen
    assert all(torch.equal(second.ema[name], value) for name, value in whole.ema.items())


def test_train_tells_steps_crops_and_loss_and_notes_them_in_the_weights(photos: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[dict[str, float]]()
    weights = train(photos, out, replace(TINY, minutes=0.01), CPU, told.append)
    assert [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] == told
    last = told[-1]
    assert last.keys() == {"step", "minutes", "crops", "loss"}
    assert last["crops"] == round(last["step"] * 2048 / 64**2)
    with safe_open(weights, "pt") as file:
        assert file.metadata() == {
            "channels": "[8, 8]", "blocks": "1", "crops": f"{last['step'] / 2:.0f}", "minutes": f"{last['minutes']:.1f}"
        }  # fmt: skip


def test_another_network_cannot_resume(crops: Crops, tmp_path: Path) -> None:
    PhotoTraining(tmp_path, TINY, CPU, crops).save()
    with pytest.raises(InputError, match="cannot be resumed.*size mismatch"):
        PhotoTraining(tmp_path, replace(TINY, channels=(16, 8)), CPU, crops).resume()


@pytest.fixture
def trained(crops: Crops, tmp_path: Path) -> Path:
    """Weights after a few updates from another seed."""
    training, path = PhotoTraining(tmp_path, replace(TINY, seed=1), CPU, crops), tmp_path / "trained.safetensors"
    updates(training, 3)
    path.write_bytes(weights_file(training.ema, TINY, {}))
    return path


def test_training_starts_from_given_weights(trained: Path, crops: Crops, tmp_path: Path) -> None:
    training = PhotoTraining(tmp_path, replace(TINY, init=str(trained)), CPU, crops)
    assert not training.resume()
    for name, value in load_network(str(trained)).state_dict().items():
        assert torch.equal(training.network.state_dict()[name], value)
        assert torch.equal(training.ema[name], value)
    updates(training, 1)
    assert not torch.equal(training.network.tail.bias, load_network(str(trained)).tail.bias)


def test_training_starts_from_the_bundled_weights(
    trained: Path, crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo, "BUNDLED", trained)
    training = PhotoTraining(tmp_path, replace(TINY, init="bundled"), CPU, crops)
    training.resume()
    assert torch.equal(training.network.head.weight, load_network(str(trained)).head.weight)


def test_the_bundled_weights_fit_the_default_settings(crops: Crops, tmp_path: Path) -> None:
    training = PhotoTraining(tmp_path, TrainConfig(init="bundled"), CPU, crops)
    training.resume()
    assert torch.equal(training.network.head.weight, load_network("bundled").head.weight)


def test_a_checkpoint_goes_before_the_weights_to_start_from(trained: Path, crops: Crops, tmp_path: Path) -> None:
    config = replace(TINY, init=str(trained))
    begun = PhotoTraining(tmp_path, config, CPU, crops)
    begun.resume()
    updates(begun, 1)
    begun.save()
    trained.unlink()
    again = PhotoTraining(tmp_path, config, CPU, crops)
    assert again.resume()
    assert torch.equal(again.network.tail.bias, begun.network.tail.bias)


def test_missing_weights_to_start_from_are_an_error(crops: Crops, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gone\.safetensors") as caught:
        PhotoTraining(tmp_path, replace(TINY, init=str(tmp_path / "gone.safetensors")), CPU, crops).resume()
    assert "train.init" in caught.value.hint


@pytest.mark.parametrize("other", [{"channels": (8, 8, 8)}, {"blocks": 2}])
def test_weights_of_another_network_are_no_start(
    other: dict[str, Any], trained: Path, crops: Crops, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="another network") as caught:
        PhotoTraining(tmp_path, replace(TINY, init=str(trained), **other), CPU, crops).resume()
    assert "'train.channels=[8, 8]' --set train.blocks=1" in caught.value.hint


def test_noise_levels_are_mostly_those_of_a_warm_start() -> None:
    sigma = draw_sigma(20_000, TrainConfig(), torch.Generator().manual_seed(0))
    assert sigma.median().item() == pytest.approx(0.13, abs=0.02)
    assert 0.04 < (sigma > 1).float().mean() < 0.1
    assert sigma.max() <= 20


@pytest.mark.parametrize("values", [{"minutes": float("nan")}, {"minutes": -1.0}, {"crops": (20,)}])
def test_settings_that_cannot_train_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        TrainConfig(**values)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rates = [learning_rate(2.0, step, progress) for step, progress in ((0, 0.0), (499, 0.1), (9999, 0.8), (9999, 1))]
    assert rates == pytest.approx([0.004, 2.0, 1.0, 0.0])
