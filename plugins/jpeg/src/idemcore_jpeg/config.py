"""Settings of the JPEG codec; imports nothing heavy, so that `idem codecs info jpeg` answers at once."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.errors import UsageError

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass
class JpegConfig:
    """How images become JPEG files, and what estimates the image of one. Reading a file needs none of this."""

    quality: int = 10  # libjpeg's scale of its standard tables, 1 (smallest) to 100 (best)
    subsampling: str = "4:2:0"  # chroma: 4:4:4 (full), 4:2:2 (half the columns), 4:2:0 (half the columns and rows)
    optimize: bool = True  # Huffman tables fitted to the image: a few per cent smaller, the same pixels
    estimate: str = "bundled"  # network of the least-error image: bundled, a weights.safetensors, or none for g(y)

    def validate(self) -> None:
        """Raises UsageError for a value out of range, naming the key."""
        if not 1 <= self.quality <= 100:
            raise UsageError(f"jpeg: quality is {self.quality}, but libjpeg's scale is 1 to 100.", "Try quality=10.")
        if self.subsampling not in SUBSAMPLINGS:
            known = ", ".join(SUBSAMPLINGS)
            raise UsageError(f"jpeg: subsampling is {self.subsampling!r}, not one of {known}.", "Try 4:2:0.")
