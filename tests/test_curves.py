"""Rate curves: CompressAI's format both ways, BD figures as the package bjontegaard gives them, paired differences."""

from __future__ import annotations

import json
import math

import bjontegaard
import numpy as np
import pytest
from scipy import stats

from idemcore.errors import InputError, UsageError
from idemcore.evaluation.curves import (
    Curve,
    bd_metric,
    bd_rate,
    curve,
    find,
    overlap,
    paired,
    references,
    why_undefined,
)
from idemcore.evaluation.known_sets import known_sets
from idemcore.metrics import Score
from idemcore.results.rows import CurveMeta, EvalRow, ImagesFacts

ANCHOR = Curve("a", {"bpp": [0.1, 0.2, 0.4, 0.8], "psnr-rgb": [25.0, 27.5, 30.1, 33.0], "fd": [90.0, 70, 40, 20]})
TEST = Curve("b", {"bpp": [0.7, 0.09, 0.31, 0.19], "psnr-rgb": [33.2, 25.3, 29.9, 28.0], "fd": [10.0, 60, 25, 41]})


def with_rows(values: np.ndarray, quality: int = 5) -> Curve:
    """Of one point, with `values` [images, draws]."""
    rows = [EvalRow(0, f"{i}", j, {"psnr": value})
            for i, draws in enumerate(values) for j, value in enumerate(draws)]  # fmt: skip
    meta = CurveMeta(points=({"name": "toy", "quality": quality},))
    return Curve("c", {"bpp": [0.2], "psnr-rgb": [values.mean()]}, rows=rows, meta=meta)


def sorted_lists(side: Curve, key: str) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(side.results["bpp"])
    return np.array(side.results["bpp"])[order], np.array(side.results[key])[order]


@pytest.mark.parametrize(("metric", "key", "sign"), [("psnr", "psnr-rgb", 1), ("fd", "fd", -1)])
@pytest.mark.filterwarnings("ignore:Insufficient curve overlap")
def test_bd_rate_and_bd_metric_equal_bjontegaard(metric, key, sign):
    (rate_a, value_a), (rate_b, value_b) = (sorted_lists(side, key) for side in (ANCHOR, TEST))
    expected = bjontegaard.bd_rate(rate_a, sign * value_a, rate_b, sign * value_b, method="akima")
    assert bd_rate(ANCHOR, TEST, metric, lower=sign < 0) == pytest.approx(expected)
    assert bd_rate(ANCHOR, TEST, metric, lower=sign < 0) < 0
    expected = bjontegaard.bd_psnr(rate_a, value_a, rate_b, value_b, method="akima")
    assert bd_metric(ANCHOR, TEST, metric) == pytest.approx(expected)


def test_half_the_bits_are_minus_fifty_per_cent():
    half = Curve("half", {**ANCHOR.results, "bpp": [rate / 2 for rate in ANCHOR.results["bpp"]]})
    assert bd_rate(ANCHOR, half) == pytest.approx(-50)


@pytest.mark.parametrize(
    "values", [[30.0], [25.0, 30.0, 29.0, 33.0], [1.0, 2.0, 3.0, 4.0], [None, None, None, 30.0], [30.0] * 4]
)
def test_bd_rate_is_undefined_for_curves_that_do_not_allow_it(values):
    other = Curve("x", {"bpp": [0.1, 0.2, 0.4, 0.8][: len(values)], "psnr-rgb": values})
    assert math.isnan(bd_rate(ANCHOR, other))


def test_overlap_is_the_range_of_both():
    assert overlap(ANCHOR, TEST) == (0.1, 0.7)
    assert overlap(ANCHOR, Curve("x", {"bpp": [1.0, 2.0]})) is None


def test_paired_differences_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    before = rng.normal(30, 3, (9, 2))
    after = before + rng.normal(0.4, 0.3, (9, 2))
    found = paired(with_rows(before), with_rows(after), "psnr")[0]
    low, high = stats.ttest_rel(after.mean(1), before.mean(1)).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3)
    assert found.count == 9


def test_nothing_is_paired_across_settings_or_without_rows():
    values = np.ones((3, 1))
    assert paired(with_rows(values, 5), with_rows(values, 6), "psnr") == {}
    assert paired(ANCHOR, with_rows(values), "psnr") == {}


def test_a_file_written_is_read_back_the_same(tmp_path):
    scores = [{"bpp": Score(0.2, 0.1, 0.3, 5), "psnr": Score(30.0, None, None, 5), "fd": Score(math.nan)}]
    meta = CurveMeta(ImagesFacts("photos", 5, "whole images", "00"), ({"name": "toy"},), seeds=(0, 1))
    rows = (EvalRow(0, "a", 1, {"psnr": 30.0, "fd": None}),)
    more = {"missing": {"lpips": "why"}, "rows": rows, "meta": meta}
    made = curve("name", "words", scores, {"psnr": "psnr-rgb", "bpp": ""}, **more)
    made.write(tmp_path / "x.json")
    assert Curve.read(tmp_path / "x.json") == made
    assert made.results == {"bpp": [0.2], "psnr-rgb": [30.0], "fd": [None]}
    assert made.intervals == {"bpp": [(0.1, 0.3)]}
    assert list(json.loads((tmp_path / "x.json").read_text()))[:3] == ["name", "description", "results"]


def test_compressais_own_plot_command_reads_our_files(tmp_path):
    from compressai.utils.plot.__main__ import main

    ANCHOR.write(tmp_path / "a.json")
    TEST.write(tmp_path / "b.json")
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    main(["-f", *files, "-m", "psnr", "-o", str(tmp_path / "plot.png")])
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_published_files_without_a_results_key_are_read(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"bpp": [0.1, 0.2], "psnr": [30, 31]}))
    assert Curve.read(path).points("psnr") == [(0.1, 30), (0.2, 31)]
    assert Curve.read(path).name == "old"


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"results": {"psnr": [1]}}', '{"results": {"bpp": [1, 2], "psnr": [1]}}', "7"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        Curve.read(path)


def test_unknown_metrics_and_files_offer_the_nearest():
    with pytest.raises(UsageError, match="psnr-rgb"):
        ANCHOR.points("psrn")
    with pytest.raises(UsageError, match="elic-bundled-kodak12"):
        find("elic-bundled-kodak")


def test_curves_of_the_registry_name_their_source():
    assert references()
    for name, reference in references().items():
        assert reference.source, name
        assert reference.date, name
        assert reference.protocol["images"] in known_sets(), name
        assert len(reference.points("psnr")) >= 2
        assert find(name) == reference


@pytest.mark.parametrize(
    ("rates", "values", "reason"),
    [
        ([0.1], [30], "Test has 1 point; a curve needs two"),
        ([0.1, 0.1], [30, 31], "Test has two points of one rate"),
        ([0.1, 0.2, 0.3], [30, 29, 31], "Test does not get better with every bit: psnr is not monotonic in the rate"),
        ([0.1, 0.2], [90, 91], "the two curves share no value of psnr"),
    ],
)
def test_an_undefined_bd_rate_says_why(rates, values, reason):
    other = Curve("Test", {"bpp": rates, "psnr": values})
    assert math.isnan(bd_rate(ANCHOR, other))
    assert why_undefined(ANCHOR, other) == reason
    assert why_undefined(ANCHOR, TEST) == ""
