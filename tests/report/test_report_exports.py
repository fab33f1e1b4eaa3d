"""`idem report --format md|csv|compressai`."""

from __future__ import annotations

import csv
import io
import json

import pytest
from sweeping import sweep_row

from idemcore.evaluation.curves import Curve
from idemcore.report.references import read_reference
from idemcore.sweeps.store import Store


def test_markdown_is_a_table_of_configurations(idem, store):
    result = idem("report", store, "--format", "md")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 12
    assert len({line.count("|") - line.count("\\|") for line in lines}) == 1
    assert "| elic (quality 1) · toy + cell | 3 | 0.090 ± 0.025 | 19.96 ± 2.48 |" in result.stdout


def test_markdown_says_why_runs_failed(idem, store):
    result = idem("report", store, "--format", "md")
    assert "1 of 37 runs failed: RuntimeError: \\<no\\> luck (1 run)." in result.stdout


@pytest.mark.parametrize("kind", ["md", "csv"])
def test_a_store_of_failed_runs_alone_says_so(idem, tmp_path, kind):
    folder = tmp_path / "failed"
    with Store(folder).writing({"test": 1}):
        for name, reason in (("a", "No luck."), ("b", "No luck."), ("c", "No disk.")):
            Store(folder).append(sweep_row(id=name, status="failed", error=reason, metrics={}))
    result = idem("report", folder, "--format", kind)
    told = "3 of 3 runs failed: No luck (2 runs); No disk (1 run)"
    assert result.exit_code == 0
    assert told in result.stderr
    assert result.stdout == f"{told}.\n" or kind == "csv"


def test_csv_has_means_and_bounds(idem, store, tmp_path):
    assert idem("report", store, "--format", "csv", "-o", tmp_path / "out.csv").exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert len(rows) == 12
    cell = next(row for row in rows if row["configuration"] == "jpeg (quality 2) · toy + cell")
    assert json.loads(cell["codec"])["quality"] == 2
    assert float(cell["psnr"]) == pytest.approx(21.4)
    assert float(cell["psnr_low"]) < 21.4 < float(cell["psnr_high"])
    assert (cell["psnr_images"], cell["images"]) == ("3", "3")
    plain = next(row for row in rows if row["solver"] == "")
    assert plain["nfe"] == ""


def test_compressai_files_are_curves_that_can_be_read_again(idem, store, tmp_path):
    result = idem("report", store, "--format", "compressai", "-o", tmp_path / "curves", "--json")
    written = json.loads(result.stdout)["written"]
    assert len(written) == 6
    names = set()
    for path in sorted((tmp_path / "curves").iterdir()):
        content = json.loads(path.read_text())
        assert content["results"]["bpp"] == sorted(content["results"]["bpp"])
        assert len(content["results"]["psnr-rgb"]) == 2
        names.add(content["name"])
        assert read_reference(path).points("psnr")[0][1] == content["results"]["psnr-rgb"][0]
    assert "elic · toy + cell" in names


def test_a_curve_with_undefined_values_is_a_point_less(tmp_path):
    results = {"bpp": [0.1, 0.2, 0.3], "psnr-rgb": [30, 31, 32], "ms-ssim-rgb": [None, 0.9, None]}
    Curve("webp", results, protocol={"images": "kodak12"}).write(tmp_path / "webp.json")
    reference = read_reference(tmp_path / "webp.json")
    assert reference.points("ms-ssim") == [(0.2, 0.9)]
    assert len(reference.points("psnr")) == 3
    assert reference.images == "kodak12"


def test_a_store_without_rows_or_of_another_kind_is_refused(idem, tmp_path):
    result = idem("report", tmp_path, "--format", "md")
    assert (result.exit_code, "is not the store of a sweep" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [["--format", "html"], ["--format", "md", "--title", "x"], ["--format", "md", "--json"]]
)
def test_options_that_do_not_go_together_are_refused(idem, store, arguments):
    result = idem("report", store, *arguments)
    assert result.exit_code == 2
    assert "error:" in result.stderr
