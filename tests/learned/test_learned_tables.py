"""Frequency tables: what the range coder needs of them, and how near they are to the densities."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idemcore.learned.factorized import LARGEST, FactorizedDensity
from idemcore.learned.model import bounded, gaussian_likelihood
from idemcore.learned.tables import (
    GRID,
    SCALE_MAX,
    SCALE_MIN,
    SCALES,
    TAIL_MASS,
    Tables,
    gaussian_tables,
    on_grid,
    quantised_cdf,
    scale_indexes,
    scale_table,
)

TOTAL = 2**16


def density(seed: int = 0, spread: float = 1.0) -> FactorizedDensity:
    """Four channels of unlike, skewed shapes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = FactorizedDensity(4, init_scale=10 * spread)
        for parameter in [*made.biases, *made.factors]:
            torch.nn.init.normal_(parameter, std=1.5)
    made.fit_quantiles()
    return made


def assert_sound(tables: Tables) -> None:
    """What the range coder takes for granted."""
    assert len(tables.cdfs) == len(tables.offsets) == len(tables.lengths)
    for cdf, length in zip(tables.cdfs, tables.lengths, strict=True):
        assert (cdf[0], cdf[-1]) == (0, TOTAL)
        assert len(cdf) == length >= 3, "a symbol and the escape"
        assert all(low < high for low, high in pairwise(cdf))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.floats(0, 1))
@example([1.0], 1.0)
@example([0.0], 0.0)
@example([0.0] * 5000, 1.0)
@example([1e-12] * 5000 + [0.9], 1.0)
def test_any_probabilities_make_a_sound_table(weights: list[float], total: float) -> None:
    mass = torch.tensor(weights, dtype=torch.float64)
    mass = mass / max(1e-300, float(mass.sum())) * total if mass.sum() > 0 else mass
    cdf = quantised_cdf(mass)
    assert len(cdf) == len(weights) + 2
    assert_sound(Tables([cdf], [0]))


def test_the_escape_keeps_what_is_outside() -> None:
    cdf = quantised_cdf(torch.tensor([0.25, 0.5], dtype=torch.float64))
    assert cdf == [0, TOTAL // 4, 3 * TOTAL // 4, TOTAL]


def test_gaussian_tables_are_sound_and_cover_all_but_the_tails() -> None:
    tables = gaussian_tables()
    assert_sound(tables)
    assert len(tables.cdfs) == SCALES
    for scale, length, offset in zip(scale_table().tolist(), tables.lengths, tables.offsets, strict=True):
        assert length - 2 == 1 - 2 * offset, "symmetric about 0"
        outside = math.erfc((0.5 - offset) / scale / math.sqrt(2))
        assert outside <= TAIL_MASS


def wasted(cdf: list[int], mass: torch.Tensor) -> float:
    """Bits a symbol that the table costs more than the density it stands for."""
    frequencies = torch.tensor(cdf, dtype=torch.float64).diff()[:-1] / TOTAL
    return float((mass * (mass / frequencies).clamp(min=1e-30).log2()).sum())


def test_gaussian_tables_cost_what_the_likelihood_says() -> None:
    for scale, cdf, offset in zip(
        scale_table().tolist(), gaussian_tables().cdfs, gaussian_tables().offsets, strict=True
    ):
        symbols = torch.arange(offset, 1 - offset, dtype=torch.float64)
        mass = gaussian_likelihood(symbols, torch.zeros(1), torch.tensor(scale, dtype=torch.float64))
        entropy = -float((mass * mass.clamp(min=1e-300).log2()).sum())
        assert wasted(cdf, mass) < 0.01 * entropy + 1e-3, scale
        if scale < 8:
            frequencies = torch.tensor(cdf).diff()[:-1]
            error = (frequencies - mass * TOTAL).abs()
            assert float(error.sort().values[-2]) <= 1, "all but the one that pays for the others are rounded"


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_density_tables_are_sound_and_cost_what_the_likelihood_says(spread: float) -> None:
    model = density(spread=spread)
    tables = model.tables()
    assert_sound(tables)
    medians = model.medians.detach().flatten()
    for channel, (cdf, offset) in enumerate(zip(tables.cdfs, tables.offsets, strict=True)):
        assert offset <= 0 < len(cdf) - 2 + offset, "the median's own symbol is among them"
        z = torch.zeros(1, 4, 1, len(cdf) - 2)
        z[0, channel, 0] = torch.arange(offset, offset + len(cdf) - 2) + medians[channel]
        mass = model.likelihood(z)[0, channel, 0].detach().double()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
        entropy = -float((mass * mass.clamp(min=1e-300).log2()).sum())
        assert wasted(cdf, mass) < 0.01 * entropy + 2e-3


def test_tables_leave_the_process_as_it_was() -> None:
    model = density()
    before = torch.get_rng_state()
    model.tables()
    assert torch.equal(torch.get_rng_state(), before)


def test_quantiles_are_where_the_cumulative_is_the_target() -> None:
    model = density().double()
    model.fit_quantiles()
    tail = math.log(2 / TAIL_MASS - 1)
    wanted = torch.tensor([-tail, 0, tail], dtype=torch.float64).expand(4, 1, 3)
    torch.testing.assert_close(model.logits(model.quantiles), wanted, rtol=0, atol=1e-6)
    assert (model.quantiles.diff(dim=2) > 0).all()
    assert not model.quantiles.requires_grad


def test_quantiles_of_a_density_without_end_stay_within_bounds() -> None:
    flat = density()
    for parameter in flat.matrices:
        parameter.data.fill_(-12.0)  # softplus of it is next to nothing: the cumulative hardly rises
    flat.fit_quantiles()
    assert flat.quantiles.abs().max() <= LARGEST
    assert_sound(flat.tables())


def test_the_smallest_scale_that_is_not_below_is_chosen() -> None:
    table = scale_table()
    assert table[[0, -1]].tolist() == pytest.approx([SCALE_MIN, SCALE_MAX])
    assert scale_indexes(table).tolist() == list(range(SCALES))
    ratio = float(table[1] / table[0])
    assert scale_indexes(table * ratio**0.49).tolist() == list(range(SCALES))
    assert scale_indexes(table * ratio**0.51).tolist() == [*range(1, SCALES), SCALES - 1]
    assert scale_indexes(torch.tensor([-1.0, 0.0, 0.05, 1e9])).tolist() == [0, 0, 0, SCALES - 1]


def test_means_lie_on_the_grid_and_float_noise_does_not_move_them() -> None:
    means = torch.linspace(-3, 3, 1001, dtype=torch.float64)
    assert ((on_grid(means) - means).abs() <= 0.5 / GRID).all()
    assert (on_grid(means) * GRID % 1 == 0).all()
    assert on_grid(on_grid(means) + 1e-6).equal(on_grid(means))


def test_the_gaussian_likelihood_does_not_cancel_in_the_tail() -> None:
    one = torch.ones((), dtype=torch.float64)
    symbols = torch.tensor([0.0, 1.0, -1.0, 10.0, -10.0], dtype=torch.float64)
    likelihood = gaussian_likelihood(symbols, 0 * one, one)
    assert likelihood[1] == likelihood[2]
    assert likelihood[3] == likelihood[4] > 0
    assert float(likelihood[0]) == pytest.approx(math.erf(0.5 / math.sqrt(2)))
    single = gaussian_likelihood(symbols.float(), torch.zeros(()), torch.ones(()))
    torch.testing.assert_close(single[3].double(), likelihood[3], rtol=1e-2, atol=0)


def test_the_gradient_leads_back_above_the_bound() -> None:
    x = torch.tensor([-1.0, 0.05, 1.0], requires_grad=True)
    (bounded(x) * torch.tensor([1.0, -1.0, 1.0])).sum().backward()
    assert bounded(x).tolist() == pytest.approx([SCALE_MIN, SCALE_MIN, 1.0])
    assert x.grad.tolist() == [0.0, -1.0, 1.0], "down from below the bound is no way, up is one"
