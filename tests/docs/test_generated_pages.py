"""Pages that the program writes are as it would write them now, and all that they are made of is on them."""

from __future__ import annotations

import re

import pytest

from docstrings import to_rst
from generate import DOCS, PAGES
from idemcore import errors


@pytest.mark.parametrize("path", PAGES)
def test_a_written_page_is_what_the_program_says(path: str) -> None:
    assert (DOCS / path).read_text(encoding="utf-8") == PAGES[path](), "type: python docs/generate.py"


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", page, re.MULTILINE)
    told = {int(code): set(re.findall(r"`(\w+)`", names)) for code, names in rows}
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.IdemError)]
    raised = {code: {c.__name__ for c in classes if c.exit_code == code} for code in codes()}
    assert told == raised


def test_readme_and_help_tell_the_same_codes() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    sentence = re.search(r"Exit codes: (.*?)\.\s", readme, re.DOTALL)[1]
    help_ = re.search(r"Exit: (.*?)\.", (DOCS / "reference" / "commands.md").read_text(), re.DOTALL)[1]
    assert [int(n) for n in re.findall(r"\b\d+\b", sentence)] == sorted(codes())
    assert [int(n) for n in re.findall(r"\b\d+\b", help_)] == sorted(codes())


def codes() -> list[int]:
    return [value for name, value in vars(errors).items() if name.startswith("EXIT_")]


@pytest.mark.parametrize(
    ("docstring", "rst"),
    [
        ("`measure` of x, `f(x)`.", "`measure` of x, ``f(x)``."),
        ("beta_t and lambda_ * 2, **x", "beta_t and lambda\\_ \\* 2, \\*\\*x"),
        ("An *image* here.", "An *image* here."),
        ("Text\n\n    a -> b\n      |\n\nmore", "Text\n\n::\n\n    a -> b\n      |\n\nmore"),
        ("a -----+\nb -> c --+", "::\n\n    a -----+\n    b -> c --+"),
        ("a   one\nbc  two", "::\n\n    a   one\n    bc  two"),
        ("Either\n- this or\n- that", "Either\n\n- this or\n- that"),
    ],
)
def test_docstrings_become_restructuredtext(docstring: str, rst: str) -> None:
    assert "\n".join(to_rst(docstring.split("\n"))).strip() == rst
