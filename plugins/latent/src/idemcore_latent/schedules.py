"""Learning rates and shares of steps as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise


def one_cycle(step: int, steps: int) -> float:
    """PULSE's factor of the learning rate: from 0.1 up to 1 and back over 9 tenths of the steps, then to nearly 0."""
    drop = 0.9 * steps
    if step < drop:
        return 1 - 0.9 * abs(2 * step / drop - 1)
    return 0.1 - 0.099 * (step - drop) / (steps - drop)


def ramp(step: int, steps: int, up: float = 0.05, down: float = 0.75) -> float:
    """ILO's factor, that of StyleGAN2's projector (Karras et al. 2020, app. D): linear up, at 1, down as a cosine.

    Taken at the middle of each step, so that none is 0.
    """
    t = (step + 0.5) / steps
    return min(1.0, t / up) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / down)))


def split(steps: int, shares: Sequence[float]) -> list[int]:
    """`steps` in whole parts, in proportion to `shares`."""
    total = sum(shares)
    ends = [round(steps * part / total) for part in accumulate(shares)]
    return [high - low for low, high in pairwise([0, *ends])]
