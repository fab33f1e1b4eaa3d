"""Laws of several kinds: how a plugin describes itself, and what it must leave alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import torch

from ..plugins.catalogue import import_target
from ..plugins.settings import describe
from .guard import network, threads
from .law import Broken, NotTried, close, equal, law, require
from .trials import Outputs, Trial

HEAVY = ("torch", "numpy", "PIL", "scipy", "torchvision", "ray", "matplotlib")
"""Modules that take a tenth of a second or more to import."""

_DESCRIBE = """
import json, sys
from idemcore.plugins.catalogue import load_catalogue, import_target
plugin = next(p for p in load_catalogue().plugins if p.name == sys.argv[1])
for kind, spec in plugin.specs:
    spec.config and import_target(spec.config)
print("\\n" + json.dumps([m for m in sys.argv[2:] if m in sys.modules]))
"""


@law("codec", "generator", "solver", "metric", "engine")
def described(trial: Trial) -> None:
    """The summary is one line, and every setting has a comment behind it that says what it means."""
    spec = trial.subject.spec
    fits = spec.summary == spec.summary.strip() and spec.summary.isprintable() and 0 < len(spec.summary) <= 120
    require(fits, f"the summary is {spec.summary!r}, not one line of up to 120 characters")
    silent = [f.name for f in describe(import_target(spec.config)) if not f.help] if spec.config else []
    require(not silent, f"no comment behind {', '.join(silent)} in {spec.config}")


@law("codec", "generator", "solver", "metric", "engine")
def light(trial: Trial) -> None:
    """What describes the plugin and its settings imports nothing heavy and prints nothing."""
    if not trial.subject.distribution:
        raise NotTried("it is not an installed plugin")
    if fault := _describing(trial.subject.distribution):
        raise Broken(fault)


@cache
def _describing(name: str) -> str:
    """What is wrong with how a plugin describes itself, seen from another process; empty if nothing is."""
    command = [sys.executable, "-c", _DESCRIBE, name, *HEAVY]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "IDEM_PLUGINS": name})
    if ran.returncode:
        return f"it cannot be described: {' '.join(ran.stderr.split()[-20:])}"
    *printed, heavy = ran.stdout.strip("\n").split("\n")
    if found := json.loads(heavy):
        return f"{', '.join(found)} imported; import them in the modules that run"
    return f"it printed {printed[0]!r}" if any(printed) else ""


@law("codec", "generator", "solver", "metric", "engine")
def protocol(trial: Trial) -> None:
    """The class that the spec names is one of its kind's protocol."""
    wanted = _protocol(trial)
    instance = trial.subject.instance
    require(isinstance(instance, wanted), f"{type(instance).__name__} is no {wanted.__name__}")


@law("codec", "generator", "solver", "metric", "engine")
def documented(trial: Trial) -> None:
    """The class that the spec names has a docstring."""
    made = type(trial.subject.instance)
    require((made.__doc__ or "").strip(), f"{made.__name__} has no docstring")


def _protocol(trial: Trial) -> type[Any]:
    from ..protocols import (
        DiffusionGenerator,
        Encoder,
        Engine,
        ImageMetric,
        InversionSolver,
        LatentGenerator,
        RestorerGenerator,
        SetMetric,
    )

    spec = trial.subject.spec
    if trial.subject.kind == "generator":
        families = {"diffusion": DiffusionGenerator, "latent": LatentGenerator, "restorer": RestorerGenerator}
        return next(cls for family, cls in families.items() if trial.offers(family))
    if trial.subject.kind == "metric":
        return SetMetric if getattr(spec, "kind", "image") == "set" else ImageMetric
    return {"codec": Encoder, "solver": InversionSolver, "engine": Engine}[trial.subject.kind]


@law("codec", "generator", "solver", "metric")
def deterministic(trial: Trial) -> None:
    """An instance that is asked again gives the same results, bit by bit."""
    _same(trial.exercise(trial.subject.instance), trial.outputs, "differs the second time")


@law("codec", "generator", "solver", "metric")
def global_random_numbers(trial: Trial) -> None:
    """No result depends on the global random numbers of Python, NumPy or PyTorch, nor on the instance."""
    if trial.watched.outputs is None:
        raise NotTried("it needs the network")
    _same(trial.watched.outputs, trial.outputs, "of another instance differs after other global seeds")


@law("codec", "generator", "solver", "metric", "engine")
def global_state(trial: Trial) -> None:
    """Building and using it leaves global state as it was: random numbers, threads, dtypes, flags, environment."""
    changed = trial.watched.changed
    layers = " (a network's layers draw their first weights: make them within torch.random.fork_rng())"
    hint = layers if any("PyTorch's global random" in what for what in changed) else ""
    require(not changed, f"it changed {', '.join(changed)}; leave that as it was{hint}")


@law("codec", "generator", "solver", "metric")
def no_network(trial: Trial) -> None:
    """Building and using it asks no other machine for anything."""
    with network(refused=False) as first:
        _ = trial.outputs
    asked = [*trial.subject.asked, *first, *trial.watched.asked]
    require(not asked, f"it asked the network for {asked[:1]}; what it needs must be brought before: `idem models`")


@law("codec", "generator", "solver", "metric")
def thread_count(trial: Trial) -> None:
    """Results do not depend on the number of threads: bytes not at all, values by at most 1e-5, projections 0.01."""
    with threads(1 if torch.get_num_threads() > 1 else 2):
        found = trial.exercise(trial.subject.make())
    for name, value in found.items():
        what = f"{name} with another number of threads"
        if value.dtype in (torch.uint8, torch.bool):
            equal(value, trial.outputs[name], what)
        else:
            close(value, trial.outputs[name], 0.01 if name == "project" else 1e-5, what)


@law("codec", "generator", "solver")
def without_recording(trial: Trial) -> None:
    """It gives the same results where gradients are not recorded."""
    with torch.no_grad():
        _same(trial.exercise(trial.subject.instance), trial.outputs, "differs where gradients are not recorded")


def _same(found: Outputs, wanted: Outputs, how: str) -> None:
    for name, value in found.items():
        equal(value, wanted[name], f"{name} {how}")
