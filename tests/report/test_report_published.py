"""Printed tables beside a store: only on exactly their images, at their qualities, for metrics that both have."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from sweeping import sweep_row

from idemcore.evaluation.known_sets import known_sets
from idemcore.report.exports import latex, markdown
from idemcore.report.published import comparable, printed_tables, section
from idemcore.report.summary import summarise


def rows(name, qualities, codec="jpeg", drop=0, **metrics):
    metrics = metrics or {"psnr": 30.0, "ssim": 0.8}
    for sha256 in sorted(known_sets()[name].pixels)[drop:]:
        for quality in qualities:
            yield sweep_row(**{
                "status": "ok",
                "codec": {"name": codec, "quality": quality},
                "generator": {"name": "toy_prior"},
                "solver": {"name": "cell"},
                "image": {"name": sha256[:8], "sha256": sha256, "width": 8, "height": 8},
                "seed": 0,
                "metrics": {"bpp": 0.1 * quality, **metrics},
            })  # fmt: skip


def test_every_printed_table_names_its_source_and_has_values_at_each_quality() -> None:
    tables = printed_tables()
    assert {table.images for table in tables} >= {"live1", "live1-grey", "classic5", "div2k-val"}
    for table in tables:
        assert table.source
        assert table.date
        assert all(row.values for row in table.rows)


def test_what_stands_beside_a_store_is_of_its_images_qualities_and_metrics() -> None:
    (table,) = comparable(summarise(rows("classic5", [10, 25])))
    assert {row.quality for row in table.rows} == {10}
    assert {tuple(row.values) for row in table.rows} == {("psnr", "ssim")}
    assert {row.system: row.values["psnr"] for row in table.rows}["FBCNN"] == 30.12


def test_a_printed_metric_is_known_however_it_is_spelt() -> None:
    metrics = {"psnr": 27.0, "ssim": 0.8, "psnr-b": 26.5}
    summary = summarise(rows("live1-grey", [10], **metrics))
    fbcnn = {row.system: row.values for table in comparable(summary) for row in table.rows}["FBCNN"]
    assert fbcnn["psnr-b"] < fbcnn["psnr"]
    assert f"{fbcnn['psnr-b']:.2f}" in latex(summary)


@pytest.mark.parametrize(
    "store",
    [rows("classic5", [25]), rows("classic5", [10], codec="elic"), rows("classic5", [10], drop=1),
     rows("classic5", [10], kd=3.0), rows("kodak24", [10])],
    ids=["quality", "codec", "images", "metrics", "set"],
)  # fmt: skip
def test_what_does_not_match_is_not_shown(store) -> None:
    summary = summarise(store)
    assert comparable(summary) == []
    assert section(summary) == ""


def test_page_and_markdown_show_the_printed_rows_with_their_source() -> None:
    summary = summarise(rows("live1", [10], psnr=27.0, lpips=0.2))
    page, text = section(summary), markdown(summary)
    assert page.count("<table") == 2
    assert "None of these was certified." in page
    assert "| CODiff, 1 pass | 10 | 0.143 |" in text
    assert "| FBCNN | 10 | 27.77 |" in text
    assert "arXiv 2109.14573" in text


def test_latex_is_a_booktabs_table_that_compiles(tmp_path) -> None:
    text = latex(summarise(rows("classic5", [10], psnr=30.0)))
    assert text.startswith("\\begin{tabular}{lrr}\n\\toprule\n")
    assert r"toy\_prior + cell" in text
    assert r"FBCNN, quality 10, as printed & -- & 30.12 \\" in text
    assert text.count("\\\\\n") == 1 + 1 + 7
    if program := shutil.which("pdflatex"):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}" + text + "\\end{document}"
        (tmp_path / "table.tex").write_text(document)
        subprocess.run([program, "-interaction=nonstopmode", "-halt-on-error", "table"], cwd=tmp_path, check=True)
