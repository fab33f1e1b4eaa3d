"""Laws of a codec f with decoder g: bytes and images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import BitstreamError, IdemError, article
from ..hookspecs import EncoderSpec
from ..noise import Noise
from ..pipeline.codec import Codec, open_bitstream
from ..pipeline.container import MAGIC, Container
from ..plugins.selection import Part
from ..runtime import Runtime
from .law import Broken, NotTried, close, equal, image, law, require
from .pictures import pictures
from .trials import CodecTrial

EXTRA = 18
"""Bytes of idem's container, at most."""


@law("codec")
def encode_bytes(trial: CodecTrial) -> None:
    """`encode` gives a list of bitstreams, bytes, one an image, none of them empty."""
    require(all(trial.streams), "a stream is empty")


@law("codec")
def encode_rounds(trial: CodecTrial) -> None:
    """`encode` rounds an image to the nearest 8-bit levels first: less than half a level off gives the same bytes."""
    for shift in (0.45, -0.45, 0.45 * (2 * Noise([40, 41]).uniform(*trial.image.shape[1:]) - 1)):
        moved = (trial.image + torch.as_tensor(shift) / 255).clamp(0, 1)
        require(trial.encode(moved) == trial.streams, "an image less than half a level away gave other bytes")


@law("codec")
def encode_distinguishes(trial: CodecTrial) -> None:
    """Different pictures have different bitstreams."""
    found = {*trial.streams, *trial.encode(trial.other)}
    require(len(found) == 4, f"4 different pictures have {len(found)} different bitstreams")


@law("codec")
def decode_image(trial: CodecTrial) -> None:
    """`decode` gives float32 images in [0,1] of the size that was encoded; black, white and noise included."""
    image(trial.decode(trial.streams, trial.size), tuple(trial.image.shape), "g(y)")
    height, width = trial.size
    extremes = torch.stack([torch.zeros(3, height, width), torch.ones(3, height, width)])
    noise = (Noise([42]).uniform(3, height, width) * 255).round() / 255
    for name, one in (("black", extremes[:1]), ("white", extremes[1:]), ("noise", noise)):
        found = trial.decode(trial.encode(one), trial.size)
        image(found, (1, 3, height, width), f"g(y) of {name}")


@law("codec")
def decode_resembles(trial: CodecTrial) -> None:
    """g(f(x)) resembles x: nearer to it than its mean colour is, and as often too bright as too dark."""
    error = trial.decode(trial.streams, trial.size) - trial.image
    flat = trial.image - trial.image.mean(dim=(2, 3), keepdim=True)
    found, trivial = (float(e.square().mean().sqrt()) for e in (error, flat))
    require(found < trivial, f"the decode is {found:.3g} rms from the picture, its mean colour {trivial:.3g}")
    bias = float(error.mean(dim=(0, 2, 3)).abs().max())
    require(bias <= 0.2 * trivial, f"a colour of the decode is {bias:.3g} too bright or dark on average")


@law("codec")
def odd_sizes(trial: CodecTrial) -> None:
    """Sizes that are no multiple of anything work, 1x1 included: encode, decode and cell have the image's size."""
    for size in trial.odd_sizes:
        picture = pictures(1, *size)
        streams, label = trial.encode(picture), f"{size[1]}x{size[0]}"
        image(trial.decode(streams, size), tuple(picture.shape), f"g(y) of {label}")
        cell = trial.encoder.cell(streams, size)
        require(cell.centre.shape == picture.shape, f"the cell of {label} has a centre of {list(cell.centre.shape)}")
        inside = cell.contains((picture * 255).round().to(torch.uint8))
        require(bool(inside.all()), f"the cell of a picture of {label} does not contain it")


@law("codec")
def edges(trial: CodecTrial) -> None:
    """Odd sizes decode about as well as even ones, up to the last row and column: padding leaves no trace."""
    if trial.subject.size:
        raise NotTried("it is checked on images of one size only")
    even = (trial.decode(trial.streams, trial.size) - trial.image).square().mean().sqrt()
    for size in ((33, 47), (19, 65)):
        picture = pictures(2, *size)
        error = (trial.decode(trial.encode(picture), size) - picture).square()
        parts = {"it": error, "its last row": error[..., -1:, :], "its last column": error[..., :, -1:]}
        for name, part in parts.items():
            rms = float(part.mean().sqrt())
            told = f"a picture of {size[1]}x{size[0]} is {rms:.3g} rms off in {name}, one of an even size {even:.3g}"
            require(rms <= 2 * float(even) + 0.02, told)


@law("codec")
def alignment(trial: CodecTrial) -> None:
    """The decode lies over the picture to the pixel: moved by one, whichever way, it is further from it."""
    sizes = (trial.size,) if trial.subject.size else (trial.size, (33, 47))
    for size in sizes:
        picture = pictures(2, *size)
        decoded = trial.decode(trial.encode(picture), size)
        ways = {way: _interior_error(decoded.roll(way, (-2, -1)), picture) for way in _WAYS}
        best = min(ways, key=ways.__getitem__)
        require(best == (0, 0), f"of a picture of {size[1]}x{size[0]} it fits best moved by {best} rows and columns")


_WAYS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


def _interior_error(a: Tensor, b: Tensor) -> float:
    return float((a - b)[..., 2:-2, 2:-2].square().mean())


@law("codec")
def batch_independent(trial: CodecTrial) -> None:
    """A bitstream and its decode do not depend on what stands beside the image, nor on the order."""
    require(trial.encode(trial.image.flip(0))[::-1] == trial.streams, "images in another order gave other bytes")
    together = trial.decode(trial.streams, trial.size)
    turned = trial.decode(trial.streams[::-1], trial.size).flip(0)
    close(turned, together, 1e-5, "the decode in another order and in this one")
    for b, stream in enumerate(trial.streams):
        require(trial.encode(trial.image[b : b + 1]) == [stream], "an image on its own gave other bytes")
        close(trial.decode([stream], trial.size)[0], together[b], 1e-5, "the decode on its own and in a batch")


@law("codec")
def memory_layout(trial: CodecTrial) -> None:
    """How an image lies in memory does not matter: channels last, or a view of a larger one, give the same bytes."""
    height, width = trial.size
    larger = torch.zeros(2, 3, height + 3, width + 5)
    larger[..., 2 : height + 2, 4 : width + 4] = trial.image
    views = {"channels last": trial.image.to(memory_format=torch.channels_last),
             "a view": larger[..., 2 : height + 2, 4 : width + 4]}  # fmt: skip
    for name, view in views.items():
        advice = "call .contiguous() on the image before a floating-point transform"
        require(trial.encode(view) == trial.streams, f"an image that is {name} gave other bytes; {advice}")


@law("codec")
def streams_suffice(trial: CodecTrial) -> None:
    """A new instance decodes a stream it has never seen: nothing but the bytes and the size is needed."""
    found = trial.decode([bytes(bytearray(s)) for s in trial.streams], trial.size, trial.subject.make())
    equal(found, trial.decode(trial.streams, trial.size), "the decode of a new instance and of the encoder's own")


@law("codec")
def stated_bits(trial: CodecTrial) -> None:
    """`describe` gives plain data; bits or bytes in it are those of the stream.

    The file has at most 18 bytes beside it.
    """
    for one, stream in zip(trial.image, trial.streams, strict=True):
        told = trial.encoder.describe(stream)
        odd = [key for key, value in told.items() if not isinstance(value, str | int | float)]
        require(not odd, f"describe tells of {', '.join(odd)} what is no text or number")
        size = len(stream)
        right = {"bytes": size, "bits": 8 * size, "bpp": 8 * size / (trial.size[0] * trial.size[1])}
        for key in right.keys() & told.keys():
            require(abs(float(told[key]) - right[key]) < 1e-6, f"describe tells {key} {told[key]}, not {right[key]}")
        extra = len(_codec(trial).encode(one[None]).data) - size
        require(0 <= extra <= EXTRA, f"the file is {extra} bytes longer than the stream")


@law("codec")
def files(trial: CodecTrial) -> None:
    """A file is recognised by its bytes alone, whatever its settings, and decodes to the same image."""
    codec, spec = _codec(trial), _spec(trial)
    written = codec.encode(trial.image[:1])
    if spec.suffix == ".idem":
        id_ = trial.encoder.model_id
        require(len(id_) == 4, f"model_id is {id_!r}, not 4 bytes")
        found = Container.unpack(written.data)
        require((found.model_id, found.payload) == (id_, written.stream), "the container does not hold the stream")
        require(found.height == trial.size[0] and found.width == trial.size[1], "the container has another size")
    else:
        start = written.data[:8]
        require(spec.magic and written.data.startswith(spec.magic), f"a file starts with {start!r}, not {spec.magic!r}")
        require(not MAGIC.startswith(spec.magic), f"the magic {spec.magic!r} is that of .idem files")
        equal(trial.encoder.decode([written.data]), trial.encoder.decode([written.data], trial.size), "without a size")
    if not trial.subject.distribution:
        raise NotTried("the rest asks an installed plugin")
    try:
        opened = open_bitstream(written.data, runtime=_runtime())
    except IdemError as error:
        raise Broken(f"idem does not recognise a file: {error}") from error
    names = opened.codec.part.distribution, opened.codec.name
    require(names == (trial.subject.distribution, spec.name), f"idem takes a file for one of {':'.join(names)}")
    close(opened.decoded, trial.cell.centre[:1], 1e-5, "the decode of the file and of the stream")
    require(opened.codec.encoder.model_id == trial.encoder.model_id, "the file's codec has another model_id")


@law("codec")
def damage(trial: CodecTrial) -> None:
    """Bytes that are no stream raise BitstreamError: none, half of one, and noise. Nothing hangs or crashes."""
    stream = trial.streams[0]
    noise = bytes(Noise([43]).uniform(len(stream)).mul(256).to(torch.uint8)[0].tolist())
    for name, data in {"no bytes": b"", "half of a stream": stream[: len(stream) // 2], "noise": noise}.items():
        for method in (trial.encoder.decode, trial.encoder.cell):
            try:
                method([data], trial.size)
            except BitstreamError:
                continue
            except Exception as error:
                raise Broken(f"{name} raised {type(error).__name__}: {error}") from error
            raise Broken(f"{name} decoded to an image, as if nothing were wrong; keep a checksum")


@law("codec")
def inputs_untouched(trial: CodecTrial) -> None:
    """No method changes the images it is given."""
    require(trial.outputs, "nothing was tried")
    equal(trial.image, pictures(2, *trial.size), "the image before and after encode")
    equal(trial.other, pictures(2, *trial.size, seed=10), "the image before and after the cell's methods")


def _spec(trial: CodecTrial) -> EncoderSpec:
    spec = trial.subject.spec
    require(isinstance(spec, EncoderSpec), f"the spec is {article(type(spec).__name__)}")
    return spec  # type: ignore[return-value]


def _codec(trial: CodecTrial) -> Codec:
    return Codec(Part(_spec(trial), trial.subject.distribution, trial.subject.config), trial.encoder)


def _runtime() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)
