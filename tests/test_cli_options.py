"""Commands take their flags as objects: few parameters, each shared flag declared once."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from pkgutil import resolve_name

import click
import pytest

from idemcore.cli import main
from idemcore.cli.options import ImagesOptions, RunOptions, take_options
from idemcore.errors import UsageError

OPTIONED = ("run", "decode", "encode", "verify", "eval", "bench", "sweep", "reproduce", "sample", "train", "inspect")
SHARED = ("codec", "generator", "device", "precision", "as_json", "salvage", "background", "crop", "limit", "engine")


def command(name: str) -> click.Command:
    found = resolve_name(main.targets[name][0])
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", OPTIONED)
def test_a_command_takes_one_object_of_options(name):
    parameters = inspect.signature(inspect.unwrap(command(name).callback)).parameters
    assert "options" in parameters
    assert len(parameters) <= 7, list(parameters)


def test_a_shared_flag_has_one_declaration():
    told = defaultdict(set)
    for name in OPTIONED:
        for option in command(name).params:
            if option.name in SHARED:
                told[option.name].add((tuple(option.opts), option.help, option.metavar, str(option.default)))
    assert {name: len(texts) for name, texts in told.items()} == dict.fromkeys(SHARED, 1)


def test_set_wins_over_quality_and_quality_over_the_file(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("codec:\n  quality: 1\n  subsampling: '4:4:4'\n")
    chosen = RunOptions(quality=2, config_file=str(file))
    assert chosen.settings() == {"codec": {"quality": 2, "subsampling": "4:4:4"}}
    assert RunOptions(quality=2, overrides=("codec.quality=3",)).settings() == {"codec": {"quality": 3}}
    shorthand = {"train": {"minutes": 1.0}}
    assert RunOptions(overrides=("train.minutes=2",)).settings(("train",), shorthand) == {"train": {"minutes": 2}}


def test_a_scope_that_a_command_does_not_have_is_refused():
    with pytest.raises(UsageError, match="unknown scope 'solver'"):
        RunOptions(overrides=("solver.steps=2",)).settings(("generator",))


def test_flags_go_to_the_object_that_has_them():
    @take_options(part=ImagesOptions)
    def seen(place: str, part: ImagesOptions, options: RunOptions) -> tuple[str, ImagesOptions, RunOptions]:
        return place, part, options

    given = {"place": "a", "crop": 8, "seed": 3}
    assert seen(**given) == ("a", ImagesOptions(crop=8), RunOptions(seed=3))


def test_fast_is_one_pass_and_set_wins_over_it(idem, photo, tmp_path):
    words = ("run", photo, "--generator", "toy", "--out", tmp_path, "--json", "--device", "cpu", "--fast")
    passes = [json.loads(idem(*words, *more).stdout)["nfe"] for more in ((), ("--set", "solver.steps=3"))]
    assert passes == [1, 3]
    refused = idem(*words, "--solver", "mean")
    assert refused.exit_code == 2
    assert "solver.steps" in refused.stderr
