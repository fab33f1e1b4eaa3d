"""The network: laid out as the published one, and no latent told before its turn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from idemcore.learned.coding import EntropyCoder
from idemcore.learned.published import DERIVED
from idemcore.plugins.registry import registry_folder
from idemcore_elic.network import SMALL, CheckerboardConv, Elic, Shape, shape_of

PUBLISHED = json.loads((Path(__file__).parent / "data" / "elic_chandelier.json").read_text())


def on_meta(shape: Shape) -> Elic:
    with torch.device("meta"):
        return Elic(shape)


def test_names_and_shapes_are_those_of_the_published_checkpoint() -> None:
    own = {name: list(value.shape) for name, value in on_meta(Shape()).state_dict().items()}
    rest = {name: shape for name, shape in PUBLISHED.items() if name not in own}
    assert own == {name: shape for name, shape in PUBLISHED.items() if name in own}
    assert all(DERIVED.fullmatch(name) or name.endswith(".mask") for name in rest)
    assert [name for name in rest if name.endswith(".mask")] == [f"context_prediction.{i}.mask" for i in range(5)]


def test_the_card_counts_the_parameters() -> None:
    card = yaml.safe_load((registry_folder() / "models" / "elic-chandelier.yaml").read_text(encoding="utf-8"))
    assert sum(parameter.numel() for parameter in on_meta(Shape()).parameters()) == card["parameters"]


@pytest.mark.parametrize(
    "shape", [SMALL, Shape(), Shape(24, (3, 5), (6, 7), (8, 9)), Shape(4, (1, 1, 1), (2, 2), (2, 2))]
)
def test_the_shape_is_read_from_the_weights(shape: Shape) -> None:
    assert shape_of(on_meta(shape).state_dict()) == shape
    assert shape.latents == sum(shape.groups)


def test_transforms_divide_and_multiply_sides_by_16_and_64(make: SimpleNamespace) -> None:
    model = make.model()
    y = model.g_a(torch.zeros(1, 3, 64, 128))
    z = model.hyper_analysis(y)
    assert (y.shape, z.shape) == ((1, 12, 4, 8), (1, 8, 1, 2))
    assert model.h_s(z).shape == (1, 24, 4, 8)
    assert model.g_s(y).shape == (1, 3, 64, 128)


def test_groups_take_every_latent_once_and_anchors_first(make: SimpleNamespace) -> None:
    model, taken = make.model(), torch.zeros(12, 3, 4, dtype=torch.int)
    for index, group in enumerate(model.groups):
        mask = group.mask(3, 4)
        taken[group.channels, mask] += 1
        assert mask[0, 0] == (index % 2 == 0)
    assert (taken == 1).all()
    assert [group.channels for group in model.groups[::2]] == [
        slice(0, 2),
        slice(2, 4),
        slice(4, 6),
        slice(6, 8),
        slice(8, 12),
    ]


@pytest.mark.parametrize("index", range(10))
def test_what_codes_a_group_depends_on_no_latent_of_it_or_after_it(make: SimpleNamespace, index: int) -> None:
    model, rng = make.model(), torch.Generator().manual_seed(index)
    hyper, y = torch.randn(1, 24, 6, 7, generator=rng), torch.randn(1, 12, 6, 7, generator=rng)
    group = model.groups[index]
    mask = group.mask(6, 7)
    known = torch.zeros_like(y, dtype=torch.bool)
    for earlier in model.groups[:index]:
        known[:, earlier.channels, earlier.mask(6, 7)] = True
    other = torch.where(known, y, torch.randn(y.shape, generator=rng))
    with torch.no_grad():
        first, second = (model.gaussian(group.channels, hyper, latents) for latents in (y, other))
        for one, two in zip(first, second, strict=True):
            assert torch.equal(one[..., mask], two[..., mask])
        changed = torch.where(known, torch.randn(y.shape, generator=rng), y)
        third = model.gaussian(group.channels, hyper, changed)
        informed = [bool((one != two)[..., mask].any()) for one, two in zip(first, third, strict=True)]
    assert informed == [index > 0] * 2, "but on the groups before"


def test_training_sees_the_gaussians_that_coding_uses(make: SimpleNamespace) -> None:
    model = make.model()
    coder = EntropyCoder(model)
    rng = torch.Generator().manual_seed(0)
    found = coder.quantise(3 * torch.randn(2, 12, 8, 8, generator=rng), torch.randn(2, 8, 2, 2, generator=rng))
    with torch.no_grad():
        means, scales = coder.model.gaussians(coder.model.h_s(found.z_hat), found.y_hat)
    assert float((means - found.means).abs().max()) <= 1 / 128 + 1e-9, "up to the grid"
    torch.testing.assert_close(scales.clamp(min=0.11), found.scales)


def test_the_checkerboard_sees_the_other_colour_only() -> None:
    with torch.random.fork_rng(devices=[]):
        layer = CheckerboardConv(1, 1)
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1.0
    with torch.no_grad():
        seen = (layer(x) - layer(0 * x))[0, 0] != 0
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    near = ((rows - 4).abs() <= 2) & ((columns - 4).abs() <= 2)
    assert torch.equal(seen, near & ((rows + columns) % 2 == 1))


def test_the_entropy_model_begins_at_the_spread_that_it_is_told(make: SimpleNamespace) -> None:
    rng, spread = torch.Generator().manual_seed(0), torch.linspace(0.5, 40, 12)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = make.untrained()
        normal = torch.randn(2, 12, 16, 16, generator=rng)
        z = model.hyper_analysis(normal)
        model.set_spread(spread)
        y = spread.view(1, 12, 1, 1) * normal
        torch.testing.assert_close(model.hyper_analysis(y), z)
        means, scales = model.gaussians(model.h_s(z), y)
    assert (means.abs().mean(dim=(0, 2, 3)) < 0.5 * spread).all()
    ratio = scales.mean(dim=(0, 2, 3)) / spread
    assert 0.5 < float(ratio.min()) <= float(ratio.max()) < 2


def test_widening_multiplies_the_scales_of_each_channel_and_no_mean(make: SimpleNamespace) -> None:
    rng, gains = torch.Generator().manual_seed(0), torch.linspace(0.5, 2, 12)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = make.untrained()
        y = torch.randn(2, 12, 16, 16, generator=rng)
        hyper = model.h_s(model.hyper_analysis(y))
        means, scales = model.gaussians(hyper, y)
        model.widen(gains)
        same, wider = model.gaussians(model.h_s(model.hyper_analysis(y)), y)
    torch.testing.assert_close(same, means)
    torch.testing.assert_close(wider, gains.view(1, 12, 1, 1) * scales)


def test_building_a_network_for_weights_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    on_meta(SMALL)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_beyond_the_halo_moves_a_latent_or_a_pixel(make: SimpleNamespace) -> None:
    model, image = make.model().eval(), torch.rand(1, 3, 64, 320)
    changed = image.clone()
    changed[..., :16] += 1
    y = torch.randn(1, model.latents, 4, 20)
    moved = y.clone()
    moved[..., 0] += 1
    with torch.no_grad():
        latents = model.g_a(image) != model.g_a(changed)
        pixels = model.g_s(y) != model.g_s(moved)
    assert latents[..., 2:6].any()
    assert not latents[..., 1 + model.halo :].any()
    assert pixels[..., 32 : 16 * 6].any()
    assert not pixels[..., 16 * (1 + model.halo) :].any()
