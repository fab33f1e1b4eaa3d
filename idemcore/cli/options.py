"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from ..io.inputs import declare_folder, declare_input, declare_output
from ..plugins.selection import DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER
from ..plugins.settings import SCOPES, Values, load_config_file, parse_overrides

if TYPE_CHECKING:
    from ..io.image_sets import Frame
    from ..io.images import Colour
    from ..plugins.selection import DecoderParts
    from ..runtime import Runtime

    Text = click.ParamType[str]
else:  # older versions of click have no parameter there
    Text = click.ParamType


class _InputPath(Text):
    """A file or folder that is read: none of a command's outputs may be it."""

    name = "path"

    def convert(self, value: Any, _: click.Parameter | None, __: click.Context | None) -> str:
        declare_input(value)
        return str(value)


class _OutputPath(Text):
    """A file that is written."""

    name = "path"

    def convert(self, value: Any, _: click.Parameter | None, __: click.Context | None) -> str:
        declare_output(value)
        return str(value)


class _OutputFolder(Text):
    """A folder that is written to: its content is no input."""

    name = "path"

    def convert(self, value: Any, _: click.Parameter | None, __: click.Context | None) -> str:
        declare_output(value)
        declare_folder(value)
        return str(value)


INPUT, OUTPUT, FOLDER = _InputPath(), _OutputPath(), _OutputFolder()

F = TypeVar("F", bound=Callable[..., Any])


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several decorators as one, in the order in which help shows them."""

    def apply(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


codec_option = click.option(
    "--codec", default=DEFAULT_CODEC, show_default=True, metavar="NAME", help="See `idem codecs list`."
)
codec_options = together(
    codec_option,
    click.option("--quality", type=int, metavar="Q", help="Short for --set codec.quality=Q; its range is the codec's."),
)
generator_option = click.option(
    "--generator",
    default=DEFAULT_GENERATOR,
    show_default=True,
    metavar="NAME",
    help="The prior, which knows what images look like.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise."
)
prior_options = together(
    generator_option,
    click.option(
        "--solver", default=DEFAULT_SOLVER, show_default=True, metavar="NAME", help="The method that draws the image."
    ),
    seed_option,
)
fast_option = click.option("--fast", is_flag=True, help="One pass of the prior: short for --set solver.steps=1.")
tradeoff_option = click.option(
    "--tradeoff",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="A",
    help="From 0, the image of least error, to 1, the most realistic one: (1-A) estimate + A draw.",
)


def set_option(examples: str = "e.g. solver.steps=20; repeatable.", metavar: str = "KEY=VALUE") -> Callable[[F], F]:
    """`--set`, whose scopes are the command's."""
    return click.option("--set", "overrides", multiple=True, metavar=metavar, help=examples)


def config_option(keys: str = "YAML with the same keys") -> Callable[[F], F]:
    """`--config`, with the same scopes as `--set`."""
    help_ = f"{keys}; --set wins over it."
    return click.option("--config", "config_file", type=INPUT, metavar="FILE", help=help_)


def batch_option(help_: str, default: int | None = 1) -> Callable[[F], F]:
    """`--batch`: how many draws are made together."""
    count = click.IntRange(min=1)
    return click.option("--batch", type=count, default=default, show_default=True, metavar="N", help=help_)


settings_options = together(set_option(), config_option())
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps or xpu.")
runtime_options = together(
    device_option,
    click.option(
        "--precision", default="auto", show_default=True, help="Precision of the networks: auto, fp32 or bf16."
    ),
)
images_options = together(
    click.option("--crop", type=click.IntRange(min=8), metavar="N", help="Cut NxN pixels from the middle."),
    click.option("--size", type=click.IntRange(min=8), metavar="N", help="Resize the middle square to NxN."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images by name."),
)


engine_option = click.option(
    "--engine", default="local", show_default=True, metavar="NAME", help="See `idem engines list`."
)


def engine_options(batch: int) -> Callable[[F], F]:
    """How the runs of a store are carried out, with `batch` images together by default."""
    return together(
        batch_option("Images solved together.", batch),
        engine_option,
        set_option("e.g. solver.steps=8, engine.workers=2."),
        click.option("--retry-failed", is_flag=True, help="Repeat runs that failed, or whose pictures are lost."),
    )


tile_option = click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest side that a network sees at once, in pixels. Default: all of it up to 1.3 megapixels, else 1152 or "
    "what the network prefers.",
)
background_option = click.option("--background", metavar="COLOUR", help="Colour under transparent pixels, e.g. white.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
exact_option = click.option("--require-exact", is_flag=True, help="Exit 3 if a result does not re-encode to its bytes.")
salvage_option = click.option(
    "--salvage",
    is_flag=True,
    help="Read what is left of a damaged JPEG; the prior fills in the rest.",
)
output_option = click.option("-o", "--output", type=OUTPUT, required=True, metavar="FILE", help="File to write.")


@dataclass(frozen=True)
class RunOptions:
    """The flags that commands share; what a command has no flag for is at its default."""

    codec: str = DEFAULT_CODEC
    quality: int | None = None
    generator: str = DEFAULT_GENERATOR
    solver: str = DEFAULT_SOLVER
    seed: int = 0
    fast: bool = False
    tradeoff: float = 1.0
    overrides: tuple[str, ...] = ()
    config_file: str | None = None
    device: str = "auto"
    precision: str = "auto"
    tile: int | None = None
    background: str | None = None
    salvage: bool = False
    trace: bool = False
    save_steps: int | None = None
    batch: int = 1
    engine: str = "local"
    retry_failed: bool = False
    as_json: bool = False
    require_exact: bool = False

    def settings(self, scopes: Sequence[str] = SCOPES, shorthand: Values | None = None) -> Values:
        """By scope: the file's, then those of flags such as --quality, then --set; later ones win.

        `shorthand` has those of the command's own flags. Raises UsageError.
        """
        quality: Values = {} if self.quality is None else {"codec": {"quality": self.quality}}
        fast: Values = {"solver": {"steps": 1}} if self.fast else {}
        layers = [load_config_file(self.config_file, scopes)] if self.config_file else []
        layers += [quality, fast, shorthand or {}, parse_overrides(self.overrides, scopes)]
        merged: Values = {}
        for layer in layers:
            for scope, values in layer.items():
                merged.setdefault(scope, {}).update(values)
                declare_files(values)
        return merged

    def runtime(self) -> Runtime:
        """Raises MissingError if the device is not there."""
        from ..runtime import Runtime

        return Runtime.choose(self.device, self.precision, self.tile)

    def colour(self) -> Colour | None:
        """How images are read, by --background. Raises UsageError."""
        from ..io.images import parse_background

        return parse_background(self.background) if self.background else None

    @property
    def special(self) -> tuple[str, ...]:
        """What the codec must be able to do beside reading sound files."""
        return ("salvage",) if self.salvage else ()


@dataclass(frozen=True)
class ImagesOptions:
    """The images, and the part of each that is used."""

    crop: int | None = None
    size: int | None = None
    limit: int | None = None

    def frame(self) -> Frame:
        """Raises UsageError for a crop and a size."""
        from ..io.image_sets import Frame

        return Frame(self.crop, self.size)


def take_options(**groups: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command gets one object a group, in the place of a parameter for each flag that the group's class has.

    `take_options()` stands for `take_options(options=RunOptions)`, which every command has.
    """
    classes = {**groups, "options": RunOptions}
    names = {group: {field.name for field in fields(kind)} for group, kind in classes.items()}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def gathered(**given: Any) -> Any:
            made = {
                group: kind(**{name: given.pop(name) for name in names[group] & given.keys()})
                for group, kind in classes.items()
            }
            return command(**made, **given)

        return gathered

    return decorate


def check_samples(parts: DecoderParts, samples: int) -> None:
    """Raises UsageError where all of them would be the same picture."""
    if samples > 1 and not parts.draws:
        raise UsageError(
            f"Solver '{parts.solver.spec.name}' has one picture, whatever the seed.", "Leave --samples out."
        )


def listed(text: str, option: str) -> list[str]:
    """The names between commas. Raises UsageError if there are none."""
    names = list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if not names:
        raise UsageError(f"{option} {text!r} names nothing.", f"Write e.g. {option} A,B.")
    return names


def declare_files(values: Mapping[str, Any]) -> None:
    """Files that settings name, such as weights, are inputs."""
    declare_input(*(value for value in values.values() if isinstance(value, str) and value))
