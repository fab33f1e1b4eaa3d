"""Laws of a codec f with decoder g: bytes and images."""

from __future__ import annotations

import torch

from .law import close, equal, image, law, require
from .trials import CodecTrial


@law("codec")
def encode_bytes(trial: CodecTrial) -> None:
    """`encode` gives a list of bitstreams, bytes, one an image, none of them empty."""
    require(all(trial.streams), "a stream is empty")


@law("codec")
def encode_rounds(trial: CodecTrial) -> None:
    """`encode` rounds an image to 8 bits first: less than half a level more or less gives the same bytes."""
    shift = 0.4 / 255 * torch.tensor([1.0, -1.0])[:, None, None, None]
    require(trial.encode(trial.image + shift) == trial.streams, "0.4 levels more or less gave other bytes")


@law("codec")
def decode_image(trial: CodecTrial) -> None:
    """`decode` gives float32 images in [0,1] of the size that was encoded, odd sizes and 1x1 included."""
    image(trial.decode(trial.streams, trial.size), tuple(trial.image.shape), "g(y)")


@law("codec")
def batch_independent(trial: CodecTrial) -> None:
    """A bitstream and its decode do not depend on what stands beside the image, nor on the order."""
    backwards = trial.encode(trial.image.flip(0))
    require(backwards[::-1] == trial.streams, "two images in the other order gave other bytes")
    together = trial.decode(trial.streams, trial.size)
    for b, stream in enumerate(trial.streams):
        require(trial.encode(trial.image[b : b + 1]) == [stream], "an image on its own gave other bytes")
        close(trial.decode([stream], trial.size)[0], together[b], 1e-5, "the decode on its own and in a batch")


@law("codec")
def cell_centre(trial: CodecTrial) -> None:
    """The cell's `centre` and `target` are g(y)."""
    close(trial.cell.centre, trial.decode(trial.streams, trial.size), 1e-5, "the cell's centre and the decode")
    equal(trial.cell.target, trial.cell.centre, "the cell's target and centre")
