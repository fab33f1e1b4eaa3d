"""Metrics of sets: streaming equals the whole, merging equals one pass, memory stays bounded, formulas hold."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from idemcore.metrics import Case, SetMetric, build, choose_metrics
from idemcore.metrics.distance import frechet, frechet_of_moments, kernel, kernel_interval, sliced_wasserstein
from idemcore.metrics.features import Extractor
from idemcore.metrics.sets import Frechet, Kernel, KernelGain
from idemcore.metrics.sketches import Moments, Reservoir
from idemcore.metrics.specs import idem_metrics
from idemcore.metrics.textures import BINS, laplacian, radial_power
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime

CPU = Runtime.choose("cpu", "fp32")
LOCAL = [spec.name for spec in idem_metrics() if spec.kind == "set" and not spec.config]


def colours(images: torch.Tensor) -> torch.Tensor:
    """A stand-in for a network: 6 features of a patch."""
    return torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)


def made(name: str) -> SetMetric:
    """The set metric of this name, with `colours` of 8x8 patches in place of a network's features."""
    if name in ("fd", "kd", "kd-gain"):
        metric = object.__new__({"fd": Frechet, "kd": Kernel, "kd-gain": KernelGain}[name])
        metric.extract, metric.patch = Extractor(colours, torch.device("cpu")), 8
        metric.reset()
        return metric
    (metric,), _ = build(choose_metrics(load_catalogue(), [name]), CPU)
    return metric


def cases(count: int, draws: int = 1, side: int = 40) -> list[Case]:
    rng = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        original = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=rng)
        for _ in range(draws):
            noise = 20 * torch.randn(original.shape, generator=rng)
            changed = (original.float() * 0.8 + noise).clamp(0, 255).byte()
            found.append(Case((f"{number}.png",), changed, original))
    return found


def filled(name: str, some: list[Case]) -> SetMetric:
    metric = made(name)
    for case in some:
        metric.update(case)
    return metric


def rows_of(some: list[Case], which: str) -> np.ndarray:
    extract = Extractor(colours, torch.device("cpu"))
    return np.concatenate([extract(getattr(case, which)[0], 8).numpy() for case in some]).astype(np.float64)


def gaussians(count: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dim)) @ rng.normal(size=(dim, dim)) / math.sqrt(dim) + shift


@pytest.mark.parametrize(("count", "dim"), [(300, 24), (500, 64)])
def test_frechet_distance_equals_pytorch_fid_on_the_same_features(count, dim):
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = gaussians(count, dim, 0), gaussians(count + 9, dim, 1, 0.2)
    moments = [Moments(), Moments()]
    for rows, moment in zip((a, b), moments, strict=True):
        for block in np.array_split(rows, 7):
            moment.update(block)
    found = frechet_of_moments(moments[0].mean, moments[0].covariance, moments[1].mean, moments[1].covariance)
    theirs = calculate_frechet_distance(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert found == pytest.approx(float(theirs), abs=1e-3)
    assert found == pytest.approx(frechet(a, b), abs=1e-3)


def test_moments_of_blocks_are_those_of_the_whole_far_from_zero():
    rows = gaussians(200, 5, 2) + 1e4
    moments = Moments()
    for block in np.array_split(rows, 13):
        moments.update(block)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T), rtol=1e-8)


def test_streaming_distances_are_those_of_all_features():
    some = cases(6)
    a, b = rows_of(some, "original"), rows_of(some, "reconstruction")
    assert filled("fd", some).result().value == pytest.approx(frechet(a, b), rel=1e-6)
    keys = np.stack([np.zeros(len(a), np.uint64), np.arange(len(a), dtype=np.uint64)], axis=1)
    assert filled("kd", some).result().value == pytest.approx(1e3 * kernel(a, b, (keys, keys)), rel=1e-5)


def test_kernel_distance_equals_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    a, b = gaussians(60, 12, 3), gaussians(60, 12, 4, 0.3)
    assert kernel(a, b) == pytest.approx(float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b))), rel=1e-6)


def test_kernel_interval_covers_the_truth_about_as_often_as_it_says():
    """Of rows that are alike within an image."""
    truth, hits, trials, images = np.mean([kernel(*_large(k)) for k in range(3)]), 0, 60, 20
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        a, b = (np.repeat(rng.normal(size=(images, 4)), 3, 0) + 0.5 * rng.normal(size=(3 * images, 4)) for _ in "ab")
        keys = np.stack(np.divmod(np.arange(3 * images, dtype=np.uint64), 3), axis=1)
        low, high = kernel_interval(a, b + 0.5, (keys, keys), times=100)
        hits += low <= truth <= high
    assert hits >= 0.75 * trials


def test_reconstructions_as_natural_as_their_originals_have_no_distance():
    """However like its own original each is: the two are no pair. Else there would be a bias, and no sign of it."""
    found, paired, below, trials, images = [], [], 0, 60, 30
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(images, 1, 8))
        a, b = ((shared + 0.5 * rng.normal(size=(images, 4, 8))).reshape(-1, 8) for _ in "ab")
        keys = np.stack(np.divmod(np.arange(4 * images, dtype=np.uint64), 4), axis=1)
        found.append(kernel(a, b, (keys, keys)))
        paired.append(kernel(a, b))
        below += kernel_interval(a, b, (keys, keys), times=100)[1] < 0
    error = np.std(found) / np.sqrt(trials)
    assert abs(np.mean(found)) < 3 * error < 0.3 * abs(np.mean(paired))
    assert below <= 0.1 * trials
    assert kernel(a, a, (keys, keys)) == pytest.approx(0, abs=1e-12)


def test_a_gain_is_the_difference_of_two_distances_with_an_interval_of_its_own():
    some = [replace(case, decoded=(case.original // 32 * 32)) for case in cases(12)]
    gain, after = filled("kd-gain", some).result(), filled("kd", some).result()
    before = filled("kd", [replace(case, reconstruction=case.decoded) for case in some]).result()
    assert gain.value == pytest.approx(before.value - after.value, rel=1e-6)
    assert gain.low < gain.value < gain.high
    assert gain.count == 12
    none = filled("kd-gain", [replace(case, decoded=case.reconstruction) for case in some]).result()
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert math.isnan(filled("kd-gain", cases(12)).result().value), "without plain decodes"


def _large(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent rows of the same two distributions."""
    a, b = np.random.default_rng([seed, 1]).normal(size=(2, 1500, 4)) * math.sqrt(1.25)
    return a, b + 0.5


def test_one_image_gives_no_interval():
    found = filled("kd", cases(1)).result()
    assert found.low is None
    assert math.isfinite(found.value)


@pytest.mark.parametrize("name", ["fd", "kd", *LOCAL])
def test_parts_merged_or_stored_equal_one_pass(name):
    some = cases(5, draws=2)
    whole, first, second = (filled(name, part) for part in (some, some[:4], some[4:]))
    again = made(name)
    again.load(dict(first.state()))
    again.merge(second)
    assert again.result().value == pytest.approx(whole.result().value, rel=1e-6)
    assert again.result().count == whole.result().count == 5


@pytest.mark.parametrize("name", ["fd", "kd", *LOCAL])
def test_nothing_seen_is_undefined(name):
    metric = filled(name, cases(2))
    metric.reset()
    assert math.isnan(metric.result().value)
    metric.update(Case(("a",), cases(1)[0].reconstruction))
    assert math.isnan(metric.result().value), "without an original"


@pytest.mark.parametrize("name", ["fd", "kd"])
def test_images_smaller_than_a_patch_have_none(name):
    assert math.isnan(filled(name, cases(3, side=6)).result().value)


@pytest.mark.parametrize("name", ["fd", "swd", "spectrum"])
def test_equal_sets_have_no_distance_and_a_changed_one_has(name):
    some = cases(3)
    same = [Case(case.images, case.original, case.original) for case in some]
    assert filled(name, same).result().value == pytest.approx(0, abs=1e-4)
    assert filled(name, some).result().value > 0.01


@pytest.mark.parametrize("name", ["fd", "kd", *LOCAL])
def test_memory_does_not_grow_with_the_number_of_images(name, monkeypatch):
    """Counted in numbers held, past the size of the samples."""
    monkeypatch.setattr("idemcore.metrics.sets.KERNEL_ROWS", 60)
    monkeypatch.setattr("idemcore.metrics.textures.DESCRIPTOR_ROWS", 256)
    held = [sum(a.size for a in filled(name, cases(count, draws=2)).state().values()) for count in (4, 24)]
    images = 20 if name == "diversity" else 0  # one number of each image
    assert held[1] <= held[0] + images


def test_a_reservoir_keeps_the_same_rows_in_any_order_and_grouping():
    rows = {f"{k}": gaussians(40, 3, k) for k in range(5)}
    forwards, backwards, merged = Reservoir(50), Reservoir(50), Reservoir(50)
    for name in rows:
        forwards.update(rows[name], name)
        part = Reservoir(50)
        part.update(rows[name], name)
        merged.combine(part)
    for name in reversed(rows):
        backwards.update(rows[name], name)
    assert len(forwards.rows) == 50
    for other in (backwards, merged):
        np.testing.assert_array_equal(forwards.rows, other.rows)
        np.testing.assert_array_equal(forwards.keys, other.keys)
    assert np.unique(forwards.keys[:, 0], return_counts=True)[1].min() > 2, "of every image"


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    a = gaussians(500, 8, 5)
    shift = np.full(8, 0.3)
    expected = np.linalg.norm(shift) * math.sqrt(2 / (math.pi * 8))  # E|<u, v>| for random unit u, nearly
    assert sliced_wasserstein(a, a + shift) == pytest.approx(expected, rel=0.1)
    line = np.array([[0.0], [2.0]])
    assert sliced_wasserstein(line, line[::-1] + 1) == pytest.approx(1)
    assert stats.wasserstein_distance([0, 2], [1, 3]) == 1


def test_a_laplacian_pyramid_holds_the_image():
    image = cases(1)[0].original[0]
    bands = laplacian(image)
    rebuilt = bands[-1]
    for band in reversed(bands[:-1]):
        larger = torch.nn.functional.interpolate(rebuilt[None], band.shape[1:], mode="bilinear", align_corners=False)
        rebuilt = larger[0] + band
    torch.testing.assert_close(rebuilt, image / 255, atol=1e-5, rtol=0)
    assert all(a.shape[1] == 2 * b.shape[1] for a, b in pairwise(bands))


def test_halving_contrast_is_six_decibels_of_spectrum():
    rng = torch.Generator().manual_seed(0)
    original = torch.randint(0, 128, (1, 3, 64, 64), dtype=torch.uint8, generator=rng) * 2
    found = filled("spectrum", [Case(("a",), original // 2, original)]).result().value
    assert found == pytest.approx(20 * math.log10(2), abs=1e-3)


def test_a_wave_has_its_power_in_its_ring():
    x = torch.arange(64)
    wave = (127 + 100 * torch.cos(2 * math.pi * x * 10 / 64)).round().byte()
    power, _ = radial_power(wave.expand(3, 64, 64))
    assert power.argmax() == 10 * 2 * BINS // 64


def test_diversity_is_the_deviation_over_draws():
    some = cases(2, draws=4, side=8)
    draws = np.stack([case.reconstruction[0].numpy() for case in some]).astype(float).reshape(2, 4, -1)
    expected = np.sqrt(draws.var(1, ddof=1).mean(1))
    found = filled("diversity", some).result()
    assert found.value == pytest.approx(expected.mean())
    assert found.count == 2
    assert math.isnan(filled("diversity", cases(3)).result().value), "one draw each"


def test_originals_count_once_however_many_draws():
    once, thrice = filled("fd", cases(3)), filled("fd", cases(3, draws=3))
    assert once.parts["original"].count == thrice.parts["original"].count
    assert thrice.parts["reconstruction"].count == 3 * once.parts["reconstruction"].count


def test_batches_equal_single_images():
    some = cases(4, side=32)
    together = Case(
        tuple(case.images[0] for case in some),
        torch.cat([case.reconstruction for case in some]),
        torch.cat([case.original for case in some]),
    )
    for name in ("fd", "kd", "swd", "spectrum"):
        assert filled(name, [together]).result() == filled(name, some).result(), name
