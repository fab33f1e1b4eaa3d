"""What pages name and is not installed: docs/examples, and the plugins that a page has `idem plugins new` write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from blocks import ROOT, blocks, commands, pages
from idemcore.plugins.catalogue import Catalogue, Plugin, _specs_of, load_catalogue
from idemcore.scaffold import names_of
from idemcore.scaffold.writing import rendered


@cache
def catalogue_of_pages() -> Catalogue:
    """The installed plugins and those."""
    return Catalogue([*load_catalogue().plugins, *_examples(), *_written()])


def _examples() -> Iterator[Plugin]:
    for path in sorted(ROOT.glob("docs/examples/*/src/*/plugin.py")):
        sys.path.append(str(path.parents[1]))
        yield _plugin(path.parent.name.replace("_", "-"), import_module(f"{path.parent.name}.plugin"))


def _written() -> Iterator[Plugin]:
    shells = (block for path in pages() for block in blocks(path) if block.language == "shell")
    lines = [words for block in shells for _, words in commands(block)]
    for name, kind in {(words[3], words[5]) for words in lines if words[:3] == ["idem", "plugins", "new"]}:
        names = names_of(name)
        texts = {path.stem: text for path, text in rendered(names, kind).items() if path.suffix == ".py"}
        modules = [_module(f"{names.module}.{part}", texts[part]) for part in ("config", "plugin") if part in texts]
        yield _plugin(names.distribution, modules[-1])


def _module(name: str, text: str) -> ModuleType:
    sys.modules[name] = module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def _plugin(distribution: str, module: ModuleType) -> Plugin:
    return Plugin(distribution, "0.1.0", "ok", "", tuple(_specs_of(module, distribution)))
