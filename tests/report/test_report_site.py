"""The folder that `idem report` writes: whole, self-contained, and safe against what stores name their files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from idemcore.report.chart import Scale
from idemcore.results.rows import RunFiles
from idemcore.sweeps.store import Store

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """A strict reading: tags that match, attributes and text by tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append((self.open[-1] if self.open else "", text))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def site(idem, store, tmp_path):
    folder = tmp_path / "site"
    result = idem("report", store, "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def read(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def data_of(folder):
    return json.loads("".join(text for tag, text in data_texts(read(folder))))


def data_texts(page):
    return [(tag, text) for tag, text in page.texts if tag == "script" and text.strip().startswith("{")]


def test_the_page_is_well_formed_and_ids_are_unique(site):
    ids = [attributes["id"] for _, attributes in read(site).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_all_that_the_page_names_is_in_the_folder_and_nothing_outside(site):
    page = read(site)
    named = [a.get("src") or a.get("href") for _, a in page.tags if a.get("src") or a.get("href")]
    for name in named:
        assert name.startswith(("#", "data:")) or (site / name).is_file(), name
    pictures = {run["file"] for run in data_of(site)["runs"]} | {image["original"] for image in data_of(site)["images"]}
    assert len(pictures) == 36 + 12 + 3
    for name in pictures:
        Image.open(site / name).verify()
    assert {path.name for path in (site / "images").iterdir()} == {name.split("/")[1] for name in pictures}
    for path in (site / "index.html", site / "style.css", site / "report.js"):
        urls = set(re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8")))
        assert urls <= {"http://www.w3.org/2000/svg"}


def test_anchors_lead_somewhere(site):
    page = read(site)
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {a["href"][1:] for a in page.all("a")} <= ids


def test_hostile_names_stay_text(site):
    page = read(site)
    assert not page.all("b")
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert not [a for _, a in page.tags if "onerror" in a]
    assert any("onerror=alert(1)" in image["name"] for image in data_of(site)["images"])
    assert (site / "index.html").read_text().count("</script>") == 2


def test_the_script_writes_text_and_never_markup(site):
    script = (site / "report.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_charts_have_a_mark_for_each_configuration_and_units(site):
    page = read(site)
    marks = [int(a["data-configuration"]) for tag, a in page.tags if tag == "g" and "data-configuration" in a]
    assert {marks.count(index) for index in range(12)} >= {3}
    assert ("text", "PSNR [dB]") in page.texts
    assert ("text", "File rate [bpp]") in page.texts
    assert [a for _, a in page.tags if a.get("class") == "band"]


def test_failed_runs_are_listed(site):
    assert ("td", "RuntimeError: <no> luck") in read(site).texts


def test_reference_curves_are_drawn_where_they_have_the_metric(idem, store, tmp_path):
    curve = {"name": "Ours <1>", "description": "Kodak", "results": {"bpp": [0.1, 0.2], "psnr-rgb": [25, 26]}}
    (tmp_path / "curve.json").write_text(json.dumps(curve))
    assert idem("report", store, "-o", tmp_path / "site", "--reference", tmp_path / "curve.json").exit_code == 0
    page = read(tmp_path / "site")
    assert page.texts.count(("title", "Ours <1>")) == 1
    assert ("span", "Ours <1>") in page.texts


def test_a_broken_reference_is_refused(idem, store, tmp_path):
    (tmp_path / "curve.json").write_text('{"results": {"bpp": [1], "psnr": [1, 2]}}')
    result = idem("report", store, "-o", tmp_path / "site", "--reference", tmp_path / "curve.json")
    assert (result.exit_code, "lists of one length" in result.stderr) == (1, True)


def test_a_second_report_takes_the_place_of_the_first(idem, store, site):
    before = len(list((site / "images").iterdir()))
    assert idem("report", store, "-o", site, "--images", 1).exit_code == 0
    assert len(list((site / "images").iterdir())) == 17 < before
    assert data_of(site)["images"][2]["original"] is None
    assert len(data_of(site)["runs"]) == 48


def test_a_folder_that_holds_something_else_is_left_alone(idem, store, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    result = idem("report", store, "-o", tmp_path / "mine")
    assert (result.exit_code, "is not an idem report" in result.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["index.html"]


def test_pictures_outside_the_store_are_not_copied(idem, store, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    rows = Store.open(store).rows()
    with Store(store).writing({"test": 1}):
        Store(store).append(replace(rows[0], files=RunFiles(str(tmp_path / "secret.png"), None, "../secret.png")))
    assert idem("report", store, "-o", tmp_path / "site").exit_code == 0
    assert all(path.read_bytes() != b"secret" for path in (tmp_path / "site" / "images").iterdir())


def test_set_metrics_are_computed_once_and_kept_in_the_store(idem, store, tmp_path):
    first = idem("report", store, "-o", tmp_path / "site", "--metrics", "spectrum")
    assert first.exit_code == 0, first.output
    assert first.stderr.count("measuring") == 12
    assert "measuring" not in idem("report", store, "-o", tmp_path / "site", "--metrics", "spectrum").stderr
    measures = data_of(tmp_path / "site")["measures"]
    index = [measure["name"] for measure in measures].index("spectrum")
    assert measures[index]["unit"] == "dB"
    assert "| Spectrum distance" in idem("report", store, "--format", "md").stdout


def test_sets_hold_one_draw_an_image_but_for_what_needs_several(idem, store, tmp_path):
    assert idem("report", store, "-o", tmp_path / "site", "--metrics", "spectrum,diversity").exit_code == 0
    sets = json.loads((store / "scores.json").read_text()).values()
    several = [scores for scores in sets if scores["diversity"]["value"] is not None]
    assert (len(sets), len(several)) == (12, 4)  # only cell has two seeds
    assert {scores["spectrum"]["count"] for scores in sets} == {3}


def test_metrics_of_single_images_are_refused(idem, store, tmp_path):
    result = idem("report", store, "-o", tmp_path / "site", "--metrics", "psnr")
    assert (result.exit_code, "image by image" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 2, [-3, -2, -1, 0, 1, 2])]
)
def test_ticks_are_round_numbers(low, high, expected):
    assert Scale(low, high, 0, 100).ticks(6) == pytest.approx(expected)


def test_equal_values_still_have_a_scale():
    scale = Scale.around([3.0, 3.0], 0, 100)
    assert scale(3.0) == pytest.approx(50)
