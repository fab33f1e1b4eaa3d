"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..io.inputs import declare_folder, declare_input, declare_output
from ..plugins.selection import DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER

if TYPE_CHECKING:
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


codec_options = together(
    click.option("--codec", default=DEFAULT_CODEC, show_default=True, metavar="NAME", help="See `idem codecs list`."),
    click.option("--quality", type=int, metavar="Q", help="Short for --set codec.quality=Q; its range is the codec's."),
)
prior_options = together(
    click.option(
        "--generator",
        default=DEFAULT_GENERATOR,
        show_default=True,
        metavar="NAME",
        help="The prior, which knows what images look like.",
    ),
    click.option(
        "--solver", default=DEFAULT_SOLVER, show_default=True, metavar="NAME", help="The method that draws the image."
    ),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the noise."),
)
tradeoff_option = click.option(
    "--tradeoff",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="A",
    help="From 0, the image of least error, to 1, the most realistic one: (1-A) estimate + A draw.",
)
settings_options = together(
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="e.g. solver.steps=20; repeatable."),
    click.option(
        "--config", "config_file", type=INPUT, metavar="FILE", help="YAML with the same keys; --set wins over it."
    ),
)
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
tile_option = click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest side, in pixels, that a network sees at once. Default: all of up to 1.3 megapixels, else 1152.",
)
background_option = click.option("--background", metavar="COLOUR", help="Colour under transparent pixels, e.g. white.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
exact_option = click.option("--require-exact", is_flag=True, help="Exit 3 if a result does not re-encode to its bytes.")
salvage_option = click.option(
    "--salvage",
    is_flag=True,
    help="Read a damaged JPEG as far as it goes; what is missing is left to the prior.",
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
    as_json: bool = False
    require_exact: bool = False

    def settings(self) -> dict[str, dict[str, Any]]:
        """By scope: the file's, then --quality, then --set; later ones win."""
        return gather_settings(self.overrides, self.config_file, self.quality)

    def runtime(self) -> Runtime:
        """Raises MissingError if the device is not there."""
        from ..runtime import Runtime

        return Runtime.choose(self.device, self.precision, self.tile)


def take_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command gets `options: RunOptions` in the place of a parameter for each flag that RunOptions has."""
    names = {field.name for field in fields(RunOptions)}

    @wraps(command)
    def gathered(**given: Any) -> Any:
        options = RunOptions(**{name: given.pop(name) for name in names & given.keys()})
        return command(options=options, **given)

    return gathered


def gather_settings(
    overrides: tuple[str, ...], config_file: str | None, quality: int | None = None
) -> dict[str, dict[str, Any]]:
    """Settings by scope: the file's, then --quality, then --set; later ones win."""
    from ..plugins.settings import load_config_file, parse_overrides

    layers = [load_config_file(config_file)] if config_file else []
    if quality is not None:
        layers.append({"codec": {"quality": quality}})
    layers.append(parse_overrides(overrides))
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for scope, values in layer.items():
            merged.setdefault(scope, {}).update(values)
            declare_files(values)
    return merged


def declare_files(values: Mapping[str, Any]) -> None:
    """Files that settings name, such as weights, are inputs."""
    declare_input(*(value for value in values.values() if isinstance(value, str) and value))
