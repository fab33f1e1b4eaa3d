"""Latents that are the noise of a diffusion, against closed forms of Gaussians and of the toy source."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from idemcore.adapters.diffusion_as_latent import DiffusionAsLatent, OnDiffusion
from idemcore.adapters.flow import flow, flow_levels
from idemcore.adapters.specs import FLOWS, FlowConfig
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify
from idemcore.protocols import DiffusionGenerator, Step

every_flow = pytest.mark.parametrize("kind", FLOWS)


def test_levels_run_from_the_largest_to_the_least() -> None:
    levels = flow_levels(9, 50.0, 0.01)
    assert len(levels) == 10
    assert (levels[0], levels[-1]) == (pytest.approx(50), pytest.approx(0.01))
    roots = torch.tensor(levels, dtype=torch.float64) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(9))


def test_ddim_of_a_gaussian_is_the_known_linear_map(world: SimpleNamespace) -> None:
    prior = world.toy(components=1)
    mean, deviation = prior.source.means[0], prior.source.deviations[0]
    latent = DiffusionAsLatent(prior, world.SIZE, FlowConfig(5, "ddim"))
    z = latent.sample(Noise([0, 1])).double()
    factor = torch.ones(3, dtype=torch.float64)
    for sigma, lower in pairwise(latent.levels):
        keep = deviation**2 / (deviation**2 + sigma**2)
        factor = factor * (keep + lower / sigma * (1 - keep))
    wide = [v[:, None, None] for v in (mean, factor)]
    expected = wide[0] + wide[1] * (0.5 + math.hypot(prior.sigma_max, 0.5) * z - wide[0])
    torch.testing.assert_close(latent.synthesize(z), expected, rtol=0, atol=1e-10)


@every_flow
def test_flows_come_to_the_exact_map_of_a_gaussian_at_their_order(kind: str) -> None:
    """The exact flow scales x - mean by sqrt(s^2 + lowest^2) / sqrt(s^2 + highest^2)."""
    errors = []
    for steps in (40, 80):
        levels = flow_levels(steps, 10.0, 0.01)
        x = torch.tensor([[1.0]], dtype=torch.float64)
        reached, _ = flow(lambda x, sigma: x * 0.3**2 / (0.3**2 + sigma**2), x, levels, kind, 0, steps)
        errors.append(abs(float(reached) / math.sqrt((0.3**2 + 0.01**2) / (0.3**2 + 100)) - 1))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1.0 if kind == "ddim" else 2.0, abs=0.25)


def test_spread_of_samples_is_that_of_the_docs() -> None:
    table = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
    spreads = torch.tensor([0.01, 0.03, 0.1, 0.25, 1.0, 5.0], dtype=torch.float64)
    for kind in FLOWS:
        cells = []
        for passes in (10, 20):
            steps = passes // 2 if kind == "heun" else passes
            levels = flow_levels(steps, 78.0, 0.005)
            end, _ = flow(lambda x, sigma: x * spreads**2 / (spreads**2 + sigma**2), spreads * 0 + levels[0],
                          levels, kind, 0, steps)  # fmt: skip
            cells += ["{:.2f} to {:.2f}".format(*(end / spreads).aminmax())]
        assert f"| {cells[0]} | {cells[1]} |" in table, kind


@every_flow
def test_samples_have_the_moments_of_the_prior(world: SimpleNamespace, kind: str) -> None:
    prior = world.toy()
    latent = DiffusionAsLatent(prior, (96, 96), FlowConfig(250 if kind == "ddim" else 60, kind))
    with torch.no_grad():
        drawn = latent.synthesize(latent.sample(Noise([0, 1]))).double().movedim(1, -1).reshape(-1, 3)
    real = prior.source.sample(Noise([2, 3]), 96, 96).double().movedim(1, -1).reshape(-1, 3)
    spread = real.std(dim=0)
    assert ((drawn.mean(dim=0) - real.mean(dim=0)).abs() < 5 * spread * math.sqrt(2 / len(real))).all()
    torch.testing.assert_close(
        drawn.T.cov() / spread.outer(spread), real.T.cov() / spread.outer(spread), atol=0.04, rtol=0
    )


@every_flow
def test_gradients_pass_through_every_step(world: SimpleNamespace, kind: str) -> None:
    latent = DiffusionAsLatent(world.toy(), world.SIZE, FlowConfig(4, kind))
    z, direction, weight = (latent.sample(Noise([seed])).double() for seed in (0, 1, 2))
    z.requires_grad_()
    (gradient,) = torch.autograd.grad((latent.synthesize(z) * weight).sum(), z)
    with torch.no_grad():
        slope = (world.numeric(latent.synthesize, z, direction) * weight).sum()
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-8)


@every_flow
def test_steps_are_layers_whose_activations_have_unit_variance(world: SimpleNamespace, kind: str) -> None:
    latent = DiffusionAsLatent(world.toy(), (32, 32), FlowConfig(6, kind))
    z = latent.sample(Noise([0, 1]))
    assert latent.layers == 6
    activations = (z,)
    for layer in range(1, 6):
        activations = latent.advance(activations, layer - 1, layer)
        torch.testing.assert_close(activations, latent.advance((z,), 0, layer), rtol=0, atol=1e-5)
        torch.testing.assert_close(latent.synthesize_from(activations, layer), latent.synthesize(z), rtol=0, atol=1e-5)
    assert 0.1 < float(activations[0].std()) < 1.2
    assert latent.advance((z,), 0, 0)[0] is z


class Hidden(DiffusionGenerator):
    """A denoiser with an activation 64 times as large as the image."""

    sigma_min, sigma_max = 0.01, 10.0

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return x.repeat(1, 64, 1, 1).mul(0.1).tanh().exp().reshape(len(x), 64, *x.shape[1:]).mean(dim=1)


class LiveBytes(TorchDispatchMode):
    """The most bytes of tensors alive at once among those made inside."""

    def __enter__(self) -> LiveBytes:
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.alive = {key: (ref, size) for key, (ref, size) in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


@every_flow
def test_checkpointing_bounds_memory_and_changes_no_value(kind: str) -> None:
    shape, prior = (1, 3, 32, 32), Hidden()
    image_bytes, hidden_bytes = 3 * 32 * 32 * 4, 64 * 3 * 32 * 32 * 4

    def peak(steps: int, checkpointed: bool) -> tuple[int, Tensor, Tensor]:
        z = Noise([0]).normal(*shape[1:]).requires_grad_()
        latent = DiffusionAsLatent(prior, shape[2:], FlowConfig(steps, kind))
        with LiveBytes() as live:
            if checkpointed:
                image = latent.synthesize(z)
            else:
                x = 0.5 + math.hypot(latent.levels[0], 0.5) * z
                image, _ = flow(prior.denoise, x, latent.levels, kind, 0, steps)
            (gradient,) = torch.autograd.grad(image.square().sum(), z)
        return live.peak, image, gradient

    bounded, plain = [peak(steps, True) for steps in (4, 16)], [peak(steps, False) for steps in (4, 16)]
    for (_, image, gradient), (_, *expected) in zip(bounded, plain, strict=True):
        torch.testing.assert_close((image, gradient), tuple(expected), rtol=0, atol=0)
    assert plain[1][0] - plain[0][0] >= 12 * hidden_bytes
    assert bounded[1][0] - bounded[0][0] <= 12 * 8 * image_bytes
    assert bounded[1][0] < 6 * hidden_bytes


def test_passes_of_the_denoiser_are_counted_with_those_that_checkpointing_repeats(world: SimpleNamespace) -> None:
    cell = world.toy_cell(world.toy().source.sample(Noise([0]), *world.SIZE))
    told: list[Step] = []
    for kind, a_step in (("ddim", 1), ("heun", 2)):
        told.clear()
        solution = OnDiffusion(world.Descent(steps=2), FlowConfig(3, kind)).solve(
            cell, world.toy(), Noise([1]), told.append
        )
        once = 3 * a_step
        assert solution.backwards == 2 * once
        assert solution.nfe == 3 * once + 2 * once
        assert [step.nfe for step in told] == [2 * once, 4 * once]


def test_a_latent_solver_reaches_the_cell_on_a_diffusion_prior(world: SimpleNamespace) -> None:
    image = world.toy().source.sample(Noise([0, 1]), *world.SIZE)
    cell = world.toy_cell(image)
    solution = OnDiffusion(world.Descent(steps=40), FlowConfig(8)).solve(cell, world.toy(), Noise([2, 3]))
    assert float(cell.excess(solution.image).mean()) < 0.01
    assert certify(cell, solution.image).exact == [True, True]
    start = OnDiffusion(world.Descent(steps=0), FlowConfig(8)).solve(cell, world.toy(), Noise([2, 3]))
    assert float(cell.excess(start.image).mean()) > 0.2
