"""`idem doctor`: is this installation sound? What it prints is what a bug report needs."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_FAILED, EXIT_OK, IdemError, IntegrityError, MissingError
from .options import json_option, runtime_options
from .output import print_json, print_table, say

if TYPE_CHECKING:
    from ..plugins.catalogue import Catalogue
    from ..runtime import Runtime
    from ..weights.cards import Card

Check = tuple[str, str, str]
"""What was checked; `ok`, `note` or `bad`; what was found."""

LIBRARIES = ("torch", "numpy", "pillow", "safetensors", "constriction", "omegaconf", "pluggy", "click")
LEAST_FREE = 1e9
"""Bytes on a disk below which it is worth a note."""
SELF_TEST_SECONDS = 5.0
"""It takes less, imports included, on an idle machine with two cores."""


@click.command()
@runtime_options
@json_option
def doctor(device: str, precision: str, as_json: bool) -> int:
    """Check versions, plugins, weights, device and disk, and decode a tiny image. Exit 0 if all is well, else 1.

    A `note` is worth knowing but breaks nothing, such as the weights of a prior that you have not brought yet. Paste
    all that it prints into a bug report: it names no person and no file of yours.
    """
    from ..plugins.catalogue import load_catalogue
    from ..runtime import Runtime

    catalogue = load_catalogue()
    checks = [*_versions(), *_plugins(catalogue), *_weights(catalogue), *_places(), *_settings()]
    try:
        runtime = Runtime.choose(device, precision)
        checks += [*_device(runtime), _self_test(catalogue, runtime)]
    except IdemError as error:
        checks.append(("device", "bad", str(error)))
    checks = [(what, state, _anonymous(found)) for what, state, found in checks]
    bad = [what for what, state, _ in checks if state == "bad"]
    if as_json:
        print_json([{"check": what, "state": state, "found": found} for what, state, found in checks])
    else:
        print_table(("check", "state", "found"), checks)
        say(f"bad: {', '.join(bad)}" if bad else "all is well")
    return EXIT_FAILED if bad else EXIT_OK


def _versions() -> Iterator[Check]:
    yield "python", "ok", f"{platform.python_version()} on {platform.platform()}"
    for name in LIBRARIES:
        yield name, *_version(name)


def _version(distribution: str) -> tuple[str, str]:
    try:
        return "ok", version(distribution)
    except PackageNotFoundError:
        return "bad", f"not installed; type: pip install {distribution}"


def _plugins(catalogue: Catalogue) -> Iterator[Check]:
    for plugin in catalogue.plugins:
        state = {"ok": "ok", "disabled": "note"}.get(plugin.state, "bad")
        yield plugin.name, state, plugin.version + (f" {plugin.state}: {plugin.reason}" if plugin.reason else "")


def _weights(catalogue: Catalogue) -> Iterator[Check]:
    """The hash of every file of weights that is here; only those of the default prior must be."""
    from ..plugins.selection import DEFAULT_GENERATOR
    from ..weights.cards import cards

    try:
        known = cards()
    except IdemError as error:
        yield "model cards", "bad", str(error)
        return
    installed = {plugin.name for plugin in catalogue.plugins}
    for card in known:
        if card.plugin in installed:
            yield f"weights of {card.name}", *_tried(partial(_verified, card), needed=card.name == DEFAULT_GENERATOR)


def _verified(card: Card) -> str:
    """What is right about its files. Raises MissingError or IntegrityError, which say what to type."""
    from ..weights.store import remedy, verify

    states = {file: verify(file) for file in card.files}
    if damaged := [file for file, state in states.items() if state == "damaged"]:
        raise IntegrityError(f"{damaged[0].id} is damaged.", remedy(damaged[0]))
    missing = [file for file, state in states.items() if state == "missing"]
    if len(missing) == 1:
        raise MissingError(f"{missing[0].id} is not here.", remedy(missing[0]))
    if missing:
        raise MissingError(
            f"{len(missing)} of {len(states)} files are not here.", f"See `idem models info {card.name}`."
        )
    return ", ".join(f"sha256 {file.sha256[:8]}" if file.bundled else f"{file.id} as stored" for file in card.files)


def _places() -> Iterator[Check]:
    """Where weights and results are written."""
    from ..weights.store import cache_folder

    for name, folder, told in (("cache", cache_folder, ""), ("this folder", Path.cwd, "where results go")):
        try:
            yield name, *_place(folder(), told or str(folder()))
        except OSError as error:  # it was removed, or may not even be looked at
            yield name, "note", f"{told or name}: {error.strerror or error}"


def _place(folder: Path, told: str) -> tuple[str, str]:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    told += "" if there == folder else ", made when it is needed"
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        return "note", f"{told}: it cannot be written to"
    free = shutil.disk_usage(there).free
    return "note" if free < LEAST_FREE else "ok", f"{told}: {free / 1e9:.1f} GB free"


def _settings() -> Iterator[Check]:
    """Environment variables that change what idem does."""
    for name in sorted(os.environ):
        if name.startswith("IDEM_") or name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
            yield name, "ok", os.environ[name]


def _device(runtime: Runtime) -> Iterator[Check]:
    import torch

    kind = runtime.device.type
    if kind in ("cuda", "xpu"):
        facts = getattr(torch, kind).get_device_properties(runtime.device)
        version_of = f", CUDA {torch.version.cuda}" if kind == "cuda" else ""
        name = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB{version_of}"
    elif kind == "mps":
        name = f"the GPU of this {platform.machine()} machine"
    else:
        name = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    yield "device", "ok", f"{runtime.device}, {name}"
    half = "bf16" if runtime.dtype == torch.bfloat16 else "fp32"
    yield "precision", "ok", f"{half}{' (no fast bf16 here)' if half == 'fp32' else ''}"


def _self_test(catalogue: Catalogue, runtime: Runtime) -> Check:
    """A 16x16 ramp through the default codec, prior and solver."""
    begin = time.perf_counter()
    state, found = _tried(lambda: _exact(catalogue, runtime), needed=True)
    seconds = time.perf_counter() - begin
    slow = f", more than the usual {SELF_TEST_SECONDS:g} s" if seconds > SELF_TEST_SECONDS else ""
    return "self-test", state, f"{found}, {seconds:.1f} s{slow}"


def _exact(catalogue: Catalogue, runtime: Runtime) -> str:
    import torch

    from ..pipeline.codec import Codec
    from ..pipeline.decoder import Decoder
    from ..plugins.selection import select

    ramp = torch.linspace(0, 1, 16 * 16).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    parts = select(catalogue)
    bitstream = Codec.build(parts.codec, runtime).encode(ramp)
    if not Decoder.build(parts, runtime).reconstruct(bitstream).exact:
        raise IdemError("the decoded image is not byte-exact")
    return "byte-exact"


def _tried(attempt: Callable[[], str], needed: bool) -> tuple[str, str]:
    try:
        return "ok", attempt()
    except MissingError as error:
        return "bad" if needed else "note", str(error)
    except IdemError as error:
        return "bad", str(error)
    except Exception as error:
        return "bad", f"{type(error).__name__}: {error}"


def _anonymous(found: str) -> str:
    """In one line, without the name of the person whose home this is."""
    home = str(Path.home())
    return " ".join(found.replace(home, "~").split()) if len(home) > 1 else " ".join(found.split())
