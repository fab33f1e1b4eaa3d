"""Laws of a metric."""

from __future__ import annotations

import torch

from .cases import case, values
from .law import law, require
from .trials import MetricTrial


@law("metric")
def values_of_images(trial: MetricTrial) -> None:
    """An image metric gives float64 [B] on the CPU, a set metric a `Score`."""
    found = values(trial.metric, case(0.1, trial.size))
    require(found.dtype == torch.float64 and found.device.type == "cpu", f"it gave {found.dtype} on {found.device}")


@law("metric")
def direction(trial: MetricTrial) -> None:
    """The better way that the spec names is the better way: no image is better than the original itself."""
    better = getattr(trial.subject.spec, "direction", "")
    best, bad = (values(trial.metric, case(level, trial.size)).nan_to_num().mean() for level in (0.0, 0.3))
    if better == "higher":
        require(best >= bad, f"the original itself has {best:.4g}, a noisy copy {bad:.4g}, and higher is better")
    if better == "lower":
        require(best <= bad, f"the original itself has {best:.4g}, a noisy copy {bad:.4g}, and lower is better")
