"""`idem plugins new`: names, folders, and the style of what is written."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from idemcore.errors import UsageError
from idemcore.scaffold import KINDS, names_of, write_plugin, writing
from idemcore.scaffold.naming import LONGEST

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("typed", "distribution", "module"),
    [("mycodec", "mycodec", "mycodec"), ("My_Codec", "my-codec", "my_codec"), ("a.b--c", "a-b-c", "a_b_c")],
)
def test_names_are_normalised_as_pep_503_says(typed: str, distribution: str, module: str) -> None:
    names = names_of(typed)
    assert (names.distribution, names.module) == (distribution, module)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "not a name of a distribution"),
        ("-codec", "not a name of a distribution"),
        ("codec_", "not a name of a distribution"),
        ("my codec", "not a name of a distribution"),
        ("../codec", "not a name of a distribution"),
        ("kodeck\u00e9", "not a name of a distribution"),
        ("codec\n", "not a name of a distribution"),
        ("3d", "begin with a digit"),
        ("lambda", "keyword"),
        ("random", "Python's own library"),
        ("torch", "installed already"),
        ("idemcore", "installed already"),
        ("c" * (LONGEST + 1), "at most"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        names_of(name)


@pytest.mark.parametrize("name", ["my codec!", "-x", "3d", "lambda", "random"])
def test_the_name_that_is_suggested_instead_works(name: str) -> None:
    with pytest.raises(UsageError) as error:
        names_of(name)
    suggested = error.value.hint.removeprefix("Try `idem plugins new ").removesuffix("`.")
    assert names_of(suggested).distribution == suggested


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_tidy_whatever_the_name(kind: str, tmp_path: Path) -> None:
    for name in ("q", "z" + "y" * (LONGEST - 1), "a-myplugin-my-plugin"):
        names = names_of(name)
        files = write_plugin(names, kind, tmp_path / name)
        assert {"pyproject.toml", "README.md"} < {path.name for path in files}
        text = "".join(path.read_text() for path in files).replace(names.module, "").replace(names.distribution, "")
        assert not [word for word in ("my-plugin", "myplugin", "THE-SUMMARY", "THE-ENTRY") if word in text]
        for command in (["check"], ["format", "--check"]):
            ran = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", tmp_path / name],
                                 capture_output=True, text=True, check=False)  # fmt: skip
            assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_says_where_the_contract_is_and_when_to_raise_the_version(kind: str, tmp_path: Path) -> None:
    write_plugin(names_of("q-plugin"), kind, tmp_path / "q")
    text = " ".join((tmp_path / "q" / "README.md").read_text().split())
    assert "idemcore/protocols.py" not in text, "a path that only a checkout has"
    assert ("help(idemcore.protocols)" in text) == (kind != "recipe")
    assert ("raises `idemcore.errors.UsageError(what, what_to_do)`" in text) == (kind != "recipe")
    assert "a sweep knows installed code by its version alone" in text
    assert "pip install build python -m build" in text


def test_the_contract_prints_as_the_readme_says() -> None:
    for module, name in (("idemcore.protocols", "class Encoder"), ("idemcore.results.case", "class Case")):
        command = [sys.executable, "-c", f"import {module}; help({module})"]
        assert name in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("page", ["writing-a-plugin.md", "tutorials/run-an-ablation.md"])
def test_the_tutorials_say_when_to_raise_the_version(page: str) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    assert "a sweep knows installed code by its version alone" in text
    assert "idemcore/protocols.py" not in text


def test_the_tutorial_says_what_publishing_takes() -> None:
    text = " ".join((DOCS / "writing-a-plugin.md").read_text(encoding="utf-8").split())
    for sentence in ("pip install build python -m build", "takes the name of one plugin", "raises `UsageError(what"):
        assert sentence in text


def test_every_template_stays_within_a_hundred_lines() -> None:
    for path in writing.TEMPLATES.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, idem) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "there").mkdir()
    result = idem("plugins", "new", "q-codec", "--kind", "codec", "--out", tmp_path / "there")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert not list((tmp_path / "there").iterdir())


def test_a_folder_without_a_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Make that folder first"):
        write_plugin(names_of("q-codec"), "codec", tmp_path / "no" / "q-codec")


def test_nothing_is_left_of_a_folder_that_could_not_be_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_text, []

    def full(path: Path, *arguments: object, **options: object) -> None:
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device", str(path))
        write(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_plugin(names_of("q-codec"), "codec", tmp_path / "q-codec")
    assert len(written) == 4
    assert not list(tmp_path.iterdir())


def test_a_name_that_an_installed_plugin_provides_is_refused(tmp_path: Path, idem) -> None:  # type: ignore[no-untyped-def]
    result = idem("plugins", "new", "jpeg", "--kind", "codec", "--out", tmp_path / "jpeg")
    assert result.exit_code == 2
    assert "idemcore-jpeg provides a codec named 'jpeg' already" in result.stderr


def test_the_files_and_the_next_commands_are_told(tmp_path: Path, idem) -> None:  # type: ignore[no-untyped-def]
    result = idem("plugins", "new", "Q_Codec", "--kind", "codec", "--out", tmp_path / "here")
    assert result.exit_code == 0
    assert [Path(line) for line in result.stdout.splitlines()] == sorted(
        path for path in (tmp_path / "here").rglob("*") if path.is_file()
    )
    assert f"pip install -e '{tmp_path / 'here'}[test]'" in result.stderr
    assert "idem plugins check q-codec" in result.stderr


@pytest.mark.parametrize(("kind", "files", "lines"), [("solver", 2, 60), ("metric", 2, 30)])
def test_a_solver_and_a_metric_are_short(kind: str, files: int, lines: int) -> None:
    """Lines of code; those of docstrings and comments are for who reads them first."""
    sources = list((writing.TEMPLATES / kind / "src").rglob("*.py"))
    assert len(sources) == files
    assert sum(map(lines_of_code, sources)) <= lines


def lines_of_code(path: Path) -> int:
    tree = ast.parse(path.read_text())
    docstrings = [
        node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    silent = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    text = enumerate(path.read_text().splitlines(), 1)
    return sum(1 for number, line in text if line.strip() and not line.strip().startswith("#") and number not in silent)
