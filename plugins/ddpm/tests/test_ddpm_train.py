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

from idemcore.errors import IdemError, InputError
from idemcore.runtime import Runtime
from idemcore_ddpm.config import PhotoConfig, TrainConfig
from idemcore_ddpm.photo import PhotoGenerator
from idemcore_ddpm.train_photo import (
    Crops,
    Training,
    draw_sigma,
    learning_rate,
    process_settings,
    train,
)

TINY = TrainConfig(
    minutes=0.02, pixels=2048, crops=(16,), scales=(1.0, 0.5), channels=(8, 8), blocks=1, learning_rate=3e-3
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


def test_training_lowers_the_loss_and_its_weights_load(photos: Path, tmp_path: Path) -> None:
    training, crops = Training(tmp_path, replace(TINY, minutes=60.0), CPU), Crops(photos, TINY)
    with process_settings(0):
        losses = [training.update(crops) for _ in range(250)]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    weights = training.save()
    assert Image.open(tmp_path / "samples.png").size == (4 * 96, 2 * 96)
    prior = PhotoGenerator(PhotoConfig(weights=str(weights)), Runtime(CPU, torch.float32))
    clean = Crops(photos, TINY).batch(4, 16, torch.Generator().manual_seed(5)) / 2 + 0.5
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(6))
    assert (prior.denoise(noisy, 0.1) - clean).square().mean() < 0.5 * (noisy - clean).square().mean()


def test_a_stopped_training_goes_on_where_it_was(photos: Path, tmp_path: Path) -> None:
    crops, config = Crops(photos, TINY), replace(TINY, minutes=60.0)
    whole = Training(tmp_path / "whole", config, CPU)
    losses = [whole.update(crops) for _ in range(6)]
    first = Training(tmp_path, config, CPU)
    begun = [first.update(crops) for _ in range(3)]
    first.save()
    second = Training(tmp_path, config, CPU)
    second.resume()
    assert second.elapsed == first.elapsed
    second_losses = [second.update(crops) for _ in range(3)]
    # The schedule follows the clock, which differs by microseconds of 60 minutes.
    assert begun + second_losses == pytest.approx(losses, rel=1e-3)


def test_train_ends_in_time_with_a_log(photos: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[dict[str, float]]()
    weights = train(photos, out, TINY, CPU, told.append)
    resumed = Training(out, TINY, CPU)
    resumed.resume()
    assert resumed.progress >= 1
    assert weights.is_file()
    assert [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] == told


def test_an_interrupt_leaves_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    def interrupt(record: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(photos, tmp_path / "out", replace(TINY, minutes=60.0), CPU, interrupt)
    resumed = Training(tmp_path / "out", TINY, CPU)
    resumed.resume()
    assert resumed.step == 20


def test_a_diverged_training_keeps_its_last_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    train(photos, out, replace(TINY, minutes=0.01), CPU)
    before = (out / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(Training, "update", lambda self, crops: float("nan"))
    with pytest.raises(IdemError, match="diverged"):
        train(photos, out, replace(TINY, minutes=60.0), CPU)
    assert (out / "checkpoint.pt").read_bytes() == before


def test_another_network_cannot_resume(photos: Path, tmp_path: Path) -> None:
    Training(tmp_path, TINY, CPU).save()
    with pytest.raises(InputError, match="cannot be resumed"):
        Training(tmp_path, replace(TINY, channels=(16, 8)), CPU).resume()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        Crops(tmp_path, TINY)


def test_images_that_are_too_small_are_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="smaller than the largest crop"):
        Crops(photos, replace(TINY, crops=(128,)))


def test_a_broken_image_is_left_out_and_told(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"broken\.png"):
        crops = Crops(photos, TINY)
    assert len(crops.images) == 6  # three photographs at two scales


def test_crops_are_drawn_from_their_generator_alone(photos: Path) -> None:
    crops = Crops(photos, TINY)
    first, again = (crops.batch(4, 16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (4, 3, 16, 16)
    assert first.abs().max() <= 1


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
    config = TrainConfig(learning_rate=1.0)
    rates = [learning_rate(config, step, progress) for step, progress in ((0, 0.0), (499, 0.1), (9999, 0.8), (9999, 1))]
    assert rates == pytest.approx([0.002, 1.0, 0.5, 0.0])
