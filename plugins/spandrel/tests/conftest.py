"""Networks of each architecture in its true layout, small, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn


def drunet(colours: int = 3) -> nn.Module:
    from spandrel.architectures.DRUNet import DRUNet

    return DRUNet(in_nc=colours + 1, out_nc=colours, nc=[8, 8, 12, 16], nb=2)


def fdncnn() -> nn.Module:
    from spandrel.architectures.DnCNN import DnCNN

    return DnCNN(in_nc=4, out_nc=3, nc=8, nb=20, act_mode="R", mode="FDnCNN")


def dncnn(colours: int = 3) -> nn.Module:
    from spandrel.architectures.DnCNN import DnCNN

    return DnCNN(in_nc=colours, out_nc=colours, nc=8, nb=17, act_mode="R")


def fbcnn() -> nn.Module:
    from spandrel.architectures.FBCNN import FBCNN

    return FBCNN(in_nc=3, out_nc=3, nc=[8, 8, 12, 512], nb=2)


def scunet() -> nn.Module:
    from spandrel.architectures.SCUNet import SCUNet

    return SCUNet(dim=64, config=[1] * 7)


def swinir() -> nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        upscale=1, in_chans=3, img_size=14, window_size=7, img_range=255.0, depths=[1, 1], embed_dim=12,
        num_heads=[2, 2], mlp_ratio=2, upsampler="", resi_connection="1conv",
    )  # fmt: skip


def nafnet() -> nn.Module:
    from spandrel.architectures.NAFNet import NAFNet

    return NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])


def rcan() -> nn.Module:
    from spandrel.architectures.RCAN import RCAN

    return RCAN(n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4, scale=2)


def safmn() -> nn.Module:
    from spandrel.architectures.SAFMN import SAFMN

    return SAFMN(dim=8, n_blocks=2, upscaling_factor=4)


def esrgan() -> nn.Module:
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=16, num_blocks=2, scale=4)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    f.__name__: f for f in (drunet, fdncnn, dncnn, fbcnn, scunet, swinir, nafnet, rcan, safmn, esrgan)
} | {"drunet-grey": lambda: drunet(1), "dncnn-grey": lambda: dncnn(1)}


@pytest.fixture(scope="session")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`file_of("fbcnn")`: a .pth with small random weights, as programs save them."""
    folder, made = tmp_path_factory.mktemp("spandrel"), dict[str, Path]()

    def write(name: str) -> Path:
        if name not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                state = NETWORKS[name]().state_dict()
            made[name] = folder / f"{name}.pth"
            torch.save({"params_ema": state}, made[name])
        return made[name]

    return write
