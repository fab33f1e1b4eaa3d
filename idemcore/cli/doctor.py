"""`idem doctor`: is this installation sound?"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_FAILED, EXIT_OK, IdemError, MissingError
from .options import json_option, runtime_options
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..plugins import Catalogue
    from ..runtime import Runtime

Check = tuple[str, str, str]
"""What was checked; `ok`, `note` or `bad`; what was found."""


@click.command()
@runtime_options
@json_option
def doctor(device: str, precision: str, as_json: bool) -> int:
    """Check versions, plugins, weights and device, and decode a tiny image. Exit 0 if all is well, else 1.

    A `note` is worth knowing but breaks nothing, such as the weights of a prior that you have not brought yet.
    """
    from ..plugins import load_catalogue
    from ..runtime import Runtime

    catalogue, runtime = load_catalogue(), Runtime.choose(device, precision)
    checks = [*_versions(), *_device(runtime), *_plugins(catalogue), *_weights(catalogue, runtime), _self_test(runtime)]
    if as_json:
        print_json([{"check": what, "state": state, "found": found} for what, state, found in checks])
    else:
        print_table(("check", "state", "found"), checks)
    return EXIT_FAILED if any(state == "bad" for _, state, _ in checks) else EXIT_OK


def _versions() -> Iterator[Check]:
    yield "python", "ok", f"{platform.python_version()} on {platform.platform()}"
    for name in ("torch", "numpy", "pillow", "safetensors"):
        try:
            yield name, "ok", version(name)
        except PackageNotFoundError:
            yield name, "bad", f"not installed; type: pip install {name}"


def _device(runtime: Runtime) -> Iterator[Check]:
    import torch

    name = (
        torch.cuda.get_device_name(runtime.device)
        if runtime.device.type == "cuda"
        else f"{torch.get_num_threads()} threads"
    )
    yield "device", "ok", f"{runtime.device}, {name}"
    half = "bf16" if runtime.dtype == torch.bfloat16 else "fp32"
    yield "precision", "ok", f"{half}{' (no fast bf16 here)' if half == 'fp32' else ''}"


def _plugins(catalogue: Catalogue) -> Iterator[Check]:
    for plugin in catalogue.plugins:
        state = {"ok": "ok", "disabled": "note"}.get(plugin.state, "bad")
        yield plugin.name, state, plugin.version + (f" {plugin.state}: {plugin.reason}" if plugin.reason else "")


def _weights(catalogue: Catalogue, runtime: Runtime) -> Iterator[Check]:
    """Builds everything that has weights; only those of the default prior must be here."""
    from ..pipeline import Codec
    from ..plugins import import_target
    from ..selection import DEFAULT_GENERATOR, choose

    def build(kind: str, name: str) -> None:
        part = choose(catalogue, kind, name)
        if kind == "codec":
            Codec.build(part, runtime)
        else:
            import_target(part.spec.target)(part.config, runtime)

    for kind in ("codec", "generator"):
        for owner, spec in catalogue.specs(kind):
            if spec.weights:
                needed = spec.name == DEFAULT_GENERATOR
                yield _tried(f"weights of {spec.name}", lambda: build(kind, f"{owner}:{spec.name}"), needed)  # noqa: B023


def _tried(what: str, attempt: Callable[[], object], needed: bool) -> Check:
    try:
        attempt()
    except MissingError as error:
        return what, "bad" if needed else "note", str(error)
    except IdemError as error:
        return what, "bad", str(error)
    except Exception as error:
        return what, "bad", f"{type(error).__name__}: {error}"
    return what, "ok", "present"


def _self_test(runtime: Runtime) -> Check:
    """A 16x16 ramp through the default codec, prior and solver."""
    import torch

    from ..pipeline import Codec, Decoder

    ramp = torch.linspace(0, 1, 16 * 16).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    try:
        exact = Decoder.build(runtime=runtime).reconstruct(Codec.build(runtime=runtime).encode(ramp)).exact
    except IdemError as error:
        return "self-test", "bad", str(error)
    except Exception as error:
        return "self-test", "bad", f"{type(error).__name__}: {error}"
    return "self-test", "ok" if exact else "bad", "byte-exact" if exact else "the decoded image is not byte-exact"
