"""Where warm starts begin: at the cell's estimate, or at g(y)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from idemcore.noise import Noise
from idemcore_dps.backproj import BackProjection
from idemcore_dps.cell import ProjectAndRenoise
from idemcore_dps.config import BackprojConfig, CellConfig


def estimating(world: SimpleNamespace) -> Any:
    """A cell with an estimate of its own, of half the error."""
    cell = world.BoxCell(world.scene())

    class Estimating(type(cell)):
        estimate = (cell.centre + 0.01).clamp(0, 1)
        estimate_error = cell.distortion / 2

    cell.__class__ = Estimating
    return cell


class Recorder:
    """A denoiser that keeps what it was first given."""

    def __init__(self, world: SimpleNamespace) -> None:
        self.prior = world.GaussianPrior()
        self.first: torch.Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.prior, name)

    def denoise(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        self.first = x.clone() if self.first is None else self.first
        return self.prior.denoise(x, sigma)

    def denoise_and_variance(self, x: torch.Tensor, sigma: Any) -> tuple[torch.Tensor, None]:
        return self.denoise(x, sigma), None


@pytest.mark.parametrize("start_at", ["estimate", "centre"])
def test_cell_noises_its_start_by_the_error_that_is_expected_there(world: SimpleNamespace, start_at: str) -> None:
    cell, recorder = estimating(world), Recorder(world)
    ProjectAndRenoise(CellConfig(steps=2, start=1.5, start_at=start_at)).solve(cell, recorder, Noise([1, 2]))
    image, error = (cell.estimate, cell.estimate_error) if start_at == "estimate" else (cell.centre, cell.distortion)
    wanted = image + 1.5 * error[:, None, None, None] * Noise([1, 2]).like(image)
    torch.testing.assert_close(recorder.first, wanted)


def test_cell_starts_at_the_estimate_and_back_projection_as_published_unless_asked(world: SimpleNamespace) -> None:
    assert (CellConfig().start_at, BackprojConfig().start_at) == ("estimate", "centre")
    found = {}
    for start_at in ("estimate", "centre"):
        recorder = Recorder(world)
        BackProjection(BackprojConfig(steps=1, start_at=start_at)).solve(estimating(world), recorder, Noise([1, 2]))
        found[start_at] = recorder.first
    cell = estimating(world)
    difference = found["estimate"] - found["centre"]
    torch.testing.assert_close(difference, cell.estimate - cell.centre, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [CellConfig, BackprojConfig])
def test_a_start_without_a_name_is_refused(config: Any) -> None:
    with pytest.raises(ValueError, match="start_at must be one of estimate, centre, or the name of a restorer"):
        config(start_at="")
