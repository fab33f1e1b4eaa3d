"""Deepinv's sampler as a solver, and an idem codec as a physics of deepinv."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import idemcore as idem
from idemcore.noise import Noise
from idemcore.testing import parametrize_with_checks

pytest.importorskip("deepinv", reason="pip install 'idemcore[examples]' brings deepinv")


@parametrize_with_checks("idem-deepinv")
def test_conformance(check: Any) -> None:
    check()


def image() -> torch.Tensor:
    return 0.3 + 0.4 * Noise([0]).uniform(3, 12, 16)


def test_the_codec_is_a_physics_of_deepinv() -> None:
    from deepinv.optim.data_fidelity import L2
    from idem_deepinv.solver import CellPhysics

    cell = idem.load_codec("toy", quality=2).encode(image()).cell
    physics, x = CellPhysics(cell), image()
    torch.testing.assert_close(physics(x), cell.target)
    assert L2()(x, cell.target, physics).item() == 0
    far = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(L2().grad(far, cell.target, physics), cell.measure(far) - cell.target)


def test_guidance_brings_the_sample_nearer_to_the_bitstream() -> None:
    bitstream = idem.load_codec("toy", quality=3).encode(image())
    missed = {}
    for weight in (0.0, 1000.0):
        told: list[Any] = []
        settings = {"solver": {"steps": 20, "weight": weight}}
        result = idem.load_decoder("toy", "deepinv-dps", settings=settings).reconstruct(bitstream, callback=told.append)
        missed[weight] = told[-1].residual
        assert result.exact
        assert (result.nfe, result.backwards) == (20, 20)
    assert missed[1000.0] < 0.7 * missed[0.0]
