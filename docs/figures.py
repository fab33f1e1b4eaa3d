"""Draws the figures of design/idea.md into docs/images: `python docs/figures.py`, a minute of one core.

The pictures are made by the program with its defaults; what is only drawn is the frame around them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

from idemcore.io.images import read_image, to_bytes
from idemcore.noise import Noise
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder
from idemcore_toy.encoder import ToyEncoder
from idemcore_toy.source import MixtureSource

matplotlib.use("agg")
from matplotlib import pyplot

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
TOP, LEFT, HEIGHT, WIDTH = 236, 300, 136, 176
"""The crop of the demo photo."""
QUALITY, DRAWS = 10, 3
TOY_QUALITY = 2
"""Steps of 48 levels, within which the source has more than one hill."""
INK, LINE = "#1b4965", "#9aa5ad"


def crop() -> Tensor:
    """[1,3,HEIGHT,WIDTH]."""
    return read_image(str(DOCS.parent / "examples" / "photo.png"))[..., TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]


def plane(codec: ToyEncoder, source: MixtureSource, symbols: Tensor, reach: tuple[float, float]) -> Tensor:
    """Density [N,N] of red (columns) and green (rows), given that blue has its symbol."""
    lower, upper = codec.box(symbols)
    axis = torch.linspace(*reach, 400, dtype=torch.float64)
    normal = torch.distributions.Normal(source.means, source.deviations)
    blue = normal.cdf(upper[0, :, 0, 0].double()) - normal.cdf(lower[0, :, 0, 0].double())
    densities = normal.log_prob(axis[:, None, None]).exp()  # [N,K,3]
    return torch.einsum("k,k,xk,yk->yx", source.weights, blue[:, 2], densities[..., 0], densities[..., 1])


def likely_cell(codec: ToyEncoder, source: MixtureSource) -> Tensor:
    """Symbols [1,3,1,1] of the pixel value, of many, whose cell is shared most evenly by two hills of the source."""
    pixels = source.sample(Noise([0]), 1, 4000)
    symbols = codec.quantise(pixels)
    shares = source.posterior(*codec.box(symbols)).shares[0, :, 0]
    second = shares.sort(dim=0).values[-2]
    return symbols[..., second.argmax()][..., None]


def draw_cell(path: Path) -> None:
    """The plane of two channels with the grid of cells; in one cell, exact draws and those of the solver."""
    built = Codec.load("toy", quality=TOY_QUALITY)
    codec, source = built.encoder, MixtureSource.drawn()
    assert isinstance(codec, ToyEncoder)
    symbols = likely_cell(codec, source)
    side = 16
    posterior = source.posterior(*(edge.expand(1, 3, side, side) for edge in codec.box(symbols)))
    bitstream = built.encode(codec.centre(symbols).expand(1, 3, side, side))
    solved = Decoder.load("toy", "cell").reconstruct(bitstream, seed=0).image.double() / 255
    panels = {"draws of the prior from the cell": posterior.sample(Noise([0])), "what the solver cell finds": solved}
    figure, axes = pyplot.subplots(1, 2, figsize=(9.6, 4.9), sharey=True, layout="constrained")
    for axis, (title, dots) in zip(axes, panels.items(), strict=True):
        ground(axis, codec, source, symbols)
        red, green = dots[0, 0].flatten(), dots[0, 1].flatten()
        axis.plot(red, green, ".", color="#c1121f", markersize=4, alpha=0.6, label=title)
        axis.plot(*codec.centre(symbols)[0, :2, 0, 0], "X", color="black", markersize=9, label="g(y), the middle")
        axis.legend(loc="lower left", framealpha=0.95)
    axes[0].set_ylabel("green")
    save(figure, path)


def ground(axis: Any, codec: ToyEncoder, source: MixtureSource, symbols: Tensor) -> None:
    """Density, grid and the cell's outline."""
    (x0, y0), (x1, y1) = (edge[0, :2, 0, 0].tolist() for edge in codec.box(symbols))
    low, high = min(x0, y0) - 0.12, max(x1, y1) + 0.12
    axis.contourf(*[torch.linspace(low, high, 400)] * 2, plane(codec, source, symbols, (low, high)).sqrt(),
                  levels=12, cmap="Blues", alpha=0.8)  # fmt: skip
    for symbol in range(256 // codec.step + 1):
        edge = (symbol * codec.step - 0.5) / 255
        axis.axvline(edge, color=LINE, linewidth=0.8)
        axis.axhline(edge, color=LINE, linewidth=0.8)
    axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="black", linewidth=2)
    axis.set(xlim=(low, high), ylim=(low, high), xlabel="red", aspect="equal")


def draw_samples(bitstream: Bitstream, decoder: Decoder, original: Tensor, path: Path) -> None:
    """Original, plain decode and several draws, with what the draws differ by."""
    draws = [decoder.reconstruct(bitstream, seed=0, sample=number) for number in range(DRAWS)]
    assert all(draw.exact for draw in draws)
    images = [to_bytes(original), to_bytes(bitstream.decoded), *(draw.image for draw in draws)]
    titles = ["original", f"the middle g(y): JPEG, {len(bitstream.data):,} bytes"]
    titles += [f"draw {n + 1}: the same bytes" for n in range(DRAWS)]
    spread = torch.stack([draw.image.float() for draw in draws]).std(dim=0).mean(dim=1)[0]
    figure, axes = pyplot.subplots(2, 3, figsize=(9.9, 5.6), layout="constrained")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image[0].permute(1, 2, 0), interpolation="nearest")
        axis.set_title(title, fontsize=10)
    shown = axes.flat[-1].imshow(spread, cmap="viridis", vmin=0)
    axes.flat[-1].set_title("how far draws differ, levels", fontsize=10)
    figure.colorbar(shown, ax=axes.flat[-1], shrink=0.8)
    for axis in axes.flat:
        axis.axis("off")
    save(figure, path)


def draw_positions(bitstream: Bitstream, decoder: Decoder, original: Tensor, path: Path) -> None:
    """Where coefficients lie in their intervals: of the plain decode, a reconstruction and the original."""
    images = {"original": to_bytes(original), "reconstruction, certified": decoder.reconstruct(bitstream).image,
              "plain decode": to_bytes(bitstream.decoded)}  # fmt: skip
    figure, axis = pyplot.subplots(figsize=(7.6, 3.2), layout="constrained")
    bins = torch.linspace(-0.75, 0.75, 76)
    for (name, image), colour in zip(images.items(), ("#2a9d8f", "#c1121f", "black"), strict=True):
        places = bitstream.cell.position(image.float() / 255).flatten()
        share = torch.histogram(places, bins).hist / len(places)
        axis.stairs(share, bins, label=name, color=colour, linewidth=1.6)
    for face in (-0.5, 0.5):
        axis.axvline(face, color=LINE, linestyle=":")
    axis.set(xlabel="place in the interval, quantiser steps", ylabel="share of coefficients", yscale="log")
    axis.legend()
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """As WebP, which keeps photographs small."""
    figure.savefig(path, dpi=110, facecolor="white", pil_kwargs={"quality": 88, "method": 6})
    pyplot.close(figure)


def main() -> None:
    original = crop()
    bitstream, decoder = Codec.load("jpeg", quality=QUALITY).encode(original), Decoder.load()
    draw_cell(IMAGES / "idea-cell.webp")
    draw_samples(bitstream, decoder, original, IMAGES / "idea-samples.webp")
    draw_positions(bitstream, decoder, original, IMAGES / "idea-positions.webp")


if __name__ == "__main__":
    main()
