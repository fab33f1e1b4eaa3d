"""Makes the pictures of gallery.md from the demo photo: `python docs/gallery.py`, about a minute of two cores.

Each is what the program gives with its defaults, but for what the caption names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from idemcore.io.images import read_image, to_bytes
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder

DOCS = Path(__file__).resolve().parent
TOP, LEFT, HEIGHT, WIDTH = 224, 288, 160, 208
"""The crop of the demo photo."""
HEAD, GAP = 22, 8
Panel = tuple[str, Tensor]
"""A caption, and a byte image [1,3,HEIGHT,WIDTH]."""


def qualities(photo: Tensor, decoder: Decoder) -> Iterator[list[Panel]]:
    """A row a quality: what every program shows of the JPEG, and what idem makes of it."""
    for quality in (5, 10, 25, 50):
        bitstream = Codec.load("jpeg", quality=quality).encode(photo)
        plain, sharp = to_bytes(bitstream.decoded), decoder.reconstruct(bitstream).image
        size = f"{len(bitstream.data):,} bytes"
        yield [(f"JPEG, quality {quality}, {size}", plain), ("idem decode", sharp), ("original", to_bytes(photo))]


def dial(photo: Tensor, decoder: Decoder) -> Iterator[list[Panel]]:
    """One JPEG from least error to most realism, and with other seeds."""
    bitstream = Codec.load("jpeg", quality=10).encode(photo)
    for amounts, word in (((0.0, 0.5, 1.0), "--tradeoff"), ((1, 2, 3), "--seed")):
        yield [
            (f"{word} {amount:g}", decoder.reconstruct(bitstream, **{word[2:]: amount}).image)  # type: ignore[arg-type]
            for amount in amounts
        ]


def learned(photo: Tensor, decoder: Decoder) -> Iterator[list[Panel]]:
    """A learned codec at its two lowest rates."""
    for quality in (1, 2):
        bitstream = Codec.load("elic", quality=quality).encode(photo)
        plain, sharp = to_bytes(bitstream.decoded), decoder.reconstruct(bitstream).image
        title = f"ELIC, quality {quality}, {len(bitstream.data):,} bytes"
        yield [(title, plain), ("idem decode", sharp), ("original", to_bytes(photo))]


def page(rows: list[list[Panel]]) -> Image.Image:
    """Rows of panels, twice as large as they are, each under its caption."""
    width, height = 2 * WIDTH + GAP, 2 * HEIGHT + HEAD + GAP
    sheet = Image.new("RGB", (GAP + len(rows[0]) * width, GAP + len(rows) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, panels in enumerate(rows):
        for column, (title, image) in enumerate(panels):
            x, y = GAP + column * width, GAP + row * height
            draw.text((x, y), title, font=font, fill="#1b4965")
            picture = Image.fromarray(image[0].permute(1, 2, 0).cpu().numpy())
            sheet.paste(picture.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BICUBIC), (x, y + HEAD))
    return sheet


@torch.no_grad()
def main() -> None:
    photo = read_image(str(DOCS.parent / "examples" / "photo.png"))[..., TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    decoder = Decoder.load()
    for rows in (qualities, dial, learned):
        page(list(rows(photo, decoder))).save(DOCS / "images" / f"gallery-{rows.__name__}.webp", quality=90, method=6)


if __name__ == "__main__":
    main()
