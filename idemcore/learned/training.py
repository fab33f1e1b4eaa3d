"""Training of a learned codec at several rates.

From scratch: one long phase for the first, then short ones that start from it. From weights: each rate goes on from its
own, for equal times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..io.files import atomic_write
from ..training.crops import Crops, middle
from ..training.loop import Progress, Training, autocast, process_settings
from .calibration import calibrate, error_ratio
from .config import CodecTrainConfig
from .klt import start_from_klt
from .model import LatentModel, bounded, gaussian_likelihood, padded
from .weights import Library, codec_file

KLT_CROPS = 256
"""Crops whose transform training starts from."""
CALIBRATION_CROPS = 128
"""Of these, those that scales are calibrated on."""
VALIDATION_SIDE = 256
"""Largest side, in pixels, of the middles of held-out photographs."""
RATIO_CROPS = 32
"""Of these, those that the error ratio is measured on."""


@dataclass(frozen=True)
class Phase:
    """Training of one quality: `begin` and `end` are shares of the whole time, `parent` the quality it starts from."""

    quality: int
    parent: int | None
    begin: float
    end: float


def phases(config: CodecTrainConfig) -> list[Phase]:
    """The first quality, then outwards from it, each starting from its neighbour unless it has weights of its own."""
    others = [*range(config.first + 1, len(config.lambdas) + 1), *range(config.first - 1, 0, -1)]
    first_share = 1 / len(config.lambdas) if config.init else config.first_share
    share = (1 - first_share) / max(1, len(others))
    schedule = [Phase(config.first, None, 0.0, first_share if others else 1.0)]
    for quality in others:
        neighbour, begin = (quality - 1 if quality > config.first else quality + 1), schedule[-1].end
        schedule.append(Phase(quality, None if config.init else neighbour, begin, begin + share))
    return schedule


@dataclass(frozen=True)
class Top:
    """The best weights of the quality in training, as validations say."""

    score: float
    state: dict[str, Tensor]


class CodecTraining(Training):
    """Rate + lambda * distortion, with uniform noise for rounding in the rate and straight-through rounding elsewhere.

    After Balle et al., ICLR 2018 (rate), and Minnen & Singh, ICIP 2020 (rounding before the synthesis).
    """

    def __init__(
        self, out: Path, config: CodecTrainConfig, device: torch.device, name: str, build: Callable[[], LatentModel],
        crops: Crops, initial: Mapping[int, Mapping[str, Tensor]],
    ) -> None:  # fmt: skip
        """`initial`: the weights that each quality starts from; none to start from scratch."""
        super().__init__(out, config.minutes, config.save_minutes)
        self.config, self.device, self.name, self.crops = config, device, name, crops
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = build()
        self.rng = torch.Generator().manual_seed(config.seed)
        first = crops.batch(KLT_CROPS, config.crops, self.rng)
        if not initial:
            start_from_klt(model, first, config.lambdas[config.first - 1])
        self.calibration = first[:CALIBRATION_CROPS].to(device)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.schedule = phases(config)
        self.finished: dict[int, dict[str, Tensor]] = {}
        """Averaged weights by quality; that in training is not among them."""
        self.initial = initial
        self.top: Top | None = None
        self.judge_by(crops.held_out, config.validate_minutes)
        self.phase = self.schedule[0]
        self._begin_phase()

    def _begin_phase(self) -> None:
        own, parent = self.phase.quality, self.phase.parent
        start = self.finished.get(own) or self.finished.get(parent or 0) or self.initial.get(own)
        if start:
            self.model.load_state_dict(start)
        rate = self.config.learning_rate if self.phase.parent is None else self.config.finetune_rate
        self.optimizer = torch.optim.Adam(self._groups(rate), lr=rate)
        self.phase_step, self.top = 0, None
        self.ema = {name: value.clone() for name, value in self.model.state_dict().items()}

    def _groups(self, rate: float) -> list[dict[str, Any]]:
        """The image transforms, where a small change of weights moves every latent, and all that predicts latents."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        transforms = [p for name, p in named if name.startswith(("g_a.", "g_s."))]
        entropy = [p for name, p in named if not name.startswith(("g_a.", "g_s."))]
        return [{"params": transforms, "rate": rate}, {"params": entropy, "rate": rate * self.config.entropy_rate}]

    def _turn(self) -> None:
        """Goes to the phase of now: through all that a slow step jumped over, or back if there are more minutes."""
        now = next((k for k, phase in enumerate(self.schedule) if self.progress < phase.end), len(self.schedule) - 1)
        while (here := self.schedule.index(self.phase)) != now:
            self.finished[self.phase.quality] = self._best()
            self.phase = self.schedule[min(here + 1, now)]
            self._begin_phase()

    def update(self) -> dict[str, float]:
        self._turn()
        phase = self.phase
        within = (self.progress - phase.begin) / (phase.end - phase.begin)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, (self.phase_step + 1) / 200) * min(1.0, (1 - within) / 0.5)
        if self.phase_step % 200 == 0:
            self.model.entropy_bottleneck.fit_quantiles()
        x = self.crops.batch(self.config.batch, self.config.crops, self.rng).to(self.device)
        bpp, mse = self._forward(x, self.rng)
        loss = bpp + self.config.lambdas[phase.quality - 1] * 255**2 * mse
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.phase_step += 1
        psnr = -10 * torch.log10(mse.detach().float())
        return {"loss": float(loss.detach()), "quality": phase.quality, "bpp": float(bpp.detach()), "psnr": float(psnr)}

    def _forward(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Bits per pixel and mean squared error of a batch."""
        model, density = self.model, self.model.entropy_bottleneck
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            y = model.g_a(padded(x))
            z = model.hyper_latents(y)
            z_hat = straight_through(z.float(), density.medians)
            hyper = model.hyper_synthesis(z_hat, y.shape[-2:])
            noisy = y.float() + _uniform(y, rng)
            means, scales = (t.float() for t in model.gaussians(hyper, noisy))
            x_hat = model.g_s(straight_through(y.float(), means))[..., : x.shape[-2], : x.shape[-1]]
        likelihood_y = gaussian_likelihood(noisy, means, bounded(scales))
        likelihood_z = density.likelihood(z.float() + _uniform(z, rng))
        bits = -(bounded(likelihood_y, 1e-9).log2().sum() + bounded(likelihood_z, 1e-9).log2().sum())
        return bits / (x.shape[0] * x.shape[2] * x.shape[3]), (x_hat.float() - x).square().mean()

    @property
    def unvalidated(self) -> bool:
        return self.top is None

    def forget_validations(self) -> None:
        self.top = None

    def validate(self) -> dict[str, float]:
        """The loss of the quality in training, as a score, with bits per pixel and PSNR of held-out photographs."""
        state = self.averaged()
        found = self._validated(state)
        if not self.top or found["score"] > self.top.score:
            self.top = Top(found["score"], state)
        return found

    def _validate(self, progress: Progress) -> None:
        """Scores of several qualities do not compare: `top` keeps the best of each."""
        measured = self.validate()
        self.validated = self.elapsed
        self._log(measured, progress)

    @torch.no_grad()
    def _validated(self, state: dict[str, Tensor]) -> dict[str, float]:
        """With the same noise each time."""
        rng, found = torch.Generator().manual_seed(self.config.seed), list[tuple[float, float]]()
        with self._holding(state):
            for image in self.crops.held_out:
                x = middle(image, VALIDATION_SIDE)[None].to(self.device).float() / 255
                bpp, mse = self._forward(x, rng)
                found.append((float(bpp), float(mse)))
        bpp, mse = (sum(values) / len(found) for values in zip(*found, strict=True))
        score = -(bpp + self.config.lambdas[self.phase.quality - 1] * 255**2 * mse)
        return {"quality": self.phase.quality, "score": score, "bpp": bpp, "psnr": -10 * math.log10(max(mse, 1e-12))}

    def _best(self) -> dict[str, Tensor]:
        """The averaged weights of now, or those of an earlier validation if they were better."""
        now = self.averaged()
        return self.top.state if self.top and self.top.score > self._validated(now)["score"] else now

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.phase_step) / (10 + self.phase_step))
        for name, value in self.model.state_dict().items():
            self.ema[name].lerp_(value, 1 - decay)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights of the quality in training, with quantiles and scales that fit them."""
        with self._holding(self.ema) as model:
            model.entropy_bottleneck.fit_quantiles()
            calibrate(model, self.calibration)
            return {name: value.clone() for name, value in model.state_dict().items()}

    @contextmanager
    def _holding(self, state: dict[str, Tensor]) -> Iterator[LatentModel]:
        """The model with other weights for a while."""
        current = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(state)
        try:
            yield self.model
        finally:
            self.model.load_state_dict(current)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "finished": self.finished,
            "quality": self.phase.quality,
            "phase_step": self.phase_step,
            "top": asdict(self.top) if self.top else None,
            "rng": self.rng.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        known = {phase.quality: phase for phase in self.schedule}
        if not {state["quality"], *state["finished"]} <= known.keys():
            raise ValueError(f"it has other qualities than {', '.join(map(str, sorted(known)))}")
        self.finished, self.phase = state["finished"], known[state["quality"]]
        self._begin_phase()
        self.model.load_state_dict(state["model"])
        rates = [group["rate"] for group in self.optimizer.param_groups]  # of the settings, which may have changed
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["rate"] = rate
        self.ema = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.phase_step, self.top = state["phase_step"], Top(**state["top"]) if state["top"] else None
        self.rng.set_state(state["rng"])

    def write_weights(self) -> Path:
        """`NAME-QUALITY.safetensors` of every quality so far; returns the folder."""
        for quality, state in {**self.finished, self.phase.quality: self._best()}.items():
            note = {"quality": str(quality), "lambda": f"{self.config.lambdas[quality - 1]:g}"}
            with self._holding(state) as model:
                note["error_ratio"] = f"{error_ratio(model, self.calibration[:RATIO_CROPS]):.3f}"
            atomic_write(self.out / f"{self.name}-{quality}.safetensors", codec_file(state, self.name, note))
        return self.out


def _uniform(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=rng).to(like.device) - 0.5


def straight_through(x: Tensor, means: Tensor) -> Tensor:
    """round(x - means) + means, with the gradient of x."""
    return x + (torch.round(x - means) + means - x).detach()


def train_codec(
    library: Library, build: Callable[[], LatentModel], data: Path, out: Path, config: CodecTrainConfig,
    device: torch.device, progress: Progress,
) -> Path:  # fmt: skip
    """Trains, or resumes, all qualities of the codec of `library`; returns the folder of their weights.

    Raises InputError if `data` holds no usable image, UsageError, MissingError or InputError if there are no weights
    `config.init` that fit, IdemError if the loss diverges.
    """
    crops = Crops(data, config.crops, config.scales, config.held_out)
    initial = _initial(library, build, config)
    with process_settings(config.threads):
        return CodecTraining(out, config, device, library.name, build, crops, initial).run(progress)


def _initial(
    library: Library, build: Callable[[], LatentModel], config: CodecTrainConfig
) -> dict[int, dict[str, Tensor]]:
    """Weights by quality, checked to fit."""
    if not config.init:
        return {}
    try:
        paths = {quality: library.locate(config.init, quality) for quality in range(1, len(config.lambdas) + 1)}
    except UsageError as error:
        raise UsageError(f"train.init: {error.message}", "Start from scratch with --set train.init=") from error
    with torch.random.fork_rng(devices=[]):
        return {quality: library.load(path, lambda _: build())[0].state_dict() for quality, path in paths.items()}
