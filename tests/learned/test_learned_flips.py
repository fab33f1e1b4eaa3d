"""The search by single levels, for images of a few pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from idemcore.learned.flips import flip


def away_from(target: Tensor, tolerance: float = 0.0) -> object:
    """Excess of images that are further from `target`, in levels, than the tolerance."""
    return lambda x: ((255 * x - target).abs() - tolerance).clamp(min=0).square().sum(dim=(1, 2, 3))


def test_it_finds_the_only_image_of_a_cell() -> None:
    target = torch.tensor([3.0, 250.0, 128.0]).view(1, 3, 1, 1)
    found = flip(away_from(target), torch.tensor([9, 255, 120], dtype=torch.uint8).view(1, 3, 1, 1), 40)
    assert found.flatten().tolist() == [3, 250, 128]


def test_it_leaves_a_local_minimum() -> None:
    """Two bytes must change together: each change alone is for the worse."""

    def excess(x: Tensor) -> Tensor:
        level = 255 * x.flatten(1)
        apart, short = (level[:, 0] - level[:, 1]).square(), (11 - level[:, 0]).clamp(min=0)
        return 5 * apart + short + 9 * (level[:, 2] - 7).square()

    start = torch.tensor([10, 10, 7], dtype=torch.uint8).view(1, 3, 1, 1)
    assert flip(excess, start, 20).flatten().tolist() == [11, 11, 7]


def test_the_range_of_bytes_is_kept_and_what_is_not_found_leaves_the_image_as_it_was() -> None:
    start = torch.tensor([[0, 255], [1, 254]], dtype=torch.uint8).expand(1, 3, 2, 2)
    outside = torch.tensor([[-40.0, 300.0], [-40.0, 300.0]]).expand(1, 3, 2, 2)
    assert torch.equal(flip(away_from(outside), start, 10), start)


def test_large_images_are_left_alone() -> None:
    image = torch.zeros(1, 3, 200, 200, dtype=torch.uint8)
    assert flip(lambda x: pytest.fail("asked"), image, 10) is image
