"""Paired differences between configurations of stores, in every format; what is undefined says so."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from idemcore.report.exports import csv_text, latex, markdown
from idemcore.report.paired import compare, measures_of, pair_up
from idemcore.report.summary import summarise
from idemcore.sweeps.store import Store


def configurations(store: Path, solver: str | None):
    """Those of a solver, or the plain decodes."""
    rows = [row for row in Store(store).rows() if solver in (None, (row.solver or {}).get("name"))]
    return [one for one in summarise(rows).configurations if one.plain == (solver is None)]


def test_differences_are_paired_by_image_and_far_narrower_than_the_means(store: Path) -> None:
    pairs = pair_up(configurations(store, "dps"), configurations(store, "cell"))
    assert len(pairs) == 4
    (anchor, test) = pairs[0]
    assert (anchor.codec, anchor.decoder["solver"]["name"]) == (test.codec, "dps")
    both = summarise(Store(store).rows())
    pair = compare(anchor, test, measures_of([both], ["psnr", "lpips"]))
    psnr, lpips = pair.differences
    assert (psnr.images, psnr.value) == (3, pytest.approx(-2.0))
    assert psnr.low == pytest.approx(-2.0)  # images differ by 1 dB from one another, the differences do not
    assert psnr.decided
    assert lpips.value == pytest.approx(-0.1)


def test_one_store_is_compared_with_its_plain_decode_unless_an_anchor_is_named(store: Path, idem) -> None:
    told = json.loads(idem("compare", store, "--metrics", "psnr", "--json").stdout)
    assert len(told) == 8
    assert all("plain decode" in pair["anchor"] for pair in told)
    told = json.loads(idem("compare", store, "--anchor", "solver=dps", "--metrics", "psnr,lpips", "--json").stdout)
    assert len(told) == 4
    for pair in told:
        assert "dps" in pair["anchor"]
        assert "cell" in pair["test"]
        assert [one["metric"] for one in pair["metrics"]] == ["psnr", "lpips"]
        assert pair["metrics"][0]["value"] == pytest.approx(-2.0)


def test_two_codecs_can_be_compared_on_the_same_images(store: Path, idem) -> None:
    words = ("--anchor", "codec=jpeg", "--anchor", "quality=1", "--anchor", "solver=cell")
    words += ("--test", "codec=elic", "--test", "solver=cell")
    told = json.loads(idem("compare", store, *words, "--metrics", "psnr", "--json").stdout)
    assert [pair["metrics"][0]["images"] for pair in told] == [3, 3]


def test_two_stores_are_compared_configuration_by_configuration(store: Path, idem, tmp_path: Path) -> None:
    other = Store(tmp_path / "later")
    with other.writing({}):
        for row in Store(store).rows():
            better = {key: value + 1 for key, value in row.metrics.items() if value is not None}
            other.append(replace(row, metrics=better))
    result = idem("compare", store, other.root, "--metrics", "psnr", "--json")
    told = json.loads(result.stdout)
    assert len(told) == 8
    assert {round(pair["metrics"][0]["value"], 6) for pair in told} == {1.0}
    assert all(pair["anchor"].startswith(str(store)) for pair in told)


def test_formats_hold_the_same_differences(store: Path, idem) -> None:
    words = ("compare", store, "--anchor", "solver=dps", "--metrics", "psnr,lpips")
    table = list(csv.DictReader(io.StringIO(idem(*words, "--format", "csv").stdout)))
    assert len(table) == 8
    assert {row["metric"] for row in table} == {"psnr", "lpips"}
    assert float(table[0]["difference"]) == pytest.approx(-2.0)
    text = idem(*words, "--format", "latex").stdout
    assert r"\toprule" in text
    assert r"$-$2.00 $\pm$ 0.00$^{*}$" in text
    assert text.count(r"\\") == 5
    shown = idem(*words, "--format", "md").stdout
    assert "| −2.00 |" in shown
    assert "| −2.00 to −2.00 \\* |" in shown
    assert "−2.00" in idem(*words).stdout


def test_a_metric_that_is_undefined_says_so_in_every_format(store: Path, idem, tmp_path: Path) -> None:
    for row in Store(store).rows():
        if row.status == "ok":
            missing = {"pyiqa:musiq": "Its weights are not here."}
            Store(store).append(replace(row, metrics={**row.metrics, "ms-ssim": None}, missing_metrics=missing))
    words = ("compare", store, "--anchor", "solver=dps", "--metrics", "ms-ssim,pyiqa:musiq,unheard")
    told = json.loads(idem(*words, "--json").stdout)[0]["metrics"]
    assert [one["value"] for one in told] == [None] * 3
    assert "undefined" in told[0]["note"]
    assert "weights are not here" in told[1]["note"]
    assert "not measured" in told[2]["note"]
    for kind in ("md", "latex", "table"):
        assert "undefined" in idem(*words, "--format", kind).stdout
    summary = summarise(Store(store).rows())
    for text in (markdown(summary), latex(summary)):
        assert "MS-SSIM has no value: it is undefined on these images" in text
    assert "ms-ssim,ms-ssim_low" in csv_text(summary)
    assert idem("report", store, "-o", tmp_path / "page").exit_code == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<dt>ms-ssim</dt><dd>no value: it is undefined on these images</dd>" in page
    assert "<dt>pyiqa:musiq</dt><dd>not measured: Its weights are not here.</dd>" in page


def test_what_a_plain_decode_cannot_have_is_left_out_unless_asked_for(store: Path, idem) -> None:
    def compared(*words) -> set[str]:
        return {one["metric"] for pair in json.loads(idem(*words, "--json").stdout) for one in pair["metrics"]}

    solvers = compared("compare", store, "--anchor", "solver=dps")
    plain = compared("compare", store)
    assert {"psnr", "lpips"} <= plain
    assert solvers - plain >= {"nfe", "seconds"}
    assert "nfe" in compared("compare", store, "--metrics", "psnr,nfe")
    for kind in ("md", "latex", "table", "csv"):
        assert "nfe" not in idem("compare", store, "--format", kind).stdout.lower()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--anchor", "solver=nothing"), "No run"),
        (("--anchor", "solvr=cell"), "Did you mean"),
        (("--anchor", "quality=1", "--test", "quality=2"), "not clear"),
        (("--metrics", ","), "names nothing"),
    ],
)
def test_what_cannot_be_compared_is_said(store: Path, idem, words, told: str) -> None:
    result = idem("compare", store, *words)
    assert result.exit_code == 2, result.stdout
    assert told in result.stderr


def test_options_of_stores_are_refused_for_curves(idem) -> None:
    assert "is not a store" in idem("compare", "vtm", "bpg", "--format", "latex").stderr
    assert "Type: idem compare" in idem("compare", "vtm").stderr
    assert "3 results" in idem("compare", "a", "b", "c").stderr
