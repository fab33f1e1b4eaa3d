"""Hyperprior streams and cells: exact both ways, and nothing but an error for other bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from idemcore.errors import BitstreamError, IdemError
from idemcore.io.images import read_bytes, to_bytes
from idemcore.pipeline.certify import certify
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.pipeline.container import Container
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime
from idemcore_hyperprior.config import HyperpriorConfig
from idemcore_hyperprior.encoder import HyperpriorEncoder

CPU = Runtime(torch.device("cpu"), torch.float32)
KINDS = ("scale", "mean")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.3, 4.0, 1e6])
def test_any_latents_come_back_exactly(kind: str, spread: float, make: SimpleNamespace) -> None:
    coder, rng = make.codec(kind).coder, torch.Generator().manual_seed(0)
    y, z = spread * torch.randn(1, 12, 8, 4, generator=rng), 3 * torch.randn(1, 8, 2, 1, generator=rng)
    found, sent = coder.decode(coder.encode(y, z), (8, 4)), coder.quantise(y, z)
    assert all(torch.equal(getattr(found, part), getattr(sent, part)) for part in vars(sent))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (65, 64)])
def test_decoding_gives_the_networks_own_reconstruction_bit_for_bit(
    kind: str, size: tuple[int, int], make: SimpleNamespace
) -> None:
    codec, image = make.codec(kind), make.real(make.picture(1, *size))
    own = codec.synthesise(codec.coder.quantise(*codec.analyse(image)).y_hat)[..., : size[0], : size[1]]
    assert torch.equal(codec.decode(codec.encode(image), size), own)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cell_says_of_images_what_the_encoder_does(kind: str, make: SimpleNamespace) -> None:
    codec, image = make.codec(kind), make.picture(2)
    cell = codec.cell(codec.encode(make.real(image)), (64, 64))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for sigma in (0.0, 0.0005, 0.1):
        other = to_bytes(make.real(image) + sigma * noise)
        contains = cell.contains(other)
        assert torch.equal(contains, cell.differing_symbols(other) == 0)
        assert torch.equal(contains, cell.excess(make.real(other)).amax(dim=1) == 0)
        assert bool(contains.all()) == (sigma < 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_nearby_is_certified(kind: str, make: SimpleNamespace) -> None:
    codec, image = make.codec(kind), make.picture(2, 40, 90)
    cell = codec.cell(codec.encode(make.real(image)), (40, 90))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    certified = certify(cell, (make.real(image) + 0.05 * noise).clamp(0, 1))
    assert certified.exact == [True, True]
    assert min(certified.psnr_moved) > 35


def test_streams_decode_to_the_same_symbols_on_another_machine(make: SimpleNamespace) -> None:
    """With 1 and 2 threads, image networks in float32 and bf16, alone and in batches of 4; the bundled weights."""
    image, before = make.picture(4, 128, 192), torch.get_num_threads()
    streams = HyperpriorEncoder(HyperpriorConfig(quality=2), CPU).encode(make.real(image))
    expected = HyperpriorEncoder(HyperpriorConfig(quality=2), CPU).latents(streams, (128, 192)).y_hat
    for threads in (1, 2):
        for precision in ("fp32", "bf16"):
            torch.set_num_threads(threads)
            try:
                other = HyperpriorEncoder(HyperpriorConfig(quality=2, precision=precision), CPU)
                assert other.encode(make.real(image[:1])) == streams[:1]
                assert torch.equal(other.latents(streams, (128, 192)).y_hat, expected)
                assert torch.equal(other.latents(streams[3:], (128, 192)).y_hat[0], expected[3])
            finally:
                torch.set_num_threads(before)


def test_any_other_stream_is_an_error_or_the_same_image(make: SimpleNamespace) -> None:
    codec = make.codec("mean")
    (stream,) = codec.encode(make.real(make.picture(1, 40, 40)))
    expected, refused = codec.latents([stream], (40, 40)).y_hat, 0
    others = [stream[:end] for end in range(0, len(stream), 5)]
    others += [stream[:k] + bytes([stream[k] ^ 1 << k % 8]) + stream[k + 1 :] for k in range(len(stream))]
    others += [stream + bytes(5), stream + b"\xff" * 99, stream[1:], stream[::-1], b"\xff" * 500]
    for other in others:
        try:
            assert torch.equal(codec.latents([other], (40, 40)).y_hat, expected)
        except BitstreamError:
            refused += 1
    assert refused > len(others) // 2


def test_every_change_of_a_byte_of_a_file_is_found(make: SimpleNamespace, tiny_weights: Path) -> None:
    settings, catalogue = {"weights": str(tiny_weights), "quality": 1}, load_catalogue()
    data = Codec.load("hyperprior", CPU, **settings).encode(make.real(make.picture(1, 16, 16))).data
    for position in range(len(data)):
        for mask in (*(1 << bit for bit in range(8)), 0xFF):
            changed = data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
            with pytest.raises(IdemError, match=r"x\.idem"):
                open_bitstream(changed, "x.idem", CPU, catalogue, settings)


def test_encode_and_decode_by_the_command_line(idem, photo: Path, tmp_path: Path, tiny_weights: Path) -> None:
    weights = ("--set", f"codec.weights={tiny_weights}", "--device", "cpu")
    (tmp_path / "elsewhere").mkdir()
    for quality in (1, 2):
        out = tmp_path / "photo.idem"
        result = idem("encode", photo, "-o", out, "--codec", "hyperprior", "--quality", quality, *weights)
        assert result.exit_code == 0, result.stderr
        copy = shutil.copy(out, tmp_path / "elsewhere")
        decoded = tmp_path / "elsewhere" / f"{quality}.png"
        assert idem("decode", copy, "-o", decoded, "--mse", *weights).exit_code in (0, 3)
        encoder = HyperpriorEncoder(HyperpriorConfig(quality=quality, weights=str(tiny_weights)), CPU)
        held = Container.unpack(out.read_bytes())
        expected = to_bytes(encoder.decode([held.payload], (held.height, held.width)))
        assert torch.equal(read_bytes(decoded), expected)


def test_tiles_give_the_same_stream_image_and_gradient_as_the_whole(make: SimpleNamespace) -> None:
    whole, cut = make.codec("mean"), make.codec("mean")
    cut.tile = 128
    image = make.real(make.picture(1, 300, 210)).requires_grad_()
    seen, forward = [], cut.model.g_a.forward
    cut.model.g_a.forward = lambda x: (seen.append(x.shape[-2:]), forward(x))[1]
    positions, gradients = [], []
    for codec in (whole, cut):
        y, z = codec.analyse(image)
        positions.append(torch.cat([y.flatten(), z.flatten()]).detach())
        gradients.append(torch.autograd.grad(y.square().sum() + z.sum(), image)[0])
    assert len(seen) > 4
    assert max(height * width for height, width in seen) <= 128**2
    torch.testing.assert_close(*positions, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    (stream,) = whole.encode(image.detach())
    assert cut.encode(image.detach()) == [stream]
    torch.testing.assert_close(cut.decode([stream], (300, 210)), whole.decode([stream], (300, 210)))
