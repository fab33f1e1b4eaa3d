"""Laws of a cell whose symbols are seen before the quantiser: position, excess and projection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..noise import Noise
from ..pipeline.certify import Attempts
from .cell_laws import LEVEL, neighbours, snaps_itself
from .law import NotTried, image, law, require, show
from .pictures import byte_image
from .trials import CodecTrial

TIE = 1.5
"""Times what half an 8-bit level may move a symbol: as near to the edge of its interval, rounding decides."""


@law("codec", needs={"position"})
def position_of_own_image(trial: CodecTrial) -> None:
    """`position` is [B,K], and within -1/2..1/2 for the picture that was encoded, up to rounding."""
    found = trial.cell.position(trial.image)
    require(found.ndim == 2 and len(found) == 2, f"position is {show(found)}, not [2,K]")
    most, tie = float(found.abs().max()), reach(trial, trial.cell.position)
    require(most <= 0.5 + tie, f"a symbol of the picture itself is at {most:.3g}, rounding explains {0.5 + tie:.3g}")


@law("codec", needs={"position"})
def position_counts_symbols(trial: CodecTrial) -> None:
    """As many positions as `differing_symbols` says are outside -1/2..1/2, but for those nearly on the edge."""
    tie = reach(trial, trial.cell.position)
    for name, one in neighbours(trial).items():
        with torch.no_grad():
            distance = trial.cell.position(one).abs() - 0.5
        most, least = (distance > -tie).sum(dim=1), (distance > tie).sum(dim=1)
        told = trial.cell.differing_symbols(byte_image(one))
        fits = bool(((least <= told) & (told <= most)).all())
        require(fits, f"{least.tolist()} to {most.tolist()} symbols of {name} are outside, not {told.tolist()}")


@law("codec", needs={"position"})
def position_gradient(trial: CodecTrial) -> None:
    """The gradient of `position` agrees with finite differences of it, within 2 %."""
    differences(trial.cell.position, trial.other, 0.02)


@law("codec", needs={"excess"})
def excess_is_contains(trial: CodecTrial) -> None:
    """`excess` is never negative; it is 0 for byte images that the cell contains and for no others, but for ties."""
    tie = reach(trial, trial.cell.excess)
    for name, one in neighbours(trial).items():
        with torch.no_grad():
            found = trial.cell.excess(one)
        require(found.ndim == 2 and len(found) == 2, f"excess is {show(found)}, not [2,K]")
        require(bool((found >= 0).all()), f"excess of {name} is negative, down to {float(found.min()):.3g}")
        for b, inside in enumerate(trial.cell.contains(byte_image(one)).tolist()):
            most = float(found[b].max())
            require(not inside or most <= tie, f"{name} is inside, but has an excess of {most:.3g}")
            if name == "another picture":
                require(most > tie, f"{name} is outside, but its largest excess is {most:.3g}")


@law("codec", needs={"excess", "position"})
def excess_is_distance(trial: CodecTrial) -> None:
    """Symbols have an excess where their position is outside -1/2..1/2, and there alone: about as many steps."""
    with torch.no_grad():
        outside = trial.cell.position(trial.other).abs() - 0.5
        found = trial.cell.excess(trial.other)
    require(found.shape == outside.shape, f"excess is {show(found)}, position {show(outside)}")
    wrong = int((((outside > 1e-3) & (found <= 0)) | ((outside < -1e-3) & (found > 0))).sum())
    require(not wrong, f"{wrong} of {found.numel()} symbols have an excess inside, or none outside")
    ratio = float(found.sum() / outside.clamp(min=0).sum())
    require(0.5 <= ratio <= 2, f"together it is {ratio:.3g} times the way that positions are outside")


@law("codec", needs={"excess"})
def excess_gradient(trial: CodecTrial) -> None:
    """The gradient of `excess` agrees with finite differences of it, within 5 %."""
    differences(trial.cell.excess, trial.other, 0.05)


@law("codec", needs={"project"})
def project_image(trial: CodecTrial) -> None:
    """`project` gives float32 images in [0,1]."""
    image(trial.cell.project(nearby(trial)), tuple(trial.image.shape), "project")


@law("codec", needs={"project", "excess"})
def project_approaches(trial: CodecTrial) -> None:
    """`project` brings an image nearer to the cell: the mean excess falls by 40 % or more."""
    with torch.no_grad():
        before, after = (float(trial.cell.excess(x).mean()) for x in (nearby(trial), _projected(trial)))
    require(after <= 0.6 * before, f"the mean excess is {before:.3g} steps before projection and {after:.3g} after it")


@law("codec", needs={"project", "excess"})
def project_lands(trial: CodecTrial) -> None:
    """`project` gives images of the cell: at most 1 symbol of 1000 is more than 0.1 steps outside."""
    with torch.no_grad():
        missing = float((trial.cell.excess(_projected(trial)) > 0.1).float().mean())
    require(missing <= 0.001, f"{missing:.2%} of symbols are more than 0.1 steps outside")


@law("codec", needs={"project"})
def project_idempotent(trial: CodecTrial) -> None:
    """Projecting again leaves an image where it is, up to a quarter of a level rms."""
    once = _projected(trial)
    moved = float((trial.cell.project(once) - once).square().mean().sqrt())
    require(moved <= LEVEL / 4, f"projecting again moved it by {moved / LEVEL:.3g} levels rms")


@law("codec", needs={"project"})
def project_keeps_inside(trial: CodecTrial) -> None:
    """`project` leaves an image of the cell where it is, up to 2 levels rms."""
    moved = float((trial.cell.project(trial.image) - trial.image).square().mean().sqrt())
    require(moved <= 2 * LEVEL, f"the picture itself, which is inside, moved by {moved / LEVEL:.3g} levels rms")


@law("codec", needs={"project"})
def project_is_near(trial: CodecTrial) -> None:
    """`project` goes about the shortest way: no further than the picture itself, which is in the cell, is away."""
    x = nearby(trial)
    way, known = ((there - x).square().sum(dim=(1, 2, 3)).sqrt() for there in (trial.cell.project(x), trial.image))
    for b in range(2):
        require(way[b] <= 1.1 * known[b], f"it moved image {b} by {way[b]:.3g}, and the picture is {known[b]:.3g} away")


@law("codec", needs={"project", "position"})
def project_margin(trial: CodecTrial) -> None:
    """`project` with a margin ends that many quantiser steps inside, but for 1 symbol of 100."""
    margin = trial.cell.margin_limit / 2
    with torch.no_grad():
        position = trial.cell.position(trial.cell.project(nearby(trial), margin)).abs()
    missing = float((position > 0.5 - margin + 0.1).float().mean())
    require(missing <= 0.01, f"{missing:.2%} of symbols keep less than {margin - 0.1:.3g} of {margin:.3g} steps")


@law("codec", needs={"project"})
def snap_is_near(trial: CodecTrial) -> None:
    """A cell's own `snap` moves what `project` gives at most twice as far as rounded projections that are exact do."""
    if not snaps_itself(trial.cell):
        raise NotTried("the cell has no `snap` of its own")
    projections, own = (Attempts(trial.cell, _projected(trial)) for _ in range(2))
    projections.search_by_projection()
    own.search()
    exact = [b for b in range(2) if projections.exact[b] and own.exact[b]]
    if not exact:
        raise NotTried("there are no exact images of both to compare")
    for b in exact:
        moved, known = (_levels_apart(found.best[b], found.first[b]) for found in (own, projections))
        told = f"`snap` moved image {b} by {moved:.3g} levels rms, where rounded projections need {known:.3g}"
        require(moved <= 2 * known, f"{told}: change only what lies outside, and no more than it takes")


def _levels_apart(a: Tensor, b: Tensor) -> float:
    """The rms difference of two byte images, in levels."""
    return float((a.double() - b.double()).square().mean().sqrt())


def nearby(trial: CodecTrial) -> Tensor:
    """Images outside the cells and not far from them, such as a solver projects: pictures with noise."""
    noise = Noise([44, 45]).like(trial.image)
    return (trial.image + 2 * trial.cell.distortion[:, None, None, None] * noise).clamp(0, 1)


def _projected(trial: CodecTrial) -> Tensor:
    with torch.no_grad():
        return trial.cell.project(nearby(trial))


def reach(trial: CodecTrial, function: Callable[[Tensor], Tensor]) -> float:
    """How far symbols may be moved by what a byte image cannot say, half a level a sample, in quantiser steps."""
    with torch.no_grad():
        before, far = function(trial.other), 0.0
        for seed in (46, 47, 48):
            signs = Noise([seed, seed + 100]).uniform(*trial.other.shape[1:]).round() - 0.5
            far = max(far, float((function(trial.other + signs * LEVEL) - before).abs().max()))
    return TIE * far


def differences(function: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, length: float = 1e-3) -> None:
    """Raises Broken unless the gradient along a random direction is the central difference over that `length`."""
    way = length * Noise([49, 50]).like(x)
    with torch.no_grad():
        real = (function(x + way).double() - function(x - way).double()) / 2
    require(real.abs().max() > 0, "it does not depend on x")
    x = x.clone().requires_grad_()
    found = function(x)
    require(found.requires_grad, "there is no gradient")
    (gradient,) = torch.autograd.grad((found.double() * real).sum(), x)
    along, wanted = float((gradient.double() * way).sum()), float(real.square().sum())
    wrong = abs(along / wanted - 1)
    require(wrong <= tolerance, f"along a random direction it is {along / wanted:.3f} times the finite difference")
