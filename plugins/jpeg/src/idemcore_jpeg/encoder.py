"""JPEG as an Encoder: libjpeg-turbo both ways, and the cell of any file it can read."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from weakref import WeakValueDictionary

import torch
from torch import Tensor

import idemcore.io.jpeg_metadata as jpeg_metadata
from idemcore.errors import BitstreamError, IdemError, IdemWarning
from idemcore.io.exif import Metadata
from idemcore.io.images import to_bytes
from idemcore.protocols import Encoder
from idemcore.runtime import Runtime

from . import appended
from .cell import JpegCell
from .config import JpegConfig
from .estimate import Estimator
from .files import decode_image, encode_image, quality_of, writable
from .reading import Reading, pack_symbols
from .stream import PROGRESSIVE, parse
from .writer import write


class JpegEncoder(Encoder):
    """Ordinary .jpg files. `config` matters to `encode`, and to the estimate: the rest is read from the file."""

    def __init__(self, config: JpegConfig, runtime: Runtime) -> None:
        config.validate()
        self.config, self.device = config, runtime.device
        self.estimator = None if config.estimate == "none" else Estimator(config.estimate, runtime)
        self._readings: WeakValueDictionary[bytes, Reading] = WeakValueDictionary()

    def encode(self, image: Tensor) -> list[bytes]:
        """[B,3,H,W] in [0,1], rounded to 8 bits -> a JPEG file each; with `before`, of images compressed once already.

        What was compressed before does not re-encode to its own file by this, but by the same without `before`.
        """
        settings = self.config
        options = {"quality": settings.quality, "subsampling": settings.subsampling, "optimize": settings.optimize}
        images = to_bytes(image)
        if settings.before:
            images = torch.cat([self._compressed_before(one) for one in images])
        return [encode_image(one, **options) for one in images]

    def _compressed_before(self, byte_image: Tensor) -> Tensor:
        """Uint8 [1,3,H,W]: after a compression whose blocks begin `before_shift` pixels outside of [3,H,W]."""
        shift, sampling = self.config.before_shift, self.config.subsampling
        padded = torch.nn.functional.pad(byte_image[None].float(), (shift, 0, shift, 0), mode="replicate").byte()
        earlier = decode_image(encode_image(padded[0], quality=self.config.before, subsampling=sampling))
        return to_bytes(earlier[..., shift:, shift:])

    def decode(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> Tensor:
        """libjpeg's decode, [B,3,H,W]. `size`, if given, must be that of the files."""
        readings = [Reading.of(data, self.config.salvage) for data in streams]
        for layout in (reading.layout for reading in readings):
            if size is not None and size != (layout.height, layout.width):
                raise BitstreamError(f"The JPEG is {layout.width}x{layout.height}, not {size[1]}x{size[0]} pixels.")
        return torch.cat([reading.decoded() for reading in readings]).to(self.device)

    def describe(self, stream: bytes) -> dict[str, str | int | float]:
        """Coding, quality (if the file has libjpeg's standard tables), subsampling, and what makes an image exact."""
        found, metadata = parse(stream), self.metadata(stream)
        return {
            "coding": "progressive" if found.frame == PROGRESSIVE else "baseline",
            "quality": quality_of(found) or "not libjpeg's tables",
            "subsampling": found.subsampling,
            **({"colours": "RGB"} if found.sampling.colours == "RGB" else {}),
            **({"orientation": metadata.orientation} if metadata.orientation > 1 else {}),
            **self._read(stream).summary,
            **({"appended": appended.kinds(found.trailing)} if found.trailing else {}),
            **({} if writable(found) else {"encoder": "integer model of libjpeg"}),
        }

    def metadata(self, stream: bytes) -> Metadata:
        """EXIF, colour profile and density; what is damaged of the first two is left out."""
        found = parse(stream).segments
        (exif, _), (profile, _) = jpeg_metadata.exif(found), jpeg_metadata.profile(found)
        return Metadata(exif, profile, jpeg_metadata.density(found))

    def rewrite(self, stream: bytes, byte_image: Tensor) -> bytes:
        """The file that `byte_image` gives with the tables, sampling, metadata and appended data of another.

        It is read back; raises IdemError if it does not hold what it should.
        """
        reading = self._read(stream)
        rewritten = reading.encode_like(byte_image[0])
        if rewritten is not None and reading.own:
            return rewritten
        symbols = reading.encoded(byte_image[0].cpu(), rewritten)
        written = write(reading.stream, symbols.numpy(), reading.layout)
        if not torch.equal(pack_symbols(parse(written), reading.layout), symbols):
            raise IdemError("The JPEG that was made does not hold the image.", "Report this to idem's authors.")
        return appended.joined(written, reading.stream.trailing, stream)

    def cell(self, streams: Sequence[bytes], size: tuple[int, int] | None = None) -> JpegCell:
        """The quantisation cells of JPEG files of one size and subsampling."""
        cell = JpegCell(streams, self.device, estimator=self.estimator, salvage=self.config.salvage)
        for reading in cell.readings:
            self._readings[hashlib.sha256(reading.data).digest()] = reading
            kinds = (jpeg_metadata.exif, jpeg_metadata.profile)
            faults = [fault for read in kinds if (fault := read(reading.stream.segments)[1])]
            for note in [*reading.notes, *(f"{fault}, so the PNG is without" for fault in faults)]:
                warnings.warn(IdemWarning(note), stacklevel=2)
        return cell

    def _read(self, stream: bytes) -> Reading:
        """A file as it was read for a cell that is still in use, or read now: that takes seconds for large ones."""
        key = hashlib.sha256(stream).digest()
        return self._readings.get(key) or self._readings.setdefault(key, Reading.of(stream, self.config.salvage))
