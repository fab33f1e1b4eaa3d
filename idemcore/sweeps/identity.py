"""A configuration that can run, and what a run is called. Imports no torch.

A run is named by all that its result depends on: codec, generator, solver and adapter with every setting, the versions
of what provides them, the hashes of weights and of source that is edited in place, device and precision, the pixels of
the image and the seed; see `pipeline.identity`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..pipeline.identity import CPU_FP32, Computed, identity
from ..plugins.objects import HERE
from ..plugins.selection import Selection
from ..plugins.settings import SCOPES, describe
from ..results.rows import ConfigurationFacts
from ..weights.digest import digest
from .grid import NAMES


@dataclass(frozen=True)
class Configuration:
    """What the runs of one point of a curve share: parts that were checked to work together."""

    selection: Selection
    computed: Computed = CPU_FP32
    tradeoff: float = 1.0
    """Between least error (0) and most realism (1), see `Decoder.reconstruct`."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """`pipeline.identity.identity` of the parts. Raises MissingError for weights that are not here."""
        return identity(self.selection.used, self.computed)

    @cached_property
    def facts(self) -> ConfigurationFacts:
        """For a row. Raises MissingError for weights that are not here."""
        parts = {kind: self.identity[kind] for kind in self.selection.used}
        core = self.identity["computed"]
        named = {part["name"] if part["plugin"] == HERE else part["plugin"]: part for part in parts.values()}
        versions = {name: part["version"] for name, part in named.items()}
        versions |= {name: core[name] for name in ("idemcore", "torch")}
        sources = {name: part["source_sha256"] for name, part in named.items()} | {"idemcore": core["source_sha256"]}
        named_parts = {kind: {"name": part["name"], **part["settings"]} for kind, part in parts.items()}
        return ConfigurationFacts(
            **{**dict.fromkeys(SCOPES), **named_parts},  # type: ignore[arg-type]
            precision=self.computed.precision,
            device=self.computed.device,
            tradeoff=self.tradeoff,
            versions=dict(sorted(versions.items())),
            sources={name: found for name, found in sorted(sources.items()) if found},
            weights={kind: found for kind, part in parts.items() if (found := part["weights_sha256"])},
        )

    @cached_property
    def key(self) -> str:
        """The same for equal configurations; those that share a generator, then a codec, stand together in order."""
        kinds = ("generator", "codec", "solver", "adapter", "restorer", "weights", "tradeoff")
        return json.dumps([getattr(self.facts, kind) for kind in kinds], sort_keys=True)

    @cached_property
    def _digest(self) -> str:
        return digest([self.identity, self.tradeoff])

    @cached_property
    def _codec_digest(self) -> str:
        return digest([self.identity[key] for key in ("codec", "computed")])

    def run_id(self, image_sha256: str, seed: int) -> str:
        return digest([self._digest, image_sha256, seed])

    def decoded_id(self, image_sha256: str) -> str:
        """Names the plain decode, which is the same for every generator, solver and seed."""
        return digest([self._codec_digest, image_sha256])

    def command(self, image: str, seed: int) -> str:
        """The `idem run` that repeats a run on its own, with the settings that are not defaults.

        Empty for objects made in Python, which no command line knows.
        """
        parts, words = self.selection.used, ["idem", "run", image]
        if any(part.distribution == HERE for part in parts.values()):
            return ""
        words += [word for kind in NAMES if (part := parts.get(kind)) for word in (f"--{kind}", part.spec.name)]
        for kind, part in parts.items():
            for field in describe(type(part.config)):
                if (value := getattr(part.config, field.name)) != field.default:
                    words += ["--set", f"{kind}.{field.name}={_word(value)}"]
        words += [] if self.tradeoff == 1 else ["--tradeoff", f"{self.tradeoff:g}"]
        words += ["--seed", str(seed), "--device", self.computed.device, "--precision", self.computed.precision]
        return shlex.join(words)


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | list | tuple | None) else str(value)
