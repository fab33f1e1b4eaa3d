"""`idem decode`: bitstream to image, with a certificate beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import NotExact, UsageError
from .options import (
    exact_option,
    gather_settings,
    json_option,
    output_option,
    prior_options,
    runtime_options,
    settings_options,
)
from .output import check_suffix, moved, print_json, print_record, solver_progress, yes

if TYPE_CHECKING:
    from ..pipeline import Bitstream, Decoder, Reconstruction


@click.command()
@click.argument("file")
@output_option
@prior_options
@click.option("--mse", is_flag=True, help="The codec's own decode g(y), without a prior.")
@click.option(
    "--tradeoff",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="A",
    help="(1-A) g(y) + A x: 0 has the least error, 1 the most realism.",
)
@settings_options
@runtime_options
@json_option
@exact_option
def decode(
    file: str,
    output: str,
    generator: str,
    solver: str,
    seed: int,
    mse: bool,
    tradeoff: float,
    overrides: tuple[str, ...],
    config_file: str | None,
    device: str,
    precision: str,
    as_json: bool,
    require_exact: bool,
) -> None:
    """Decode FILE, a .jpg or .idem, to a PNG, and write its certificate beside it: x.certificate.json for x.png."""
    from ..plugins import load_catalogue
    from ..selection import check_combination, choose

    if mse and tradeoff != 1:
        raise UsageError("--mse and --tradeoff exclude each other.", "--tradeoff 0 is g(y) moved into the cell.")
    check_suffix(output, ".png")
    catalogue, settings = load_catalogue(), gather_settings(overrides, config_file)
    priors = [choose(catalogue, "generator", generator, settings.get("generator")),
              choose(catalogue, "solver", solver, settings.get("solver"))]  # fmt: skip

    from ..files import read_file
    from ..pipeline import Decoder, open_bitstream, plain_decode
    from ..runtime import Runtime

    runtime = Runtime.choose(device, precision)
    bitstream = open_bitstream(read_file(Path(file)), file, runtime, catalogue, settings.get("codec"))
    if mse:
        result, decoder = plain_decode(bitstream), None
    else:
        check_combination(bitstream.codec.part.spec, priors[0].spec, priors[1].spec, catalogue)
        decoder = Decoder.build(priors[0], priors[1], runtime, settings)
        with solver_progress(Path(file).name) as callback:
            result = decoder.reconstruct(bitstream, seed, tradeoff=tradeoff, callback=callback)
    details = {"seed": seed, "sample": 0, "tradeoff": tradeoff} if decoder else {}
    _write(Path(output), bitstream, decoder, result, details, as_json)
    if require_exact and not result.exact:
        raise NotExact(
            f"{output} does not re-encode to {file}: {result.differing_symbols} symbols differ.", "Try another --seed."
        )


def _write(
    output: Path,
    bitstream: Bitstream,
    decoder: Decoder | None,
    result: Reconstruction,
    details: dict[str, Any],
    as_json: bool,
) -> None:
    from ..imageio import write_png
    from ..pipeline import certificate
    from ..runs import write_json

    content = certificate(bitstream, decoder, result, **details)
    write_png(result.image, output)
    write_json(content, beside(output))
    if as_json:
        print_json({**content, "file": str(output), "nfe": result.nfe, "seconds": result.seconds})
        return
    height, width = bitstream.size
    print_record(
        {
            "image": f"{output}, {width}x{height}",
            "certificate": beside(output),
            "certifying moved": moved(content["psnr_moved"]),
            "differing symbols": result.differing_symbols,
            "exact": yes(result.exact),
        }
    )


def beside(image: Path) -> Path:
    """Where the certificate of an image file is."""
    return image.with_name(f"{image.stem}.certificate.json")
