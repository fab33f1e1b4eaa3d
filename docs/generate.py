"""Writes the pages that the program knows best: `python docs/generate.py`. A test compares them with what is written.

Nothing here imports PyTorch, so that it takes about a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import combinations
import public_api
import schemas
from idemcore.adapters.specs import ADAPTERS
from idemcore.cli import main
from idemcore.plugins.catalogue import Catalogue, import_target, load_catalogue
from idemcore.plugins.registry import known_plugins
from idemcore.plugins.settings import REQUIRED, describe
from idemcore.weights.cards import Card, ModelFile, cards

DOCS = Path(__file__).resolve().parent
WRITTEN = "<!-- Written by `python docs/generate.py`: change what it is made of, then type that. -->"
WIDTH = 100
"""Columns of `--help`."""

SETTINGS = {"codec": "codec", "generator": "generator", "solver": "solver", "metric": "NAME", "engine": "engine",
            "recipe": "train"}  # fmt: skip
"""Scope of `--set` by kind."""


def commands() -> str:
    """`--help` of every command."""
    intro = "What `--help` says of every command. [Exit codes](exit-codes.md) are the same for all."
    sections = [f"## `{name}`\n\n```text\n{help_}\n```" for name, help_ in _helps(main, "idem", None)]
    return _page("Commands", intro, sections)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """(`idem models pull`, its help) of a command and of all below it."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [child])
            assert found is not None
            yield from _helps(found, child, context)


def settings() -> str:
    """A table for each codec, generator, solver, metric, engine, recipe and adapter that has settings."""
    intro = (
        "What `--set SCOPE.KEY=VALUE` and `--config FILE` can set, from the config dataclass of each plugin;\n"
        "`idem codecs info NAME` and its kin print the same. What is not listed has no settings."
    )
    catalogue = load_catalogue()
    sections = [_kind(catalogue, kind, scope) for kind, scope in SETTINGS.items()]
    adapters = "\n\n".join(_settings(a.name, a.summary, a.config, "adapter") for a in ADAPTERS)
    return _page("Settings", intro, [*sections, f"## Adapters\n\n{adapters}"])


def _kind(catalogue: Catalogue, kind: str, scope: str) -> str:
    ours = [spec for owner, spec in catalogue.specs(kind) if owner in known_plugins() and spec.config]
    tables = (_settings(spec.name, spec.summary, spec.config, scope.replace("NAME", spec.name)) for spec in ours)
    return f"## {kind.capitalize()}s\n\n" + "\n\n".join(tables)


def _settings(name: str, summary: str, config: str, scope: str) -> str:
    rows = [
        (f"`{scope}.{field.name}`", f"`{field.type}`", _default(field.default), field.help)
        for field in describe(import_target(config))
    ]
    return f"### `{name}`\n\n{summary}\n\n{_table(('setting', 'type', 'default', 'meaning'), rows)}"


def _default(value: Any) -> str:
    return "required" if value == REQUIRED else "" if value == "" else f"`{value}`"


def schema_page() -> str:
    """Every document that idem writes as JSON."""
    return _page("Schemas", schemas.INTRO, schemas.sections())


def model_cards() -> str:
    """Every card of `registry/models`."""
    intro = (
        "The networks that idem knows by name, from `registry/models/`. [Weights](../models.md) says how they are\n"
        "brought and checked, and what the keys of a card mean."
    )
    return _page("Model cards", intro, map(_card, cards()))


def _card(card: Card) -> str:
    facts = "\n".join(_fact(key, value) for key, value in {"plugin": card.plugin, **card.facts}.items())
    return f"## `{card.name}`\n\n{card.summary}\n\n{facts}\n\n{_files(card.files)}"


def _fact(key: str, value: Any, indent: str = "") -> str:
    if isinstance(value, Mapping):
        inner = "\n".join(_fact(str(k), v, f"{indent}  ") for k, v in value.items())
        return f"{indent}- **{_words(key)}**\n{inner}"
    shown = ", ".join(map(str, value)) if isinstance(value, list) else " ".join(str(value).split())
    return f"{indent}- **{_words(key)}**: {_escaped(shown)}"


def _words(key: str) -> str:
    return key.replace("_", " ")


def _files(files: Iterable[ModelFile]) -> str:
    rows = [
        (f"`{file.id}`", file.quality or "", file.bytes or "", f"`{file.checksum}`" if file.checksum else "",
         _escaped(file.source or f"{file.carrier}: {file.file}"), _where(file))
        for file in files
    ]  # fmt: skip
    return _table(("file", "quality", "bytes", "sha256", "source", "brought by"), rows)


def _where(file: ModelFile) -> str:
    if file.bundled:
        return "bundled"
    return f"`idem models pull {file.id}`" if file.url else f"`idem models import {file.id} FILE`"


def _page(title: str, intro: str, sections: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", WRITTEN, intro, *sections]) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """Without the columns that are empty in every row."""
    table = [head, *(tuple(str(cell).replace("|", "\\|") for cell in row) for row in rows)]
    kept = [column for column in zip(*table, strict=True) if any(column[1:])]
    lines = [f"| {' | '.join(row)} |" for row in zip(*kept, strict=True)]
    return "\n".join([lines[0], f"|{' --- |' * len(kept)}", *lines[1:]])


def _escaped(text: str) -> str:
    """Plain text as Markdown that shows it."""
    for character in "\\*_<[":
        text = text.replace(character, f"\\{character}")
    return text


PAGES: Mapping[str, Callable[[], str]] = {
    "combinations.md": combinations.page,
    "reference/commands.md": commands,
    "reference/model-cards.md": model_cards,
    "reference/schemas.md": schema_page,
    "reference/public-api.md": lambda: public_api.page(WRITTEN),
    "reference/settings.md": settings,
}
"""What is written, by its path in docs/."""


if __name__ == "__main__":
    for path, page in PAGES.items():
        (DOCS / path).write_text(page(), encoding="utf-8")
