"""Every hook is on docs/reference/hooks.md with its signature and an example, which is loaded as a plugin is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from blocks import ROOT
from idemcore.hookspecs import Hooks
from idemcore.plugins import catalogue as plugins
from idemcore.plugins.checks import check_spec

PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
HOOKS = [name for name in vars(Hooks) if name.startswith("idem_")]
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL))


def test_every_hook_has_a_section() -> None:
    assert list(SECTIONS) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_its_signature_is_told(hook: str) -> None:
    signature = inspect.signature(getattr(Hooks, hook))
    wanted = f"{hook}() -> {signature.return_annotation}"
    assert list(signature.parameters) == ["self"]
    assert f"```text\n{wanted}\n```" in SECTIONS[hook]


@pytest.mark.parametrize("hook", HOOKS)
def test_its_example_is_a_plugin(hook: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", SECTIONS[hook], re.DOTALL)
    module = ModuleType("example")
    exec(compile(example, "hooks.md", "exec"), vars(module))
    loaded = list(loaded_specs(module))
    assert [kind for kind, _ in loaded] == [kind for kind, (name, _) in plugins._HOOKS.items() if name == hook]


def loaded_specs(module: ModuleType) -> Iterator[tuple[str, object]]:
    """As for an installed distribution: hooks by pluggy, then each Spec by idem's own checks."""
    for kind, spec in plugins._specs_of(module, "example"):
        check_spec(kind, spec, "example", [])
        yield kind, spec
