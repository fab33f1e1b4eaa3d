"""A metric of pyiqa as an ImageMetric: [0,1] in, its score out, image by image."""

from __future__ import annotations

import shlex
from typing import Any

import torch
from torch import Tensor

from idemcore.errors import MissingError, UsageError, nearest
from idemcore.protocols import ImageMetric
from idemcore.results.case import Case
from idemcore.runtime import Runtime

from .config import PyiqaConfig
from .offline import offline

FULL, NONE = "FR", "NR"
"""pyiqa's words for metrics with an original, and without one."""


class PyiqaMetric(ImageMetric):
    """Scores of a metric of pyiqa, with or without the original; nan where it cannot score an image of that size."""

    def __init__(self, config: PyiqaConfig, runtime: Runtime) -> None:
        """Raises UsageError for a name that pyiqa lacks or that is of whole sets, MissingError for missing weights."""
        pyiqa, known = _library()
        if config.metric not in known:
            guess = nearest(config.metric, list(known))
            raise UsageError(f"pyiqa has no metric '{config.metric}' of single images.",
                             f"{guess} Known: {', '.join(sorted(known))}.".strip())  # fmt: skip
        self.wants_original, self.device = known[config.metric] == FULL, runtime.device
        try:
            with offline():
                self.network: Any = pyiqa.create_metric(config.metric, device=runtime.device)
        except ImportError as error:
            raise MissingError(f"pyiqa's metric '{config.metric}' needs a package that is not here: {error}.",
                               "Install it, or leave the metric out.") from error  # fmt: skip
        except Exception as error:  # each of its libraries has its own for a file that is not there
            raise _missing(config.metric, error) from error

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if self.wants_original and case.original is None:
            return torch.full((len(case),), torch.nan, dtype=torch.float64)
        originals = case.original if self.wants_original and case.original is not None else case.reconstruction
        pairs = zip(case.reconstruction.split(1), originals.split(1), strict=True)
        return torch.tensor([self._score(image, original) for image, original in pairs], dtype=torch.float64)

    def _score(self, image: Tensor, original: Tensor) -> float:
        """The score of uint8 [1,3,H,W]."""
        given = (image, original) if self.wants_original else (image,)
        try:
            found = self.network(*(one.to(self.device, torch.float32) / 255 for one in given))
        except (RuntimeError, ValueError, AssertionError, IndexError):  # of an image smaller than its windows
            return float("nan")
        return float(found[0] if isinstance(found, tuple) else found)


def _library() -> tuple[Any, dict[str, str]]:
    """pyiqa, and its metrics of single images with whether they want an original. Raises MissingError."""
    try:
        import pyiqa
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
    except ImportError as error:
        hint = "Type: pip install pyiqa (its licence, PolyForm Noncommercial, allows no commercial use)."
        raise MissingError(f"The metrics of pyiqa need a package that is not here: {error}.", hint) from error
    modes = {name: str(facts.get("metric_mode")) for name, facts in DEFAULT_CONFIGS.items()}
    return pyiqa, {name: mode for name, mode in modes.items() if mode in (FULL, NONE) and not _of_sets(name)}


def _of_sets(name: str) -> bool:
    """Measures of two folders, such as fid."""
    return "fid" in name or name == "inception_score"


def _missing(name: str, error: Exception) -> MissingError:
    code = f"import pyiqa; pyiqa.create_metric({name!r})"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return MissingError(
        f"pyiqa's metric '{name}' cannot be loaded, most likely because its weights are not here ({reason}).",
        f"To download them, type: python -c {shlex.quote(code)}",
    )
