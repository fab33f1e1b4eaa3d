"""Settings that recipes share. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TrainingConfig:
    """Settings of a recipe that validates; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 100.0  # training time of the whole schedule, minutes; a resumed run goes on to this total
    learning_rate: float = 1e-3  # Adam, after 500 steps of warm-up; constant, then linear to 0 over the last 40 %
    init: str = ""  # weights to start from if there is no checkpoint: `bundled`, or the path of a weights.safetensors
    seed: int = 0  # of the starting weights, and of all that is drawn
    threads: int = 0  # 0: as many as PyTorch chooses
    save_minutes: float = 4.0  # minutes between checkpoints
    held_out: float = 0.05  # share of the images that is kept for validation; those weights are kept that do best
    validate_minutes: float = 10.0  # minutes between validations; the first is after one step
    patience: int = 0  # validations without a new best after which the training stops; 0: it does not

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise ValueError(f"minutes must be a number above 0, not {self.minutes}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be at least 0 and below 1, not {self.held_out}")


@dataclass
class CropsConfig(TrainingConfig):
    """Settings of a recipe that trains a UNet on crops of photographs."""

    pixels: int = 32768  # pixels of a batch, e.g. 8 crops of 64x64
    crops: tuple[int, ...] = (64, 64, 96, 128)  # crop sides, drawn uniformly, pixels
    scales: tuple[float, ...] = (1.0, 0.7, 0.5)  # each photograph is trained on at these sizes
    ema: float = 0.999  # decay of the averaged weights, a step
    channels: tuple[int, ...] = (32, 64, 128, 192)  # widths of the network, from full resolution down by halves
    blocks: int = 2  # residual blocks of each width, down and up

    def __post_init__(self) -> None:
        super().__post_init__()
        unit = 2 ** (len(self.channels) - 1)
        if not self.crops or min(self.crops) < 1 or any(side % unit for side in self.crops):
            raise ValueError(f"crops must be multiples of {unit} pixels, not {self.crops}")
