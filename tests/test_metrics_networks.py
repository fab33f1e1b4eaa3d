"""Metrics by networks against their libraries, with networks of random weights in place of those that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idemcore.metrics import Case, build, choose_metrics
from idemcore.metrics.features import Extractor, extractor
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime

CPU = Runtime.choose("cpu", "fp32")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Where PyTorch's hub keeps weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def pair() -> Case:
    rng = torch.Generator().manual_seed(0)
    original, other = (torch.randint(0, 256, (2, 3, 64, 72), dtype=torch.uint8, generator=rng) for _ in range(2))
    return Case(("a", "b"), (original // 2 + other // 2), original)


def test_lpips_equals_torchmetrics_and_converts_ranges_inside(hub):
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as lpips
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1(weights=None).state_dict(), hub / "squeezenet1_1-b8a52dc0.pth")
    (metric,), _ = build(choose_metrics(load_catalogue(), ["lpips:squeeze"]), CPU)
    case = pair()
    found = metric.measure(case)
    for k in range(2):
        a, b = (image[k : k + 1].float() / 255 for image in (case.reconstruction, case.original))
        assert found[k].item() == pytest.approx(float(lpips(a, b, net_type="squeeze", normalize=True)), abs=1e-6)
    assert torch.equal(metric.measure(case), found), "nothing is carried over"


def test_dists_equals_torchmetrics(hub, monkeypatch):
    from torchmetrics.functional.image.dists import deep_image_structure_and_texture_similarity as dists
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"])
    monkeypatch.setattr(
        "torchmetrics.functional.image.dists.vgg16", lambda **_: type("Vgg", (), {"features": layers})()
    )
    (hub / "vgg16-397923af.pth").touch()
    (metric,), _ = build(choose_metrics(load_catalogue(), ["dists"]), CPU)
    case = pair()
    expected = dists(case.reconstruction.float() / 255, case.original.float() / 255)
    assert metric.measure(case).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_features_of_any_timm_backbone(tmp_path, monkeypatch):
    import timm
    from safetensors.torch import save_file

    name = "mobilenetv3_small_050"
    network = timm.create_model(name)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "model.safetensors"))
    extractor.cache_clear()
    (metric,), missing = build(choose_metrics(load_catalogue(), [f"fd:timm/{name}"]), CPU)
    extractor.cache_clear()
    assert not missing
    found = metric.extract(pair().original[0], 0)
    image = torch.nn.functional.interpolate(
        pair().original[:1] / 255, (224, 224), mode="bicubic", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(network.default_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = network.eval().forward_head(network.forward_features((image - mean) / std), pre_logits=True)
    torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-4)


def test_the_features_of_an_image_are_computed_once():
    calls = []

    def network(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return images.mean((2, 3))

    extract = Extractor(network, torch.device("cpu"), batch=3)
    image = pair().original[0]
    first = extract(image, 32)
    assert calls == [3, 1]
    assert torch.equal(extract(image.clone(), 32), first)
    assert calls == [3, 1]
    torch.testing.assert_close(first[0], image[:, :32, :32].float().mean((1, 2)) / 255)
    extract(image.flip(0), 32)
    extract(image, 0)
    assert calls == [3, 1, 3, 1, 1]
