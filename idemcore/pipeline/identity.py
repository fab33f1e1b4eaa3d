"""What can change a picture, by one function: for certificates, for what a folder calls done, for the runs of sweeps.

Imports no torch until a runtime is chosen or a generator's class is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IdemError, MissingError
from ..hookspecs import ENTRY_POINT_GROUP, GeneratorSpec
from ..plugins.catalogue import Catalogue, import_target
from ..plugins.selection import Part, choose
from ..results.base import as_json
from ..results.certificate import CodecFacts, ComputedFacts, PartFacts
from ..weights.digest import digest, file_sha256, weights_sha256

if TYPE_CHECKING:
    from ..runtime import Runtime

CORE = "idemcore"
_DRAWS = (
    "adapters",
    "builtin.py",
    "io/images.py",
    "io/exif.py",
    "learned",
    "networks",
    "noise.py",
    "pipeline",
    "protocols.py",
    "runtime.py",
    "sweeps/worker.py",
)
"""What of the core a picture depends on: a change of a command's text makes no other picture."""
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Computed:
    """The kind of device and the precision in which networks compute, after `auto` was decided."""

    device: str = "cpu"
    """cpu, cuda, mps or xpu."""
    precision: str = "fp32"
    """fp32 or bf16."""

    def named(self, device: str) -> str:
        """The device that was asked for, as workers are to choose it."""
        return self.device if device == "auto" else device

    @property
    def facts(self) -> ComputedFacts:
        """With the versions of what computes."""
        source = source_sha256(CORE) or None
        return ComputedFacts(self.device, self.precision, version(CORE), source, version("torch"))

    @classmethod
    def of(cls, runtime: Runtime) -> Computed:
        name = str(runtime.dtype).removeprefix("torch.")
        return cls(runtime.device.type, PRECISIONS.get(name, name))

    @classmethod
    def by(cls, device: str, precision: str) -> Computed:
        """As `Runtime.choose` decides, here; a device that only workers elsewhere have is taken by its name."""
        from ..runtime import Runtime

        try:
            return cls.of(Runtime.choose(device, precision))
        except MissingError:
            kind = device.partition(":")[0]
            usual = "bf16" if kind == "cuda" else "fp32"
            return cls(kind, usual if precision == "auto" else precision)


CPU_FP32 = Computed()


def identity(parts: Mapping[str, Part[Any]], computed: Computed) -> dict[str, Any]:
    """All that a picture depends on, beside the bitstream, the seed and the size of tiles; as JSON has it.

    By kind, each part with its settings, version and weights; what computes; versions of the core and of PyTorch.
    Raises MissingError for weights that are not here.
    """
    return {**{kind: part_facts(part).to_json() for kind, part in parts.items()}, "computed": computed.facts.to_json()}


def part_facts(part: Part[Any]) -> PartFacts:
    """Raises MissingError for weights that are not here."""
    return PartFacts(
        name=part.spec.name,
        plugin=part.distribution,
        version=part.version,
        settings=as_json(asdict(part.config)),
        weights_sha256=weights_sha256(part) or None,
        source_sha256=source_sha256(part.distribution) or None,
        warm_start=_warm_start(part),
    )


def codec_facts(part: Part[Any], model_id: bytes) -> CodecFacts:
    """The facts of a codec, before any bitstream."""
    return CodecFacts(
        name=part.spec.name,
        plugin=part.distribution,
        version=part.version,
        source_sha256=source_sha256(part.distribution) or None,
        settings=as_json(asdict(part.config)),
        model_id=model_id.hex() or None,
        stream={},
        weights_sha256=weights_sha256(part) or None,
    )


def is_installed(codec: CodecFacts, catalogue: Catalogue) -> bool:
    """Is the codec of an earlier certificate still the one that is installed, with the same weights?"""
    try:
        now = version(codec.plugin), source_sha256(codec.plugin) or None
        if now != (codec.version, codec.source_sha256):
            return False
        part = choose(catalogue, "codec", f"{codec.plugin}:{codec.name}", codec.settings)
        return (weights_sha256(part) or None) == codec.weights_sha256
    except (PackageNotFoundError, IdemError):
        return False


def source_sha256(name: str) -> str:
    """First digits of the sha256 over the Python files of an editable distribution; "" for others."""
    if not _is_editable(name):
        return ""
    return digest([[where, file_sha256(path)] for where, path in _sources(name)])


@cache
def _is_editable(name: str) -> bool:
    try:
        told = distribution(name).read_text("direct_url.json")
        return bool(told and json.loads(told).get("dir_info", {}).get("editable"))
    except (PackageNotFoundError, ValueError, AttributeError, OSError):
        return False


def _sources(name: str) -> Iterator[tuple[str, Path]]:
    """Each file with its name within its package."""
    packages = {CORE} if name == CORE else {
        entry.module.partition(".")[0] for entry in distribution(name).entry_points if entry.group == ENTRY_POINT_GROUP
    }  # fmt: skip
    for package in sorted(packages):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(folder).rglob("*.py")):
                where = path.relative_to(folder).as_posix()
                if package != CORE or where.startswith(_DRAWS):
                    yield f"{package}/{where}", path


def _warm_start(part: Part[Any]) -> float | None:
    """The warm start of a diffusion's class; an object may multiply it by what its weights say."""
    if not isinstance(part.spec, GeneratorSpec) or "diffusion" not in part.spec.offers:
        return None
    try:
        start = getattr(import_target(part.spec.target), "warm_start", None)
    except (ImportError, AttributeError, IdemError):
        return None  # whoever builds it says why
    return float(start) if isinstance(start, int | float) else None
