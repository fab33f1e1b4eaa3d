"""What is kept of published checkpoints that follow CompressAI's layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from ..errors import InputError
from ..weights.checkpoints import check_layout, shapes_of
from .model import LatentModel

DERIVED = re.compile(
    r"(entropy_bottleneck|gaussian_conditional)\."
    r"(_offset|_quantized_cdf|_cdf_length|scale_table|scale_bound|target"
    r"|likelihood_lower_bound\.bound|lower_bound_scale\.bound)"
)
"""Tables and constants that idem computes itself, from the parameters, in float64."""


def keep_parameters(
    state: Mapping[str, Tensor], build: Callable[[Mapping[str, Tensor]], LatentModel], where: str
) -> dict[str, Tensor]:
    """The parameters of a checkpoint whose names are those of CompressAI 1.2.7 and later (`modern_names`), as float32.

    `build` makes the network of the shape that the checkpoint has. Raises InputError naming the keys that are missing,
    unexpected, misshapen or of the wrong type.
    """
    kept = {key: value for key, value in state.items() if not DERIVED.fullmatch(key)}
    try:
        network = build(kept)
    except KeyError as error:
        raise InputError(f"{where} does not fit the network: {error} is missing.") from error
    except (IndexError, ValueError, RuntimeError) as error:
        told = f"{where} does not fit the network: its widths cannot be read from its shapes ({error})."
        raise InputError(told) from error
    check_layout(kept, shapes_of(network.state_dict()), where)
    return {key: value.float() for key, value in kept.items()}
