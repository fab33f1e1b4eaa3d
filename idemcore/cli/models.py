"""`idem models`: the weights of codecs and priors, where they are and how to bring them. `list` imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_INTEGRITY, EXIT_MISSING, EXIT_OK
from ..io.inputs import declare_output
from .options import INPUT, json_option
from .output import bars, echo, print_json, print_record, print_table, say

if TYPE_CHECKING:
    from ..weights.cards import ModelFile
    from ..weights.download import OnBytes


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """Manage weights of codecs and priors: bundled with a plugin, or published elsewhere and stored in the cache.

    The cache is IDEM_CACHE, else XDG_CACHE_HOME/idem, else ~/.cache/idem.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List every file of weights with its state: bundled, here, missing or damaged."""
    from ..weights.cards import cards

    found = [(card, file) for card in cards() for file in card.files]
    if as_json:
        print_json([{**_facts(file), "kind": card.kind, "summary": card.summary} for card, file in found])
        return
    rows = [(file.id, card.kind, _state(file), _size(file), card.summary) for card, file in found]
    print_table(("weights", "kind", "state", "MB", "summary"), rows)


@models.command("info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show a model card, or its part about one file: source, licence, layout, training, citation."""
    from ..weights.cards import cards
    from ..weights.store import find

    files = find(name)
    card = next(card for card in cards() if card.name == files[0].card)
    described = {"name": card.name, "kind": card.kind, "plugin": card.plugin, "summary": card.summary, **card.facts}
    if as_json:
        print_json({**described, "files": [_facts(file) for file in files]})
        return
    print_record(dict(_flat(described)))
    echo()
    if len(files) == 1:
        told = _facts(files[0])
        print_record({key: value for key, value in told.items() if value is not None and key not in described})
        return
    columns = ("id", "state", "quality", "lambda", "sha256", "from")
    facts = [{**_facts(file), "from": file.url or file.page} for file in files]
    print_table(columns, [["" if fact[key] is None else fact[key] for key in columns] for fact in facts])


@models.command("pull")
@click.argument("name")
@json_option
def pull(name: str, as_json: bool) -> None:
    """Download, check and store published weights: one file, or all files of a card.

    hf:OWNER/NAME brings the settings and .safetensors of a repository of the Hugging Face Hub into its cache, for
    generators such as `diffusers`; hf:OWNER/NAME@REVISION at another revision than main.

    After an interruption, the same command resumes. Files that are already stored and undamaged are not fetched again.
    """
    from ..weights import store as weights
    from ..weights.hub import PREFIX, pull_repository

    if name.startswith(PREFIX):
        pulled = pull_repository(name.removeprefix(PREFIX))
        told = {"repository": pulled.repository, "commit": pulled.commit, "path": str(pulled.path)}
        print_json(told) if as_json else print_record(told)
        return
    for file in weights.find(name):
        if file.url:
            say(f"{file.id}: {file.url}")
        with _bar(file.id) as progress:
            path = weights.pull(file, progress)
        _tell_stored(file, path, as_json)


@models.command("import")
@click.argument("name")
@click.argument("path", type=INPUT, metavar="FILE")
@json_option
def import_(name: str, path: str, as_json: bool) -> None:
    """Check and store weights from a local FILE (.safetensors, .pt, .pth.tar, .pkl); FILE itself does not change."""
    from ..weights import store as weights

    file = weights.find_one(name)
    if place := weights.location(file):
        declare_output(place)
    published = weights.import_file(file, Path(path))
    if published is False:
        say(f"note: {path} is not the published file to the byte (its sha256 differs), but its layout is right")
    _tell_stored(file, weights.stored(file.id), as_json, published=published)


@models.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def verify(names: tuple[str, ...], as_json: bool) -> int:
    """Read every byte and compare its sha256. Exit 3 if a file is damaged, 4 if none of the named files is stored.

    NAME is a card or a file; without one, all that are here.
    """
    from ..weights import store as weights
    from ..weights.cards import cards

    named = [file for name in names for file in weights.find(name)]
    files = named or [file for card in cards() for file in card.files if weights.state(file) != "missing"]
    found = {file: weights.verify(file) for file in files}
    if as_json:
        print_json([{"id": file.id, "state": state} for file, state in found.items()])
    else:
        print_table(("weights", "state"), [(file.id, state) for file, state in found.items()])
    for file in (file for file, state in found.items() if state == "damaged"):
        say(f"{file.id} is damaged. {weights.remedy(file)}")
    if "damaged" in found.values():
        return EXIT_INTEGRITY
    return EXIT_MISSING if named and set(found.values()) == {"missing"} else EXIT_OK


@models.command("path")
@click.argument("name")
@json_option
def path(name: str, as_json: bool) -> None:
    """Print where a file of weights is, for other programs. Exit 4 if it is missing."""
    from ..weights.store import stored

    found = stored(name)
    if as_json:
        print_json({"id": name, "path": str(found)})
    else:
        echo(found)


def _state(file: ModelFile) -> str:
    from ..weights.store import state

    return state(file)


def _facts(file: ModelFile) -> dict[str, Any]:
    from ..weights.store import location

    where = location(file)
    return {
        "id": file.id,
        "card": file.card,
        "plugin": file.plugin,
        "state": _state(file),
        "quality": file.quality,
        "lambda": file.lambda_,
        "source": file.source or None,
        "page": file.page or None,
        "url": file.url or None,
        "bytes": file.bytes,
        "sha256": file.sha256 or (f"{file.sha256_prefix}..." if file.sha256_prefix else None),
        "path": None if where is None else str(where),
    }


def _size(file: ModelFile) -> str:
    return "" if file.bytes is None else f"{file.bytes / 1e6:.1f}"


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A nested mapping `training` as `training command`, `training data`; one inside that in a line."""
    for key, value in facts.items():
        for inner, told in value.items() if isinstance(value, Mapping) else [("", value)]:
            text = ", ".join(f"{k}: {v}" for k, v in told.items()) if isinstance(told, Mapping) else str(told)
            yield f"{key} {inner}".strip().replace("_", " "), " ".join(text.split())


def _tell_stored(file: ModelFile, path: Path, as_json: bool, **more: Any) -> None:
    if as_json:
        print_json({"id": file.id, "path": str(path), **more})
    else:
        print_record({"weights": file.id, "stored": path})


@contextmanager
def _bar(description: str) -> Iterator[OnBytes]:
    """A bar with bytes and speed on a terminal, else nothing."""
    with bars("{task.description}", "bar", "bytes", "speed", "left") as bar:
        if bar is None:
            yield lambda here, total: None
            return
        task = bar.add_task(description, total=None)
        yield lambda here, total: bar.update(task, completed=here, total=total)
