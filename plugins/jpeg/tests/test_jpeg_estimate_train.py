"""The recipe of `idem train jpeg-estimate`: what it trains on, and seconds of training on images made here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from idemcore.errors import InputError, UsageError
from idemcore.networks.residual_unet import ResidualUNet
from idemcore.runtime import Runtime
from idemcore.training.crops import Crops
from idemcore.weights.checkpoints import write_safetensors
from idemcore_jpeg.config import EstimateTrainConfig, JpegConfig
from idemcore_jpeg.encoder import JpegEncoder
from idemcore_jpeg.estimate_data import (
    PERIODS,
    SHARES,
    Settings,
    compress,
    draw_pair,
    draw_settings,
    standard_tables,
)
from idemcore_jpeg.estimate_network import Conditions
from idemcore_jpeg.train_estimate import EstimateTraining, train

CPU = torch.device("cpu")
TINY = EstimateTrainConfig(
    minutes=60.0, pixels=4096, crops=(32,), scales=(1.0,), channels=(8, 8), blocks=1, init="", learning_rate=1e-2,
    held_out=0.25, threads=1,
)  # fmt: skip


@pytest.fixture
def crops(tmp_path: Path, make: SimpleNamespace) -> Crops:
    for k in range(4):
        pixels = make.natural(72, 80, seed=k)[0].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    return Crops(tmp_path, max(TINY.crops) + 16, TINY.scales, TINY.held_out)


@pytest.mark.parametrize("sampling", list(PERIODS))
def test_training_knows_the_same_of_a_file_as_decoding_does(make: SimpleNamespace, sampling: str) -> None:
    picture = make.natural(48, 64)
    options = {"subsampling": "4:4:4", "keep_rgb": True} if sampling == "rgb" else {"subsampling": sampling}
    mode, options = ("L", {}) if sampling == "grey" else ("RGB", options)
    data = make.pillow_jpeg(picture, mode, quality=23, **options)
    pair = compress(picture[0], Settings(sampling, 23))
    cell = JpegEncoder(JpegConfig(), Runtime(CPU, torch.float32)).cell([data])
    wanted = Conditions.of(cell.box.layout, cell.box.tables[0, 0, 0])
    torch.testing.assert_close(pair.conditions.features, wanted.features)
    torch.testing.assert_close(pair.conditions.planes(48, 64), wanted.planes(48, 64))
    assert pair.conditions.label == wanted.label
    assert torch.equal(pair.decoded, (cell.centre[0] * 255).round().to(torch.uint8))
    if sampling == "grey":
        assert torch.equal(pair.clean, pair.clean[:1].expand(3, -1, -1))


def test_files_of_all_kinds_are_drawn_and_the_usual_ones_most_often() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_settings(rng) for _ in range(1000)]
    for sampling, share in SHARES.items():
        assert abs(sum(s.sampling == sampling for s in drawn) / 1000 - share) < 0.05
    qualities = [s.quality for s in drawn if not s.tables]
    assert min(qualities) < 5
    assert max(qualities) > 90
    assert 0.5 < sum(5 <= q <= 40 for q in qualities) / 1000 < 0.75
    own = [np.array(s.tables) for s in drawn if s.tables]
    assert len(own) > 150
    assert all(t.shape == (2, 64) and t.min() >= 1 and t.max() <= 255 for t in own)


def test_the_standard_tables_are_those_of_the_standard() -> None:
    luma, chroma = standard_tables()
    assert luma[:8] == [16, 11, 10, 16, 24, 40, 51, 61]
    assert chroma[:8] == [17, 18, 24, 47, 99, 99, 99, 99]


def test_a_pair_is_cut_where_the_block_grid_begins(make: SimpleNamespace) -> None:
    crop = make.natural(48, 48)[0]
    places = set()
    for seed in range(30):
        pair = draw_pair(crop, 32, np.random.default_rng(seed))
        assert pair.clean.shape == pair.decoded.shape == (3, 32, 32)
        if not pair.conditions.grey:
            found = [(y, x) for y in range(17) for x in range(17)
                     if torch.equal(crop[:, y : y + 32, x : x + 32], pair.clean)]  # fmt: skip
            places |= set(found)
    assert places == {(0, 0), (0, 16), (16, 0), (16, 16)}


def test_training_lowers_the_error_and_its_weights_are_an_estimate(
    crops: Crops, tmp_path: Path, make: SimpleNamespace
) -> None:
    training = EstimateTraining(tmp_path / "out", TINY, CPU, crops)
    gains = []
    for _ in range(100):
        gains.append(training.update()["gain"])
        training.step += 1
    assert np.mean(gains[-30:]) > 1.5 * np.mean(gains[:30]) > 0
    (tmp_path / "out").mkdir()
    path = training.write_weights()
    with safe_open(path, "pt") as file:
        labels, shares = json.loads(file.metadata()["error_shares"])
    assert labels == sorted(labels)
    assert all(0.2 < share < 1.5 for share in shares)
    with Image.open(tmp_path / "out" / "samples.png") as picture:
        assert picture.size == (64, 32)
    cell = JpegEncoder(JpegConfig(estimate=str(path)), Runtime(CPU, torch.float32)).cell(
        [make.pillow_jpeg(make.natural(40, 40), quality=10)]
    )
    assert not torch.equal(cell.estimate, cell.centre)


def test_validation_is_in_decibels_gained_and_leaves_the_training_as_it_was(crops: Crops, tmp_path: Path) -> None:
    training = EstimateTraining(tmp_path, TINY, CPU, crops)
    training.update()
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    measured = training.validate()
    assert measured["score"] == pytest.approx(np.mean([v for k, v in measured.items() if k != "score"]))
    assert set(measured) >= {"4:2:0_10", "grey_10", "4:4:4_10"}
    assert all(torch.equal(value, before[name]) for name, value in training.network.state_dict().items())


def test_plain_and_small_pictures_may_be_held_out(crops: Crops, tmp_path: Path) -> None:
    white, small = torch.full((3, 72, 80), 255, dtype=torch.uint8), crops.images[0][:, :20, :40]
    crops.held_out = [white, small, crops.images[0]]
    training = EstimateTraining(tmp_path / "out", TINY, CPU, crops)
    assert all(math.isfinite(value) for value in training.validate().values())
    training.out.mkdir()
    training.write_weights()
    assert Image.open(training.out / "samples.png").size[0] == 2 * 32


def test_a_training_resumes_and_says_so_in_its_log(crops: Crops, tmp_path: Path) -> None:
    first = EstimateTraining(tmp_path / "out", EstimateTrainConfig(**{**vars(TINY), "minutes": 0.005}), CPU, crops)
    first.run(lambda record: None)
    again = EstimateTraining(tmp_path / "out", EstimateTrainConfig(**{**vars(TINY), "minutes": 0.01}), CPU, crops)
    again.run(lambda record: None)
    assert again.step > first.step > 0
    assert again.seen > first.seen
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines if "score" in line} == {1, first.step, again.step}


def test_a_training_starts_from_a_prior_of_the_same_widths(crops: Crops, tmp_path: Path) -> None:
    prior = ResidualUNet((8, 8), 1)
    write_safetensors(tmp_path / "prior.safetensors", prior.state_dict(), {"channels": "[8, 8]", "blocks": "1"})
    config = EstimateTrainConfig(**{**vars(TINY), "init": str(tmp_path / "prior.safetensors")})
    training = EstimateTraining(tmp_path / "out", config, CPU, crops)
    training.resume()
    torch.testing.assert_close(training.network.head.weight[:, :3], prior.head.weight)
    assert training.network.head.weight[:, 3:].abs().max() == 0
    config = EstimateTrainConfig(**{**vars(TINY), "init": "bundled"})
    with pytest.raises(InputError, match="another network than the settings"):
        EstimateTraining(tmp_path / "out", config, CPU, crops).resume()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no images"):
        train(tmp_path, tmp_path / "out", TINY, CPU, lambda record: None)
