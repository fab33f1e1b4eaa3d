"""From rows to configurations, intervals and curves."""

from __future__ import annotations

import pytest
from sweeping import sweep_row

from idemcore.protocols import Score
from idemcore.report.measures import canonical, measure_of
from idemcore.report.summary import summarise


def row(image="a", seed=0, psnr=30.0, quality=1, solver="cell", **changes):
    base = {
        "id": f"{image}{seed}{quality}{solver}", "status": "ok",
        "codec": {"name": "jpeg", "quality": quality, "chroma": "4:2:0"},
        "generator": None, "solver": {"name": solver}, "seed": seed,
        "image": {"name": f"{image}.png", "sha256": image, "width": 8, "height": 8},
        "metrics": {"bpp": 0.5 * quality, "psnr": psnr}, "decoded_metrics": {}, "exact": True, "nfe": 12,
        "seconds": {"encode": 9.0, "solve": 2.0, "certify": 1.0},
    }  # fmt: skip
    return sweep_row(**(base | changes))


def only(rows, **options):
    summary = summarise(rows, **options)
    assert len(summary.configurations) == 1
    return summary.configurations[0]


def test_seeds_of_an_image_are_averaged_before_the_interval():
    found = only([row("a", 0, 29), row("a", 1, 31), row("b", 0, 32), row("b", 1, 36)]).estimates["psnr"]
    # Images at 30 and 34: mean 32, standard error 2, t of one degree of freedom 12.706.
    assert (found.value, found.count) == (32, 2)
    assert found.high - found.value == pytest.approx(2 * 12.706)


def test_one_image_has_no_interval():
    assert only([row()]).estimates["psnr"] == Score(30.0, None, None, 1)


def test_undefined_values_are_left_out():
    rows = [row("a", metrics={"bpp": 1, "psnr": None, "lpips": None}), row("b", metrics={"bpp": 1, "psnr": 30.0})]
    configuration = only(rows)
    assert configuration.estimates["psnr"].count == 1
    assert "lpips" not in configuration.estimates


def test_seconds_are_those_of_decoding():
    assert only([row()]).estimates["seconds"].value == 3.0


def test_failed_runs_are_kept_apart():
    summary = summarise([row(), row("b", status="failed", error="broken", metrics={})])
    assert [r.error for r in summary.failed] == ["broken"]
    assert len(summary.images) == 1


def test_of_two_versions_of_a_run_the_last_counts():
    assert only([row(psnr=20.0), row(psnr=30.0, id="newer", versions={"idemcore": "2"})]).estimates["psnr"].value == 30


def test_times_and_passes_that_images_of_a_batch_share_have_no_interval():
    times = {"solve": 1.0, "certify": 0.5}
    for batch, known in ((1, True), (4, False)):
        rows = [row(image, seconds=times, batch=batch, nfe=4, psnr=30.0) for image in ("a", "b")]
        found = only(rows).estimates
        assert found["seconds"].value == 1.5
        assert [found[name].low is not None for name in ("seconds", "nfe")] == [known] * 2
        assert found["psnr"].low is not None


def test_another_device_is_another_configuration_with_a_label_that_says_so():
    summary = summarise([row(device="cpu", psnr=20.0), row(device="cuda:0"), row("b", device="cuda:1")])
    drawn = [c for c in summary.configurations if not c.plain]
    assert [(c.device, len(c.rows)) for c in drawn] == [("cpu", 1), ("cuda", 2)]
    assert all(c.label.endswith(c.device) for c in drawn)
    assert len(summary.curves) == len(summarise([row()]).curves) + 1


def test_other_weights_are_another_configuration():
    rows = [row(weights={"generator": "a"}), row(weights={"generator": "b"})]
    assert len(summarise(rows).configurations) == 2


def test_numbers_of_a_codec_move_along_a_curve_and_words_make_another():
    low, high = row(quality=1), row(quality=2)
    other = row(codec={"name": "jpeg", "quality": 1, "chroma": "4:4:4"})
    curves = summarise([high, other, low]).curves
    assert [[point.codec["quality"] for point in curve.points] for curve in curves] == [[1, 2], [1]]
    assert [curve.label for curve in curves] == ["jpeg (chroma 4:2:0) · cell", "jpeg (chroma 4:4:4) · cell"]


def test_labels_tell_the_settings_that_differ():
    steps = [row(solver="cell"), row(quality=2), row(solver="dps")]
    assert [c.label for c in summarise(steps).configurations] == [
        "jpeg (quality 1) · cell", "jpeg (quality 2) · cell", "jpeg (quality 1) · dps",
    ]  # fmt: skip


def test_an_adapter_is_named_only_where_its_settings_differ():
    def once(seed, **settings):
        return row(seed=seed, generator={"name": "toy"}, adapter={"name": "diffusion-as-restorer", **settings})

    assert [c.label for c in summarise([once(0, noise=1.0), row(seed=1)]).configurations] == [
        "jpeg · toy + cell",
        "jpeg · cell",
    ]
    assert [c.label for c in summarise([once(0, noise=1.0), once(1, noise=0.5)]).configurations] == [
        f"jpeg · toy + cell + diffusion-as-restorer (noise {noise})" for noise in (1.0, 0.5)
    ]


def test_plain_decodes_are_a_curve_of_their_own_once_an_image():
    rows = [
        row(image, seed, decoded_metrics={"psnr": psnr})
        for image, psnr in (("a", 31.0), ("b", 33.0))
        for seed in (0, 1)
    ]
    plain, decoded = summarise(rows).configurations
    assert plain.plain
    assert not decoded.plain
    assert len(plain.rows) == 2
    assert plain.estimates["psnr"].value == 32.0
    assert plain.estimates["bpp"].value == 0.5
    assert "nfe" not in plain.estimates


def test_scores_of_sets_join_the_means():
    def scores(rows, plain):
        return {"fd": Score(12.0, 11.0, 14.0, len(rows)), "kd": Score(float("nan"))}

    assert only([row()], scores=scores).estimates["fd"] == Score(12.0, 11.0, 14.0, 1)
    assert "kd" not in only([row()], scores=scores).estimates


def test_a_metric_with_an_argument_is_of_its_family():
    measure = measure_of("fd:timm/resnet18")
    assert (measure.label, measure.group, measure.direction) == (
        "Fréchet distance, timm/resnet18",
        "perception",
        "lower",
    )
    assert measure_of("mine", "higher").direction == "higher"
    assert canonical("ms-ssim-rgb") == canonical("ms_ssim")


def test_numbers_are_shown_with_their_decimals_and_a_true_minus():
    assert measure_of("psnr").text(-3.14159) == "−3.14"
    assert measure_of("bpp").text(None) == "–"


def test_a_metric_with_a_dash_has_its_own_name():
    assert measure_of("psnr-b").label == "PSNR-B"
    assert measure_of("psnr-b").unit == "dB"
    assert measure_of("ms-ssim-rgb").label == "MS-SSIM"
    assert (measure_of("pyiqa:niqe").direction, measure_of("pyiqa:clipiqa+").label) == ("lower", "CLIP-IQA+")
