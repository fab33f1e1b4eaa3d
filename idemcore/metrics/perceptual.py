"""Nearness of a reconstruction to its original as people see it: MS-SSIM, LPIPS and DISTS, by others' libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..protocols import ImageMetric
from ..results.case import Case
from .features import lacking, require_hub_file
from .rates import undefined

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .config import LpipsConfig

MS_SSIM_SIDE = 160
"""Pixels that a side must exceed: 11x11 windows at a 16th of the size."""

BACKBONES = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
"""Weights that torchvision would download by itself."""
LEAST_SIDES = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Pixels that LPIPS needs with each."""


SSIM_SIDE = 11
"""Pixels that a side must have: one window."""


class Ssim(ImageMetric):
    """Wang et al. 2004 in MATLAB's convention, the mean over channels, by pytorch-msssim; nan below 11 pixels a side.

    Gaussian windows of 11x11 with deviation 1.5, those alone that lie inside the image; K1 = 0.01, K2 = 0.03.
    """

    def __init__(self, config: object, runtime: Runtime) -> None:
        """Raises MissingError if pytorch-msssim is not installed."""
        try:
            from pytorch_msssim import ssim
        except ImportError as error:
            raise lacking("SSIM", error) from error
        self.function, self.device = ssim, runtime.device

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if case.original is None or min(case.reconstruction.shape[-2:]) < SSIM_SIDE:
            return undefined(case)
        a, b = (image.to(self.device, torch.float32) for image in (case.reconstruction, case.original))
        found: Tensor = self.function(a, b, data_range=255, size_average=False)
        return found.cpu().double()


class MsSsim(ImageMetric):
    """Wang et al. 2003, by pytorch-msssim; nan where a side is 160 pixels or less."""

    def __init__(self, config: object, runtime: Runtime) -> None:
        """Raises MissingError if pytorch-msssim is not installed."""
        try:
            from pytorch_msssim import ms_ssim
        except ImportError as error:
            raise lacking("MS-SSIM", error) from error
        self.function, self.device = ms_ssim, runtime.device

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if case.original is None or min(case.reconstruction.shape[-2:]) <= MS_SSIM_SIDE:
            return undefined(case)
        a, b = (image.to(self.device, torch.float32) for image in (case.reconstruction, case.original))
        found: Tensor = self.function(a, b, data_range=255, size_average=False)
        return found.cpu().double()


class _ByNetwork(ImageMetric):
    device: torch.device
    least = 1
    """Shortest side, in pixels, that its layers leave something of; of smaller images there is no value."""

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if case.original is None or min(case.reconstruction.shape[-2:]) < self.least:
            return undefined(case)
        images = (x.to(self.device, torch.float32).split(1) for x in (case.reconstruction, case.original))
        return torch.tensor([float(self.distance(a, b)) for a, b in zip(*images, strict=True)], dtype=torch.float64)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance of two images [1,3,H,W] in 0..255."""
        raise AssertionError("each metric has its own")


class Lpips(_ByNetwork):
    """Zhang et al. 2018, version 0.1, by torchmetrics; its networks see [-1,1]."""

    def __init__(self, config: LpipsConfig, runtime: Runtime) -> None:
        """Raises MissingError if torchmetrics, torchvision or the backbone's weights are not here."""
        require_hub_file(BACKBONES[config.network], f"The network '{config.network}' of LPIPS")
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            network: Any = config.network
            self.metric = LearnedPerceptualImagePatchSimilarity(net_type=network).to(runtime.device)
        except ImportError as error:  # of torchvision only when it is built
            raise lacking("LPIPS", error) from error
        self.device, self.least = runtime.device, LEAST_SIDES[config.network]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = self.metric(a / 127.5 - 1, b / 127.5 - 1)
        self.metric.reset()  # it would keep every value
        return found


class Dists(_ByNetwork):
    """Ding et al. 2020, by torchmetrics; its network sees [0,1]."""

    def __init__(self, config: object, runtime: Runtime) -> None:
        """Raises MissingError if torchmetrics, torchvision or VGG's weights are not here."""
        require_hub_file(BACKBONES["vgg"], "The network of DISTS")
        try:
            from torchmetrics.functional.image.dists import DISTSNetwork

            self.network: Any = DISTSNetwork().to(runtime.device)  # torchmetrics' own metric builds it for every image
        except ImportError as error:
            raise lacking("DISTS", error) from error
        self.device = runtime.device

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = self.network(a / 255, b / 255)
        return found
