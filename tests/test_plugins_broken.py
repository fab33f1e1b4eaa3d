"""Twenty plugins, each with a fault of its own, beside our own: `idem` works, and says of each what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAD = "from idemcore.hookspecs import EncoderSpec, SolverSpec, hookimpl\n"
CODEC = "@hookimpl\ndef idem_encoders():\n    return [EncoderSpec({spec})]\n"


def codec(spec: str) -> str:
    return HEAD + CODEC.format(spec=spec if "api=" in spec else f"{spec}, api=1")


PRINTS = "print('NOISE')\nsys.stdout.write('NOISE')\nsys.stdout.buffer.write(b'NOISE')\nos.write(1, b'NOISE')\n"
GOOD = codec("'fine', 'm:C', 's'")
FAULTS = {
    "raises": ("raise RuntimeError('no')", "broken", "RuntimeError: no"),
    "exits": ("import sys; sys.exit('bye')", "broken", "SystemExit: bye"),
    "signature": (HEAD + "@hookimpl\ndef idem_encoders(config): return []", "broken", "config"),
    "unknown-hook": (GOOD + "@hookimpl\ndef idem_samplers(): return []", "broken", "idem_samplers"),
    "twice": (codec("'a', 'm:C', 's', api=1), EncoderSpec('a', 'm:C', 's', api=1"), "broken", "is there twice"),
    "clash": (codec("'toy', 'json:JSONDecoder', 's'"), "ok", ""),
    "api": (codec("'newer', 'm:C', 's', api=99"), "incompatible", "plugin API 99"),
    "dependency": ("import no_such_module_at_all", "broken", "needs the package 'no_such_module_at_all'"),
    "hangs": ("import time\ntime.sleep(600)", "broken", "hangs"),
    "hangs-in-a-hook": (HEAD + "import time\n@hookimpl\ndef idem_encoders():\n    time.sleep(600)", "broken", "hangs"),
    "empty": ("", "broken", "implements no hook"),
    "newer-field": (codec("'b', 'm:C', 's', flavour='sweet'"), "broken", "flavour"),
    "interrupts": ("raise KeyboardInterrupt", "broken", "KeyboardInterrupt"),
    "interrupts-in-a-hook": (
        HEAD + "@hookimpl\ndef idem_encoders(): raise KeyboardInterrupt",
        "broken",
        "KeyboardInterrupt",
    ),
    "leaves-the-generator": ("raise GeneratorExit", "broken", "GeneratorExit"),
    "prints": ("import os, sys\n" + PRINTS + codec("'prints', 'json:JSONDecoder', 's'") + PRINTS, "ok", ""),
    "closes-stdout": ("import sys\nsys.stdout.close()\n" + codec("'closes', 'json:JSONDecoder', 's'"), "ok", ""),
    "closes-all": ("import sys\nsys.__stdout__.close()\n" + codec("'closes-all', 'json:JSONDecoder', 's'"), "ok", ""),
    # Combinations: a wrong hook beside a newer API; a clash whose class is missing, and whose identify() raises.
    "signature-and-api": (
        codec("'c', 'm:C', 's', api=99") + "@hookimpl\ndef idem_solvers(x): return []",
        "broken",
        "x",
    ),
    "clash-and-class": (
        codec("'jpeg', 'gone:C', 's', identify='gone:identify', magic=b'\\xff\\xd8'"),
        "broken",
        "there is no module gone",
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed distributions."""
    folder = tmp_path_factory.mktemp("site")
    for name, (source, _, _) in FAULTS.items():
        module = f"broken_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(source)
        write_metadata(folder, f"demo-{name}", f"[idemcore.plugins]\n{name} = {module}\n")
    return folder


def write_metadata(folder: Path, distribution: str, entry_points: str) -> None:
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def idem(site: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "IDEM_PLUGIN_SECONDS": "2", **variables}
    command = [sys.executable, "-m", "idemcore.cli", *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, dict[str, Any]]:
    result = idem(site, "plugins", "list", "--json")
    assert result.returncode == 0, result.stderr
    return {plugin["name"]: plugin for plugin in json.loads(result.stdout)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_plugin_is_listed_with_its_state_and_reason_in_one_line(
    name: str, listed: dict[str, dict[str, Any]]
) -> None:
    _, state, reason = FAULTS[name]
    plugin = listed[f"demo-{name}"]
    assert plugin["state"] == state
    assert reason in plugin["reason"]
    assert "\n" not in plugin["reason"]
    assert bool(plugin["clashes"]) == (name == "clash")
    assert all(listed[f"idemcore-{ours}"]["state"] == "ok" for ours in ("jpeg", "toy", "ddpm", "dps"))


def test_a_run_with_healthy_plugins_is_not_stopped(site: Path, photo: Path, tmp_path: Path) -> None:
    words = ("run", photo, "--generator", "toy", "--set", "solver.steps=2", "--out", tmp_path / "out")
    result = idem(site, *words, "--require-exact", "--json", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["exact"] is True
    assert (tmp_path / "out").is_dir()


def test_metadata_that_cannot_be_parsed_hides_no_plugin(tmp_path: Path) -> None:
    """PyTorch, which asks for entry points as well, cannot be imported beside it; what imports no torch works."""
    write_metadata(tmp_path, "demo-unreadable", "[idemcore.plugins]\nno equals sign\n")
    result = idem(tmp_path, "plugins", "list", "--json")
    assert result.returncode == 0, result.stderr
    assert {"idemcore", "idemcore-jpeg"} <= {plugin["name"] for plugin in json.loads(result.stdout)}


def test_what_a_broken_plugin_provides_gives_its_error(site: Path) -> None:
    result = idem(site, "codecs", "info", "newer")
    assert result.returncode == 4
    assert "demo-api is incompatible" in result.stderr
    assert "idem plugins info demo-api" in result.stderr


def test_strict_stops_at_the_first_and_lists_all(site: Path) -> None:
    stopped = idem(site, "--strict", "codecs", "list")
    assert (stopped.returncode, stopped.stdout) == (4, "")
    assert "demo-api is incompatible" in stopped.stderr
    shown = idem(site, "plugins", "list", "--strict", "--json")
    assert shown.returncode == 4
    assert {f"demo-{name}" for name in FAULTS} <= {plugin["name"] for plugin in json.loads(shown.stdout)}
    alone = idem(site, "--strict", "plugins", "list", "--strict", IDEM_PLUGINS="jpeg,toy")
    assert alone.returncode == 0, alone.stderr
