"""What `decode` gives: a picture that shows itself in a notebook, with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from ..errors import UsageError
from ..pipeline.codec import Bitstream
from ..pipeline.decode_file import Decoded
from ..results.certificate import Certificate


@dataclass(frozen=True, repr=False)
class Picture:
    """A decoded picture. In a notebook it shows itself."""

    decoded: Decoded

    @property
    def image(self) -> Tensor:
        """Uint8 [1,3,H,W], as `save` writes it: upright."""
        return self.decoded.image

    @property
    def exact(self) -> bool:
        """It re-encodes to its bitstream; `certificate` says how that was compared."""
        return self.decoded.result.exact

    @property
    def certificate(self) -> Certificate:
        """What made it and what was found; `.to_json()` is what `save` writes beside the PNG."""
        return self.decoded.certificate

    @property
    def bitstream(self) -> Bitstream:
        """What it was decoded from."""
        return self.decoded.bitstream

    @property
    def nfe(self) -> int:
        """Network passes forwards."""
        return self.decoded.result.nfe

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes a PNG, with the certificate beside it as NAME.certificate.json: both or neither. Returns its path."""
        output = Path(path)
        if output.suffix.lower() != ".png":
            raise UsageError(f"{output} is not a name of a PNG.", f"Try {output.with_suffix('.png')}.")
        self.decoded.write(output)
        return output

    def __repr__(self) -> str:
        height, width = self.image.shape[-2:]
        result = self.decoded.result
        verdict = "exact" if self.exact else f"{result.differing_symbols} symbols differ"
        return f"<Picture {width}x{height}, {verdict}, {result.nfe} passes>"

    def _repr_png_(self) -> bytes:
        return self.decoded.png
