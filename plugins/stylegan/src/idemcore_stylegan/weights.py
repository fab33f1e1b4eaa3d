"""Weights of StyleGAN2: the published layouts, and the network of any of them.

    .pkl of stylegan2-ada-pytorch, .pt of rosinality -> unpickle.read_generator -> adapt -> the names of network.py
"""  # fmt: skip

from __future__ import annotations

import math
import re
from collections.abc import Mapping as Named
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from idemcore.errors import InputError, MissingError
from idemcore.weights.checkpoints import check_layout, fill, shapes_of
from idemcore.weights.store import locate

from .network import Mapping, StyleGan, StyleGanConfig, mean_w
from .ops import low_pass
from .unpickle import read_generator

BUNDLED = Path(__file__).parent / "weights" / "stylegan2-faces64.safetensors"
HINT = "Give the file of its weights with `--set generator.weights=FILE`."
TRAIN_HINT = "Train some: `idem train stylegan IMAGES --out DIR`, `--set generator.weights=DIR/weights.safetensors`."


CLAMP, MEAN = "conv_clamp", "latent_avg"
"""Entries beside the parameters: where features are cut off, if anywhere; the mean of w as rosinality names it."""

ROSINALITY_RGB = {
    "weight": "conv.weight",
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "bias": "bias",
}
ROSINALITY_CONVOLUTION = {**ROSINALITY_RGB, "bias": "activate.bias", "noise_strength": "noise.weight"}
"""Our names of a layer's parts -> rosinality's."""


def standard_widths(base: int, resolution: int) -> tuple[int, ...]:
    """Channels at 4x4, 8x8, ... up to `resolution` of published networks: base / resolution, 512 at most."""
    return tuple(min(base // (4 << level), 512) for level in range((resolution // 4).bit_length()))


@dataclass(frozen=True)
class Layout:
    """How a published file names what a network of `config` holds."""

    config: StyleGanConfig
    names: dict[str, str]
    """Theirs -> those of network.py."""
    shapes: dict[str, tuple[int, ...]]
    """Theirs -> theirs."""
    filters: dict[str, float]
    """Their names of the low-pass filter, which is not a parameter -> the gain that it has there."""


def nvidia(config: StyleGanConfig) -> Layout:
    """stylegan2-ada-pytorch: the names are ours."""
    own = own_shapes(config)
    blocks = {name.rsplit(".", 1)[0] for name in own if re.search(r"\.conv\d\.bias$", name)}
    blocks |= {block.rsplit(".", 1)[0] for block in blocks}
    return Layout(config, {name: name for name in own}, own, {f"{block}.resample_filter": 1.0 for block in blocks})


def rosinality(config: StyleGanConfig) -> Layout:
    """rosinality/stylegan2-pytorch, `g_ema`."""
    own = own_shapes(config)
    del own["mapping.w_avg"]
    theirs = {_rosinality_name(name): name for name in own}
    shapes = {their: _rosinality_shape(their, own[name]) for their, name in theirs.items()}
    levels = range(len(config.widths) - 1)
    filters = {f"convs.{2 * level}.conv.blur.kernel": 4.0 for level in levels}
    filters |= {f"to_rgbs.{level}.upsample.kernel": 4.0 for level in levels}
    return Layout(config, theirs, shapes, filters)


def _rosinality_name(name: str) -> str:
    if found := re.fullmatch(r"mapping\.fc(\d+)\.(\w+)", name):
        return f"style.{int(found[1]) + 1}.{found[2]}"
    if name.endswith(".const"):
        return "input.input"
    found = re.fullmatch(r"synthesis\.b(\d+)\.(conv|torgb)(\d?)\.([\w.]+)", name)
    assert found, name
    first, level, part = found[1] == "4", int(found[1]).bit_length() - 4, found[4]
    if found[2] == "torgb":
        return ("to_rgb1." if first else f"to_rgbs.{level}.") + ROSINALITY_RGB[part]
    index = 2 * level + int(found[3])
    if part == "noise_const":
        return f"noises.noise_{0 if first else index + 1}"
    return ("conv1." if first else f"convs.{index}.") + ROSINALITY_CONVOLUTION[part]


def _rosinality_shape(their: str, own: tuple[int, ...]) -> tuple[int, ...]:
    if re.fullmatch(r"to_rgbs?[\d.]+bias", their):
        return (1, *own, 1, 1)
    if their.startswith("noises."):
        return (1, 1, *own)
    return (1, *own) if re.search(r"input|conv\.weight|noise\.weight", their) else own


def own_shapes(config: StyleGanConfig) -> dict[str, tuple[int, ...]]:
    """The layout of network.py."""
    return shapes_of(_on_meta(config).state_dict())


FFHQ_256 = (nvidia, standard_widths(16384, 256)), (rosinality, standard_widths(32768, 256))
FFHQ_1024 = (nvidia, standard_widths(32768, 1024)), (rosinality, standard_widths(32768, 1024))


def adapt_ffhq_256(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Takes weights of `stylegan2-ffhq-256` in either layout. Raises InputError naming the keys of any other."""
    build, widths = FFHQ_256[_is_rosinality(state)]
    return adapt(state, build(StyleGanConfig(widths)), "what should be stylegan2-ffhq-256"), {}


def adapt_ffhq_1024(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Takes weights of `stylegan2-ffhq-1024` in either layout. Raises InputError naming the keys of any other."""
    build, widths = FFHQ_1024[_is_rosinality(state)]
    return adapt(state, build(StyleGanConfig(widths)), "what should be stylegan2-ffhq-1024"), {}


def adapt(state: Named[str, Tensor], layout: Layout, where: str | Path, hint: str = "") -> dict[str, Tensor]:
    """The state dict of network.py, and `conv_clamp` if there is one. A mean of w that is not there is estimated.

    Raises InputError naming the keys that do not fit `layout`, or whose filter is another than StyleGAN2's.
    """
    found = {name: value for name, value in state.items() if name not in (CLAMP, MEAN)}
    expected = dict(layout.shapes)
    if not layout.filters.keys().isdisjoint(found):  # files that idem wrote have none
        expected |= dict.fromkeys(layout.filters, (4, 4))
    check_layout(found, expected, where, hint)
    for name, gain in layout.filters.items():
        if name in found and not torch.allclose(found[name].float(), low_pass(gain), atol=1e-4):
            raise InputError(f"{where} does not fit the network: {name} is not the filter [1,3,3,1].", hint)
    shapes = own_shapes(layout.config)
    own = {name: found[their].reshape(shapes[name]) for their, name in layout.names.items()}
    if "mapping.w_avg" not in own:
        own["mapping.w_avg"] = state[MEAN].reshape(-1) if MEAN in state else _estimated_mean(own, layout.config)
    return {**own, CLAMP: state[CLAMP]} if CLAMP in state else own


def _estimated_mean(own: Named[str, Tensor], config: StyleGanConfig) -> Tensor:
    with torch.device("meta"):
        mapping = Mapping(config)
    weights = {name[len("mapping.") :]: value.float() for name, value in own.items() if name.startswith("mapping.")}
    mapping.load_state_dict({**weights, "w_avg": torch.zeros(config.w)}, assign=True)
    return mean_w(mapping)


def infer_layout(state: Named[str, Tensor]) -> Layout:
    """The layout of a StyleGAN2 of any size. Raises KeyError naming a parameter that is not there."""
    shapes = shapes_of(state)
    first, colour = ("style.1", "to_rgb1.conv") if _is_rosinality(state) else ("mapping.fc0", "synthesis.b4.torgb")
    (w, z), (colours, width) = shapes[f"{first}.weight"][-2:], shapes[f"{colour}.weight"][-4:-2]
    later = r"to_rgbs\.\d+\.conv\.weight" if _is_rosinality(state) else r"synthesis\.b(?!4\.)\d+\.torgb\.weight"
    found = {int(re.findall(r"\d+", name)[0]): shape[-3] for name, shape in shapes.items() if re.fullmatch(later, name)}
    layers = sum(bool(re.fullmatch(r"(style\.|mapping\.fc)\d+\.weight", name)) for name in shapes)
    config = StyleGanConfig((width, *(found[key] for key in sorted(found))), z, w, layers, colours)
    return (rosinality if _is_rosinality(state) else nvidia)(config)


def _is_rosinality(state: Named[str, Tensor]) -> bool:
    return any(name.startswith(("style.", "to_rgb")) for name in state)


def load_network(weights: str) -> StyleGan:
    """The network of stored weights, or of a file in any of the layouts; frozen, float32, on the CPU.

    `weights` is `bundled`, an id of `idem models` or a path. Raises MissingError if they are not here, InputError if
    they cannot be read or are not a StyleGAN2's.
    """
    if not weights:
        raise MissingError("This generator comes without weights.", HINT)
    path, hint = (BUNDLED, TRAIN_HINT) if weights == "bundled" else (locate(weights), HINT)
    state = read_generator(path, hint)
    try:
        layout = infer_layout(state)
    except KeyError as error:
        raise InputError(f"{path} does not hold a StyleGAN2: it has no {error.args[0]}.", hint) from error
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} does not hold a StyleGAN2: {error}.", hint) from error
    own = adapt(state, layout, path, hint)
    clamp = float(own.pop(CLAMP, math.inf))
    network = _on_meta(replace(layout.config, clamp=clamp))
    fill(network, own, path, hint)
    return network


def _on_meta(config: StyleGanConfig) -> StyleGan:
    """The layout without the memory."""
    with torch.device("meta"):
        return StyleGan(config)
