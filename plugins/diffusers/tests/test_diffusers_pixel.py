"""Tiny random pipelines of each kind, against the arithmetic of diffusers' own schedulers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from idemcore.errors import InputError, MissingError, UsageError
from idemcore.noise import Noise
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.runtime import Runtime
from idemcore.testing import Subject, check

diffusers = pytest.importorskip("diffusers")

from idemcore_diffusers.config import DiffusersConfig  # noqa: E402
from idemcore_diffusers.pixel import prior  # noqa: E402

CPU = Runtime(torch.device("cpu"), torch.float32)
SMALL = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
DOWN, UP = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")


def unet(**more: Any) -> Any:
    return diffusers.UNet2DModel(16, down_block_types=DOWN, up_block_types=UP, attention_head_dim=4, **SMALL, **more)


def conditional_unet() -> Any:
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    return diffusers.UNet2DConditionModel(
        16, 3, 3, down_block_types=down, up_block_types=up, cross_attention_dim=8, attention_head_dim=2, **SMALL
    )


def dit(**more: Any) -> Any:
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=3, num_layers=1, sample_size=16, patch_size=4,
        norm_num_groups=1, num_embeds_ada_norm=5, **more,
    )  # fmt: skip


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    def write(network: Callable[[], Any], scheduler: Any, folder: str = "model") -> str:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = network()
        kind = "transformer" if "Transformer" in type(made).__name__ else "unet"
        made.save_pretrained(tmp_path / folder / kind)
        scheduler.save_pretrained(tmp_path / folder / "scheduler")
        return str(tmp_path / folder)

    return write


def loaded(model: str, **settings: Any) -> Any:
    return prior(DiffusersConfig(model, **settings), CPU)


def reloaded(model: str) -> Any:
    return diffusers.UNet2DModel.from_pretrained(Path(model) / "unet").eval()


def noisy(sigma: float) -> Tensor:
    return 0.5 + sigma * Noise([0]).normal(3, 16, 16)


@pytest.mark.parametrize("scheduler", ["DDPMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_discrete_estimates_are_those_of_the_scheduler(save: Any, prediction: str, scheduler: str) -> None:
    own = getattr(diffusers, scheduler)(
        prediction_type=prediction, clip_sample=False, beta_schedule="squaredcos_cap_v2"
    )
    model = save(unet, own)
    found, network = loaded(model), reloaded(model)
    own.set_timesteps(1000)
    for t in (5, 500, 900):
        abar = own.alphas_cumprod[t]
        x = noisy(float(found.sigmas[t]))
        z = abar.sqrt() * (2 * x - 1)
        with torch.no_grad():
            wanted = own.step(network(z, t).sample, t, z).pred_original_sample
            x0 = found.denoise(x, float(found.sigmas[t]))
        torch.testing.assert_close(2 * x0 - 1, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_edm_estimates_are_those_of_the_scheduler(save: Any, prediction: str) -> None:
    own = diffusers.EDMEulerScheduler(prediction_type=prediction)
    model = save(unet, own)
    found, network = loaded(model), reloaded(model)
    assert (found.sigma_min, found.sigma_max) == (own.config.sigma_min / 2, own.config.sigma_max / 2)
    for sigma in (0.01, 0.3, 20.0):
        x, s = noisy(sigma), torch.tensor(2 * sigma)
        with torch.no_grad():
            out = network(own.precondition_inputs(2 * x - 1, s), own.precondition_noise(s)).sample
            wanted = own.precondition_outputs(2 * x - 1, out, s)
            x0 = found.denoise(x, sigma)
        torch.testing.assert_close(2 * x0 - 1, wanted, atol=1e-4, rtol=1e-4)


def test_flow_estimates_end_where_one_step_of_the_scheduler_ends(save: Any) -> None:
    own = diffusers.FlowMatchEulerDiscreteScheduler()
    model = save(unet, own)
    found, network = loaded(model), reloaded(model)
    own.set_timesteps(1, sigmas=[0.6])
    z = 0.4 * Noise([0]).normal(3, 16, 16)
    with torch.no_grad():
        wanted = own.step(network(z, own.timesteps[0]).sample, own.timesteps[0], z).prev_sample
        x0 = found.denoise((z / 0.4 + 1) / 2, 0.6 / 0.4 / 2)
    torch.testing.assert_close(2 * x0 - 1, wanted, atol=1e-4, rtol=1e-4)


def test_schedules_of_zero_terminal_snr_leave_out_pure_noise(save: Any) -> None:
    own = diffusers.DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    found = loaded(save(unet, own))
    assert 100 < found.sigma_max < 200
    assert bool(found.denoise(noisy(100.0), 100.0).isfinite().all())


@pytest.mark.parametrize("kind", ["CMStochasticIterativeScheduler", "ScoreSdeVeScheduler"])
def test_a_scheduler_of_another_family_is_not_taken_for_ddpm(save: Any, kind: str) -> None:
    with pytest.raises(InputError, match=f"is a {kind}, which is not known"):
        loaded(save(unet, getattr(diffusers, kind)()))


def test_the_empty_text_is_as_wide_as_its_encoder_s(save: Any) -> None:
    def projected() -> Any:
        down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
        return diffusers.UNet2DConditionModel(
            16, 3, 6, down_block_types=down, up_block_types=up, cross_attention_dim=8, attention_head_dim=2,
            encoder_hid_dim=12, encoder_hid_dim_type="text_proj", **SMALL,
        )  # fmt: skip

    found = loaded(save(projected, diffusers.DDPMScheduler()))
    assert bool(found.denoise(noisy(0.5), 0.5).isfinite().all())


def test_a_class_is_told_and_the_null_class_of_a_transformer_is_the_default(save: Any) -> None:
    model = save(dit, diffusers.DDPMScheduler())
    found = {label: loaded(model, label=label) for label in (-1, 0, 5)}
    assert found[-1].size == (16, 16)
    x = noisy(0.3)
    with torch.no_grad():
        images = {label: one.denoise(x, 0.3) for label, one in found.items()}
    assert torch.equal(images[-1], images[5])
    assert not torch.equal(images[-1], images[0])
    with pytest.raises(UsageError, match=r"label is 6; .* knows classes 0 to 4"):
        loaded(model, label=6)


def test_a_unet_with_classes_wants_to_know_which(save: Any) -> None:
    model = save(lambda: unet(num_class_embeds=3), diffusers.DDPMScheduler())
    with pytest.raises(UsageError, match="knows classes 0 to 2"):
        loaded(model)
    assert loaded(model, label=2).denoise(noisy(0.1), 0.1).shape == (1, 3, 16, 16)
    with pytest.raises(UsageError, match="knows no classes"):
        loaded(save(unet, diffusers.DDPMScheduler(), "plain"), label=0)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "eps": lambda: (unet, diffusers.DDPMScheduler()),
    "learned variance": lambda: (lambda: unet(out_channels=6), diffusers.DDPMScheduler(variance_type="learned_range")),
    "v": lambda: (unet, diffusers.DDIMScheduler(prediction_type="v_prediction")),
    "flow": lambda: (unet, diffusers.FlowMatchEulerDiscreteScheduler()),
    "edm": lambda: (unet, diffusers.EDMEulerScheduler()),
    "without text": lambda: (conditional_unet, diffusers.DDPMScheduler()),
    "transformer": lambda: (dit, diffusers.DDPMScheduler()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["cell", "latino"])
def test_every_kind_decodes_exactly(save: Any, kind: str, solver: str) -> None:
    model = save(*KINDS[kind]())
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(Noise([0]).uniform(3, 16, 16))
    settings = {"generator": {"model": model}, "solver": {"steps": 2}}
    result = Decoder.load("diffusers", solver, CPU, settings).reconstruct(bitstream)
    assert (result.exact, result.nfe) == (True, 2)


LAWS = ("family", "noise-levels", "denoise-image", "odd-sizes", "level-forms", "batch-independent", "inputs-untouched",
        "no-graph", "protocol", "described", "light", "global-state", "no-network", "deterministic")  # fmt: skip


@pytest.mark.parametrize("kind", ["v", "flow", "edm"])
def test_generators_keep_the_laws_that_weights_do_not_decide(save: Any, kind: str) -> None:
    subject = Subject.installed("generator", "diffusers", model=save(*KINDS[kind]()))
    tried = [law for law in subject.laws if law.name in LAWS]
    assert [(r.law.name, r.message) for r in check(subject, tried) if r.outcome not in ("holds", "not tried")] == []


def test_network_and_scheduler_may_lie_in_one_folder(save: Any, tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    for file in Path(save(unet, diffusers.DDPMScheduler())).rglob("*.*"):
        file.rename(together / file.name)
    assert loaded(str(together)).denoise(torch.zeros(1, 3, 7, 9), 0.1).shape == (1, 3, 7, 9)


def test_what_is_not_here_or_is_something_else_is_refused(save: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not here") as missing:
        loaded("google/ddpm-church-256")
    assert "idem models pull hf:google/ddpm-church-256" in missing.value.hint
    with pytest.raises(InputError, match="takes 4 channels and makes 4, not RGB"):
        loaded(save(lambda: unet(in_channels=4, out_channels=4), diffusers.DDPMScheduler(), "latent"))
    odd = save(unet, diffusers.DDPMScheduler(), "odd")
    config = Path(odd) / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"epsilon"', '"flow"'))
    with pytest.raises(InputError, match="predicts 'flow'"):
        loaded(odd)
    pickled = save(unet, diffusers.DDPMScheduler(), "pickled")
    (file,) = (Path(pickled) / "unet").glob("*.safetensors")
    torch.save(reloaded(pickled).state_dict(), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(pickled)
    diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(tmp_path / "vae" / "unet")
    with pytest.raises(InputError, match="is a AutoencoderKL"):
        loaded(str(tmp_path / "vae"))
