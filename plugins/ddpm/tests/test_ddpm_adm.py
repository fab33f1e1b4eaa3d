"""The ADM UNet and its generator: published layouts, the formulae of its parts, on small networks."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from idemcore.errors import InputError, MissingError, UsageError
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import shapes_of
from idemcore_ddpm.adm import AdmGenerator, noise_schedule
from idemcore_ddpm.adm_unet import (
    AdmUNet,
    AdmUNetConfig,
    AttentionBlock,
    ResBlock,
    infer_config,
    timestep_embedding,
)
from idemcore_ddpm.config import AdmConfig, FfhqConfig, ImagenetConfig
from idemcore_ddpm.layers import Normalisation

DATA = Path(__file__).parent / "data"
SMALL = AdmUNetConfig(channels=32, multipliers=(1, 2, 4), blocks=1, attention=frozenset({2, 4}))
CONFIGS = {
    "small": SMALL,
    "no attention": AdmUNetConfig(32, (1, 2), 2, middle_attention=False),
    "one level": AdmUNetConfig(32, (2,), 1, frozenset({1})),
    "three outputs": AdmUNetConfig(64, (1, 1), 1, frozenset({1}), learn_sigma=False),
    "grey": AdmUNetConfig(32, (1, 2), 1, frozenset({2}), image_channels=1),
    "grey, one output": AdmUNetConfig(32, (1, 2), 1, learn_sigma=False, image_channels=1),
    "ffhq": AdmUNetConfig(128, (1, 1, 2, 2, 4, 4), 1, frozenset({16})),
    "imagenet": AdmUNetConfig(256, (1, 1, 2, 2, 4, 4), 2, frozenset({8, 16, 32})),
}


KNOWN = {"schedule": "linear", "side": 0, "head_channels": 64, "attention_order": "legacy"}
"""What a bare state dict cannot say."""


def on_meta(config: AdmUNetConfig) -> AdmUNet:
    with torch.device("meta"):
        return AdmUNet(config)


def randomised(network: torch.nn.Module, scale: float = 0.2) -> torch.nn.Module:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
    return network.eval()


def save_small(path: Path, config: AdmUNetConfig = SMALL) -> Path:
    state = randomised(AdmUNet(config), 0.05).state_dict()
    torch.save(state, path) if path.suffix == ".pt" else save_file(state, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("adm") / "small.pt")


@pytest.fixture
def prior(weights: Path, runtime: Runtime) -> AdmGenerator:
    return AdmGenerator(AdmConfig(str(weights), **KNOWN), runtime)


def pictures(count: int = 2, height: int = 8, width: int = 12) -> torch.Tensor:
    return Noise(range(count)).uniform(3, height, width)


@pytest.mark.parametrize("name", ["ffhq", "imagenet"])
def test_published_layouts_match_key_by_key(name: str) -> None:
    published = {key: tuple(shape) for key, shape in json.loads((DATA / f"adm_{name}256.json").read_text()).items()}
    assert shapes_of(on_meta(CONFIGS[name]).state_dict()) == published


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configuration_is_read_from_the_shapes(name: str) -> None:
    assert infer_config(shapes_of(on_meta(CONFIGS[name]).state_dict())) == CONFIGS[name]


@pytest.mark.parametrize(
    ("name", "channels"),
    [("small", 6), ("no attention", 6), ("one level", 6), ("three outputs", 3), ("grey", 2), ("grey, one output", 1)],
)
def test_every_configuration_runs(name: str, channels: int) -> None:
    config = CONFIGS[name]
    out = AdmUNet(config)(torch.randn(2, config.image_channels, 8, 16), torch.tensor([0.0, 999.0]))
    assert out.shape == (2, channels, 8, 16)


def test_timestep_embedding_is_cosines_then_sines_of_falling_frequencies() -> None:
    out = timestep_embedding(torch.tensor([0.0, 7.5]), 8)
    frequencies = [10000 ** (-k / 4) for k in range(4)]
    assert out[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    expected = [math.cos(7.5 * f) for f in frequencies] + [math.sin(7.5 * f) for f in frequencies]
    torch.testing.assert_close(out[1], torch.tensor(expected))


def test_attention_splits_heads_before_queries_keys_and_values() -> None:
    block = randomised(AttentionBlock(128, 2))
    x = torch.randn(2, 128, 2, 3, generator=torch.Generator().manual_seed(1))
    flat = x.reshape(2, 128, 6)
    qkv = block.qkv(F.group_norm(flat, 32, block.norm.weight, block.norm.bias))
    heads = []
    for head in range(2):
        q, k, v = (qkv[:, 192 * head + 64 * part : 192 * head + 64 * (part + 1)] for part in range(3))
        weight = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / 8, dim=2)
        heads.append(torch.einsum("bts,bcs->bct", weight, v))
    expected = flat + block.proj_out(torch.cat(heads, dim=1))
    torch.testing.assert_close(block(x), expected.reshape(x.shape))


@pytest.mark.parametrize("resample", [None, "down", "up"])
def test_residual_block_scales_and_shifts_by_the_timestep(resample: str | None) -> None:
    block = randomised(ResBlock(32, 64, 16, resample))
    rng = torch.Generator().manual_seed(1)
    x, embedding = torch.randn(2, 32, 4, 6, generator=rng), torch.randn(2, 16, generator=rng)

    def resized(h: torch.Tensor) -> torch.Tensor:
        if resample == "down":
            return h.reshape(2, 32, 2, 2, 3, 2).mean(dim=(3, 5))
        return h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) if resample == "up" else h

    weight = dict(block.named_parameters())

    def normalised(h: torch.Tensor, name: str) -> torch.Tensor:
        grouped = h.reshape(2, 32, -1)
        grouped = (grouped - grouped.mean(2, True)) / (grouped.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        gain, offset = weight[f"{name}.0.weight"], weight[f"{name}.0.bias"]
        return grouped.reshape(h.shape) * gain[:, None, None] + offset[:, None, None]

    h = resized(F.silu(normalised(x, "in_layers")))
    h = F.conv2d(h, weight["in_layers.2.weight"], weight["in_layers.2.bias"], padding=1)
    both = F.silu(embedding) @ weight["emb_layers.1.weight"].T + weight["emb_layers.1.bias"]
    scale, shift = both[:, :64, None, None], both[:, 64:, None, None]
    h = F.silu(normalised(h, "out_layers") * (1 + scale) + shift)
    h = F.conv2d(h, weight["out_layers.3.weight"], weight["out_layers.3.bias"], padding=1)
    skip = F.conv2d(resized(x), weight["skip_connection.weight"], weight["skip_connection.bias"])
    torch.testing.assert_close(block(x, embedding), skip + h, atol=1e-4, rtol=1e-4)


def test_normalisation_is_computed_in_float32() -> None:
    x = (1000 + torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))).bfloat16()
    out = Normalisation(32, 32)(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), F.group_norm(x.float(), 32), atol=0.02, rtol=0.02)


def test_linear_schedule_is_that_of_ho_et_al() -> None:
    sigmas = noise_schedule("linear", 1000)
    kept = 1.0
    for t, sigma in enumerate(sigmas.tolist()):
        kept *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        assert sigma == pytest.approx(math.sqrt((1 - kept) / kept) / 2, rel=1e-9)
    assert sigmas.dtype == torch.float64


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [2, 50, 1000])
def test_schedules_ascend(name: str, steps: int) -> None:
    sigmas = noise_schedule(name, steps)
    assert len(sigmas) == steps
    assert (sigmas.diff() > 0).all()
    assert sigmas.isfinite().all()


def test_cosine_schedule_keeps_the_share_that_nichol_and_dhariwal_give() -> None:
    kept = 1 / (1 + 4 * noise_schedule("cosine", 1000) ** 2)
    share = [math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (0, 0.5)]
    assert float(kept[499]) == pytest.approx(share[1] / share[0], rel=1e-6)


@pytest.mark.parametrize(("name", "steps"), [("linaer", 1000), ("linear", 1), ("cosine", 0)])
def test_a_schedule_that_does_not_exist_is_refused(name: str, steps: int) -> None:
    with pytest.raises(UsageError):
        noise_schedule(name, steps)


def test_timesteps_are_exact_on_the_grid_and_ordered_between(prior: AdmGenerator) -> None:
    grid = torch.arange(1000.0)
    assert prior.timestep(prior.sigmas).equal(grid)
    assert prior.timestep(prior.sigmas.float()).equal(grid)
    between = prior.timestep((prior.sigmas[1:] * prior.sigmas[:-1]).sqrt())
    torch.testing.assert_close(between, grid[:-1] + 0.5)
    assert prior.timestep(torch.tensor([0.0, 1e-6, 1e6])).tolist() == [0, 0, 999]
    assert (prior.sigma_min, prior.sigma_max) == (float(prior.sigmas[0]), float(prior.sigmas[-1]))


@pytest.mark.parametrize("t", [0, 1, 417, 999])
def test_x0_and_variance_follow_the_ddpm_formulae(t: int, prior: AdmGenerator) -> None:
    x_t = Noise([3, 4]).normal(3, 8, 12)
    kept = float(torch.prod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)[: t + 1]))
    eps, v = prior.network(x_t, torch.full((2,), float(t))).chunk(2, dim=1)
    x0 = x_t / math.sqrt(kept) - math.sqrt(1 / kept - 1) * eps
    found, share = prior.denoise_and_variance((x_t / math.sqrt(kept) + 1) / 2, float(prior.sigmas[t]))
    torch.testing.assert_close(found, (x0 + 1) / 2, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(share, (v + 1) / 2, atol=1e-4, rtol=1e-4)
    assert prior.denoise((x_t / math.sqrt(kept) + 1) / 2, float(prior.sigmas[t])).equal(found)


def test_a_network_without_a_learned_variance_gives_none(tmp_path: Path, runtime: Runtime) -> None:
    path = save_small(tmp_path / "three.safetensors", CONFIGS["three outputs"])
    prior = AdmGenerator(AdmConfig(str(path), **KNOWN), runtime)
    x0, share = prior.denoise_and_variance(pictures(), 0.3)
    assert x0.shape == (2, 3, 8, 12)
    assert share is None


def test_both_kinds_of_file_give_one_network(weights: Path, tmp_path: Path, prior: AdmGenerator) -> None:
    other = AdmGenerator(AdmConfig(str(save_small(tmp_path / "small.safetensors")), **KNOWN), prior.runtime)
    assert other.denoise(pictures(), 0.3).equal(prior.denoise(pictures(), 0.3))


def test_any_size_is_padded_and_cropped(prior: AdmGenerator) -> None:
    assert prior.multiple == 4
    for height, width in ((8, 8), (7, 13), (1, 1), (2, 9)):
        x0, share = prior.denoise_and_variance(pictures(1, height, width), 0.1)
        assert share is not None
        assert x0.shape == share.shape == (1, 3, height, width)
        assert x0.isfinite().all()


def test_an_image_does_not_depend_on_its_batch_and_may_have_its_own_sigma(prior: AdmGenerator) -> None:
    x = pictures(3)
    together = prior.denoise(x, torch.tensor([0.05, 0.4, 3.0]))
    for b, sigma in enumerate((0.05, 0.4, 3.0)):
        assert prior.denoise(x[b : b + 1], sigma).equal(together[b : b + 1])


def test_gradients_reach_the_image_and_not_the_weights(prior: AdmGenerator) -> None:
    x = pictures(1, 6, 7).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.denoise(x, 0.3)[0, 1, 3, 3], x)
    step = 1e-2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        change = prior.denoise(x + step, 0.3) - prior.denoise(x - step, 0.3)
    torch.testing.assert_close(2 * (gradient * step).sum(), change[0, 1, 3, 3], rtol=0.02, atol=1e-5)
    assert not prior.denoise(pictures(), 0.3).requires_grad


def test_bfloat16_stays_close_to_float32(weights: Path, prior: AdmGenerator) -> None:
    half = AdmGenerator(AdmConfig(str(weights), **KNOWN), Runtime(torch.device("cpu"), torch.bfloat16))
    assert half.network.input_blocks[1][0].in_layers["2"].weight.dtype == torch.bfloat16
    out = half.denoise(pictures(), 0.3)
    assert out.dtype == torch.float32
    assert not out.equal(prior.denoise(pictures(), 0.3))
    torch.testing.assert_close(out, prior.denoise(pictures(), 0.3), atol=0.02, rtol=0)


def test_loading_and_running_leave_global_state_alone(weights: Path, runtime: Runtime) -> None:
    def state() -> tuple[object, ...]:
        flags = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
        return (*flags, torch.is_autocast_enabled("cpu"), torch.get_default_device(), torch.get_rng_state().tolist())

    before = state()
    AdmGenerator(AdmConfig(str(weights), **KNOWN), runtime).denoise(pictures(), 0.1)
    assert state() == before


@pytest.mark.parametrize(
    ("config", "named", "typed"),
    [
        (FfhqConfig(), "ffhq_10m.pt", "idem models import ddpm-ffhq FILE"),
        (FfhqConfig(), "ffhq_10m.pt", "idem models pull ddpm-ffhq"),
        (ImagenetConfig(), "256x256_diffusion_uncond.pt", "idem models pull ddpm-imagenet"),
        (ImagenetConfig(), "256x256_diffusion_uncond.pt", "idem models import ddpm-imagenet FILE"),
        (AdmConfig(), "without weights", "generator.weights=FILE"),
        (AdmConfig("no/such/file.pt"), "no/such/file.pt", "generator.weights=FILE"),
        (AdmConfig("no/such/file.safetensors"), "no/such/file.safetensors", "generator.weights=FILE"),
    ],
)
def test_missing_weights_are_never_random(
    config: AdmConfig, named: str, typed: str, tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match=named) as caught:
        AdmGenerator(config, runtime)
    assert typed in caught.value.hint


class Surprise:
    """A pickle that would print when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


@pytest.mark.parametrize("content", ["nothing", "text", "opcode", "truncated", "code"])
def test_malformed_weights_are_an_error_and_run_nothing(
    content: str, weights: Path, tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = weights.read_bytes()
    choices = {
        "nothing": b"",
        "text": b"no weights",
        "opcode": b"junk\n",
        "truncated": whole[:-1000],
        "code": pickle.dumps(Surprise(), 2),
    }
    path = tmp_path / "bad.pt"
    path.write_bytes(choices[content])
    with pytest.raises(InputError, match=r"bad\.pt (cannot be read|is refused)"):
        AdmGenerator(AdmConfig(str(path), **KNOWN), runtime)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"middle_block.0.in_layers.0.bias": None}, "missing middle_block.0.in_layers.0.bias"),
        ({"label_emb.weight": torch.zeros(10, 128)}, "unexpected label_emb.weight"),
        ({"time_embed.2.bias": torch.zeros(5)}, r"misshapen time_embed.2.bias \(5,\) for \(128,\)"),
        ({"out.2.weight": None}, "no out.2.weight"),
        ({"input_blocks.0.0.weight": torch.zeros(30, 3, 3, 3)}, "does not hold an ADM UNet"),
    ],
)
def test_weights_of_another_layout_are_named(
    change: dict[str, torch.Tensor | None], named: str, weights: Path, tmp_path: Path, runtime: Runtime
) -> None:
    state = torch.load(weights, weights_only=True) | change
    path = tmp_path / "other.pt"
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    with pytest.raises(InputError, match=named):
        AdmGenerator(AdmConfig(str(path), **KNOWN), runtime)


def test_the_plugin_and_its_settings_import_no_torch() -> None:
    code = "import sys, idemcore_ddpm.plugin, idemcore_ddpm.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
