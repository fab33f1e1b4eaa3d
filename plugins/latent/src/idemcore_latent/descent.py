"""Projected descent, of which PULSE is one stage and ILO several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .geometry import Domain, State
from .search import Search, where


def descend(
    search: Search,
    make: Callable[..., Tensor],
    start: State,
    domain: Domain,
    rates: Sequence[float],
) -> State:
    """From `start`, with one pass for each learning rate, to the state whose image was nearest, image by image.

        u <- project(u - Adam(tangent(dE/du), rate))          E = 1/2 sum_k d_k^2 of the image that `make` makes of u

    Adam has the part of the gradient along the domain only: normalised number by number, the rest would keep it from
    coming to rest where no way along the domain goes down. Ends early when all images are done.
    """
    state = best = start
    least = torch.full_like(search.residual, torch.inf)
    optimisers = [Adam() for _ in start]
    for rate in rates:
        look = search.look(make, state)
        search.tell(look)
        search.offer(look)
        better = look.residual < least
        best = tuple(where(better, new, old) for new, old in zip(state, best, strict=True))
        least = where(better, look.residual, least)
        if search.done.all():
            break
        slopes = domain.tangent(state, look.gradients)
        moves = (adam.step(slope, rate) for adam, slope in zip(optimisers, slopes, strict=True))
        state = domain.project(tuple(tensor - move for tensor, move in zip(state, moves, strict=True)))
    return best


class Adam:
    """Kingma & Ba, ICLR 2015, alg. 1. Number by number, so that images of a batch know nothing of one another.

    The first optimiser of `torch.optim` takes seconds to load a compiler that is not used here.
    """

    first, second, small = 0.9, 0.999, 1e-8

    def __init__(self) -> None:
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0
        self.count = 0

    def step(self, gradient: Tensor, rate: float) -> Tensor:
        """What to take off."""
        self.count += 1
        self.mean = self.first * self.mean + (1 - self.first) * gradient
        self.square = self.second * self.square + (1 - self.second) * gradient.square()
        mean, square = self.mean / (1 - self.first**self.count), self.square / (1 - self.second**self.count)
        return rate * mean / (square.sqrt() + self.small)
