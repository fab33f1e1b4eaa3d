"""A certificate and a photograph's metadata in plain words."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from .album import Photo, Version
from .checking import with_suffix

Fact = tuple[str, str]
"""A heading and what is said."""
MAKE, MODEL, TAKEN, DIGITIZED, PLACE = 0x010F, 0x0110, 0x9003, 0x9004, 0x8825


def facts(photo: Photo, version: Version, folder: Path) -> list[Fact]:
    """What a user should know of a version that is there."""
    certificate = _certificate(folder / f"{version.layer}.certificate.json")
    return [*_proof(photo, certificate), *_making(version, certificate), *_file(photo, certificate), *_taken(folder)]


def command(photo: Photo, version: Version, tradeoff: float = 1.0) -> str:
    """What to type to get the same picture."""
    chosen, name = version.choices, Path(photo.name).name
    parts = ["idem", "run" if photo.kind == "picture" else "decode", name]
    if photo.kind == "picture":
        parts += ["--codec", photo.codec] if photo.codec != "jpeg" else []
        parts += ["--quality", str(photo.quality)] if photo.quality is not None else []
    parts += ["--generator", chosen.generator] if chosen.generator != "ddpm-photo" else []
    parts += ["--solver", chosen.solver] if chosen.solver != "cell" else []
    parts += ["--set", f"solver.steps={chosen.steps}"] if chosen.steps is not None else []
    parts += ["--seed", str(version.seed)] if version.seed else []
    parts += ["--tradeoff", f"{tradeoff:g}"] if tradeoff != 1 else []
    parts += ["--salvage"] if photo.salvage else []
    parts += ["-o", Path(with_suffix(photo.name, ".png")).name] if photo.kind != "picture" else []
    return shlex.join(parts)


def _proof(photo: Photo, certificate: Mapping[str, Any]) -> list[Fact]:
    if not certificate:
        return []
    bitstream = "the compressed file" if photo.kind == "picture" else photo.name
    if certificate["exact"]:
        said = (
            f"Compressed again in the same way, this picture gives exactly the data of {bitstream}. "
            "Nothing that the file says was changed; what it leaves open was filled in."
        )
    else:
        differing = certificate["differing_symbols"]
        values = "1 value differs" if differing == 1 else f"{differing:,} values differ"
        said = f"Not exact: compressed again, {values} from those of {bitstream}. {certificate['reason'] or ''}".strip()
    found = [("Proof", said)]
    if (moved := certificate["psnr_moved"]) is not None:
        levels = 255 / 10 ** (moved / 20)
        found.append(("Made exact by", f"changing pixels by {levels:.2f} of 255 levels on average ({moved:.1f} dB)."))
    caution = "Fine detail is drawn as it could have been, not as it was: it proves nothing about what was there."
    return [*found, ("What it is not", caution)]


def _making(version: Version, certificate: Mapping[str, Any]) -> list[Fact]:
    generator = certificate.get("generator")
    prior = f" with the prior {generator['name']}" if generator else ""
    passes = f" in {version.passes} passes of the network" if version.passes else ""
    seconds = f", {version.seconds:,.0f} seconds" if version.seconds is not None else ""
    made = f"{version.choices.solver}{prior}{passes}{seconds}; seed {version.seed}."
    return [("Drawn by", made), *(("Note", f"{note.rstrip('.')}.") for note in version.notes)]


def _file(photo: Photo, certificate: Mapping[str, Any]) -> list[Fact]:
    width, height = photo.size or (0, 0)
    pixels = f"{width} × {height} pixels ({width * height / 1e6:.1f} megapixels)"
    stream = certificate.get("codec", {}).get("stream", {})
    quality = f", {certificate['codec']['name']} of quality {stream['quality']}" if "quality" in stream else ""
    size = certificate.get("bitstream", {}).get("bytes", photo.bytes)
    return [("File", f"{pixels}, {size:,} bytes{quality}.")]


def _taken(folder: Path) -> list[Fact]:
    """From EXIF: when, with what, and that the place is in it."""
    try:
        with Image.open(folder / "file") as image:
            exif = image.getexif()
            inner, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(PLACE)
    except Exception:  # an .idem file, or what Pillow's parsing meets in a damaged one
        return []
    found: list[Fact] = []
    if taken := _text(inner.get(TAKEN) or inner.get(DIGITIZED)):
        found.append(("Taken", taken.replace(":", "-", 2)))
    if camera := " ".join(filter(None, (_text(exif.get(MAKE)), _text(exif.get(MODEL))))):
        found.append(("Camera", camera))
    if place:
        found.append(("Place", "The file says where it was taken, and so does the PNG."))
    return found


def _text(value: object) -> str:
    return "".join(letter for letter in str(value or "") if letter.isprintable()).strip()[:100]


def _certificate(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def spread_words(mean: float, most: float, count: int) -> str:
    """What the map of the spread shows."""
    if not math.isfinite(mean):
        return ""
    return (
        f"Over {count} versions, pixels differ by {mean:.1f} of 255 levels on average, and by {most:.0f} where they "
        "differ most. Where the map is clear, the file determines the picture; where it glows, detail was drawn."
    )
