"""A small latent diffusion model of faces in diffusers' own classes and layout: half an hour of one CPU core.

An AutoencoderKL takes images [-1,1] of 64x64 to latents [4,16,16] and back (Rombach et al., CVPR 2022): absolute error
and a little of the Kullback-Leibler distance to N(0, I). A UNet2DModel predicts v (Salimans & Ho, ICLR 2022) of these
latents. An autoencoder that lies in OUT is used as it is. The folder is as `LDMPipeline.save_pretrained` writes it:
`--generator diffusers-latent --set generator.model=OUT`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from idemcore.io.image_sets import squares

BATCH = {"autoencoder": 16, "denoiser": 32}
RATE = {"autoencoder": 1e-3, "denoiser": 6e-4}
KL = 1e-6
"""Weight of the Kullback-Leibler distance a latent, as in Rombach et al."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", type=Path, help="folder or .zip of 64x64 images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoded", type=int, help="how many images the denoiser is trained on; all without it")
    parser.add_argument("--autoencoder-minutes", type=float, default=10, help="processor time")
    parser.add_argument("--denoiser-minutes", type=float, default=20, help="processor time")
    options = parser.parse_args()
    torch.manual_seed(0)
    faces = squares(options.faces, 64).expand(-1, 3, -1, -1)
    if (options.out / "vqvae").exists():
        autoencoder = AutoencoderKL.from_pretrained(options.out / "vqvae").eval()
    else:
        autoencoder = train_autoencoder(faces, options.autoencoder_minutes * 60)
        autoencoder.save_pretrained(options.out / "vqvae")
    unet, scheduler = train_denoiser(latents_of(autoencoder, faces[: options.encoded]), options.denoiser_minutes * 60)
    LDMPipeline(vqvae=autoencoder, unet=unet, scheduler=scheduler).save_pretrained(options.out)


def train_autoencoder(faces: Tensor, seconds: float) -> AutoencoderKL:
    """With its scaling factor: the inverse of the latents' deviation."""
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 32, 64), norm_num_groups=8, layers_per_block=1, sample_size=64,
    )  # fmt: skip

    def loss(batch: Tensor) -> Tensor:
        posterior = network.encode(batch).latent_dist
        decoded = network.decode(posterior.sample()).sample
        return F.l1_loss(decoded.float(), batch) + KL * posterior.kl().float().mean()

    batches = (signed(faces[some]) for some in shuffled(len(faces), BATCH["autoencoder"]))
    trained: AutoencoderKL = descend("autoencoder", network, loss, batches, seconds)
    deviation = latents_of(trained, faces[:1000]).std()
    trained.register_to_config(scaling_factor=round(float(trained.config.scaling_factor / deviation), 4))
    return trained


@torch.no_grad()
def latents_of(autoencoder: AutoencoderKL, faces: Tensor) -> Tensor:
    """[N,4,16,16], scaled: the posteriors' means."""
    parts = [autoencoder.encode(signed(part)).latent_dist.mean for part in faces.split(100)]
    return torch.cat(parts) * autoencoder.config.scaling_factor


def train_denoiser(latents: Tensor, seconds: float) -> tuple[UNet2DModel, DDIMScheduler]:
    scheduler = DDIMScheduler(
        beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", prediction_type="v_prediction",
        clip_sample=False,
    )  # fmt: skip
    network = UNet2DModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(64, 128, 128),
        norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip

    def loss(batch: Tensor) -> Tensor:
        t = torch.randint(0, scheduler.config.num_train_timesteps, (len(batch),))
        noise = torch.randn_like(batch)
        noisy = scheduler.add_noise(batch, noise, t)
        return F.mse_loss(network(noisy, t).sample.float(), scheduler.get_velocity(batch, noise, t))

    batches = (latents[some] for some in shuffled(len(latents), BATCH["denoiser"]))
    return descend("denoiser", network, loss, batches, seconds), scheduler


def descend(
    name: str, network: nn.Module, loss: Callable[[Tensor], Tensor], batches: Iterator[Tensor], seconds: float
) -> nn.Module:
    """The average of the weights on the way, after `seconds` of processor time at a rate that falls to 0."""
    network.to(memory_format=torch.channels_last).train()
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    descent = torch.optim.AdamW(network.parameters(), lr=RATE[name], weight_decay=1e-4)
    begun, steps, lately = time.process_time(), 0, 0.0
    while (done := (time.process_time() - begun) / seconds) < 1:
        for group in descent.param_groups:
            group["lr"] = RATE[name] * min(1, steps / 50) * (1 - done)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(next(batches).contiguous(memory_format=torch.channels_last))
        descent.zero_grad()
        found.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        descent.step()
        averaged.update_parameters(network)
        steps, lately = steps + 1, lately + 0.02 * (found.item() - lately) if steps else found.item()
        if steps % 50 == 0:
            report = {"part": name, "steps": steps, "loss": round(lately, 4), "minutes": round(done * seconds / 60, 2)}
            print(json.dumps(report), flush=True)
    network.load_state_dict(averaged.module.state_dict())
    return network.to(memory_format=torch.contiguous_format).eval()


def shuffled(count: int, size: int) -> Iterator[Tensor]:
    """Batches of indices, each image once before any comes again."""
    while True:
        yield from torch.randperm(count)[: count - count % size].split(size)


def signed(faces: Tensor) -> Tensor:
    """Bytes [B,3,H,W] -> [-1,1]."""
    return faces.float() / 127.5 - 1


if __name__ == "__main__":
    main()
