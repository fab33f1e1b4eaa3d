"""Every document that idem writes is one of `idemcore.results`, with the keys that the page of schemas lists."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from generate import DOCS
from idemcore.results.base import SCHEMA, JsonDocument, JsonObject, OtherSchema
from idemcore.results.certificate import Certificate
from idemcore.results.rows import BenchReport, CurveMeta, EvalRow, SweepRow
from idemcore.results.run_report import RunReport
from idemcore.results.samples_report import SamplesReport
from schemas import DOCUMENTS, keys

TOY = ("--codec", "toy", "--generator", "toy", "--solver", "cell", "--set", "solver.steps=2")


@pytest.fixture
def written(idem, photo, tmp_path) -> dict[type[JsonObject], Any]:
    """What the commands write, as JSON."""
    run = idem("run", photo, *TOY, "--samples", 2, "--out", tmp_path, "--json")
    report = json.loads(run.stdout)
    del report["folder"]
    axes = ("codec=toy", "generator=toy", "solver=mse", "--metrics", "bpp", "--store", tmp_path / "store")
    assert idem("sweep", "-m", *axes, photo).exit_code == 0
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photos")
    evaluation = idem("eval", tmp_path / "photos", *TOY[:4], "--solver", "mse", "--metrics", "bpp", "--json")
    sampling = ("sample", "--generator", "toy", "-n", 2, "--steps", 2, "--separate", tmp_path / "drawn")
    assert idem(*sampling).exit_code == 0
    return {
        Certificate: json.loads((tmp_path / "photo" / "certificate-1.json").read_text()),
        RunReport: report,
        SweepRow: json.loads((tmp_path / "store" / "rows.jsonl").read_text().splitlines()[0]),
        BenchReport: json.loads(idem("bench", photo, *TOY[:4], "--solver", "mse", "--size", 16, "--json").stdout),
        EvalRow: json.loads(evaluation.stdout)["rows"][0],
        CurveMeta: json.loads(evaluation.stdout)["meta"],
        SamplesReport: json.loads((tmp_path / "drawn" / "report.json").read_text()),
    }


def sections() -> dict[str, list[str]]:
    """The keys of each table on the page."""
    page = (DOCS / "reference" / "schemas.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `(\w+)`$", page, flags=re.MULTILINE)[1:]
    return {name: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) for name, text in zip(parts[::2], parts[1::2])}


def test_what_is_written_has_the_keys_of_the_page_and_reads_back(written) -> None:
    assert set(written) == set(DOCUMENTS)
    listed = sections()
    for cls, content in written.items():
        assert list(content) == listed[cls.__name__] == keys(cls)
        assert content.get("schema") == (SCHEMA if issubclass(cls, JsonDocument) else None)
        back = cls.from_json(content)
        assert back.to_json() == content
        check_objects(back, listed)


def check_objects(result: JsonObject, listed: dict[str, list[str]]) -> None:
    """Objects within are JsonObjects too, with the keys of the page."""
    assert list(result.to_json()) == listed[type(result).__name__]
    for field in fields(result):
        value = getattr(result, field.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, JsonObject):
                check_objects(inner, listed)


def test_every_key_has_a_meaning() -> None:
    page = (DOCS / "reference" / "schemas.md").read_text(encoding="utf-8")
    assert not re.findall(r"^\| `\w+` .*\|\s+\|$", page, re.MULTILINE)


def test_all_results_are_on_the_page() -> None:
    package = Path(DOCS).parent / "idemcore" / "results"
    sources = "\n".join(file.read_text() for file in package.glob("*.py"))
    defined = set(re.findall(r"^class (\w+)\(Json", sources, re.MULTILINE))
    assert defined - {"JsonDocument"} == set(sections())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "its schema is 2; this idem reads 1"),
        ({"schema": None}, "schema"),
        ({"exact": "yes"}, "'exact' cannot be 'yes'"),
        ({"image": [1]}, "expected an object"),
        ({"bitstream": {}}, "bytes"),
    ],
)
def test_another_document_is_refused(written, change, reason) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        Certificate.from_json({**written[Certificate], **change})


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(TypeError, match="missing"):
        RunReport.from_json({"schema": 1})
    with pytest.raises(TypeError, match="expected an object"):
        RunReport.from_json([])
    with pytest.raises(OtherSchema, match="its schema is None"):
        RunReport.from_json({})
