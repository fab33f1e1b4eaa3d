"""Tiny pipelines of every kind of latent model, with random weights, as diffusers saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, "a": 4, "cat": 5}
TEXT = {"vocab_size": len(WORDS), "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
UNET = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8}
CROSS = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 2}  # fmt: skip


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=6,
    )  # fmt: skip


def clip(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(**TEXT, projection_dim=8, max_position_embeddings=6)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(width: int = 8) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=len(WORDS), d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2, pad_token_id=0)
    )


def autoencoder(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, sample_size=16, **more,
    )  # fmt: skip


def stable_diffusion() -> Any:
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip(), tokenizer=tokenizer(), safety_checker=None, feature_extractor=None,
        unet=UNet2DConditionModel(cross_attention_dim=8, **UNET, **CROSS), requires_safety_checker=False,
        scheduler=PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True),
    )  # fmt: skip


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        cross_attention_dim=16, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=8 + 6 * 4, transformer_layers_per_block=(1, 1), **UNET, **CROSS,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025), text_encoder=clip(), text_encoder_2=clip(projected=True),
        tokenizer=tokenizer(), tokenizer_2=tokenizer(), unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )  # fmt: skip


def sd3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16,
        pos_embed_max_size=32,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        vae=autoencoder(scaling_factor=1.5305, shift_factor=0.0609), transformer=transformer,
        text_encoder=clip(projected=True), text_encoder_2=clip(projected=True), text_encoder_3=t5(16),
        tokenizer=tokenizer(), tokenizer_2=tokenizer(), tokenizer_3=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


def flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return FluxPipeline(
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159), transformer=transformer, text_encoder=clip(),
        text_encoder_2=t5(), tokenizer=tokenizer(), tokenizer_2=tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
    )  # fmt: skip


def compressor() -> Any:
    from diffusers import AutoencoderDC

    return AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
        scaling_factor=0.41407,
    )  # fmt: skip


def gemma() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(
        Gemma2Config(vocab_size=len(WORDS), hidden_size=8, intermediate_size=8, num_hidden_layers=1, head_dim=4,
                     num_attention_heads=2, num_key_value_heads=1)
    )  # fmt: skip


def sana_transformer(**more: Any) -> Any:
    from diffusers import SanaTransformer2DModel

    return SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=8,
        sample_size=8, **more,
    )  # fmt: skip


def sana() -> Any:
    from diffusers import DPMSolverMultistepScheduler, SanaPipeline

    return SanaPipeline(
        tokenizer=tokenizer(), text_encoder=gemma(), vae=compressor(), transformer=sana_transformer(),
        scheduler=DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    )  # fmt: skip


def sana_sprint() -> Any:
    from diffusers import SanaSprintPipeline, SCMScheduler

    return SanaSprintPipeline(
        tokenizer=tokenizer(), text_encoder=gemma(), vae=compressor(), scheduler=SCMScheduler(),
        transformer=sana_transformer(guidance_embeds=True, guidance_embeds_scale=0.1, qk_norm="rms_norm_across_heads"),
    )  # fmt: skip


def ldm(prediction: str = "v_prediction") -> Any:
    from diffusers import DDIMScheduler, LDMPipeline, UNet2DModel

    unet = UNet2DModel(
        in_channels=4, out_channels=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=4, **UNET,
    )  # fmt: skip
    return LDMPipeline(vqvae=autoencoder(), unet=unet, scheduler=DDIMScheduler(prediction_type=prediction))


PIPELINES: dict[str, Callable[[], Any]] = {
    "sd": stable_diffusion, "sdxl": sdxl, "sd3": sd3, "flux": flux, "sana": sana, "sana-sprint": sana_sprint,
    "ldm": ldm,
}  # fmt: skip


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline, by its name in PIPELINES; made when it is first asked for."""
    root = tmp_path_factory.mktemp("pipelines")

    def write(name: str) -> Path:
        if not (root / name).exists():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                PIPELINES[name]().save_pretrained(root / name)
        return root / name

    return write
