"""What makes an estimate natural instead of smooth: features like those of the photograph, and a critic.

estimate, photograph -> maps of a classifier -> distance        (Zhang et al., CVPR 2018, without learned weights)
estimate, decode -----> critic -> judgement of each patch       (Isola et al., CVPR 2017; hinge loss)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from idemcore.networks.efficientnet import feature_maps

WIDTHS = (32, 64, 128, 128)
"""Channels of the critic, each at half of the resolution before."""
CRITIC_RATE = 2e-4


def feature_distance(maps: Callable[[Tensor], list[Tensor]], x: Tensor, y: Tensor) -> Tensor:
    """Scalar: mean squared distance of the maps of x and y [B,3,H,W] in [-1,1], each place's features made a unit."""
    pairs = zip(*(map(F.normalize, maps((image + 1) / 2)) for image in (x, y)), strict=True)
    distances = [(a - b).square().sum(dim=1).mean() for a, b in pairs]
    return torch.stack(distances).mean()


class Critic(nn.Module):
    """Judges patches of 46x46 pixels: above 0 for photographs, below for estimates. It sees the JPEG's decode too."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((6, *WIDTHS), WIDTHS, strict=False):
            layers += [spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)))

    def forward(self, image: Tensor, decoded: Tensor) -> Tensor:
        """[B,1,H/16,W/16] of images [B,3,H,W] in [-1,1]."""
        found: Tensor = self.layers(torch.cat([image, decoded], dim=1))
        return found


class Naturalness:
    """The loss beside the squared error: features and critic with their weights, and the critic's own training."""

    def __init__(self, perceptual: float, adversarial: float, device: torch.device) -> None:
        """Raises MissingError if the classifier is not here."""
        self.perceptual, self.adversarial = perceptual, adversarial
        self.maps = feature_maps(str(device))
        self.critic = Critic().to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), CRITIC_RATE, (0.5, 0.99))

    def loss(self, estimate: Tensor, clean: Tensor, decoded: Tensor) -> Tensor:
        """Of images [B,3,H,W] in [-1,1]."""
        found = self.perceptual * feature_distance(self.maps, estimate, clean)
        if self.adversarial:
            self.critic.requires_grad_(False)
            found = found - self.adversarial * self.critic(estimate, decoded).mean()
        return found

    def teach(self, estimate: Tensor, clean: Tensor, decoded: Tensor) -> None:
        """One step of the critic, by the hinge loss."""
        if not self.adversarial:
            return
        self.critic.requires_grad_(True)
        real, made = self.critic(clean, decoded), self.critic(estimate.detach(), decoded)
        loss = F.relu(1 - real).mean() + F.relu(1 + made).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
