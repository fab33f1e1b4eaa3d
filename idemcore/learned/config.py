"""Settings that learned codecs share. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("fp32", "bf16")
_APPROACHES = "a projection makes project_steps gradient steps, which come near the cell; certification makes the rest"
EXPECTED_FAILURES = dict.fromkeys(("project-lands", "project-idempotent", "project-margin"), _APPROACHES)
"""Laws that no learned codec keeps, with the reason: see `Spec.expected_failures`."""


@dataclass
class LearnedConfig:
    """Settings of a learned codec; a plugin adds its own `weights`."""

    quality: int = 2  # which of the weights: 1 is the smallest file
    weights: str = "bundled"  # `bundled`, or a folder of weights
    precision: str = "fp32"  # of the network that draws the decoded image: fp32 or bf16; no bitstream depends on it
    project_steps: int = 12  # most gradient steps of a projection within a solver; certification takes what it needs
    certify_passes: int = 180  # most passes of certification, forwards and back, from 512x512 up; below up to 4 times

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.project_steps < 1:
            raise ValueError(f"project_steps must be at least 1, not {self.project_steps}")
        if self.certify_passes < 1:
            raise ValueError(f"certify_passes must be at least 1, not {self.certify_passes}")


@dataclass
class CodecTrainConfig:
    """Settings of the recipes; each is a `--set train.KEY=VALUE` of the command line."""

    minutes: float = 60.0  # training time of all rates together, minutes; a resumed run goes on to this total
    lambdas: tuple[float, ...] = (0.0009, 0.0028, 0.0075, 0.02)  # of bpp + lambda * 255^2 * MSE; one a quality, from 1
    init: str = "bundled"  # weights that each quality starts from: `bundled`, a folder, or empty to start from scratch
    first: int = 4  # the quality that is trained first; from scratch, the others start from their neighbour
    first_share: float = 0.5  # of the time, for the first quality if from scratch; the others share the rest
    learning_rate: float = 6e-5  # Adam, after 200 steps of warm-up; linear to 0 over the last half of each phase
    entropy_rate: float = 10.0  # times as fast learn the networks that predict the latents
    finetune_rate: float = 4e-5  # learning rate where a quality starts from another quality
    batch: int = 4  # crops
    crops: int = 128  # crop side, pixels
    scales: tuple[float, ...] = (1.0, 0.6)  # each photograph is trained on at these sizes
    ema: float = 0.998  # decay of the averaged weights, a step
    seed: int = 0  # of the starting weights, crops and noise
    threads: int = 0  # 0: as many as PyTorch chooses
    save_minutes: float = 4.0  # minutes between checkpoints
    held_out: float = 0.05  # share of the photographs that is kept for validation; each quality's best weights are kept
    validate_minutes: float = 10.0  # minutes between validations; the first is after one step

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise ValueError(f"minutes must be a number above 0, not {self.minutes}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be at least 0 and below 1, not {self.held_out}")
        if not 1 <= self.first <= len(self.lambdas):
            raise ValueError(f"first must be a quality from 1 to {len(self.lambdas)}, not {self.first}")
        if self.crops < 64 or self.crops % 16:
            raise ValueError(f"crops must be a multiple of 16 pixels, at least 64, not {self.crops}")
