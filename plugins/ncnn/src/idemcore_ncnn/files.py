"""Where the files of a network are: beside each other at a path, or inside another installed package."""

from __future__ import annotations

from pathlib import Path

from idemcore.errors import InputError, MissingError
from idemcore.weights.store import locate

MAGIC = "7767517"
"""First line of a `.param` file as text."""
NAMES = "`idem models` lists the networks that are known by name."


def files_of(model: str) -> tuple[Path, Path]:
    """The `.param` and the `.bin` of a network, by its name or the path of its `.param`.

    Raises MissingError if one of them is not there, InputError if the first is no text in ncnn's format.
    """
    param = Path(model) if model.endswith(".param") else locate(model).with_suffix(".param")
    if not param.is_file():
        raise MissingError(f"There is no network in ncnn format at {param}.", NAMES)
    weights = param.with_suffix(".bin")
    if not weights.is_file():
        raise MissingError(f"{param} has no weights beside it: there is no {weights.name}.", "Put both in one folder.")
    _check(param)
    return param, weights


def _check(param: Path) -> None:
    with open(param, "rb") as file:
        first = file.readline(32).strip()
    if first != MAGIC.encode():
        raise InputError(
            f"{param} is no text in ncnn's format: it does not begin with {MAGIC}.",
            "Convert the network with pnnx, which writes FILE.ncnn.param and FILE.ncnn.bin.",
        )
