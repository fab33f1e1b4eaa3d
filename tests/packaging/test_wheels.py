"""`make wheels` in small: every distribution is built, checked, and works where there is no clone.

The environment is fresh but for the libraries of this one, which it sees through links to all but idem's own files: to
fetch PyTorch once more would take gigabytes. CI installs the same wheels with their dependencies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from PIL import Image

from blocks import ROOT

pytestmark = pytest.mark.slow

PROJECTS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every wheel, each built from its source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS:
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project))
        done = subprocess.run(build, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with `idemcore[standard]` from these wheels."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    (site / "libraries.pth").write_text(f"{libraries(home / 'libraries')}\n")
    wheels = [str(next(dist.glob(f"{name.replace('-', '_')}-*.whl"))) for name in ("idemcore", *standard())]
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    install = (sys.executable, "-m", "pip", "--python", str(python), "install", *options, *wheels)
    subprocess.run(install, check=True)
    return python


def standard() -> list[str]:
    """What the extra brings, by the metadata of the core."""
    return [re.match(r"[\w-]+", line)[0] for line in requires("idemcore") if "extra == 'standard'" in line]


def libraries(folder: Path) -> Path:
    """A folder that shows all that is installed here but idem."""
    folder.mkdir()
    for place in dict.fromkeys(Path(str(d.locate_file(""))) for d in distributions()):
        for entry in place.iterdir() if place.name in ("site-packages", "dist-packages") else ():
            if not re.match(r"_?(editable_impl_)?idem", entry.name) and entry.suffix != ".pth":
                link = folder / entry.name
                if not link.exists():
                    link.symlink_to(entry, target_is_directory=entry.is_dir())
    return folder


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """`run("idem", "decode", ...)` in an empty folder that is not in the clone, with the environment's programs."""

    def call(program: str, *words: object) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "IDEM", "VIRTUAL_ENV"))}
        command = [str(installed.parent / program), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def test_packages_pass_the_check_of_a_package_index(dist: Path) -> None:
    packages = sorted(map(str, dist.iterdir()))
    assert len(packages) == 2 * len(PROJECTS)
    check = (sys.executable, "-m", "twine", "check", "--strict", *packages)
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_standard_plugins_are_there_from_the_wheels_and_no_others(run: Run, installed: Path) -> None:
    plugins = json.loads(run("idem", "plugins", "list", "--json").stdout)
    assert {plugin["name"]: plugin["state"] for plugin in plugins} == dict.fromkeys(["idemcore", *standard()], "ok")
    where = run("python", "-c", "import idemcore; print(idemcore.__file__)").stdout
    assert Path(where).is_relative_to(installed.parents[1])
    assert not Path(where).is_relative_to(ROOT)


def test_a_photograph_goes_the_whole_way_and_an_old_jpeg_is_decoded(run: Run, photo: Path, tmp_path: Path) -> None:
    Image.open(photo).save(tmp_path / "old.jpg", quality=15)
    for words in (("run", photo.name), ("decode", "old.jpg"), ("verify", "old.png", "old.jpg"), ("doctor",)):
        done = run("idem", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs" / "photo" / "comparison.png").is_file()
    assert json.loads((tmp_path / "old.certificate.json").read_text())["exact"]


def test_a_learned_codec_goes_with_it(run: Run, photo: Path) -> None:
    for words in (("encode", photo.name, "-o", "a.idem", "--codec", "elic"), ("decode", "a.idem", "--require-exact")):
        done = run("idem", *words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_runs(run: Run, tmp_path: Path) -> None:
    for path in (ROOT / "examples" / "own_parts.ipynb", ROOT / "examples" / "photo.png", ROOT / "docs" / "notebook.py"):
        shutil.copy(path, tmp_path)
    done = run("python", "notebook.py", "own_parts.ipynb")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_is_installed_and_removed_by_idem(run: Run, dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def known() -> set[str]:
        return {plugin["name"] for plugin in json.loads(run("idem", "plugins", "list", "--json").stdout)}

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(dist))
    done = run("idem", "plugins", "install", "toy", "--yes")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^idemcore-toy +\S+ +ok", done.stdout, re.MULTILINE)
    assert "idemcore-toy" in known()
    done = run("idem", "plugins", "uninstall", "toy", "--yes")
    assert done.returncode == 0, done.stderr
    assert "idemcore-toy" not in known()
