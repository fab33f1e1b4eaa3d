"""Settings of the diffusion priors. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.training.config import CropsConfig, TrainingConfig

SCHEDULES = ("linear", "cosine")
ATTENTION_ORDERS = ("legacy", "new")
PREDICTIONS = ("v", "noise")


@dataclass
class PhotoConfig:
    """Settings of `ddpm-photo`."""

    weights: str = "bundled"  # `bundled`, or the path of a weights.safetensors that `idem train ddpm` wrote


@dataclass
class AdmConfig:
    """Settings of a discrete DDPM with the ADM UNet; the network's shape is read from its weights.

    What a checkpoint of another program cannot say has to be given: schedule, side, heads (or their channels), order.
    """

    weights: str = ""  # an id of `idem models`, or the path of a .safetensors or .pt state dict
    schedule: str = ""  # noise schedule of the training, linear or cosine; empty: as the weights say
    steps: int = 0  # noise levels of the training; 0: as the weights say, else 1000
    side: int = -1  # width and height of the training's images, pixels; 0: any size; -1: as the weights say
    heads: int = 0  # attention heads (`num_heads`), or give head_channels; 0: as the weights say
    head_channels: int = 0  # channels of each attention head (`num_head_channels`); 0: as the weights say
    attention_order: str = ""  # legacy, or new (`use_new_attention_order`); empty: as the weights say

    def __post_init__(self) -> None:
        if self.schedule not in ("", *SCHEDULES):
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        if self.attention_order not in ("", *ATTENTION_ORDERS):
            raise ValueError(
                f"attention_order must be one of {', '.join(ATTENTION_ORDERS)}, not {self.attention_order!r}"
            )
        if self.heads < 0 or self.head_channels < 0 or (self.heads and self.head_channels):
            raise ValueError("heads and head_channels must be numbers from 0 on, at most one of them above 0")
        if self.side < -1 or self.steps < 0:
            raise ValueError(
                f"side and steps must be numbers of pixels and noise levels, not {self.side} and {self.steps}"
            )


@dataclass
class FacesConfig(AdmConfig):
    """Settings of `ddpm-faces64`: grey faces, 64x64."""

    weights: str = "bundled"  # `bundled`, or the path of a weights.safetensors that `idem train adm` wrote


@dataclass
class FfhqConfig(AdmConfig):
    """Settings of `ddpm-ffhq`: faces, 256x256."""

    weights: str = "ddpm-ffhq"  # an id of `idem models`, or the path of an ADM state dict such as ffhq_10m.pt


@dataclass
class ImagenetConfig(AdmConfig):
    """Settings of `ddpm-imagenet`: ImageNet, 256x256, unconditional."""

    weights: str = "ddpm-imagenet"  # an id of `idem models`, or the path of an ADM state dict


@dataclass
class TrainConfig(CropsConfig):
    """Settings of the recipe `ddpm`; each is a `--set train.KEY=VALUE` of the command line."""

    sigma_median: float = 0.12  # training noise: log-normal, units of [-1,1] images
    sigma_spread: float = 1.0  # standard deviation of log(sigma)
    tail: float = 0.06  # share of crops with sigma log-uniform in 0.5..20 instead


@dataclass
class AdmTrainConfig(TrainingConfig):
    """Settings of the recipe `adm`; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 80.0  # training time of the whole schedule, minutes; a resumed run goes on to this total
    side: int = 64  # width and height of the images, a power of two from 8 on, pixels
    channels: int = 16  # a multiple of 16 and of `groups`
    multipliers: tuple[int, ...] = (1, 1, 2, 6, 10)  # widths in units of `channels`, down by halves
    blocks: int = 1  # residual blocks of each width on the way down; one more on the way up
    attention: tuple[int, ...] = (4, 8, 16)  # downsampling factors at which there is self-attention
    groups: int = 1  # of normalisations; published networks, which are wider, have 32
    schedule: str = "linear"  # noise schedule: linear or cosine
    steps: int = 1000  # noise levels
    predicts: str = "v"  # what the network predicts: v, or the noise, as in published networks
    mirror: bool = True  # half of the images are flipped left to right
    batch: int = 8  # images a step
    ema: float = 0.05  # share of the steps so far over which the weights are averaged
    save_minutes: float = 10.0  # minutes between checkpoints

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < 8 or self.side & (self.side - 1):
            raise ValueError(f"side must be a power of two from 8 on, not {self.side}")
        if self.channels < 16 or self.channels % 16:
            raise ValueError(f"channels must be a multiple of 16, not {self.channels}")
        if self.groups < 1 or self.channels % self.groups:
            raise ValueError(f"groups must divide channels, not {self.groups}")
        if not self.multipliers or min(self.multipliers) < 1 or self.side % 2 ** (len(self.multipliers) - 1):
            raise ValueError(f"multipliers must be numbers from 1 on, not {self.multipliers}; each halves the side")
        if self.blocks < 1 or self.batch < 1:
            raise ValueError(f"blocks and batch must be at least 1, not {self.blocks} and {self.batch}")
        if self.predicts not in PREDICTIONS:
            raise ValueError(f"predicts must be one of {', '.join(PREDICTIONS)}, not {self.predicts!r}")
        if not self.ema >= 0:
            raise ValueError(f"ema must be a number from 0 on, not {self.ema}")
