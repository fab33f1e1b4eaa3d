"""`idem decode` of several files, `idem verify` of folders, `idem report` of what they gave."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

TOY = ("--generator", "toy", "--set", "solver.steps=2")


@pytest.fixture
def photos(photo, tmp_path) -> Path:
    """Three JPEGs in two folders."""
    folder = tmp_path / "photos"
    (folder / "1998").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "1998/a.jpg")):
        Image.open(photo).crop((number, 0, 30, 20)).save(folder / name, "JPEG", quality=30 + number)
    return folder


def pngs(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def last(result) -> dict:
    return json.loads(result.stdout.splitlines()[-1])


def test_several_files_go_beside_themselves_and_are_resumed(idem, photos):
    files = photos / "a.jpg", photos / "b.jpg"
    (photos / "b.png").write_bytes(b"mine")
    result = idem("decode", *files, *TOY, "--json")
    assert result.exit_code == 0, result.stderr
    assert pngs(photos) == ["a.png", "b-2.png", "b.png"]
    assert (photos / "b.png").read_bytes() == b"mine"
    assert last(result)["decoded"] == 2
    again = idem("decode", *files, *TOY, "--json")
    assert (last(again)["decoded"], last(again)["done_before"]) == (0, 2)
    assert last(again)["photographs_an_hour"] is None
    other = idem("decode", *files, *TOY, "--seed", 1, "--json")
    assert last(other)["decoded"] == 2
    assert pngs(photos) == ["a-2.png", "a.png", "b-2.png", "b-3.png", "b.png"]


def test_patterns_are_expanded_where_the_shell_left_them(idem, photos, tmp_path):
    result = idem("decode", photos / "**" / "a.*", "-o", tmp_path / "out", *TOY)
    assert result.exit_code == 2
    assert "1998/a.jpg and " in result.stderr
    assert "would both be written to" in result.stderr
    assert idem("decode", photos / "?.jpg", "-o", tmp_path / "out", *TOY).exit_code == 0
    assert pngs(tmp_path / "out") == ["a.png", "b.png"]
    none = idem("decode", photos / "*.tif", "-o", tmp_path / "out", *TOY)
    assert none.exit_code == 2
    assert "No file matches" in none.stderr


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(idem, photos, tmp_path):
    odd = photos / "[1].jpg"
    (photos / "a.jpg").rename(odd)
    assert idem("decode", odd, "-o", tmp_path / "x.png", *TOY).exit_code == 0


def test_several_folders_each_get_their_own(idem, photos, tmp_path):
    result = idem("decode", photos / "1998", photos / "a.jpg", "-o", tmp_path / "out", *TOY, "--json")
    assert result.exit_code == 0, result.stderr
    assert pngs(tmp_path / "out") == ["1998/a.png", "a.png"]
    refused = idem("decode", photos / "1998", photos / "a.jpg", *TOY)
    assert refused.exit_code == 2
    assert "Name a folder for the results" in refused.stderr
    named = idem("decode", photos / "a.jpg", photos / "b.jpg", "-o", tmp_path / "x.png", *TOY)
    assert named.exit_code == 2
    assert "names a file" in named.stderr


def test_samples_are_drawn_with_the_seeds_that_follow(idem, photos, tmp_path):
    source = photos / "a.jpg"
    result = idem("decode", source, "-o", tmp_path / "x.png", "--samples", 3, "--seed", 5, *TOY, "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["seed"] for line in result.stdout.splitlines()] == [5, 6, 7]
    assert idem("decode", source, "-o", tmp_path / "y.png", "--seed", 7, *TOY).exit_code == 0
    assert (tmp_path / "x-3.png").read_bytes() == (tmp_path / "y.png").read_bytes()
    assert (tmp_path / "x-1.png").read_bytes() != (tmp_path / "x-2.png").read_bytes()
    assert not (tmp_path / "x.png").exists()
    plain = idem("decode", source, "--mse", "--samples", 2)
    assert plain.exit_code == 2
    assert "--mse has one picture" in plain.stderr
    for command in ("decode", "run"):
        mean = idem(command, source, "--solver", "mean", "--samples", 2)
        assert mean.exit_code == 2
        assert "Solver 'mean' has one picture" in mean.stderr


def test_a_second_picture_beside_the_first_is_said_to_be_one(idem, photos):
    source = photos / "a.jpg"
    assert "is kept" not in idem("decode", source, *TOY).stderr
    assert f"{photos / 'a.png'} is kept; the new picture is a-2.png" in idem("decode", source, *TOY).stderr
    assert sorted(path.name for path in photos.glob("a*.png")) == ["a-2.png", "a.png"]


def test_samples_of_an_album_are_resumed_one_by_one(idem, photos, tmp_path):
    arguments = "decode", photos, "-o", tmp_path / "out", "--samples", 2, *TOY, "--json"
    assert last(idem(*arguments))["decoded"] == 6
    assert pngs(tmp_path / "out") == ["1998/a-1.png", "1998/a-2.png", "a-1.png", "a-2.png", "b-1.png", "b-2.png"]
    (tmp_path / "out" / "a-2.png").unlink()
    again = last(idem(*arguments))
    assert (again["decoded"], again["done_before"]) == (1, 5)


@pytest.fixture
def restored(idem, photos, tmp_path) -> Path:
    assert idem("decode", photos, "-o", tmp_path / "restored", *TOY).exit_code == 0
    return tmp_path / "restored"


def test_an_album_is_verified_against_its_files(idem, photos, restored):
    result = idem("verify", restored, photos, "--json")
    assert result.exit_code == 0, result.stderr
    assert last(result) == {"exact": 3, "not_exact": 0, "failed": 0, "pictures_without_file": 0,
                            "files_without_picture": 0}  # fmt: skip
    pairs = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    assert {Path(pair["image"]).stem: pair["exact"] for pair in pairs} == {"a": True, "b": True}


def test_a_picture_that_was_changed_is_found(idem, photos, restored):
    Image.open(restored / "b.png").point(lambda value: 255 - value).save(restored / "b.png")
    result = idem("verify", restored, photos)
    assert result.exit_code == 3
    assert re.search(r"b\.png does not re-encode to .*b\.jpg: \d+ symbols differ", result.stderr)
    assert "not exact: 1" in result.stdout


def test_pictures_and_files_that_have_no_partner_are_named(idem, photos, restored):
    (restored / "a.png").unlink()
    os.rename(restored / "b.png", restored / "renamed.png")
    os.rename(restored / "b.certificate.json", restored / "renamed.certificate.json")
    Image.new("RGB", (8, 8)).save(restored / "foreign.png")
    result = idem("verify", restored, photos, "--json")
    assert result.exit_code == 1
    assert "foreign.png has no file that it was decoded from" in result.stderr
    assert "a.jpg has no picture" in result.stderr
    assert last(result)["exact"] == 2, "what was renamed is known by its certificate"


def test_a_picture_without_certificate_is_matched_by_its_name(idem, photos, restored):
    for certificate in restored.rglob("*.json"):
        certificate.unlink()
    assert last(idem("verify", restored, photos, "--json"))["exact"] == 3


def test_a_file_and_a_folder_cannot_be_compared(idem, photos, restored):
    for arguments in ((restored, photos / "a.jpg"), (restored / "a.png", photos)):
        result = idem("verify", *arguments)
        assert result.exit_code == 2
        assert "is not a folder, but the other is" in result.stderr


def page_data(folder: Path) -> dict:
    text = (folder / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_restored_album_is_shown_with_its_certificates(idem, photos, restored, tmp_path):
    result = idem("report", restored, "-o", tmp_path / "page", "--before", photos, "--json")
    assert result.exit_code == 0, result.stderr
    assert last(result)["runs"] == 3
    data = page_data(tmp_path / "page")
    assert [image["name"] for image in data["images"]] == ["1998/a.jpg", "a.jpg", "b.jpg"]
    drawn = [run for run in data["runs"] if run["seed"] is not None]
    assert [run["exact"] for run in drawn] == [True] * 3
    assert all((tmp_path / "page" / run["file"]).is_file() for run in data["runs"])
    assert {Path(run["file"]).suffix for run in data["runs"]} == {".png", ".jpg"}
    assert data["configurations"][drawn[0]["configuration"]]["parts"]["generator"]["name"] == "toy"
    assert '<section id="curves" hidden>' in (tmp_path / "page" / "index.html").read_text()


def test_salvage_draws_no_whole_file_again_but_the_damaged_ones(idem, photos, restored):
    (photos / "a.jpg").write_bytes((photos / "a.jpg").read_bytes()[:-40])
    first = last(idem("decode", photos, "-o", restored, *TOY, "--salvage", "--json"))
    assert (first["decoded"], first["done_before"]) == (1, 2)
    again = last(idem("decode", photos, "-o", restored, *TOY, "--salvage", "--json"))
    assert (again["decoded"], again["done_before"]) == (0, 3)
    plain = last(idem("decode", photos, "-o", restored, *TOY, "--json"))
    assert (plain["failed"], plain["done_before"]) == (1, 2)


def test_jpegs_are_shown_from_a_relative_folder_and_those_without_picture_named(
    idem, photos, restored, tmp_path, monkeypatch
):
    (photos / "later.jpg").write_bytes(b"no JPEG")
    monkeypatch.chdir(photos.parent)
    result = idem("report", restored, "-o", tmp_path / "page", "--before", photos.name)
    assert result.exit_code == 0, result.stderr
    runs = page_data(tmp_path / "page")["runs"]
    assert sorted(Path(run["file"]).suffix for run in runs) == [".jpg"] * 3 + [".png"] * 3
    assert "was decoded from later.jpg: not shown" in result.stderr


def test_a_report_names_pictures_without_jpeg_or_certificate(idem, photos, restored, tmp_path):
    (photos / "a.jpg").unlink()
    (restored / "b.certificate.json").write_text("{}")
    result = idem("report", restored, "-o", tmp_path / "page", "--before", photos)
    assert result.exit_code == 0, result.stderr
    assert "has no JPEG that was decoded to a.png: shown without it" in result.stderr
    assert "b.png is not shown" in result.stderr
    assert "decoded to 1998" not in result.stderr


@pytest.mark.parametrize("place", ["nowhere", "photos/a.jpg"])
def test_before_must_be_a_folder(idem, photos, restored, tmp_path, place):
    result = idem("report", restored, "-o", tmp_path / "page", "--before", tmp_path / place)
    assert result.exit_code == 2
    assert "is not a folder. Name with --before" in result.stderr
    assert not (tmp_path / "page").exists()


def test_an_album_alone_has_its_pictures_and_no_metrics(idem, restored, tmp_path):
    assert idem("report", restored, "-o", tmp_path / "page").exit_code == 0
    assert len(page_data(tmp_path / "page")["runs"]) == 3
    assert "has no originals" in idem("report", restored, "-o", tmp_path / "page", "--metrics", "fd").stderr
    for broken in restored.rglob("*.json"):
        broken.write_text("{}")
    result = idem("report", restored, "-o", tmp_path / "page")
    assert result.exit_code == 1
    assert "holds no picture with a certificate" in result.stderr


def test_a_damaged_file_is_3_and_anything_else_1(idem, photos, restored):
    (photos / "a.jpg").write_bytes((photos / "a.jpg").read_bytes()[:-40])
    idem("decode", photos, "-o", restored, *TOY, "--salvage")
    damaged = idem("verify", restored, photos)
    assert damaged.exit_code == 3
    assert "Add --salvage" in damaged.stderr
    assert idem("verify", restored, photos, "--salvage").exit_code == 0
    (restored / "b.png").unlink()
    assert idem("verify", restored, photos).exit_code == 1


def test_a_copy_of_a_file_has_the_picture_of_its_name(idem, photos, tmp_path):
    (photos / "copy.jpg").write_bytes((photos / "b.jpg").read_bytes())
    assert idem("decode", photos, "-o", tmp_path / "restored", *TOY).exit_code == 0
    result = idem("verify", tmp_path / "restored", photos, "--json")
    assert result.exit_code == 0, result.stderr
    found = last(result)
    assert (found["exact"], found["files_without_picture"], found["pictures_without_file"]) == (4, 0, 0)
    pairs = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    assert all(Path(pair["image"]).stem == Path(pair["bitstream"]).stem for pair in pairs)
