"""Every codec and every solver on the priors that people bring: small ones with random weights, in true layouts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from combining import CODECS, SOLVERS, check_runs_or_is_refused, hurry, small_bitstreams

from idemcore.pipeline.codec import Bitstream

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("spandrel")

UNET = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1,
        "attention_head_dim": 4, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}  # fmt: skip
SCHEDULERS: dict[str, Callable[[], Any]] = {
    "eps": diffusers.DDPMScheduler,
    "v": lambda: diffusers.DDIMScheduler(prediction_type="v_prediction"),
    "x": lambda: diffusers.DDPMScheduler(prediction_type="sample"),
    "flow": diffusers.FlowMatchEulerDiscreteScheduler,
    "edm": diffusers.EDMEulerScheduler,
}
OTHERS = ("v", "x", "flow", "edm")
"""What networks of `diffusers` predict beside noise."""
PRIORS = ("drunet", "restorer", "restorer-x4", *SCHEDULERS, "latent")


def spandrel_file(folder: Path, name: str) -> dict[str, str]:
    from spandrel.architectures.DRUNet import DRUNet
    from spandrel.architectures.ESRGAN import ESRGAN
    from spandrel.architectures.NAFNet import NAFNet

    networks: dict[str, Callable[[], torch.nn.Module]] = {
        "drunet": lambda: DRUNet(in_nc=4, out_nc=3, nc=[8, 8, 12, 16], nb=2),
        "restorer": lambda: NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]),
        "restorer-x4": lambda: ESRGAN(num_filters=16, num_blocks=2, scale=4),
    }
    torch.save({"params_ema": networks[name]().state_dict()}, folder / f"{name}.pth")
    return {"model": str(folder / f"{name}.pth")}


def pipeline_folder(folder: Path, name: str) -> dict[str, str]:
    if name == "latent":
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
        unet = diffusers.UNet2DModel(16, in_channels=4, out_channels=4, **UNET)
        diffusers.LDMPipeline(vqvae=vae, unet=unet, scheduler=diffusers.DDIMScheduler()).save_pretrained(folder / name)
    else:
        diffusers.UNet2DModel(16, **UNET).save_pretrained(folder / name / "unet")
        SCHEDULERS[name]().save_pretrained(folder / name / "scheduler")
    return {"model": str(folder / name)}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("priors")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            name: spandrel_file(folder, name) if name in PRIORS[:3] else pipeline_folder(folder, name)
            for name in PRIORS
        }


@pytest.fixture(scope="module")
def bitstreams() -> dict[str, Bitstream]:
    return small_bitstreams()


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield


GENERATOR = dict.fromkeys(SCHEDULERS, "diffusers") | {
    "drunet": "drunet", "restorer": "spandrel", "restorer-x4": "spandrel", "latent": "diffusers-latent",
}  # fmt: skip


def cases() -> list[Any]:
    """All; most are slow. Every prior is run with every solver beside one codec, but OTHERS with a quarter of them."""
    every = product(enumerate(PRIORS), enumerate(SOLVERS), enumerate(CODECS))
    quick = {
        (prior, solver, codec)
        for (i, prior), (j, solver), (k, codec) in every
        if (i + j) % len(CODECS) == k and (prior not in OTHERS or j % len(OTHERS) == OTHERS.index(prior))
    }
    return [
        pytest.param(codec, prior, solver, marks=[] if (prior, solver, codec) in quick else [pytest.mark.slow])
        for prior, solver, codec in product(PRIORS, SOLVERS, CODECS)
    ]


@pytest.mark.parametrize(("codec", "prior", "solver"), cases())
def test_a_combination_runs_or_is_refused(
    codec: str, prior: str, solver: str, bitstreams: dict[str, Bitstream], settings: dict[str, dict[str, str]]
) -> None:
    if prior == "drunet" and solver in ("pulse", "ilo", "langevin"):
        pytest.skip("a denoiser of little noise makes no image of noise alone: tested with its plugin")
    check_runs_or_is_refused(bitstreams[codec], GENERATOR[prior], solver, settings[prior])
