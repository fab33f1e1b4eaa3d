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
    tradeoff_option,
)
from .output import check_suffix, moved, print_json, print_record, yes
from .recording import Recorder, recording_options

if TYPE_CHECKING:
    from ..pipeline import Bitstream, Decoder, Reconstruction


@click.command()
@click.argument("file")
@output_option
@prior_options
@click.option("--mse", is_flag=True, help="The codec's own decode g(y), without a prior.")
@tradeoff_option
@recording_options
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
    trace: bool,
    save_steps: int | None,
    overrides: tuple[str, ...],
    config_file: str | None,
    device: str,
    precision: str,
    as_json: bool,
    require_exact: bool,
) -> None:
    """Decode FILE, a .jpg or .idem, to a PNG, and write its certificate beside it: x.certificate.json for x.png.

    With --trace, x.trace.jsonl and x.trace.png are written too; with --save-steps, x.steps.png.
    """
    from ..plugins import load_catalogue
    from ..selection import check_combination, choose

    if mse and tradeoff != 1:
        raise UsageError("--mse and --tradeoff exclude each other.", "--tradeoff 0 is g(y) moved into the cell.")
    if mse and (trace or save_steps):
        raise UsageError("--mse takes no steps that --trace or --save-steps could show.", "Leave one of them out.")
    check_suffix(output, ".png")
    catalogue, settings = load_catalogue(), gather_settings(overrides, config_file)
    priors = [choose(catalogue, "generator", generator, settings.get("generator")),
              choose(catalogue, "solver", solver, settings.get("solver"))]  # fmt: skip

    from ..files import read_file
    from ..pipeline import Decoder, open_bitstream, plain_decode
    from ..runtime import Runtime

    runtime = Runtime.choose(device, precision)
    bitstream = open_bitstream(read_file(Path(file)), file, runtime, catalogue, settings.get("codec"))
    recorder = Recorder(trace, save_steps)
    if mse:
        result, decoder = plain_decode(bitstream), None
    else:
        check_combination(bitstream.codec.part.spec, priors[0].spec, priors[1].spec, catalogue)
        decoder = Decoder.build(priors[0], priors[1], runtime, settings)
        with recorder(Path(file).name, decoder.name) as callback:
            result = decoder.reconstruct(bitstream, seed, tradeoff=tradeoff, callback=callback)
    details = {"seed": seed, "sample": 0, "tradeoff": tradeoff} if decoder else {}
    _write(Path(output), bitstream, decoder, result, details, recorder.files, as_json)
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
    steps: dict[str, bytes],
    as_json: bool,
) -> None:
    from ..files import atomic_write
    from ..imageio import write_png
    from ..pipeline import certificate
    from ..runs import write_json

    content = certificate(bitstream, decoder, result, **details)
    write_png(result.image, output)
    write_json(content, beside(output, "certificate.json"))
    for name, data in steps.items():
        atomic_write(beside(output, name), data)
    if as_json:
        print_json({**content, "file": str(output), "nfe": result.nfe, "seconds": result.seconds})
        return
    height, width = bitstream.size
    print_record(
        {
            "image": f"{output}, {width}x{height}",
            "certificate": beside(output, "certificate.json"),
            **({"steps": ", ".join(beside(output, name).name for name in steps)} if steps else {}),
            "certifying moved": moved(content["psnr_moved"]),
            "differing symbols": result.differing_symbols,
            "exact": yes(result.exact),
        }
    )


def beside(image: Path, name: str) -> Path:
    """Where a file that goes with an image file is."""
    return image.with_name(f"{image.stem}.{name}")
