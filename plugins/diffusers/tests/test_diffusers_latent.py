"""Latent pipelines as restorers: each kind, tiny, against diffusers' own call on the same weights and noise."""

from __future__ import annotations

import json
import math
import shutil
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
pytest.importorskip("transformers")

from idemcore_diffusers import pipelines  # noqa: E402
from idemcore_diffusers.autoencoders import decode, encode  # noqa: E402
from idemcore_diffusers.config import LatentConfig  # noqa: E402
from idemcore_diffusers.latent import LatentRestorer  # noqa: E402
from idemcore_diffusers.levels import Discrete, Flow, Trigonometric  # noqa: E402

CPU = Runtime(torch.device("cpu"), torch.float32)
TOLD = ("sd", "sdxl", "sd3", "flux", "sana", "sana-sprint")
NAMES = (*TOLD, "ldm")
IMAGE = Noise([0]).uniform(3, 32, 32)
Saved = Callable[[str], Path]


def loaded(folder: Path, **settings: Any) -> LatentRestorer:
    return LatentRestorer(LatentConfig(str(folder), **settings), CPU)


def own(folder: Path, **parts: Any) -> Any:
    """The pipeline as diffusers loads it, with the scheduler of one step from any level."""
    found = diffusers.DiffusionPipeline.from_pretrained(folder, **parts)
    found.set_progress_bar_config(disable=True)
    kind = type(found.scheduler).__name__
    if kind != "SCMScheduler":
        flows = kind.startswith("FlowMatch") or "flow" in str(found.scheduler.config.get("prediction_type"))
        one_step = diffusers.FlowMatchEulerDiscreteScheduler() if flows else diffusers.LCMScheduler.from_config(
            found.scheduler.config)  # fmt: skip
        found.scheduler = one_step
    return found


def noisy_latent(found: LatentRestorer, sigma: float, seed: int) -> tuple[Tensor, Any]:
    """What the network of a restorer is given for IMAGE, worked out here: in the order of its draws."""
    noise, vae = Noise([seed]), found.loaded.autoencoder
    with torch.no_grad():
        z = encode(vae, IMAGE)
        moved = encode(vae, IMAGE + sigma * noise.like(IMAGE)) - z
        moment = found.loaded.levels.nearest(float(moved.square().mean().sqrt()))
        return moment.signal * z + moment.noise * noise.like(z), moment


@pytest.mark.parametrize("name", TOLD)
def test_a_restoration_is_one_step_of_diffusers_own_pipeline(name: str, saved: Saved) -> None:
    found, pipeline = loaded(saved(name), prompt="a cat"), own(saved(name))
    latents, moment = noisy_latent(found, 0.2, 7)
    if name == "flux":
        latents = pipeline._pack_latents(latents, *latents.shape)
    more = {"use_resolution_binning": False} if name.startswith("sana") else {}
    wanted = pipeline(
        "a cat", latents=latents, height=32, width=32, guidance_scale=1.0, output_type="pt", **moment.named, **more
    ).images
    torch.testing.assert_close(found.restore(IMAGE, 0.2, Noise([7])).clamp(0, 1), wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_without_a_prompt_the_estimate_is_that_of_the_scheduler(prediction: str, saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("ldm"), tmp_path / "ldm")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"v_prediction"', f'"{prediction}"'))
    found, pipeline = loaded(folder), diffusers.DiffusionPipeline.from_pretrained(folder)
    latents, moment = noisy_latent(found, 0.2, 7)
    (t,) = moment.named["timesteps"]
    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    with torch.no_grad():
        estimate = scheduler.step(pipeline.unet(latents, t).sample, t, latents).pred_original_sample
        wanted = decode(pipeline.vqvae, estimate)
    torch.testing.assert_close(found.restore(IMAGE, 0.2, Noise([7])), wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["sd", "sd3", "sana"])
def test_latents_are_scaled_as_the_network_was_trained_on_them_and_back(name: str, saved: Saved) -> None:
    vae = own(saved(name)).vae
    with torch.no_grad():
        raw = vae.encode(2 * IMAGE - 1)
        raw = raw.latent_dist.mode() if name != "sana" else raw.latent
        latents = encode(vae, IMAGE)
        images = decode(vae, latents)
        straight = vae.decode(raw).sample
    shift = vae.config.shift_factor or 0.0 if name != "sana" else 0.0
    torch.testing.assert_close(latents, (raw - shift) * vae.config.scaling_factor)
    torch.testing.assert_close(2 * images - 1, straight, atol=1e-5, rtol=1e-4)


def test_latents_of_a_vq_model_and_of_one_with_means_go_there_and_back() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vq = diffusers.VQModel(block_out_channels=(8,), norm_num_groups=4, num_vq_embeddings=8).eval()
        told = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [2.0, 1.0, 0.5, 1.5]}
        vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, **told).eval()
    with torch.no_grad():
        raw = vq.encode(2 * IMAGE - 1).latents
        torch.testing.assert_close(encode(vq, IMAGE), raw * vq.config.scaling_factor)
        assert decode(vq, encode(vq, IMAGE)).shape == IMAGE.shape
        raw = vae.encode(2 * IMAGE - 1).latent_dist.mode()
        mean, spread = (torch.tensor(getattr(vae.config, f"latents_{k}")).view(1, 4, 1, 1) for k in ("mean", "std"))
        torch.testing.assert_close(encode(vae, IMAGE), (raw - mean) / spread * vae.config.scaling_factor)
        torch.testing.assert_close(
            2 * decode(vae, encode(vae, IMAGE)) - 1, vae.decode(raw).sample, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("level", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("kind", ["discrete", "flow", "trigonometric"])
def test_the_noise_of_a_moment_is_the_level_times_its_signal(kind: str, level: float) -> None:
    abar = diffusers.DDPMScheduler(beta_schedule="scaled_linear").alphas_cumprod.double()
    levels = {"discrete": Discrete(abar), "flow": Flow(), "trigonometric": Trigonometric()}[kind]
    moment = levels.nearest(level)
    assert moment.noise / moment.signal == pytest.approx(level, rel=0.02 if kind == "discrete" else 1e-9)
    if kind != "flow":
        assert moment.signal**2 + moment.noise**2 == pytest.approx(1.0)
    for extreme in (0.0, 1e9):
        at_the_end = levels.nearest(extreme)
        assert math.isfinite(at_the_end.signal)
        assert 0 < at_the_end.noise <= 1


def test_more_noise_in_the_image_is_more_noise_in_its_latent(saved: Saved) -> None:
    found, asked = loaded(saved("ldm"), strength=2.0), list[float]()
    nearest = found.loaded.levels.nearest
    object.__setattr__(found.loaded.levels, "nearest", lambda level: (asked.append(level), nearest(level))[1])
    for sigma in (0.02, 0.1, 0.4):
        found.restore(IMAGE, sigma, Noise([1]))
    assert asked == sorted(asked)
    assert asked[0] < asked[-1] / 5


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_restores_and_is_certified(name: str, saved: Saved) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(Noise([0]).uniform(3, 17, 23))
    settings = {"generator": {"model": str(saved(name))}, "solver": {"steps": 2}}
    result = Decoder.load("diffusers-latent", "latino", CPU, settings).reconstruct(bitstream)
    assert (result.exact, result.nfe, result.backwards) == (True, 2, 0)


LAWS = ("family", "restored-image", "odd-sizes", "level-forms", "batch-independent", "inputs-untouched", "no-graph",
        "protocol", "described", "light", "global-state", "no-network", "deterministic")  # fmt: skip


@pytest.mark.parametrize("name", ["sdxl", "flux", "sana-sprint", "ldm"])
def test_restorers_keep_the_laws_that_weights_do_not_decide(name: str, saved: Saved) -> None:
    subject = Subject.installed("generator", "diffusers-latent", model=str(saved(name)))
    tried = [law for law in subject.laws if law.name in LAWS]
    assert [(r.law.name, r.message) for r in check(subject, tried) if r.outcome not in ("holds", "not tried")] == []


def test_a_prompt_and_its_guidance_change_the_image_and_text_encoders_are_let_go(saved: Saved) -> None:
    plain = loaded(saved("sd"))
    assert plain.loaded.pipeline.text_encoder is None
    images = [one.restore(IMAGE, 0.3, Noise([1])) for one in (
        plain, loaded(saved("sd"), prompt="a cat"), loaded(saved("sd"), prompt="a cat", guidance=4.0))]  # fmt: skip
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])


def test_another_network_takes_the_place_of_the_model_s_own(saved: Saved, tmp_path: Path) -> None:
    """As DMD2's and LCM's weights are published: as a folder, or as the tensors of one file."""
    unet = own(saved("sd")).unet
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.mul_(0.9)
    unet.save_pretrained(tmp_path / "unet")
    (file,) = (tmp_path / "unet").glob("*.safetensors")
    before = loaded(saved("sd")).restore(IMAGE, 0.3, Noise([1]))
    folder, alone = (loaded(saved("sd"), network=str(one)).restore(IMAGE, 0.3, Noise([1])) for one in (tmp_path, file))
    assert torch.equal(folder, alone)
    assert not torch.equal(folder, before)
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(saved("sdxl"), network=str(file))
    with pytest.raises(InputError, match="is a UNet2DConditionModel, not a SD3Transformer2DModel"):
        loaded(saved("sd3"), network=str(tmp_path))


def test_a_lora_is_merged_into_the_network(saved: Saved, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    pipeline = own(saved("sd"))
    pipeline.unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False))
    layers = peft.utils.get_peft_model_state_dict(pipeline.unet)
    diffusers.StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers)
    pipeline.unet.fuse_lora()
    wanted = pipeline.unet.state_dict()
    for where in (tmp_path, tmp_path / "pytorch_lora_weights.safetensors"):
        merged = loaded(saved("sd"), lora=str(where)).loaded.network.state_dict()
        name = next(name for name in merged if name.endswith("to_q.weight"))
        torch.testing.assert_close(merged[name], wanted[name.replace("to_q", "to_q.base_layer")])
        assert not any("lora" in key for key in merged)


def test_half_precision_keeps_images_at_the_border_in_float32(saved: Saved) -> None:
    half = LatentRestorer(LatentConfig(str(saved("sdxl"))), Runtime(torch.device("cpu"), torch.bfloat16))
    image = half.restore(IMAGE, 0.2, Noise([1]))
    assert (half.loaded.network.dtype, half.loaded.autoencoder.dtype) == (torch.bfloat16, torch.bfloat16)
    assert image.dtype == torch.float32
    assert bool(image.isfinite().all())


def test_the_autoencoder_s_tiles_are_those_of_diffusers(saved: Saved) -> None:
    assert loaded(saved("ldm"), vae_tiling=True).loaded.autoencoder.use_tiling
    assert not loaded(saved("ldm")).loaded.autoencoder.use_tiling


def test_what_does_not_fit_is_refused_in_a_sentence(saved: Saved, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(MissingError, match="is not here") as missing:
        loaded(Path("stabilityai/sdxl"))
    assert "idem models pull hf:stabilityai/sdxl" in missing.value.hint
    with pytest.raises(UsageError, match="reads no text"):
        loaded(saved("ldm"), prompt="a cat")
    with pytest.raises(UsageError, match="this is a CPU"):
        loaded(saved("ldm"), offload="model")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text(json.dumps({"_class_name": "AudioPipeline"}))
    with pytest.raises(InputError, match="is a AudioPipeline, which is not known here"):
        loaded(other)
    with pytest.raises(ValueError, match="offload must be one of"):
        LatentConfig("model", offload="disk")
    with pytest.raises(ValueError, match="strength must be at least 0"):
        LatentConfig("model", strength=-1.0)
    monkeypatch.setattr(pipelines, "is_transformers_available", lambda: False)
    with pytest.raises(MissingError, match="by the library transformers") as extra:
        loaded(saved("sd"))
    assert "idemcore-diffusers[latent]" in extra.value.hint


def test_pickled_weights_are_not_read(saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("ldm"), tmp_path / "ldm")
    (file,) = (folder / "unet").glob("*.safetensors")
    torch.save({}, file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(folder)


def test_weights_in_half_precision_alone_are_loaded(saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("ldm"), tmp_path / "ldm")
    (file,) = (folder / "unet").glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    torch.testing.assert_close(
        loaded(folder).restore(IMAGE, 0.2, Noise([7])), loaded(saved("ldm")).restore(IMAGE, 0.2, Noise([7]))
    )
