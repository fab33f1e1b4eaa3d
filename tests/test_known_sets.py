"""Image sets that results are published on, recognised by their pixels."""

from __future__ import annotations

import json

import pytest

from idemcore.errors import UsageError
from idemcore.evaluation.known_sets import difference, known_sets, recognised
from idemcore.report.references import given_curves, published_curves


@pytest.mark.parametrize(("name", "count"), [("kodak24", 24), ("kodak12", 12), ("live1", 29), ("classic5", 5)])
def test_a_set_is_recognised_by_its_pixels_alone(name, count) -> None:
    pixels = known_sets()[name].pixels
    assert len(pixels) == count
    assert recognised(list(pixels)) == known_sets()[name]


def test_a_part_of_a_set_is_not_the_set() -> None:
    pixels = sorted(known_sets()["live1"].pixels)
    assert recognised(pixels[1:]) is None
    assert recognised([*pixels, "f" * 64]) is None


def test_the_difference_is_said_in_numbers() -> None:
    pixels = sorted(known_sets()["classic5"].pixels)
    assert difference("classic5", [*pixels[2:], "f" * 64]).endswith("here are 3 of these 5 images, whole, and 1 others")
    assert "does not know" in difference("mine", pixels)


def test_published_curves_are_drawn_only_where_the_images_are_theirs() -> None:
    kodak = sorted(known_sets()["kodak24"].pixels)
    names = {curve.name for curve in published_curves(kodak)}
    assert {"bmshj2018-hyperprior", "VTM", "JPEG 2000"} <= names
    assert all(curve.images == "kodak24" and curve.source for curve in published_curves(kodak))
    assert published_curves(kodak[1:]) == []
    assert {curve.images for curve in published_curves(known_sets()["kodak12"].pixels)} == {"kodak12"}


def test_a_curve_that_was_measured_on_other_images_is_refused(tmp_path) -> None:
    path = tmp_path / "curve.json"
    results = {"bpp": [0.1, 0.2], "psnr-rgb": [30, 31]}
    path.write_text(json.dumps({"name": "A", "results": results, "protocol": {"images": "live1"}}))
    live1 = sorted(known_sets()["live1"].pixels)
    assert [curve.name for curve in given_curves([path], live1)] == ["A"]
    with pytest.raises(UsageError, match="here are 28 of these 29 images, whole, and 0 others"):
        given_curves([path], live1[1:])
    path.write_text(json.dumps({"name": "A", "results": results}))
    assert [curve.name for curve in given_curves([path], live1[1:])] == ["A"]
