"""Settings of metrics. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FeatureConfig:
    """Settings of the distances between sets of features."""

    features: str = "efficientnet-lite0"  # efficientnet-lite0, inception (pytorch-fid's) or timm/NAME
    patch: int = 64  # side of the non-overlapping patches, pixels; 0: whole images

    def __post_init__(self) -> None:
        if self.features not in ("efficientnet-lite0", "inception") and not self.features.startswith("timm/"):
            raise ValueError(f"features must be efficientnet-lite0, inception or timm/NAME, not {self.features!r}")
        if self.patch < 0:
            raise ValueError(f"patch must be at least 1 pixel, or 0 for whole images, not {self.patch}")


@dataclass
class InceptionConfig(FeatureConfig):
    """The paper's: Inception features of 64x64 patches."""

    features: str = "inception"  # efficientnet-lite0, inception (pytorch-fid's) or timm/NAME


@dataclass
class WholeInceptionConfig(InceptionConfig):
    """Inception features of whole images."""

    patch: int = 0  # side of the non-overlapping patches, pixels; 0: whole images


@dataclass
class LpipsConfig:
    """Settings of LPIPS."""

    network: str = "alex"  # alex, vgg or squeeze: the network whose features are compared

    def __post_init__(self) -> None:
        if self.network not in ("alex", "vgg", "squeeze"):
            raise ValueError(f"network must be alex, vgg or squeeze, not {self.network!r}")
