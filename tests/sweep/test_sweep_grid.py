"""Grids: what a user may write, and which configurations come of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from idemcore.errors import MissingError, UsageError
from idemcore.pipeline.identity import Computed
from idemcore.plugins.catalogue import load_catalogue
from idemcore.sweeps.combinations import resolve, resolve_all
from idemcore.sweeps.grid import Definition, Grid, load_definition, parse_axes
from idemcore.sweeps.identity import Configuration

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("item", "values"),
    [
        ("codec=jpeg,elic", ("jpeg", "elic")),
        ("quality=1..4", (1, 2, 3, 4)),
        ("quality=5,10..90..40", (5, 10, 50, 90)),
        ("seed=3", (3,)),
        ("solver.zeta=0.1,1e-3", (0.1, 1e-3)),
        ("codec.subsampling=4:2:0,4:4:4", ("4:2:0", "4:4:4")),
        ("solver.x=[1,2],[3]", ([1, 2], [3])),
    ],
)
def test_axes_are_yaml_values_and_ranges(item: str, values: tuple[object, ...]) -> None:
    assert parse_axes([item]) == {item.partition("=")[0]: values}


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (["codec"], "not KEY=VALUES"),
        (["codec="], "not KEY=VALUES"),
        (["qualty=1"], "Did you mean 'quality'"),
        (["solvers.steps=1"], "SCOPE.SETTING"),
        (["quality=4..1"], "no values"),
        (["quality=1", "quality=2"], "twice"),
        (["quality=[1"], "cannot be read"),
        (["codec=jpeg,solver=cell"], "two keys. Give each a word of its own: codec=jpeg and solver=cell"),
        (["quality=1,2,solver.steps=4"], "two keys. Give each a word of its own: quality=1,2 and solver.steps=4"),
    ],
)
def test_axes_that_cannot_be_right_are_refused(items: list[str], told: str) -> None:
    with pytest.raises(UsageError, match="(?s).*") as error:
        parse_axes(items)
    assert told in str(error.value)


def test_points_are_the_product_without_what_is_excluded() -> None:
    grid = Grid({"codec": ("a", "b"), "seed": (0, 1)}, {"quality": 3}, ({"codec": ("b",), "seed": (1, 2)},))
    assert [(p["codec"], p["seed"], p["quality"]) for p in grid.points()] == [("a", 0, 3), ("a", 1, 3), ("b", 0, 3)]


def test_what_is_excluded_is_said_in_keys_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"

    def points(rules: str) -> int:
        path.write_text(f"axes: {{quality: [5, 10], seed: 0..1}}\nimages:\nmetrics:\nexclude:{rules}\n")
        definition = load_definition(path)
        assert (definition.images, definition.metrics) == ((), ())
        return len(definition.points())

    assert points("") == 4
    assert points(" [{quality: 5}]") == points(" [{codec.quality: 5}]") == 2
    with pytest.raises(UsageError, match="no key 'qualty'.*Did you mean 'quality'"):
        points(" [{qualty: 5}]")
    with pytest.raises(UsageError, match="would leave out everything"):
        points(" [{}]")


def test_a_file_holds_grids_images_and_exclusions(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "title: Two codecs\nimages: photos\nlimit: 4\nmetrics: [psnr, bpp]\nbase: {solver: mse}\n"
        "exclude: [{codec: toy, quality: 4}]\n"
        "axes:\n  - {codec: toy, quality: 3..4}\n"
        "  - {axes: {codec: jpeg, codec.subsampling: 4:2:0, quality: [5, 10]}, base: {solver: cell}}\n"
    )
    definition = load_definition(path)
    assert (definition.title, definition.images, definition.limit) == ("Two codecs", ("photos",), 4)
    assert definition.metrics == ("psnr", "bpp")
    assert definition.points() == [
        {"solver": "mse", "codec": "toy", "quality": 3},
        {"solver": "cell", "codec": "jpeg", "codec.subsampling": "4:2:0", "quality": 5},
        {"solver": "cell", "codec": "jpeg", "codec.subsampling": "4:2:0", "quality": 10},
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("axis: {}", "Did you mean 'axes'"),
        ("axes: {qualty: 1}", "Did you mean 'quality'"),
        ("axes: 3", "expected a mapping"),
        ("axes: [3]", "expected a mapping"),
        ("limit: none", "limit is 'none'"),
        ("a: b: c", "not a YAML file"),
        ("[1]", "expected a mapping"),
    ],
)
def test_a_file_that_cannot_be_right_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_definition(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_the_file_of_the_documentation_is_a_sweep(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    (tmp_path / "sweep.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    definition = load_definition(tmp_path / "sweep.yaml")
    assert (definition.images, definition.size, definition.limit) == (("photos",), 256, 100)
    assert len(definition.points()) == 2 * (3 * 3 - 2) + 4 * 2
    found, refused = resolve_all(load_catalogue(), definition.points())
    assert (len(found), refused) == (22, [])


def test_command_line_values_take_the_place_of_the_files() -> None:
    definition = Definition((Grid({"seed": (0, 1), "quality": (1, 2)}, {"solver": "mse", "codec": "toy"}),))
    changed = definition.with_axes({"seed": (7,), "codec": ("jpeg",)}, {"quality": 5})
    assert changed.points() == [{"solver": "mse", "quality": 5, "seed": 7, "codec": "jpeg"}]


def configured(**point: object) -> Configuration:
    values = {"codec": "toy", "generator": "toy", **{key.replace("__", "."): value for key, value in point.items()}}
    return resolve(load_catalogue(), values)[0]


def ids(points: list[dict[str, object]]) -> list[str]:
    found, _ = resolve_all(load_catalogue(), points)
    return [configuration.run_id(SHA, 0) for configuration, _ in found]


def test_a_setting_goes_to_the_parts_that_have_it() -> None:
    base = {"codec": "toy", "generator": "toy"}
    found = ids([{**base, "solver": solver, "solver.steps": steps} for solver in ("mse", "cell") for steps in (2, 3)])
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_setting_that_no_part_has_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"solver\.stepz.*solver\.steps"):
        ids([{"codec": "toy", "generator": "toy", "solver": "cell", "solver.stepz": 2}])
    with pytest.raises(UsageError, match="no adapter stands between"):
        ids([{"codec": "toy", "generator": "toy", "adapter.steps": 2}])


def test_refused_combinations_are_told_and_left_out() -> None:
    points = [{"codec": "toy", "generator": generator, "solver": "ilo"} for generator in ("toy",)]
    points += [{"codec": "toy", "generator": "toy", "solver": "mse"}]
    found, refused = resolve_all(load_catalogue(), points)
    assert len(found) + len(refused) == 2
    assert all("ilo" in reason for reason in refused)


def test_the_generator_is_no_part_of_what_does_without() -> None:
    assert configured(solver="mse").selection.prior is None
    assert configured(solver="mse").facts.generator is None
    assert configured(solver="cell").facts.generator["name"] == "toy"


def test_identity_changes_with_whatever_changes_the_result() -> None:
    first = configured(solver="cell", quality=3)
    same = configured(solver="cell", quality=3)
    assert first.run_id(SHA, 0) == same.run_id(SHA, 0)
    others = [
        first.run_id(SHA, 1),
        first.run_id("cd" * 32, 0),
        configured(solver="cell", quality=4).run_id(SHA, 0),
        configured(solver="cell", quality=3, solver__steps=3).run_id(SHA, 0),
        configured(solver="mse", quality=3).run_id(SHA, 0),
        configured(solver="cell", quality=3, generator__seed=1).run_id(SHA, 0),
        replace(first, computed=Computed("cpu", "bf16")).run_id(SHA, 0),
        replace(first, computed=Computed("cuda", "fp32")).run_id(SHA, 0),
    ]
    assert len({first.run_id(SHA, 0), *others}) == len(others) + 1


def test_identity_changes_with_weights_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.safetensors"
    found = []
    for content in (b"one", b"two", b"two"):
        weights.write_bytes(content)
        point = {"codec": "toy", "generator": "ddpm-photo", "solver": "cell", "generator.weights": str(weights)}
        found.append(resolve(load_catalogue(), point)[0].run_id(SHA, 0))
    assert found[0] != found[1] == found[2]
    before = configured(solver="cell").run_id(SHA, 0)
    monkeypatch.setattr("idemcore.plugins.selection.version", lambda name: "9.9")
    assert configured(solver="cell").run_id(SHA, 0) != before


def test_bundled_weights_are_those_of_the_quality() -> None:
    hashes = [configured(codec="elic", quality=quality, solver="mse").facts.weights for quality in (1, 2)]
    assert set(hashes[0]) == {"codec"}
    assert hashes[0] != hashes[1]


def test_weights_that_are_not_here_are_missing_before_anything_runs() -> None:
    with pytest.raises(MissingError):
        _ = configured(generator="ddpm-photo", solver="cell", generator__weights="nowhere").facts


def test_the_plain_decode_is_shared_by_solvers_and_not_by_qualities() -> None:
    decoded = [configured(solver=s, quality=q).decoded_id(SHA) for s, q in (("mse", 3), ("cell", 3), ("mse", 4))]
    assert decoded[0] == decoded[1] != decoded[2]
