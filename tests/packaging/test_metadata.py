"""What each distribution says of itself agrees with the others: versions, bounds, licence, addresses, links."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

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
    assert {re.match(r"[\w-]+", word)[0] for word in named} == plugins - {
        "idemcore-pyiqa"
    }  # its library is noncommercial
    assert all(re.fullmatch(r"[\w-]+>=0\.2,<0\.3(; .*)?", word) for word in named)


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
