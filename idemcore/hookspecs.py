"""The pluggy hooks: each returns light `Spec` records, and the classes they name are imported at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pluggy

API_VERSION = 1
"""Version of `protocols.py` that this idem speaks; a Spec with another `api` is listed as incompatible."""

PROJECT = "idemcore"
ENTRY_POINT_GROUP = "idemcore.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Capability = Literal[
    "measure",
    "gradient",
    "excess",
    "position",
    "project",
    "estimate",
    "salvage",
    "image",
    "diffusion",
    "diffusion-gradient",
    "latent",
    "restorer",
]
"""What an encoder or generator may offer and a solver may need."""

Capabilities = frozenset[Capability]

CAPABILITIES: Mapping[Capability, str] = {
    "measure": "the cell has measure(x) = g(f(x))",
    "gradient": "measure has a straight-through gradient",
    "excess": "the cell has excess(x), differentiable",
    "position": "the cell has position(x), differentiable",
    "project": "the cell has project(x, margin)",
    "estimate": "the cell has an estimate of its own, with less error than g(y)",
    "salvage": "the codec has a setting `salvage`, to read damaged files as far as they go",
    "image": "what the solver moves is an image, to which measure(x) can be added; not a latent",
    "diffusion": "the generator has denoise(x, sigma)",
    "diffusion-gradient": "denoise can be differentiated",
    "latent": "the generator has sample(noise) and synthesize(z)",
    "restorer": "the generator has restore(x, sigma, noise)",
}
"""What each means; `image` holds unless an adapter withdraws it."""


@dataclass(frozen=True)
class Spec:
    """One named thing that a plugin provides, described without importing it."""

    name: str
    """What the user types, e.g. `jpeg`."""
    target: str | Callable[..., Any]
    """`package.module:Class`, imported at first use. Of an object made in Python, which no plugin provides, itself."""
    summary: str
    """One line for `idem codecs list` and its kin."""
    config: str | type[Any] = ""
    """`package.module:Dataclass` of its settings, with defaults; the module must be light. Of an object the class."""
    weights: tuple[str, ...] = ()
    """Ids of the model cards in `registry/models` that it can load."""
    api: int | None = None
    """The `API_VERSION` that the plugin was written for, as a literal, so that an idem that speaks another says so."""
    expected_failures: Mapping[str, str] = field(default_factory=dict, hash=False)
    """From laws of `idem plugins check` that are known not to hold to the reasons."""
    weights_from: tuple[str, ...] = ("weights", "model")
    """Its settings that name weights: certificates, sweeps and resumed folders tell results of other weights apart."""


@dataclass(frozen=True)
class EncoderSpec(Spec):
    """`target` is a `protocols.Encoder`."""

    offers: Capabilities = frozenset()
    suffix: str = ".idem"
    """`.idem` has the stream wrapped in idem's container; any other suffix means a file format of its own."""
    magic: bytes = b""
    """First bytes of a file format of its own, by which `idem decode` recognises it."""
    identify: str = ""
    """`package.module:function(model_id, settings)`, from an `.idem` model id (4 bytes) and the user's settings of the
    codec to the config overrides that decode it, or None."""


@dataclass(frozen=True)
class GeneratorSpec(Spec):
    """`target` is a `protocols.DiffusionGenerator`, `LatentGenerator` or `RestorerGenerator`."""

    offers: Capabilities = frozenset()
    sizes: str = "any"
    """Sizes of the images that it makes, for people, e.g. `256x256`; larger images are then made in tiles."""


@dataclass(frozen=True)
class SolverSpec(Spec):
    """`target` is a `protocols.InversionSolver`."""

    needs: Capabilities = frozenset()
    """Capabilities that it needs with its default settings."""
    needs_with: Callable[[Any], Capabilities] | None = None
    """From its config to what it needs with these settings, where that depends on them; must be light."""
    starts_at: Callable[[Any], str] | None = None
    """From its config to the name of the generator that restores g(y) before it starts, or "" where none does; what is
    restored takes the place of the cell's `estimate`. Must be light."""
    draws: bool = True
    """Does another seed give another image? If not, sweeps make one image whatever the seeds."""
    descends: bool = False
    """Promises that the residual it reports is no larger at the last step than at the first."""


@dataclass(frozen=True)
class MetricSpec(Spec):
    """`target` is a `protocols.ImageMetric` or `SetMetric`."""

    kind: Literal["image", "set"] = "image"
    """Whether it gives one value per image, or one per set of images."""
    direction: Literal["higher", "lower", ""] = ""
    """The better direction; empty if neither is."""
    range: str = ""
    """Range of its values, with the unit."""
    source: str = ""
    """Its publication, or what it is read from."""
    argument: str = ""
    """The setting that `NAME:ARGUMENT` sets, if any."""
    key: str = ""
    """Its name in CompressAI's result files, if any."""


@dataclass(frozen=True)
class EngineSpec(Spec):
    """`target` is a `protocols.Engine`."""


@dataclass(frozen=True)
class RecipeSpec(Spec):
    """How to train a model: `target` is a function

        train(data: Path, out: Path, config, device: torch.device, progress: Callable[[dict[str, float]], None]) -> Path

    from a folder or a zip file of images to the weights it wrote. It resumes what it finds in `out`, and tells
    `progress` now and then its `loss`, `minutes` of training so far, and whatever else it counts. `config` has a field
    `minutes`.
    """


@dataclass(frozen=True)
class CommandSpec(Spec):
    """`idem NAME`: `target` is a `click.Command`. Commands of the core win over those of plugins."""


class Hooks:
    """A plugin implements any of these with `@hookimpl`, in the module its `idemcore.plugins` entry point names."""

    @hookspec
    def idem_encoders(self) -> Sequence[EncoderSpec]:
        """Codecs."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_generators(self) -> Sequence[GeneratorSpec]:
        """Priors over images."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_solvers(self) -> Sequence[SolverSpec]:
        """Ways to find an image of a prior in a cell."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_metrics(self) -> Sequence[MetricSpec]:
        """Measures of images and bitstreams."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_engines(self) -> Sequence[EngineSpec]:
        """Ways to run the cells of a sweep."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_recipes(self) -> Sequence[RecipeSpec]:
        """Trainings, for `idem train NAME`."""
        raise AssertionError("a specification, never called")

    @hookspec
    def idem_commands(self) -> Sequence[CommandSpec]:
        """Commands, `idem NAME`."""
        raise AssertionError("a specification, never called")
