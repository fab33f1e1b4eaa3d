"""Published checkpoints of ADM UNets: brought into the cache, found by name, refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idemcore.errors import InputError
from idemcore.runtime import Runtime
from idemcore.weights import store as models
from idemcore_ddpm import weights
from idemcore_ddpm.adm import AdmGenerator
from idemcore_ddpm.adm_unet import AdmUNet
from idemcore_ddpm.config import AdmConfig, FfhqConfig

DATA = Path(__file__).parent / "data"
ADAPTERS: dict[str, Callable] = {"ffhq": weights.adapt_ffhq, "imagenet": weights.adapt_imagenet}
SMALL = replace(weights.FFHQ, channels=32, multipliers=(1, 2), attention=frozenset({2}))


def published(name: str) -> dict[str, torch.Tensor]:
    """Of the published layout, without memory."""
    shapes = json.loads((DATA / f"adm_{name}256.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of random values of what stands for the published layout here; the cache is empty."""
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "FFHQ", SMALL)
    rng = torch.Generator().manual_seed(0)
    state = {key: torch.randn(value.shape, generator=rng) / 20 for key, value in AdmUNet(SMALL).state_dict().items()}
    torch.save(state, tmp_path / "ffhq_10m.pt")
    return tmp_path / "ffhq_10m.pt"


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_published_layout_is_taken_as_it_is(name: str) -> None:
    state = published(name)
    adapted, metadata = ADAPTERS[name](state)
    assert adapted == state
    assert weights.Trained.of(metadata).unknown(attends=True) == []
    assert weights.Trained.of(metadata).side == 256


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"out.2.bias": None}, r"missing out\.2\.bias"),
        ({"label_emb.weight": torch.empty(1000, 512)}, r"unexpected label_emb\.weight"),
        ({"out.2.bias": torch.empty(3)}, r"misshapen out\.2\.bias \(3,\) for \(6,\)"),
        ({"out.2.bias": torch.zeros(6, dtype=torch.int64)}, r"wrong type out\.2\.bias int64"),
    ],
)
def test_another_layout_is_refused_by_name(name: str, change: dict[str, torch.Tensor | None], named: str) -> None:
    changed = {key: value for key, value in (published(name) | change).items() if value is not None}
    with pytest.raises(InputError, match=named):
        ADAPTERS[name](changed)


def test_one_prior_is_not_taken_for_the_other() -> None:
    with pytest.raises(InputError, match="misshapen"):
        weights.adapt_ffhq(published("imagenet"))


def test_imported_weights_are_found_by_name(small: Path, runtime: Runtime) -> None:
    assert models.import_file(models.find_one("ddpm-ffhq"), small) is None
    by_name = AdmGenerator(FfhqConfig(), runtime)
    small_file = AdmGenerator(
        AdmConfig(str(small), schedule="linear", side=256, head_channels=64, attention_order="legacy"), runtime
    )
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert by_name.denoise(x, 0.3).equal(small_file.denoise(x, 0.3))
    assert models.verify(models.find_one("ddpm-ffhq")) == "here"


def test_the_checksum_tells_whether_it_is_the_published_file(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "IMAGENET", SMALL)
    assert models.import_file(models.find_one("ddpm-imagenet"), small) is False


def test_a_refused_checkpoint_leaves_the_cache_empty(small: Path) -> None:
    state = torch.load(small, weights_only=True)
    del state["middle_block.0.in_layers.0.bias"]
    torch.save(state, small)
    with pytest.raises(InputError, match=r"ffhq_10m\.pt: .*missing middle_block\.0\.in_layers\.0\.bias"):
        models.import_file(models.find_one("ddpm-ffhq"), small)
    assert not list(models.cache_folder().rglob("*"))
