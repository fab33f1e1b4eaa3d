"""Metrics of single images against independent computations, and what happens where something is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal, stats

from idemcore.errors import UsageError
from idemcore.metrics import Case, ImageMetric, build, choose_metrics, summarise
from idemcore.metrics.fidelity import blockiness
from idemcore.metrics.intervals import share_difference
from idemcore.metrics.perceptual import LEAST_SIDES, _ByNetwork
from idemcore.metrics.specs import DEFAULT_METRICS, idem_metrics
from idemcore.pipeline.codec import Codec
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime

CPU = Runtime.choose("cpu", "fp32")


def one(name: str) -> ImageMetric:
    (metric,), missing = build(choose_metrics(load_catalogue(), [name]), CPU)
    assert not missing
    return metric


def noisy(size: tuple[int, int] = (16, 24), batch: int = 2, sigma: float = 12.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Original and reconstruction, uint8 [B,3,*size]."""
    rng = torch.Generator().manual_seed(0)
    smooth = torch.rand(batch, 3, 6, 6, generator=rng)
    original = torch.nn.functional.interpolate(smooth, size=size, mode="bicubic").clamp(0, 1) * 255
    noise = sigma * torch.randn(original.shape, generator=rng)
    return original.byte(), (original + noise).clamp(0, 255).byte()


def case(original: torch.Tensor, reconstruction: torch.Tensor, **more: object) -> Case:
    return Case(tuple("abcdefgh"[: len(original)]), reconstruction, original, **more)


@pytest.mark.parametrize("spec", idem_metrics(), ids=lambda spec: spec.name)
def test_every_metric_says_what_it_is(spec):
    assert spec.kind in ("image", "set")
    assert spec.direction or spec.name == "diversity"
    assert spec.range
    assert spec.source
    assert set(DEFAULT_METRICS) <= {other.name for other in idem_metrics()}


def test_psnr_is_of_rgb_in_8_bits_and_finite():
    original, reconstruction = noisy()
    a, b = original.numpy().astype(float), reconstruction.numpy().astype(float)
    expected = [10 * math.log10(255**2 / ((x - y) ** 2).mean()) for x, y in zip(a, b, strict=True)]
    assert one("psnr").measure(case(original, reconstruction)).tolist() == pytest.approx(expected)
    assert one("psnr").measure(case(original, original)).tolist() == [100, 100]


def test_ms_ssim_agrees_with_another_library():
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as other

    original, reconstruction = noisy((176, 192), batch=1)
    expected = other(reconstruction.float(), original.float(), data_range=255.0, sigma=1.5, kernel_size=11)
    found = one("ms-ssim").measure(case(original, reconstruction))
    assert found.item() == pytest.approx(float(expected), abs=2e-3)
    assert found.item() < 0.999


def test_ms_ssim_of_a_small_image_is_undefined():
    assert one("ms-ssim").measure(case(*noisy((160, 176)))).isnan().all()


def test_ssim_is_that_of_matlab():
    """Windows that lie inside the image, by SciPy; the mean over channels."""
    original, reconstruction = noisy((24, 40))
    x = np.arange(-5, 6)
    line = np.exp(-(x**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def ssim(a, b):
        def mean(image):
            return signal.correlate2d(image, window, mode="valid")

        ma, mb = mean(a), mean(b)
        va, vb, vab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        return ((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()

    pairs = zip(original.double().numpy(), reconstruction.double().numpy(), strict=True)
    expected = [np.mean([ssim(a, b) for a, b in zip(x, y, strict=True)]) for x, y in pairs]
    assert one("ssim").measure(case(original, reconstruction)).tolist() == pytest.approx(expected, abs=2e-4)
    assert one("ssim").measure(case(*noisy((10, 40)))).isnan().all()


def test_psnr_b_is_psnr_where_blocks_do_not_show_and_less_where_they_do():
    original = torch.full((2, 3, 24, 40), 100, dtype=torch.uint8)
    original[:, 2] = 90  # else it is grey, and its own luma
    shifted, blocky = original + 10, original.clone()
    blocky[0, :, :, 8:16] += 30
    blocky[1, :, :, 9:17] += 30
    assert (
        one("psnr-b").measure(case(original, shifted)).tolist() == one("psnr").measure(case(original, shifted)).tolist()
    )
    found, plain = (one(name).measure(case(original, blocky)) for name in ("psnr-b", "psnr"))
    # 24 rows jump twice, by 30 grey levels or 30 * 219 / 255 of luma, among 24 (5 - 1) + 40 (3 - 1) pairs at borders.
    jump = (30 * 219 / 255) ** 2 * 48 / (24 * 4 + 40 * 2) * 3 / math.log2(24)
    assert found[0].item() == pytest.approx(10 * math.log10(255**2 / (900 * 8 / 40 + jump)))
    assert found[1].item() == pytest.approx(plain[1].item())  # the same jumps inside of blocks do not count
    assert one("psnr-b").measure(case(*noisy((8, 40)))).isnan().all()


@pytest.mark.parametrize("size", [(9, 9), (8, 17), (23, 12), (16, 24)])
def test_blockiness_counts_the_borders_that_there_are(size):
    plane = torch.rand(1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plane += 100 * (torch.arange(size[0])[:, None] // 8 + torch.arange(size[1]) // 8)
    jumps = [[], []]
    for axis in (1, 2):
        for k, line in enumerate(plane.diff(dim=axis).square().unbind(axis)):
            jumps[(k + 1) % 8 != 0].append(line.flatten())
    at_borders, inside = (torch.cat(lines).mean() for lines in jumps)
    expected = math.log2(8) / math.log2(min(size)) * (at_borders - inside)
    assert blockiness(plane).item() == pytest.approx(float(expected))


def test_a_network_s_metric_has_no_value_where_its_layers_leave_nothing():
    class Small(_ByNetwork):
        device, least = torch.device("cpu"), LEAST_SIDES["alex"]

        def distance(self, a, b):
            return (a - b).abs().mean()

    small, large = (Small().measure(case(*noisy((side, 40)))) for side in (30, 31))
    assert small.isnan().all()
    assert large.isfinite().all()


def test_psnr_b_of_grey_images_takes_them_for_their_luma():
    original = torch.full((1, 3, 24, 40), 100, dtype=torch.uint8)
    blocky = original.clone()
    blocky[..., 8:16] += 30
    jump = 30**2 * 48 / (24 * 4 + 40 * 2) * 3 / math.log2(24)
    expected = 10 * math.log10(255**2 / (900 * 8 / 40 + jump))
    assert one("psnr-b").measure(case(original, blocky)).item() == pytest.approx(expected)


def test_rates_count_the_file_and_the_payload():
    pair = case(*noisy((8, 10)), streams=(b"12345", b"1"), file_bits=torch.tensor([80, 40]))
    assert one("bpp").measure(pair).tolist() == [1.0, 0.5]
    assert one("payload-bpp").measure(pair).tolist() == [0.5, 0.1]


def test_recompression_psnr_is_between_the_two_decodes():
    decoded, redecoded = noisy(batch=2)
    exact = torch.tensor([True, False])
    pair = Case(("a", "b"), decoded, decoded=decoded, recode=lambda _: redecoded, exact=exact)
    expected = one("psnr").measure(case(decoded, redecoded))
    assert one("recompression-psnr").measure(pair).tolist() == [100.0, expected[1].item()]


def test_costs_are_facts_of_the_case():
    facts = {"exact": [True, False], "nfe": [8, 9], "backwards": [0, 1], "seconds": [0.5, 2.0],
             "peak_bytes": [2**20, 2**21], "differing_symbols": [0, 3]}  # fmt: skip
    pair = case(*noisy(), **{name: torch.tensor(value) for name, value in facts.items()})
    assert one("exact").measure(pair).tolist() == [1, 0]
    assert one("nfe").measure(pair).tolist() == [8, 9]
    assert one("backwards").measure(pair).tolist() == [0, 1]
    assert one("seconds").measure(pair).tolist() == [0.5, 2]
    assert one("peak-memory").measure(pair).tolist() == [1, 2]
    assert one("differing-symbols").measure(pair).tolist() == [0, 3]


def test_what_a_case_lacks_is_undefined_not_an_error():
    _, reconstruction = noisy()
    built, _ = build(
        choose_metrics(load_catalogue(), [spec.name for spec in idem_metrics() if spec.kind == "image"]), CPU
    )
    for metric in built:
        assert metric.measure(Case(("a", "b"), reconstruction)).isnan().all(), metric.name


def test_the_plain_decode_as_a_case_has_the_rate_and_facts_of_its_own():
    original, decoded = noisy((8, 10))
    whole = Case(("a", "b"), original, original, decoded, file_bits=torch.tensor([80, 80]), nfe=torch.tensor([8, 8]))
    plain = whole.plain()
    assert torch.equal(plain.reconstruction, decoded)
    assert one("bpp").measure(plain).tolist() == [1, 1]
    assert one("nfe").measure(plain).tolist() == [0, 0]
    assert one("seconds").measure(plain).isnan().all()
    assert one("exact").measure(plain).isnan().all()
    with pytest.raises(ValueError, match="no plain decode"):
        Case(("a", "b"), original).plain()


def test_a_plain_decode_is_exact_if_it_lies_in_its_cell():
    original, _ = noisy((16, 16), batch=1)
    bitstream = Codec.load("toy", CPU, quality=2).encode(original / 255)
    inside = (bitstream.decoded * 255).round().byte()
    for decoded in (inside, 255 - inside):
        plain = Case(("a",), original, original, decoded, cell=bitstream.cell, exact=torch.tensor([True])).plain()
        assert one("exact").measure(plain).tolist() == [float(bitstream.cell.contains(decoded))]


def test_occupancy_is_the_distance_of_positions_within_the_intervals():
    """0 for the original itself; a plain decode, in the middle of all intervals, is as far as symbols are."""
    original, _ = noisy((16, 16), batch=1)
    bitstream = Codec.load("toy", CPU, quality=2).encode(original / 255)
    decoded = (bitstream.decoded * 255).round().byte()
    metric = one("occupancy")
    assert metric.measure(Case(("a",), original, original, cell=bitstream.cell)).item() == 0
    found = metric.measure(Case(("a",), decoded, original, cell=bitstream.cell)).item()
    x, y = (np.sort(bitstream.cell.position(image / 255)[0].numpy()) for image in (original, decoded))
    assert found == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-5)
    assert 0.1 < found < 0.5


def test_means_have_intervals_of_student_and_draws_of_an_image_count_once():
    rng = np.random.default_rng(0)
    values = rng.normal(30, 2, (7, 3))
    images = [str(image) for image in range(7) for _ in range(3)]
    found = summarise(images, values.ravel().tolist())
    means = values.mean(1)
    low, high = stats.t.interval(0.95, 6, means.mean(), stats.sem(means))
    assert (found.value, found.low, found.high, found.count) == pytest.approx((means.mean(), low, high, 7), rel=1e-3)


@pytest.mark.parametrize("count", [2, 5, 11, 12, 20, 300])
def test_intervals_are_students_at_every_size(count):
    values = np.random.default_rng(1).normal(size=count).tolist()
    found = summarise([str(k) for k in range(count)], values)
    half = stats.t.ppf(0.975, count - 1) * stats.sem(values)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((half, half), rel=5e-4)


@pytest.mark.parametrize(("exact", "count"), [(0, 1), (0, 5), (3, 10), (12, 12)])
def test_shares_have_intervals_of_wilson_that_stay_between_0_and_1(exact, count):
    found = summarise([str(k) for k in range(count)], [1.0] * exact + [0.0] * (count - exact), "solver-exact")
    known = stats.binomtest(exact, count).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((exact / count, known.low, known.high), abs=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_what_a_batch_shares_has_no_interval():
    images, values = ["a", "b", "c"], [1.0, 1.0, 2.0]
    assert summarise(images, values, "seconds").low is not None
    shared = summarise(images, values, "seconds", batched=True)
    assert (shared.value, shared.low, shared.high, shared.count) == (pytest.approx(4 / 3), None, None, 3)
    assert summarise(images, values, "psnr", batched=True).low is not None


def test_undefined_values_are_left_out_of_means():
    found = summarise(["a", "b", "c"], [1.0, math.nan, 3.0])
    assert (found.value, found.count) == (2, 2)
    assert math.isnan(summarise(["a"], [math.nan]).value)
    assert summarise(["a"], [5.0]).low is None


def test_missing_weights_are_told_with_the_command_and_stop_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    names = ["lpips", "lpips:vgg", "dists", "psnr", "fid", "fd:timm/mobilenetv3_small_050"]
    built, missing = build(choose_metrics(load_catalogue(), names), CPU)
    assert [metric.name for metric in built] == ["psnr"]
    assert list(missing) == ["lpips", "lpips:vgg", "dists", "fid", "fd:timm/mobilenetv3_small_050"]
    for name in ("lpips", "lpips:vgg", "dists", "fid"):
        assert f"curl -L --create-dirs -o {tmp_path}/hub/checkpoints/" in missing[name]
    assert "hf download timm/mobilenetv3_small_050.lamb_in1k model.safetensors" in missing[names[-1]]


@pytest.mark.parametrize("name", ["psrn", "fd:", "fd:resnet", "psnr:7", "fd:timm/resnt18", "lpips:resnet"])
def test_names_that_cannot_be_right_are_errors(name):
    with pytest.raises(UsageError):
        build(choose_metrics(load_catalogue(), [name]), CPU)


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.9, 0.98), (0.3, 0.7)])
def test_a_difference_of_shares_covers_the_truth_about_as_often_as_it_says(first, second):
    """Of the same images, where both are right more often than by chance."""
    rng, missed, trials = np.random.default_rng(0), 0, 500
    for _ in range(trials):
        luck = 0.6 * rng.normal(size=(1, 20)) + 0.8 * rng.normal(size=(2, 20))
        before, after = (side < stats.norm.ppf(share) for side, share in zip(luck, (first, second), strict=True))
        found = share_difference(before.astype(float).tolist(), after.astype(float).tolist())
        missed += not found.low <= second - first <= found.high
    assert missed / trials <= 0.08


def test_few_images_that_all_change_decide_nothing():
    assert share_difference([0.0] * 5, [1.0] * 5).low is None
    all_of_six, none = share_difference([0.0] * 6, [1.0] * 6), share_difference([1.0] * 72, [1.0] * 72)
    assert 0 < all_of_six.low < 1 == all_of_six.high
    assert (none.value, none.low, none.high) == (0, pytest.approx(-0.05, abs=0.01), pytest.approx(0.05, abs=0.01))
