"""Networks whose features are compared: EfficientNet-Lite0, whose weights come inside a package, Inception, timm.

Nothing is downloaded: weights that are not here are an error that tells the command which brings them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MissingError, UsageError, nearest
from ..networks.efficientnet import efficientnet_lite0, normalised

SIDE = 224
"""Pixels: what networks trained on ImageNet see; smaller patches are enlarged to it."""
CPU_BATCH, BATCH = 2, 16
"""Patches at once: few on a CPU, so that what is between two layers stays in its cache and is not mapped anew."""
MEMO_BYTES = 64 * 2**20
"""Features kept for images that come again, such as the originals of the next configuration."""

INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)

Network = Callable[[Tensor], Tensor]
"""Images [N,3,h,w] in [0,1] to features [N,D]."""


def patches(images: Tensor, side: int = 64) -> Tensor:
    """The non-overlapping side x side patches of [B,3,H,W]: [N,3,side,side]; leftovers at the edges are dropped."""
    if min(images.shape[-2:]) < side:
        return images.new_zeros(0, images.shape[1], side, side)
    blocks = images.unfold(2, side, side).unfold(3, side, side)
    return blocks.permute(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1], side, side)


class Extractor:
    """Features of byte images by one network, remembered for images that come again."""

    def __init__(self, network: Network, device: torch.device, batch: int | None = None) -> None:
        """`batch`: patches that the network sees at once; None for what is fast on this device."""
        self.network, self.device = network, device
        self.batch = batch or (CPU_BATCH if device.type == "cpu" else BATCH)
        self._memo: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, image: Tensor, patch: int) -> Tensor:
        """Float32 [N,D] on the CPU of one byte image [3,H,W]: of its N patches of this side, of it whole if 0.

        N is 0 for an image smaller than a patch.
        """
        pixels = image.cpu().contiguous().numpy().tobytes()
        key = hashlib.sha256(pixels + repr(image.shape).encode()).hexdigest(), patch
        if key in self._memo:
            self._memo.move_to_end(key)
            return self._memo[key]
        cut = patches(image[None], patch) if patch else image[None]
        if not len(cut):
            return torch.zeros(0, 0)
        chunks = [self.network(self._scaled(chunk)).float().cpu() for chunk in cut.split(self.batch)]
        return self._remember(key, torch.cat(chunks))

    def _scaled(self, chunk: Tensor) -> Tensor:
        return chunk.to(self.device, torch.float32, memory_format=torch.channels_last) / 255

    def _remember(self, key: tuple[str, int], found: Tensor) -> Tensor:
        self._memo[key] = found
        self._bytes += found.nbytes
        while self._bytes > MEMO_BYTES:
            self._bytes -= self._memo.popitem(last=False)[1].nbytes
        return found


@lru_cache(maxsize=4)
def extractor(features: str, device: str) -> Extractor:
    """Builds `efficientnet-lite0`, `inception` or `timm/NAME`. Raises MissingError without its package or weights."""
    if features.startswith("timm/"):
        network = _timm(features.removeprefix("timm/"), device)
    else:
        network = {"efficientnet-lite0": _enlarged_efficientnet, "inception": _inception}[features](device)
    return Extractor(network, torch.device(device))


def _enlarged_efficientnet(device: str) -> Network:
    network = _efficientnet(device)
    return lambda images: network(_enlarged(images))


def _enlarged(images: Tensor, side: int = SIDE) -> Tensor:
    """Images smaller than what the network was trained on, enlarged to it."""
    if min(images.shape[-2:]) >= side:
        return images
    height, width = (round(length * side / min(images.shape[-2:])) for length in images.shape[-2:])
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)


def _efficientnet(device: str) -> Network:
    network = efficientnet_lite0(device)
    return lambda images: network.extract_features(normalised(images)).mean((2, 3))


def _inception(device: str) -> Network:
    """pytorch-fid's, which resizes to 299x299 and scales to [-1,1] itself: [N,2048]."""
    try:
        from pytorch_fid.inception import InceptionV3
    except ImportError as error:
        raise lacking("Inception features", error) from error
    require_hub_file(INCEPTION_URL, "The Inception network of pytorch-fid")
    network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval().requires_grad_(False).to(device)
    return lambda images: network(images)[0].mean((2, 3))


def _timm(name: str, device: str) -> Network:
    """Pooled features of any backbone of timm, with the pretrained weights that lie in Hugging Face's cache."""
    try:
        import huggingface_hub
        import timm
    except ImportError as error:
        raise lacking(f"Features of timm/{name}", error, "timm") from error
    if not timm.is_model(name):
        close = nearest(name.partition(".")[0], timm.list_models())
        raise UsageError(f"timm has no model '{name}'.", close or "See timm.list_models(pretrained=True).")
    source = timm.models.get_pretrained_cfg(name)
    where = source.hf_hub_id if source and source.hf_hub_id else f"timm/{name}"
    found = huggingface_hub.try_to_load_from_cache(where, "model.safetensors")
    if not isinstance(found, str):
        hint = f"Type: hf download {where} model.safetensors"
        raise MissingError(f"The weights of timm/{name} are not in Hugging Face's cache.", hint)
    network: Any = timm.create_model(name, checkpoint_path=found)
    network.reset_classifier(0)
    network.eval().requires_grad_(False).to(device)
    wanted = network.pretrained_cfg
    size = wanted["input_size"][-2:]
    return lambda images: network(normalised(_resized(images, size), wanted["mean"], wanted["std"]))


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size=tuple(size), mode="bicubic", align_corners=False, antialias=True)


def lacking(what: str, error: ImportError, extra: str = "metrics") -> MissingError:
    """The error for a package that is not installed."""
    message = f"{what}: a package is not here: {error.name or error}."
    return MissingError(message, f'Type: pip install "idemcore[{extra}]"')


def require_hub_file(url: str, what: str) -> Path:
    """Where PyTorch's hub keeps the file of this address. Raises MissingError, with the command, if it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        raise MissingError(f"{what} is not at {path}.", f"Type: curl -L --create-dirs -o {path} {url}")
    return path
