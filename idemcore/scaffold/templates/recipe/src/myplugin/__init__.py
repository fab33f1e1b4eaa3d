"""A recipe for `idem train`, described. Light: the training itself is imported at first use."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.hookspecs import RecipeSpec, hookimpl


@dataclass
class TrainingConfig:
    """`--set train.KEY=VALUE`. The comment behind a setting is its help."""

    minutes: float = 10.0  # of training
    sigma: float = 0.1  # noise level that is removed, in [0,1] units
    channels: int = 16  # of the network
    crop: int = 32  # pixels
    batch: int = 8  # crops a step
    learning_rate: float = 1e-3  # of Adam
    seed: int = 0  # of crops, noise and first weights

    def __post_init__(self) -> None:
        if self.minutes <= 0 or min(self.channels, self.crop, self.batch) < 1:
            raise ValueError("minutes must be more than 0, and channels, crop and batch at least 1")


@hookimpl
def idem_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="my-plugin",
            api=1,
            target="myplugin.train:train",
            summary="a small denoiser of one noise level, on photographs",
            config="myplugin:TrainingConfig",
        )
    ]
