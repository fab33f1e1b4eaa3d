"""What each distribution says of itself agrees with the others: versions, bounds, licence, addresses, links."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from packaging.requirements import Requirement

from blocks import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest

FOLDERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLES = sorted(path.parent for path in ROOT.glob("docs/examples/*/pyproject.toml"))
TEMPLATE = ROOT / "idemcore" / "scaffold" / "templates" / "common"
BOUND = "idemcore>=0.2,<0.3"


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def built_readme(folder: Path) -> str:
    """As a package index shows it."""
    return str(ProjectMetadata(str(folder), PluginManager()).core.readme)


def test_all_distributions_have_one_version() -> None:
    assert len({project(folder)["version"] for folder in FOLDERS}) == 1


@pytest.mark.parametrize("folder", [*FOLDERS[1:], *EXAMPLES, TEMPLATE], ids=lambda path: path.name)
def test_plugins_bound_the_core_to_releases_that_keep_its_api(folder: Path) -> None:
    assert BOUND in project(folder)["dependencies"]
    major, minor, *_ = project(ROOT)["version"].split(".")
    assert f"idemcore>={major}.{minor},<{major}.{int(minor) + 1}" == BOUND


def test_extras_bound_the_plugins_alike() -> None:
    extras = project(ROOT)["optional-dependencies"]
    named = [word for word in (*extras["standard"], *extras["all"]) if word.startswith("idemcore-")]
    named = [re.sub(r"\[.*?\]", "", word) for word in named]
    plugins = {project(folder)["name"] for folder in FOLDERS[1:]}
    others = {"idemcore-pyiqa"}  # its library is noncommercial
    assert {re.match(r"[\w-]+", word)[0] for word in named} == plugins - others
    assert all(re.fullmatch(r"[\w-]+>=0\.2,<0\.3(; .*)?", word) for word in named)


def test_standard_needs_neither_compressai_nor_torchvision_nor_pandas() -> None:
    projects = {project(folder)["name"]: project(folder) for folder in FOLDERS}
    standard = [re.match(r"[\w-]+", word)[0] for word in projects["idemcore"]["optional-dependencies"]["standard"]]
    needed = [word for name in ("idemcore", *standard) for word in projects[name]["dependencies"]]
    assert not {re.match(r"[\w-]+", word)[0].lower() for word in needed} & {"compressai", "torchvision", "pandas"}


def test_torch_has_one_bound() -> None:
    found = {word for folder in FOLDERS for word in project(folder)["dependencies"] if word.startswith("torch>")}
    assert found == {"torch>=2.5"}  # torch.serialization.safe_globals


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_constraints_name_one_version_of_a_package_for_each_python(python: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    chosen = [pin.name for pin in pins if not pin.marker or pin.marker.evaluate({"python_version": python})]
    assert len(chosen) == len(set(chosen))
    assert {"numpy", "torch", "scipy", "sphinx"} <= set(chosen)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_licence_goes_with_every_distribution(folder: Path) -> None:
    assert project(folder)["license"] == "Apache-2.0"
    assert project(folder)["license-files"] == ["LICENSE"]
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_addresses_are_the_projects(folder: Path) -> None:
    source = project(ROOT)["urls"]["Source"]
    urls = project(folder)["urls"]
    assert set(urls) == {"Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith(source) for url in urls.values())
    assert urls["Source"] == source + ("" if folder == ROOT else f"/tree/main/plugins/{folder.name}")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_links_of_a_readme_are_absolute_on_a_package_index(folder: Path) -> None:
    blob = project(ROOT)["urls"]["Source"] + "/blob/main/"
    links = re.findall(r"\]\(([^)\s#]+)", built_readme(folder))
    assert links
    assert all(re.match("https?://", link) for link in links)
    inside = [link.removeprefix(blob).removesuffix("?raw=true") for link in links if link.startswith(blob)]
    assert inside
    assert all((ROOT / path).is_file() for path in inside), inside
