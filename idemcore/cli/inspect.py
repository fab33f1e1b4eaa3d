"""`idem inspect`: what a bitstream or a certificate is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..io.files import parse_json
from ..results.certificate import Certificate, CodecFacts, PartFacts
from .options import INPUT, RunOptions, json_option, salvage_option, take_options
from .output import moved, print_json, print_record, yes

Facts = dict[str, Any]


@click.command()
@click.argument("file", type=INPUT)
@salvage_option
@json_option
@take_options()
def inspect(file: str, options: RunOptions) -> None:
    """Describe FILE, a bitstream (.jpg, .idem) or a certificate (.json)."""
    from ..io.files import read_file

    data = read_file(Path(file))
    facts, text = described(data, file) if data[:1] == b"{" else with_text(_bitstream(data, file, options.special))
    if options.as_json:
        print_json(facts)
    else:
        print_record(text)


def described(data: bytes, file: str) -> tuple[Facts, dict[str, str]]:
    """What a certificate says, and that as text. Raises InputError if it is none."""
    try:
        return with_text(_certificate(Certificate.from_json(parse_json(data))))
    except (ValueError, TypeError, AttributeError) as error:
        hint = "Certificates are the .json files that `idem run` and `idem decode` write beside an image."
        raise InputError(f"{file} is neither a bitstream nor a certificate of idem.", hint) from error


def with_text(facts: Facts) -> tuple[Facts, dict[str, str]]:
    """Facts, and those as text."""
    return facts, {key.replace("_", " "): _text(key, value) for key, value in facts.items()}


def _bitstream(data: bytes, file: str, special: tuple[str, ...]) -> Facts:
    from ..pipeline.codec import open_bitstream
    from ..runtime import Runtime

    opened = open_bitstream(data, file, Runtime.choose("cpu", "fp32"), special=special)
    height, width = opened.size
    return {
        "kind": "bitstream",
        "codec": opened.codec.name,
        "size": [width, height],
        "bytes": len(data),
        "bpp": opened.bits_per_pixel,
        "sha256": opened.sha256,
        **({"model_id": opened.codec.encoder.model_id.hex()} if opened.codec.encoder.model_id else {}),
        **opened.codec.encoder.describe(opened.stream),
    }


def _certificate(content: Certificate) -> Facts:
    facts = content.to_json()
    parts = {"generator": content.generator, "solver": content.solver, "adapter": content.adapter,
             "restorer": content.restorer}  # fmt: skip
    return {
        "kind": "certificate",
        "exact": content.exact,
        "differing_symbols": content.differing_symbols,
        "psnr_moved": content.psnr_moved,
        **{key: facts[key] for key in ("reason", "seed", "sample", "tradeoff", "tile") if facts[key] is not None},
        **{f"image_{key}": value for key, value in facts["image"].items()},
        **{f"bitstream_{key}": value for key, value in facts["bitstream"].items()},
        "codec": _described(content.codec, content.codec.stream),
        **{kind: _described(part, part.settings) for kind, part in parts.items() if part},
    }


def _described(part: CodecFacts | PartFacts, details: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in details.items())
    return f"{part.name} ({part.plugin} {part.version}{'; ' if settings else ''}{settings})"


def _text(key: str, value: Any) -> str:
    if key == "psnr_moved":
        return moved(value)
    if isinstance(value, bool):
        return yes(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)
