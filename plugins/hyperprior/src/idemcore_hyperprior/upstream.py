"""What idem takes from CompressAI, whose own imports warn of functions that are to go."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.layers import GDN
    from compressai.models import (
        Cheng2020Anchor,
        Cheng2020Attention,
        FactorizedPrior,
        JointAutoregressiveHierarchicalPriors,
        MeanScaleHyperprior,
        ScaleHyperprior,
    )

__all__ = [
    "GDN",
    "Cheng2020Anchor",
    "Cheng2020Attention",
    "FactorizedPrior",
    "JointAutoregressiveHierarchicalPriors",
    "MeanScaleHyperprior",
    "ScaleHyperprior",
]
