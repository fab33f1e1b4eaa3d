"""Settings: what is right is built, and each wrong key or value is named with what would be right."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idemcore.errors import InputError, UsageError
from idemcore.plugins.settings import REQUIRED, Field, build_config, describe, load_config_file, parse_overrides


@dataclass
class Base:
    steps: int = 20  # denoiser passes, at least 1
    eta: float = 1.0
    title: str = "a # b"  # a '#' in a string is no comment


@dataclass(frozen=True)
class Inner:
    depth: int = 2  # layers


@dataclass
class Settings(Base):
    constraint: Literal["measurement", "image"] = "image"  # where the cell is asked
    crops: tuple[int, ...] = (64, 128)  # pixels
    seed: int | None = None
    flag: bool = field(
        default=False,
    )  # over several lines
    inner: Inner = field(default_factory=Inner)
    eta: float = 0.5  # overrides the base

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.seed == 13:
            raise InputError("An error of our own.")


@dataclass
class Automatic:
    eta: float | str = "auto"
    steps: int | str = "auto"


@dataclass
class Needy:
    path: str


def test_overrides_become_a_mapping_of_scopes() -> None:
    items = [
        "solver.steps=20",
        "solver.eta=1e-3",
        "codec.a.b=[1, 2]",
        "generator.name=x=y",
        "solver.steps=30",
        "generator.none=null",
    ]
    assert parse_overrides(items) == {
        "solver": {"steps": 30, "eta": 1e-3},
        "codec": {"a": {"b": [1, 2]}},
        "generator": {"name": "x=y", "none": None},
    }
    assert parse_overrides([]) == {}
    assert parse_overrides(["train.lr=1"], scopes=("train",)) == {"train": {"lr": 1}}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("solver.steps", "has no '='"),
        ("steps=20", "is not SCOPE.KEY=VALUE"),
        ("solver.=20", "is not SCOPE.KEY=VALUE"),
        ("=20", "is not SCOPE.KEY=VALUE"),
        ("slover.steps=20", "unknown scope 'slover'.*Did you mean 'solver'?"),
        ("solver.steps=[1, 2", "--set solver.steps="),
        ("solver.steps={", "--set solver.steps="),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(item: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as error:
        parse_overrides(["solver.eta=1", item])
    assert "\n" not in str(error.value)


@given(st.one_of(st.text(max_size=30), st.text(st.sampled_from("a1.[]{}$=:'\"\\ ,&*!\n"), max_size=30)))
def test_any_text_gives_overrides_or_a_usage_error(text: str) -> None:
    for item in (text, f"solver.{text}", f"solver.steps={text}"):
        with contextlib.suppress(UsageError):
            assert set(parse_overrides([item])) <= {"codec", "generator", "solver"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4:2:0", "4:2:0"),
        ("1e-3", 1e-3),
        ("-5.0e1", -50.0),
        ("1_000", 1000),
        ("[1:30, '1:30', 90]", ["1:30", "1:30", 90]),
        ("true", True),
    ],
)
def test_a_value_is_what_it_looks_like(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"codec:\n  key: {text}\n")
    for found in (parse_overrides([f"codec.key={text}"]), load_config_file(path)):
        assert found == {"codec": {"key": value}}
        assert type(found["codec"]["key"]) is type(value)


def test_a_config_file_is_a_mapping_of_scopes(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# comment\nsolver:\n  steps: 5\n  eta: 1e-3\ncodec:\n  name: x\n")
    assert load_config_file(path) == {"solver": {"steps": 5, "eta": 1e-3}, "codec": {"name": "x"}}
    path.write_text("# nothing\n")
    assert load_config_file(path) == {}


BOMB = "codec:\n  a: &a [1, 1, 1, 1, 1, 1]\n" + "".join(
    f"  {b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefgh")
)
"""A few lines whose aliases expand to 6^8 values."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("solver:\n  steps: [1\n", "line 3"),
        ("codec:\n  a: 1\nslover:\n  steps: 1\n", "line 3: unknown scope 'slover'.*Did you mean 'solver'?"),
        ("codec: jpeg\n", "line 1: 'codec' must be a mapping"),
        ("- 1\n", "line 1: expected a mapping"),
        ("solver:\n  a: 1\n  a: 2\n", "line 3.*duplicate key"),
        ("solver:\n  a: !!python/object:os.system 1\n", "line 2"),
        ("solver:\n\ta: 1\n", "line 2"),
        ("codec:\n  a: 1\n---\nrun: {}\n", "line 3"),
        ("{a: 1}: 1\n", "line 1"),
        ("\x00\x01", "not a text file in YAML"),
        ("codec:\n  a: ${[\n", "codec.a: "),
        ("codec: &a\n  b: *a\n", "within itself"),
        ("codec:\n  a: " + "[" * 400 + "\n", "nested deeper than 50 levels"),
        (BOMB, "more than 10,000 values"),
        ("codec:\n  a: [" + "1, " * 20_000 + "]\n", "more than 10,000 values"),
        ("codec:\n  a: " + "9" * 5000 + "\n", "limit .4300 digits."),
        ("codec:\n  a: !!int ''\n", "string index out of range"),
        ("#" * 300_000, "more than 262,144 bytes"),
    ],
)
def test_a_config_file_that_cannot_be_read_names_file_and_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=reason) as error:
        load_config_file(path)
    assert str(path) in error.value.message


def test_a_config_file_that_is_missing_or_binary_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read .*none.yaml: No such file"):
        load_config_file(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UsageError, match="not a text file"):
        load_config_file(tmp_path / "b.yaml")


def test_values_replace_defaults_and_take_their_types() -> None:
    values = {
        "steps": "5",
        "crops": [1, 2, 3],
        "seed": 7,
        "constraint": "measurement",
        "inner": {"depth": 3},
        "eta": "1e-3",
    }
    built = build_config(Settings, values, "solver")
    assert built == Settings(5, 1e-3, "a # b", "measurement", (1, 2, 3), 7, False, Inner(3))
    assert isinstance(built, Settings)
    assert isinstance(built.crops, tuple)
    assert build_config(Settings, {}, "solver") == Settings()


def test_a_whole_number_is_a_float_where_a_word_may_stand_in_its_place() -> None:
    config = build_config(Automatic, {"eta": 1, "steps": 12}, "solver")
    assert (config.eta, config.steps) == (1.0, 12)
    assert (type(config.eta), type(config.steps)) == (float, int)
    assert build_config(Automatic, {"eta": "auto"}, "solver").eta == "auto"
    with pytest.raises(UsageError, match=r"solver\.eta: True is not of type"):
        build_config(Automatic, {"eta": True}, "solver")


def test_an_unknown_key_offers_the_nearest_and_lists_all() -> None:
    with pytest.raises(UsageError) as error:
        build_config(Settings, {"stpes": 3}, "solver")
    assert error.value.message == "Unknown key solver.stpes."
    assert error.value.hint.startswith("Did you mean 'solver.steps'? Keys: steps, eta, title, constraint,")
    with pytest.raises(UsageError, match=r"solver.inner.*dpeth"):
        build_config(Settings, {"inner": {"dpeth": 3}}, "solver")


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("steps", "many", ["solver.steps", "'many'", "int", "Default: 20"]),
        ("steps", 2.5, ["solver.steps", "2.5", "int"]),
        ("steps", None, ["solver.steps", "None", "int"]),
        ("steps", [1], ["solver.steps", "[1]", "int"]),
        ("eta", "x", ["solver.eta", "'x'", "float"]),
        ("constraint", "pixel", ["solver.constraint", "'pixel'", "measurement", "image"]),
        ("crops", 3, ["solver.crops", "3", "tuple[int, ...]"]),
        ("crops", ["x"], ["solver.crops", "['x']", "tuple[int, ...]"]),
        ("flag", "perhaps", ["solver.flag", "'perhaps'", "bool"]),
        ("inner", {"depth": "x"}, ["solver.inner.depth", "'x'"]),
        ("title", "${nowhere}", ["solver.title", "nowhere"]),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: object, parts: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        build_config(Settings, {key: value}, "solver")
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_the_class_itself_refuses_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="solver: steps must be at least 1, not 0"):
        build_config(Settings, {"steps": 0}, "solver")
    with pytest.raises(InputError, match="An error of our own"):
        build_config(Settings, {"seed": 13}, "solver")


def test_a_required_value_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="codec.path"):
        build_config(Needy, {}, "codec")
    assert build_config(Needy, {"path": "x"}, "codec") == Needy("x")


def test_describe_gives_types_defaults_and_comments() -> None:
    fields = {f.name: f for f in describe(Settings)}
    assert list(fields) == [f.name for f in dataclasses.fields(Settings)]
    assert fields["steps"] == Field("steps", "int", 20, "denoiser passes, at least 1")
    assert fields["eta"] == Field("eta", "float", 0.5, "overrides the base")
    assert fields["title"].help == "a '#' in a string is no comment"
    assert fields["flag"].help == "over several lines"
    assert fields["crops"] == Field("crops", "tuple[int, ...]", (64, 128), "pixels")
    assert fields["inner"].default == Inner()
    assert describe(Needy) == [Field("path", "str", REQUIRED, "")]


def test_a_class_without_source_is_described_without_comments() -> None:
    made = dataclasses.make_dataclass("Made", [("x", int, 3)])
    assert describe(made) == [Field("x", "int", 3, "")]
