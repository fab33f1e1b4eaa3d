"""What recipes share: a training that validates, stops, resumes and logs."""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import IdemError, InputError
from ..io.files import atomic_write
from ..io.locks import held_alone
from ..io.signals import signals_held
from ..runtime import Runtime
from .curves import LOG, write_curves

LOG_STEPS = 20
"""Between two lines of the log."""

Progress = Callable[[dict[str, float]], None]


@contextmanager
def process_settings(threads: int) -> Iterator[None]:
    """`threads` of PyTorch (0: as they are) and denormals flushed to zero: zero-started layers train faster so."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def autocast(device: torch.device) -> torch.autocast:
    """Computing in bfloat16 where the device is fast in it; where it is not, emulation takes many times as long."""
    dtype = Runtime.choose(str(device)).dtype
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@dataclass(frozen=True)
class Best:
    """The best weights so far, as validations say."""

    score: float = -math.inf
    weights: str = ""
    """Where they are, from the training's folder."""
    stale: int = 0
    """Validations since then."""


class Training(ABC):
    """A training in step with `checkpoint.pt` of its folder, where `log.jsonl` grows a line now and then.

    Where a recipe validates, the weights that are written are those of the best validation; else the last ones.
    """

    validate_minutes = 0.0
    """Minutes of training between validations; 0: there are none."""
    patience = 0
    """Validations in a row without a new best after which the training stops; 0: it never does."""
    judges = ""
    """Names the pictures of validations: scores on others do not compare."""

    def __init__(self, out: Path, minutes: float, save_minutes: float) -> None:
        self.out, self.minutes, self.save_minutes = out, minutes, save_minutes
        self.step, self.elapsed = 0, 0.0
        self.best = Best()
        self.validated = 0.0
        """Seconds of training at the last validation."""

    @abstractmethod
    def update(self) -> dict[str, float]:
        """One step of the optimiser; what to log of it: its `loss` and others averaged, integers as they are."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that a checkpoint must hold beside step and time: tensors, numbers and containers of them."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`; may raise any exception if it does not fit."""

    @abstractmethod
    def write_weights(self) -> Path:
        """Writes what the training is for, and pictures of it if there are any; returns the weights' path."""

    def validate(self) -> dict[str, float]:
        """What the weights of now achieve on images that are not trained on: `score`, larger is better, and others."""
        raise NotImplementedError("set validate_minutes only where there is a validation")

    def judge_by(self, pictures: Sequence[Tensor], minutes: float, patience: int = 0) -> None:
        """Validations are of these pictures, if there are any, and so many minutes of training apart."""
        digest = hashlib.sha256()
        for picture in pictures:
            digest.update(repr(picture.shape).encode() + picture.cpu().contiguous().numpy().tobytes())
        self.validate_minutes, self.patience = minutes * (len(pictures) > 0), patience
        self.judges = digest.hexdigest() if self.validate_minutes else ""

    def forget_validations(self) -> None:
        """The best so far was found on other pictures than those of now."""
        self.best = Best()

    @property
    def progress(self) -> float:
        """0..1 of the time that the schedule has."""
        return self.elapsed / (60 * self.minutes)

    @property
    def unvalidated(self) -> bool:
        """There is no validation yet that others compare with."""
        return not self.best.weights

    @property
    def validation_due(self) -> bool:
        """After the first step too, which is tiny: weights to start from are kept unless training makes better ones."""
        late = self.elapsed - self.validated > 60 * self.validate_minutes
        return self.validate_minutes > 0 and (late or self.unvalidated)

    @property
    def ended(self) -> bool:
        """The time is up, or validations have brought nothing for too long."""
        return self.progress >= 1 or 0 < self.patience <= self.best.stale

    def resume(self) -> bool:
        """Goes on from the checkpoint, and says whether there is one.

        Raises InputError if it is unreadable or of other settings.
        """
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return False
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.load(saved["state"])
            self.step, self.elapsed = saved["step"], saved["elapsed"]
            self.best, self.validated = Best(**saved["best"]), saved["validated"]
            if saved.get("judges", self.judges) != self.judges:
                self.forget_validations()
        except Exception as error:  # of damaged or foreign content, whatever the parsing of it meets
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(
                f"{path} cannot be resumed: {reason}", "Use the settings it was begun with, or another --out."
            ) from error
        return True

    def save(self) -> Path:
        """Checkpoint, curves and, unless a validation keeps better ones, weights, each written whole or not at all."""
        path = self.out / self.best.weights if self.best.weights else self.write_weights()
        buffer = io.BytesIO()
        position = {"step": self.step, "elapsed": self.elapsed, "validated": self.validated, "judges": self.judges}
        torch.save({"state": self.state(), "best": asdict(self.best), **position}, buffer)
        atomic_write(self.out / "checkpoint.pt", buffer.getvalue())
        write_curves(self.out)
        return path

    def run(self, progress: Progress) -> Path:
        """Resumes, and trains until the time is up; an interrupt is passed on after a last checkpoint.

        Raises IdemError if the loss diverges, UsageError while another training writes to `out`.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        message = f"Another training is writing to {self.out}."
        with held_alone(self.out / ".lock", message, "Wait for its end, or choose another --out."):
            return self._run(progress)

    def _run(self, progress: Progress) -> Path:
        self.resume()
        try:
            self._updates(progress)
            if self.validate_minutes and self.elapsed > self.validated:
                self._validate(progress)
        except KeyboardInterrupt:
            self.save()
            raise
        return self.save()

    def _updates(self, progress: Progress) -> None:
        saved, averages = self.elapsed, dict[str, float]()
        while not self.ended:
            begin = time.monotonic()
            with signals_held():  # a step is taken, and counted, whole or not at all
                measured = self.update()
                self.step, self.elapsed = self.step + 1, self.elapsed + time.monotonic() - begin
            if not math.isfinite(measured["loss"]):
                hint = "Go on from its last checkpoint with a smaller --set train.learning_rate=..."
                raise IdemError("The training diverged.", hint)
            averages = {key: _average(averages.get(key, value), value) for key, value in measured.items()}
            if self.step % LOG_STEPS == 0 or self.progress >= 1:
                self._log(averages, progress)
            if self.validation_due:
                self._validate(progress)
            if self.elapsed - saved > self.save_minutes * 60:
                self.save()
                saved = self.elapsed

    def _validate(self, progress: Progress) -> None:
        """The first of equal scores is kept; a checkpoint knows of the weights as soon as they are there."""
        measured = self.validate()
        self.validated = self.elapsed
        score = measured["score"] if math.isfinite(measured["score"]) else -math.inf
        if score > self.best.score or self.unvalidated:
            self.best = Best(score, self.write_weights().relative_to(self.out).as_posix())
            self.save()
        else:
            self.best = replace(self.best, stale=self.best.stale + 1)
        self._log({**measured, "best": self.best.score}, progress)

    def _log(self, values: dict[str, float], progress: Progress) -> None:
        record = {"step": self.step, "minutes": self.elapsed / 60, **values}
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps({key: value for key, value in record.items() if math.isfinite(value)}) + "\n")
        progress(record)


def _average(average: float, value: float) -> float:
    """Counts and the like, integers, have no average."""
    return value if isinstance(value, int) else 0.98 * average + 0.02 * value
