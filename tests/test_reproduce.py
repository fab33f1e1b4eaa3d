"""`idem reproduce`: the experiments that are shipped, one of a toy codec run through, and how claims are judged."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweeping import sweep_row

from idemcore.errors import UsageError
from idemcore.evaluation.baselines import baseline
from idemcore.metrics.building import choose_metrics
from idemcore.plugins.catalogue import load_catalogue
from idemcore.protocols import Score
from idemcore.report.summary import Summary, summarise
from idemcore.reproduce.claims import CLAIMS, FAILS, HOLDS, OPEN, findings, ratio_of_means
from idemcore.reproduce.experiments import load_experiments, studies
from idemcore.results.rows import SweepRow
from idemcore.sweeps.combinations import resolve_all

TOY = """
title: A toy's trade-off
about: What a toy does & how.
claims: [distortion, tradeoff, recompression, diversity]
bundled:
  photos:
    limit: 3
    metrics: [bpp, psnr, exact, spectrum, diversity]
    base: {codec: toy, generator: toy, solver: cell, solver.steps: 2}
    axes: {quality: [3, 4], tradeoff: [0.5, 1.0], seed: 0..1}
  faces:
    axes: {codec: toy, generator: toy, quality: 3}
published:
  photos:
    axes: {codec: toy, generator: ddpm-ffhq, quality: 3}
"""


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "shades.yaml").write_text(TOY)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("experiment", load_experiments("paper"), ids=lambda experiment: experiment.name)
def test_shipped_experiments_name_what_is_there(experiment) -> None:
    catalogue = load_catalogue()
    assert set(experiment.claims) <= CLAIMS.keys()
    assert experiment.about
    assert {variant.models for variant in experiment.variants} == {"published", "bundled"}
    for variant in experiment.variants:
        configured, refused = resolve_all(catalogue, variant.definition.points())
        assert configured
        assert not refused
        assert choose_metrics(catalogue, variant.definition.metrics)
        assert "psnr" in variant.definition.metrics
        assert variant.definition.limit


def test_the_published_checkpoints_are_used_where_they_are_and_titles_say_whose(
    experiments, photos, monkeypatch
) -> None:
    loaded, catalogue = load_experiments(str(experiments)), load_catalogue()
    (study,), skipped = studies(loaded, catalogue, {"photos": [str(photos)]})
    assert (study.name, study.variant.models) == ("shades-photos", "bundled")
    assert study.title == "A toy's trade-off · photos, photos · bundled models, not the paper's"
    assert "idem models" in study.not_published
    assert skipped == {"shades-faces": "No images were given: --faces says which."}
    (asked,), _ = studies(loaded, catalogue, {"photos": [str(photos)]}, bundled=True)
    assert asked.not_published == ""
    monkeypatch.setattr("idemcore.reproduce.experiments.lacking", lambda definition, catalogue: "")
    (published,), _ = studies(loaded, catalogue, {"photos": [str(photos)]})
    assert published.title.endswith("published checkpoints")


def test_several_datasets_are_several_studies_and_scale_keeps_two_images(experiments, photos) -> None:
    places = [str(photos), str(photos.with_suffix(".zip"))]
    found, _ = studies(load_experiments(str(experiments)), load_catalogue(), {"photos": places}, True, scale=0.1)
    assert [study.definition.images for study in found] == [(place,) for place in places]
    assert {study.definition.limit for study in found} == {2}


def test_a_toy_experiment_runs_to_a_page_and_goes_on_where_it_was(idem, experiments, photos, tmp_path) -> None:
    out = tmp_path / "out"
    words = ("reproduce", experiments, "--images", photos, "-o", out, "--set", "engine.workers=1", "--bundled")
    result = idem(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert "24 runs, 0 of them here" in result.stderr
    assert "shades-faces is not run" in result.stderr
    told = json.loads(result.stdout)
    (study,) = told["studies"]
    assert (study["runs"], study["failed"], study["models"]) == (24, 0, "bundled")
    assert set(study["claims"]) == {"distortion", "tradeoff", "recompression", "diversity"}
    assert study["claims"]["recompression"]["verdict"] == HOLDS
    assert len(study["claims"]["recompression"]["evidence"]) == 4
    assert len(study["claims"]["tradeoff"]["evidence"]) == 4
    page = (out / "index.html").read_text()
    check_page(page, out)
    assert "bundled models, not the paper" in page
    assert "What a toy does &amp; how." in page
    assert (out / "shades-photos" / "index.html").is_file()
    assert json.loads((out / "reproduction.json").read_text())["studies"] == told["studies"]
    again = idem(*words, "--json")
    assert "24 runs, 24 of them here" in again.stderr
    claims = [json.loads(text)["studies"][0]["claims"] for text in (result.stdout, again.stdout)]
    assert claims[0] == claims[1]


def test_a_folder_that_holds_something_else_is_left_alone(idem, experiments, photos, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    words = ("reproduce", experiments, "--images", photos, "--set", "engine.workers=1", "-o")
    assert idem(*words, tmp_path / "mine").exit_code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("papr",), "Did you mean 'paper'"),
        (("paper", "--only", "rate", "--images", "x"), "Did you mean 'rates'"),
        (("paper", "--images", "nowhere", "--only", "recompression-photos", "--set", "engine.workers=1"), "nowhere"),
        (("paper", "--images", ".", "--only", "ablation"), "There is nothing to run"),
    ],
)
def test_what_cannot_be_right_is_told(idem, tmp_path, monkeypatch, arguments, told) -> None:
    monkeypatch.chdir(tmp_path)
    result = idem("reproduce", *arguments, "--bundled")
    assert result.exit_code == 2
    assert told in result.stderr


def test_the_list_names_each_experiment_with_its_models(idem) -> None:
    rows = [json.loads(line) for line in idem("reproduce", "list", "--json").stdout.splitlines()]
    assert {("rates-faces", "bundled"), ("rates-faces", "published")} <= {(r["name"], r["models"]) for r in rows}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: A\nclaim: [x]\n", "is not an experiment"),
        ("title: A\nbundled: {dogs: {axes: {}}}\n", "not a kind of images"),
        ("title: A\nbundled: {faces: {axis: {}}}\n", "unknown key 'axis'"),
    ],
)
def test_a_file_that_is_no_experiment_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        load_experiments(str(tmp_path))
    assert told in str(error.value)
    assert "bad.yaml" in str(error.value)


def row(image: int, psnr: float, plain_psnr: float, **changes: object) -> SweepRow:
    """Of one reconstruction by a solver that draws."""
    values: dict[str, object] = {
        "id": f"{image}-{psnr}", "status": "ok", "codec": {"name": "c", "quality": 1}, "generator": {"name": "g"},
        "solver": {"name": "s"}, "precision": "auto", "seed": 0, "exact": True, "files": {}, "weights": {},
        "image": {"name": str(image), "sha256": f"{image:064}", "width": 8, "height": 8},
        "metrics": {"bpp": 1.0, "psnr": psnr}, "decoded_metrics": {"psnr": plain_psnr}, "seconds": {}, **changes,
    }  # fmt: skip
    return sweep_row(**values)


def summary(loss: float, spread: float = 0.2, count: int = 40, **changes: object) -> Summary:
    """`count` images that are `loss` dB worse than their plain decodes, give or take `spread`."""
    rng = np.random.default_rng(1)
    plain = rng.normal(28, 2, count)
    losses = rng.normal(loss, spread, count)
    return summarise([row(k, plain[k] - losses[k], plain[k], **changes) for k in range(count)])


@pytest.mark.parametrize(("loss", "verdict"), [(2.5, HOLDS), (3.5, FAILS), (3.0, OPEN)])
def test_distortion_at_most_doubles_where_the_whole_interval_is_below_three_decibels(loss, verdict) -> None:
    (finding,) = findings(["distortion"], summary(loss))
    assert finding.verdict == verdict
    assert finding.evidence[0].expected == "at most 3.01 dB"


def test_one_image_has_no_interval_and_so_no_verdict() -> None:
    (finding,) = findings(["distortion"], summary(1.0, count=1))
    assert finding.verdict == OPEN


@pytest.mark.parametrize(("shade", "ratio", "verdict"), [(0.5, 1.25, HOLDS), (0.5, 1.6, FAILS), (1.0, 2.0, HOLDS)])
def test_the_trade_off_is_compared_with_its_law(shade, ratio, verdict) -> None:
    found = summary(10 * np.log10(ratio), spread=0.05, tradeoff=shade)
    others = summary(0.0, tradeoff=0.25) if shade == 1 else None
    rows = [r for s in (found, others) if s for c in s.configurations if not c.plain for r in c.rows]
    (finding,) = findings(["tradeoff"], summarise(rows))
    mine = [one for one in finding.evidence if f"tradeoff {shade:g}" in one.label]
    assert [one.verdict for one in mine] == [verdict]
    assert mine[0].expected.startswith(f"{1 + shade**2:.2f} times D")


def test_without_shades_there_is_nothing_to_say_of_a_trade_off() -> None:
    assert findings(["tradeoff"], summary(3.0)) == []


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [((20, 15, 25, 40), HOLDS), ((-60, -70, -50, 40), FAILS), ((5, -5, 15, 40), OPEN), ((20, 15, 25, 5), OPEN)],
)
def test_distances_are_told_apart_where_the_interval_of_the_gain_says_so(gain, verdict) -> None:
    rows = [r for c in summary(1.0).configurations if not c.plain for r in c.rows]

    def scores(rows: object, plain: bool) -> dict[str, Score]:
        drawn = {"kd": Score(20.0), "fd": Score(5.0), "kd-gain": Score(*gain)}
        return {"kd": Score(40.0), "fd": Score(9.0)} if plain else drawn

    (finding,) = findings(["perception"], summarise(rows, scores))
    assert finding.verdict == verdict
    assert "kd 20 against 40, fd 5 against 9" in finding.evidence[0].measured


def test_one_image_that_is_not_exact_is_enough_to_fail() -> None:
    rows = [r for c in summary(1.0).configurations if not c.plain for r in c.rows]
    assert findings(["recompression"], summarise(rows))[0].verdict == HOLDS
    rows[3] = replace(rows[3], exact=False)
    (finding,) = findings(["recompression"], summarise(rows))
    assert finding.verdict == FAILS
    assert finding.evidence[0].measured.startswith("39 of 40 (87.1% to 99.6%)")


@pytest.mark.parametrize("images", [6, 12, 60])
def test_a_ratio_of_errors_is_called_smaller_about_as_seldom_as_it_says(images: int) -> None:
    """Of errors that vary from image to image as those of photographs do: their logarithm by a factor of two."""
    rng, missed, trials = np.random.default_rng(0), np.zeros(2), 600
    for _ in range(trials):
        before = np.exp(0.7 * rng.normal(size=images))
        score = ratio_of_means(2 * before * np.exp(0.15 * rng.normal(size=images) - 0.15**2 / 2), before)
        missed += score.high < 2, score.low > 2
    assert missed[0] / trials <= 0.06
    assert missed.sum() / trials <= 0.11
    assert ratio_of_means(before[:1], before[:1]).low is None


class Page(HTMLParser):
    """Open elements, ids and links."""

    VOID = frozenset({"meta", "link", "br", "input", "img", "path", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids += [values["id"]] if values.get("id") else []
        self.links += [values["href"]] if values.get("href") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str, folder: Path) -> None:
    """Well formed, ids once each, and every link leads somewhere."""
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("data:"):
            assert (folder / link).is_file()


@pytest.mark.parametrize("collection", ["jpeg", "codecs"])
def test_experiments_of_protocols_name_what_is_there(collection: str) -> None:
    catalogue = load_catalogue()
    for experiment in load_experiments(collection):
        assert set(experiment.claims) <= CLAIMS.keys()
        for variant in experiment.variants:
            configured, refused = resolve_all(catalogue, variant.definition.points())
            assert (len(configured), refused) == (len(variant.definition.points()), []), experiment.name
            assert choose_metrics(catalogue, variant.definition.metrics)
            assert [baseline(name).name for name in variant.baselines] == list(variant.baselines)


def test_baselines_are_measured_once_and_drawn_beside(idem, photos, tmp_path) -> None:
    folder, out = tmp_path / "own", tmp_path / "out"
    folder.mkdir()
    (folder / "low.yaml").write_text(
        "title: Beside\nclaims: [recompression]\nbundled:\n  photos:\n    metrics: [bpp, psnr, exact, nfe]\n"
        "    baselines: [webp, jxl]\n    base: {codec: toy, generator: toy, solver.steps: 1}\n"
        "    axes: {solver: [cell, mse], quality: [2, 4]}\n"
    )
    words = ("reproduce", folder, "--images", photos, "-o", out, "--set", "engine.workers=1")
    result = idem(*words)
    assert result.exit_code == 0, result.stderr
    assert "measuring WebP" in result.stderr
    page = (out / "low-photos" / "index.html").read_text()
    assert "<title>WebP</title>" in page
    assert "pillow-jxl-plugin" in page or "<title>JPEG XL</title>" in page
    (curve,) = (out / "baselines" / "low-photos").glob("webp-*.json")
    stamp = curve.stat().st_mtime_ns
    again = idem(*words)
    assert "measuring WebP" not in again.stderr
    assert curve.stat().st_mtime_ns == stamp
