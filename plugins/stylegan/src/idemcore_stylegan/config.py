"""Settings of StyleGAN2 and of its recipe. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StyleGanSettings:
    """Settings of a StyleGAN2; the network's shape is read from its weights."""

    weights: str = ""  # an id of `idem models`, or the path of a .safetensors, .pkl or .pt file
    truncation: float = 1.0  # psi: w moves towards its mean where below 1, for less varied and cleaner images
    noise: str = "constant"  # noise inputs: `constant`, as stored with the weights, or `latent`, drawn with z, after it

    def __post_init__(self) -> None:
        if self.noise not in ("constant", "latent"):
            raise ValueError(f"noise must be constant or latent, not {self.noise}")
        if not 0 <= self.truncation < float("inf"):
            raise ValueError(f"truncation must be a number from 0 on, not {self.truncation}")


@dataclass
class FacesConfig(StyleGanSettings):
    """Settings of `stylegan2-faces64`: grey faces, 64x64."""

    weights: str = "bundled"  # `bundled`, or the path of a weights.safetensors that `idem train stylegan` wrote


@dataclass
class FfhqConfig(StyleGanSettings):
    """Settings of `stylegan2-ffhq`: faces, 256x256 or 1024x1024."""

    weights: str = "stylegan2-ffhq-256"  # or stylegan2-ffhq-1024, or the path of a .pkl, .pt or .safetensors file


@dataclass
class TrainConfig:
    """Settings of the recipe; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 600.0  # training time, minutes; a resumed run goes on to this total
    side: int = 64  # width and height of the images, a power of two from 8 on, pixels
    width: int = 16  # channels at full resolution; twice as many at each half of it, up to max_width
    max_width: int = 256  # channels
    latent: int = 256  # numbers in z, and in w
    mapping_layers: int = 2  # layers between them
    mirror: bool = True  # half of the images are flipped left to right
    batch: int = 32  # images a step, a multiple of 4
    learning_rate: float = 2.5e-3  # Adam, for both networks
    r1: float = 0.02  # weight of the gradient penalty on real images; about 0.0002 * side^2 / batch suits most
    r1_every: int = 16  # steps between gradient penalties
    augment_target: float = 0.6  # share of real images told as such, less that of those told as not, to hold
    augment_images: float = 100_000.0  # images in which the share of augmented ones may rise from 0 to 1
    ema_images: float = 10_000.0  # half-life of the averaged weights, images
    seed: int = 0  # of the starting weights, images, latents and noise
    threads: int = 0  # 0: as many as PyTorch chooses
    save_minutes: float = 5.0  # minutes between checkpoints

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise ValueError(f"minutes must be a number above 0, not {self.minutes}")
        if self.side < 8 or self.side & (self.side - 1):
            raise ValueError(f"side must be a power of two from 8 on, not {self.side}")
        if self.batch < 4 or self.batch % 4:
            raise ValueError(f"batch must be a multiple of 4, not {self.batch}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at 4x4, 8x8, ... up to `side`."""
        sides = (4 << level for level in range((self.side // 4).bit_length()))
        return tuple(min(self.width * self.side // side, self.max_width) for side in sides)
