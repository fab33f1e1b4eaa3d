"""Plugins of others: those that `idem plugins new` writes, and docs/examples, installed in a fresh virtual environment.

The environment lies outside the repository. It sees the packages of the running one below its own, so that nothing is
fetched, and PyTorch is there once.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import sysconfig
import tokenize
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

from blocks import ROOT, blocks, commands
from idemcore.scaffold import KINDS, names_of, write_plugin

EXAMPLES, TUTORIAL = ROOT / "docs" / "examples", ROOT / "docs" / "writing-a-plugin.md"
NEEDS = {"pillow": "PIL", "deepinv": "deepinv"}
"""What each example stands on."""

pytest.importorskip("hatchling", reason="pip install 'idemcore[dev]' brings hatchling, which builds the plugins")


class Environment:
    """A virtual environment above the running one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        paths = {"base": str(folder), "platbase": str(folder)}
        self.bin = Path(sysconfig.get_path("scripts", vars=paths))
        self.packages = Path(sysconfig.get_path("purelib", vars=paths))
        below = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        Path(self.packages, "below.pth").write_text(below)

    def install(self, *folders: Path, editable: bool = False) -> None:
        """`editable` puts the sources before what was built of them: pip would fetch a package to do so itself."""
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *quiet]
        done(subprocess.run([*command, *map(str, folders)], capture_output=True, text=True, check=False))
        for folder in folders if editable else ():
            Path(self.packages, f"{folder.name}.pth").write_text(
                f"import sys; sys.path.insert(0, {str(folder / 'src')!r})\n"
            )

    def python(self, *arguments: object, cwd: Path) -> str:
        command = [str(self.bin / "python"), *map(str, arguments)]
        return done(subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False))

    def idem(self, *arguments: object, cwd: Path) -> str:
        return self.python("-m", "idemcore.cli", *arguments, cwd=cwd)


class Installed(NamedTuple):
    environment: Environment
    folder: Path
    """Of the sources: one folder a plugin."""


def done(ran: subprocess.CompletedProcess[str]) -> str:
    """What it printed. Fails with all that it said unless it went well."""
    assert ran.returncode == 0, f"{ran.args} ended with {ran.returncode}:\n{ran.stdout[-6000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


def copied(example: str, folder: Path) -> Path:
    """Building in place would leave files in the repository."""
    return Path(shutil.copytree(EXAMPLES / example, folder / f"idem-{example}"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """New plugins `new-codec`, `new-generator`, ... and the examples that can run here."""
    folder = tmp_path_factory.mktemp("third-party")
    environment = Environment(tmp_path_factory.mktemp("environment"))
    for kind in KINDS:
        write_plugin(names_of(f"new-{kind}"), kind, folder / f"new-{kind}")
    for example, needed in NEEDS.items():
        if importlib.util.find_spec(needed):
            copied(example, folder)
    environment.install(*sorted(folder.iterdir()))
    return Installed(environment, folder)


def test_installed_plugins_are_ok(installed: Installed) -> None:
    environment, folder = installed
    found = {p["name"]: p for p in json.loads(environment.idem("plugins", "list", "--json", cwd=folder))}
    for path in folder.iterdir():
        assert (found[path.name]["state"], found[path.name]["reason"]) == ("ok", "")


def test_the_tests_of_new_plugins_pass_as_written(installed: Installed) -> None:
    tests = [f"new-{kind}/tests" for kind in KINDS]
    told = installed.environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=installed.folder)
    assert " passed" in told


@pytest.mark.parametrize("example", ["pillow", *(pytest.param(e, marks=pytest.mark.slow) for e in ("deepinv",))])
def test_the_tests_of_an_example_pass(installed: Installed, example: str) -> None:
    if not (installed.folder / f"idem-{example}").exists():
        pytest.skip(f"{NEEDS[example]} is not here: pip install 'idemcore[examples]' brings it")
    tests = installed.folder / f"idem-{example}" / "tests"
    told = installed.environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=installed.folder)
    assert " passed" in told


def test_a_run_with_a_new_codec_prior_and_solver_is_exact(installed: Installed, photo: Path, tmp_path: Path) -> None:
    names = [word for kind in ("codec", "generator", "solver") for word in (f"--{kind}", f"new-{kind}")]
    told = installed.environment.idem("run", photo, *names, "--out", tmp_path / "run", "--json", cwd=tmp_path)
    report = json.loads(told)
    assert report["codec"] == "new-codec"
    assert report["exact"]


def test_a_sweep_on_a_new_engine_measures_a_new_metric(installed: Installed, photo: Path, tmp_path: Path) -> None:
    words = ["codec=new-codec", "codec.quality=2,4", "solver=mse", photo, "--metrics", "psnr,new-metric"]
    store = ["--store", tmp_path / "sweep", "--export", tmp_path / "rows.jsonl"]
    installed.environment.idem(
        "sweep", *words, "--engine", "new-engine", "--set", "engine.workers=1", *store, cwd=tmp_path
    )
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    coarse, fine = sorted(rows, key=lambda row: row["metrics.psnr"])
    assert coarse["metrics.new-metric"] > fine["metrics.new-metric"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_complete_on_its_own(kind: str, tmp_path: Path) -> None:
    """Alone in an environment of its own, by its own command line."""
    environment, folder = Environment(tmp_path / "environment"), tmp_path / "alone"
    write_plugin(names_of("alone"), kind, folder)
    environment.install(folder)
    environment.python("-m", "pytest", "-q", cwd=folder)
    results = json.loads(environment.idem("plugins", "check", "alone", "--json", cwd=folder))
    assert {result["outcome"] for result in results} <= {"holds", "not tried"}


@pytest.mark.slow
def test_the_tutorial_works_as_written(photo: Path, tmp_path: Path) -> None:
    """Its commands, one after the other, in an empty folder with a picture; what is edited is what runs."""
    environment = Environment(tmp_path / "environment")
    for block in blocks(TUTORIAL):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
            config = tmp_path / "mycodec" / "src" / "mycodec" / "config.py"
            before = config.read_text()
            config.write_text(before.replace("mycodec 1 step", "mycodec 2 step"))
            assert config.read_text() != before
        for _, (program, *words) in commands(block) if block.language == "shell" else []:
            if program == "idem":
                environment.idem(*words, cwd=tmp_path)
            elif words[:2] == ["install", "-e"]:
                environment.install(tmp_path / words[2].removesuffix("[test]"), editable=True)
    first, second = (json.loads((tmp_path / "runs" / name / "photo" / "report.json").read_text())
                     for name in ("mycodec", "mycodec2"))  # fmt: skip
    assert first["exact"]
    assert second["exact"]
    assert second["bytes"] != first["bytes"]


@pytest.mark.parametrize("example", NEEDS)
def test_an_example_has_less_than_a_hundred_lines_of_code(example: str) -> None:
    assert sum(len(lines_of_code(path)) for path in (EXAMPLES / example / "src").rglob("*.py")) < 100


def lines_of_code(path: Path) -> set[int]:
    """Numbers of the lines that hold more than comments and docstrings."""
    source = path.read_text()
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in silent]
    lines = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
    texts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)
             and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]  # fmt: skip
    return lines - {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}
