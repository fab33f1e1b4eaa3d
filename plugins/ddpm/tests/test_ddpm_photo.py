"""The photograph prior, on a small network with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from idemcore.errors import InputError, MissingError
from idemcore.networks import residual_unet
from idemcore.networks.residual_unet import ResidualUNet, denoise
from idemcore.noise import Noise
from idemcore.runtime import Runtime
from idemcore_ddpm import photo
from idemcore_ddpm.config import PhotoConfig, TrainConfig
from idemcore_ddpm.photo import PhotoGenerator
from idemcore_ddpm.train_photo import weights_file

CHANNELS = (8, 16, 24)


def random_network() -> ResidualUNet:
    """Every parameter random, so that nothing is hidden behind a zero-initialised layer; exact in bfloat16."""
    network = ResidualUNet(CHANNELS, blocks=1)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_((0.1 * torch.randn(parameter.shape, generator=rng)).bfloat16())
    return network.requires_grad_(False)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(weights_file(random_network().state_dict(), TrainConfig(channels=CHANNELS, blocks=1), {}))
    return path


@pytest.fixture
def prior(weights: Path, runtime: Runtime) -> PhotoGenerator:
    return PhotoGenerator(PhotoConfig(str(weights)), runtime)


def pictures(count: int = 2, height: int = 16, width: int = 24) -> torch.Tensor:
    return Noise(range(count)).uniform(3, height, width)


def test_denoise_is_the_network_in_units_of_minus_one_to_one(prior: PhotoGenerator) -> None:
    x = pictures()
    expected = (denoise(random_network(), 2 * x - 1, torch.full((2,), 0.2)) + 1) / 2
    torch.testing.assert_close(prior.denoise(x, 0.1), expected)


def test_strips_give_the_same_as_the_whole(prior: PhotoGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(1, 100, 40)
    with torch.no_grad():
        whole = prior.denoise(x, 0.1)
        monkeypatch.setattr(residual_unet, "STRIP", 8 * 40 * 24)  # 24 rows at full resolution
        calls = []
        blocks = residual_unet.Stage._blocks
        monkeypatch.setattr(
            residual_unet.Stage,
            "_blocks",
            lambda self, *inputs: (calls.append(inputs[0].shape), blocks(self, *inputs))[1],
        )
        torch.testing.assert_close(prior.denoise(x, 0.1), whole, rtol=0, atol=1e-6)
    assert len(calls) > 5


def test_memory_is_reused_only_where_no_gradient_needs_it(prior: PhotoGenerator) -> None:
    x = pictures()
    with torch.no_grad():
        in_place = prior.denoise(x, 0.1)
    assert torch.equal(prior.denoise(x.requires_grad_(), 0.1), in_place)


def test_any_size_is_padded_and_cropped(prior: PhotoGenerator) -> None:
    assert prior.multiple == 4
    for height, width in ((16, 16), (15, 17), (1, 1), (2, 9), (3, 5), (33, 4)):
        out = prior.denoise(pictures(1, height, width), 0.1)
        assert out.shape == (1, 3, height, width)
        assert out.dtype == torch.float32
        assert out.isfinite().all()
    wide = pictures(1, 14, 24)
    mirrored = torch.cat([wide, wide[..., 11:13, :].flip(-2)], dim=-2)
    torch.testing.assert_close(prior.denoise(wide, 0.1), prior.denoise(mirrored, 0.1)[..., :14, :])


def test_an_image_does_not_depend_on_its_batch(prior: PhotoGenerator) -> None:
    x = pictures(5)
    together = prior.denoise(x, 0.1)
    for b in range(5):
        assert prior.denoise(x[b : b + 1], 0.1).equal(together[b : b + 1])


def test_sigma_may_be_a_number_or_one_an_image(prior: PhotoGenerator) -> None:
    x = pictures()
    together = prior.denoise(x, torch.tensor([0.05, 0.4]))
    assert together[:1].equal(prior.denoise(x[:1], 0.05))
    assert together[1:].equal(prior.denoise(x[1:], torch.tensor(0.4)))
    assert not together[:1].equal(prior.denoise(x[:1], 0.4))


def test_no_noise_is_the_least_noise_of_the_training(prior: PhotoGenerator) -> None:
    x = pictures()
    assert prior.denoise(x, 0.0).equal(prior.denoise(x, prior.sigma_min))
    torch.testing.assert_close(prior.denoise(x, 0.0), x, atol=0.01, rtol=0)


def test_gradients_reach_the_image_and_not_the_weights(prior: PhotoGenerator) -> None:
    x = pictures(1, 6, 7).requires_grad_()
    out = prior.denoise(x, 0.3)
    (gradient,) = torch.autograd.grad(out[0, 1, 3, 3], x)
    step = 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        change = prior.denoise(x + step, 0.3) - prior.denoise(x - step, 0.3)
    torch.testing.assert_close(2 * (gradient * step).sum(), change[0, 1, 3, 3], rtol=0.02, atol=1e-6)
    assert not prior.denoise(pictures(), 0.3).requires_grad
    assert all(parameter.grad is None for parameter in prior.network.parameters())


def test_bfloat16_stays_close_to_float32(weights: Path, prior: PhotoGenerator) -> None:
    half = PhotoGenerator(PhotoConfig(str(weights)), Runtime(torch.device("cpu"), torch.bfloat16))
    out = half.denoise(pictures(), 0.1)
    assert out.dtype == torch.float32
    assert not out.equal(prior.denoise(pictures(), 0.1))
    torch.testing.assert_close(out, prior.denoise(pictures(), 0.1), atol=0.01, rtol=0)


def test_the_bundled_weights_are_the_default(weights: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "BUNDLED", weights)
    prior = PhotoGenerator(PhotoConfig(), runtime)
    assert prior.network.channels == CHANNELS


def test_missing_bundled_weights_say_how_to_get_them(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo, "BUNDLED", tmp_path / "gone.safetensors")
    with pytest.raises(MissingError, match="gone.safetensors") as caught:
        PhotoGenerator(PhotoConfig(), runtime)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"not weights", b"\x00" * 64, "truncated"])
def test_missing_or_malformed_weights_are_an_error(
    content: bytes | str | None, weights: Path, tmp_path: Path, runtime: Runtime
) -> None:
    path = tmp_path / "other.safetensors"
    if content is not None:
        path.write_bytes(weights.read_bytes()[:-100] if isinstance(content, str) else content)
    with pytest.raises(MissingError if content is None else InputError, match="other.safetensors") as caught:
        PhotoGenerator(PhotoConfig(str(path)), runtime)
    assert "idem train ddpm" in caught.value.hint


def test_a_folder_is_not_a_weight_file(tmp_path: Path, runtime: Runtime) -> None:
    with pytest.raises(MissingError, match="no weight file"):
        PhotoGenerator(PhotoConfig(str(tmp_path)), runtime)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("tail.bias"), "missing tail.bias"),
        (lambda s: s.update({"extra": torch.zeros(1)}), "unexpected extra"),
        (lambda s: s.update({"tail.bias": torch.zeros(4)}), r"misshapen tail.bias \(4,\) for \(3,\)"),
    ],
)
def test_weights_of_another_layout_are_named(
    change: Callable[[dict[str, torch.Tensor]], object], named: str, weights: Path, runtime: Runtime
) -> None:
    state = load_file(weights)
    change(state)
    save_file(state, weights, metadata={"channels": json.dumps(CHANNELS), "blocks": "1"})
    with pytest.raises(InputError, match=named):
        PhotoGenerator(PhotoConfig(str(weights)), runtime)


@pytest.mark.parametrize("metadata", [None, {"channels": "[8]"}, {"channels": "8", "blocks": "1"}, {"channels": "x"}])
def test_weights_without_their_network_are_refused(
    metadata: dict[str, str] | None, weights: Path, runtime: Runtime
) -> None:
    save_file(load_file(weights), weights, metadata=metadata)
    with pytest.raises(InputError, match="channels"):
        PhotoGenerator(PhotoConfig(str(weights)), runtime)


def test_loading_and_running_leave_global_state_alone(weights: Path, runtime: Runtime) -> None:
    def state() -> tuple[object, ...]:
        flags = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
        return (*flags, torch.is_autocast_enabled("cpu"), torch.get_rng_state().tolist())

    before = state()
    PhotoGenerator(PhotoConfig(str(weights)), runtime).denoise(pictures(), 0.1)
    assert state() == before
