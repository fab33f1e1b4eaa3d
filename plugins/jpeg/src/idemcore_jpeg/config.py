"""Settings of the JPEG codec; imports nothing heavy, so that `idem codecs info jpeg` answers at once."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.errors import UsageError
from idemcore.training.config import CropsConfig

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass
class JpegConfig:
    """How images become JPEG files, and how one is read that is damaged; what estimates the image of one."""

    quality: int = 10  # libjpeg's scale of its standard tables, 1 (smallest) to 100 (best)
    subsampling: str = "4:2:0"  # chroma: 4:4:4 (full), 4:2:2 (half the columns), 4:2:0 (half the columns and rows)
    optimize: bool = True  # Huffman tables fitted to the image: a few per cent smaller, the same pixels
    estimate: str = "bundled"  # network of the least-error image: bundled, a weights.safetensors, or none for g(y)
    salvage: bool = False  # read a damaged file as far as it goes: what is missing is left to the prior
    before: int = 0  # quality of an earlier compression, 1 to 100, for experiments; 0: there was none
    before_shift: int = 4  # pixels by which the earlier blocks lie to the left of and above the later ones, 0 to 7

    def validate(self) -> None:
        """Raises UsageError for a value out of range, naming the key."""
        if not 1 <= self.quality <= 100:
            raise UsageError(f"jpeg: quality is {self.quality}, but libjpeg's scale is 1 to 100.", "Try quality=10.")
        if not 0 <= self.before <= 100:
            raise UsageError(f"jpeg: before is {self.before}, not 0 to 100.", "It is a quality; 0 is none.")
        if not 0 <= self.before_shift <= 7:
            raise UsageError(f"jpeg: before_shift is {self.before_shift}, not 0 to 7.", "A block has 8 pixels a side.")
        if self.subsampling not in SUBSAMPLINGS:
            known = ", ".join(SUBSAMPLINGS)
            raise UsageError(f"jpeg: subsampling is {self.subsampling!r}, not one of {known}.", "Try 4:2:0.")


@dataclass
class EstimateTrainConfig(CropsConfig):
    """Settings of the recipe `jpeg-estimate`; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 120.0  # training time of the whole schedule, minutes; a resumed run goes on to this total
    learning_rate: float = 5e-4  # Adam, after 500 steps of warm-up; constant, then linear to 0 over the last 40 %
    init: str = "bundled"  # weights to start from if there is no checkpoint: `bundled`, a path, or empty for none
    pixels: int = 131072  # pixels of a batch, e.g. 8 crops of 128x128
    crops: tuple[int, ...] = (96, 128, 128)  # crop sides, drawn uniformly, pixels
    error: float = 1.0  # weight of the squared error's logarithm
    perceptual: float = 0.0  # weight of the distance of features: above 0, pictures get natural instead of smooth
    adversarial: float = 0.0  # weight of a critic that tells photographs from estimates


@dataclass
class SharpTrainConfig(EstimateTrainConfig):
    """Settings of the recipe `jpeg-sharp`: the same training, for natural pictures instead of those of least error."""

    pixels: int = 65536  # pixels of a batch, e.g. 4 crops of 128x128
    crops: tuple[int, ...] = (128,)  # crop sides, drawn uniformly, pixels
    error: float = 0.1  # weight of the squared error's logarithm
    perceptual: float = 1.0  # weight of the distance of features, by which validations judge too
    adversarial: float = 1.0  # weight of a critic that tells photographs from estimates
