"""Latents to bytes and back: exact for any latents, the same in any batch, and nothing but an error for other bytes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idemcore.errors import BitstreamError, InputError
from idemcore.learned.coding import LARGEST, EntropyCoder, Latents
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.model import gaussian_likelihood, hyper_size, latent_size

SIZE = (40, 60)


@pytest.fixture(scope="module")
def codec(make: SimpleNamespace) -> LearnedEncoder:
    return make.codec()


@pytest.fixture(scope="module")
def stream(codec: LearnedEncoder, make: SimpleNamespace) -> bytes:
    return codec.encode(make.real(make.picture(1, *SIZE)))[0]


def equal(a: Latents, b: Latents) -> bool:
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("y_hat", "z_hat", "means", "scales"))


def random_latents(
    size: tuple[int, int], spread: float, seed: int, count: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    y = torch.randn(count, 4, *size, generator=rng)
    return y * spread, torch.randn(count, 3, *hyper_size(size), generator=rng) * spread


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    spread=st.sampled_from([0.0, 0.3, 4.0, 100.0, 1e4, 3e6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_latents_come_back_exactly(codec: LearnedEncoder, size: tuple[int, int], spread: float, seed: int) -> None:
    y, z = random_latents(size, spread, seed)
    assert equal(codec.coder.decode(codec.coder.encode(y, z), size), codec.coder.quantise(y, z))


def test_a_few_symbols_far_outside_the_tables_come_back(codec: LearnedEncoder) -> None:
    y, z = random_latents((8, 8), 2.0, 0)
    y[0, 0, 0, 0], y[0, 3, 7, 7], z[0, 1, 1, 0] = LARGEST - 99, 99 - LARGEST, LARGEST - 99
    found = codec.coder.decode(codec.coder.encode(y, z), (8, 8))
    assert equal(found, codec.coder.quantise(y, z))
    assert float((found.y_hat - y).abs().max()) <= 0.5
    assert float((found.z_hat - z).abs().max()) <= 0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0 * LARGEST])
@pytest.mark.parametrize("part", [0, 1])
def test_latents_that_no_symbol_stands_for_are_refused(codec: LearnedEncoder, value: float, part: int) -> None:
    latents = random_latents((1, 1), 1.0, 0)
    latents[part][0, 1, 0, 0] = value
    with pytest.raises(ValueError, match="cannot be coded"):
        codec.coder.encode(*latents)


def test_weights_that_are_no_trained_networks_are_an_error_of_the_input(make: SimpleNamespace) -> None:
    image = make.real(make.picture())
    wild = make.codec()
    wild.model.g_a[-1].weight.mul_(1e20)
    with pytest.raises(InputError, match="cannot be encoded: latents that are not finite"):
        wild.encode(image)
    for factor in (1e30, float("nan")):
        wild = make.codec()
        wild.coder.model.context.weight.mul_(factor)
        with pytest.raises(InputError, match="cannot be encoded"):
            wild.encode(image)


def test_every_symbol_is_within_half_a_step(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    y, z = codec.analyse(make.real(make.picture(2)))
    found = codec.coder.quantise(y, z)
    symbols = found.y_hat - found.means
    assert symbols.equal(symbols.round())
    assert symbols.abs().max() > 2, "the pictures here take a few levels"
    assert float((found.y_hat - y).abs().max()) <= 0.5
    assert float((found.z_hat - z).abs().max()) <= 0.5


def test_what_solvers_are_guided_by_is_what_is_written(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    """In float32 on the device, where the stream's is float64 on the CPU."""
    y, z = codec.analyse(make.real(make.picture(2)))
    guide, written = codec.quantise(y, z), codec.coder.quantise(y, z).y_hat
    assert guide.dtype == torch.float32
    assert float((guide - written).abs().max()) < 1e-3


def test_a_batch_gives_the_latents_of_each_alone(codec: LearnedEncoder) -> None:
    y, z = random_latents((7, 9), 5.0, 1, count=4)
    together = codec.coder.quantise(y, z)
    for k in range(4):
        alone = codec.coder.quantise(y[k : k + 1], z[k : k + 1])
        assert equal(Latents(*(getattr(together, part)[k : k + 1] for part in vars(alone))), alone)


def test_a_stream_is_as_long_as_the_likelihood_says(codec: LearnedEncoder) -> None:
    noise, z = random_latents((64, 64), 1.0, 2)
    z = z / 2 + codec.coder.medians
    y = noise
    for _ in codec.model.groups:  # each pass gives one more group its own Gaussians
        found = codec.coder.quantise(y, z)
        y = found.means + found.scales * noise
    found = codec.coder.quantise(y, z)
    bits_y = -gaussian_likelihood(found.y_hat, found.means, found.scales).log2().sum()
    bits_z = -codec.model.entropy_bottleneck.likelihood(found.z_hat.float()).log2().sum()
    estimate = float(bits_y + bits_z) / 8
    assert -0.01 * estimate < len(codec.coder.encode(y, z)) - estimate < 0.01 * estimate + 12


def test_decoding_gives_the_networks_own_reconstruction_bit_for_bit(
    codec: LearnedEncoder, make: SimpleNamespace
) -> None:
    image = make.real(make.picture(1, *SIZE, seed=3))
    own = codec.synthesise(codec.coder.quantise(*codec.analyse(image)).y_hat)[..., : SIZE[0], : SIZE[1]]
    assert torch.equal(codec.decode(codec.encode(image), SIZE), own)


def test_float_noise_of_another_machine_does_not_change_the_symbols(
    codec: LearnedEncoder, make: SimpleNamespace, stream: bytes
) -> None:
    size = latent_size(SIZE)
    expected = codec.coder.decode(stream, size).y_hat
    noisy = make.codec()
    for parameter in noisy.coder.model.parameters():
        parameter.mul_(1 + 1e-12 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    noisy.coder.medians = codec.coder.medians
    assert torch.equal(noisy.coder.decode(stream, size).y_hat, expected)


def test_other_entropy_parameters_are_noticed(make: SimpleNamespace, stream: bytes) -> None:
    other = make.codec()
    other.coder.model.context.weight.mul_(1.1)
    for stranger in (other, make.codec(seed=1)):
        with pytest.raises(BitstreamError, match="does not decode"):
            stranger.decode([stream], SIZE)


def test_the_exact_copy_is_apart_from_the_model_and_leaves_it_as_it_was(make: SimpleNamespace) -> None:
    model = make.model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    coder = EntropyCoder(model)
    y, z = random_latents((1, 1), 2.0, 0)
    coder.decode(coder.encode(y, z), (1, 1))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert model.training
    assert all(parameter.requires_grad for parameter in model.h_s.parameters())
    assert (model.g_a is not None, hasattr(coder.model, "g_a")) == (True, False)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def changed(stream: bytes, seed: int = 0) -> Iterator[bytes]:
    """Every length, every byte changed in three ways, bytes put in and taken out, other bytes altogether."""
    rng = random.Random(seed)
    yield from (stream[:end] for end in range(len(stream)))
    for position in range(len(stream)):
        for mask in (1, 0x80, rng.randrange(1, 256)):
            yield stream[:position] + bytes([stream[position] ^ mask]) + stream[position + 1 :]
        yield stream[:position] + stream[position + 1 :]
        yield stream[:position] + rng.randbytes(1) + stream[position:]
    for fill in (b"\0", b"\xff", b"\xf0", b"\x0f"):
        yield from (stream + fill * count for count in (1, 3, 4, 1000))
        yield from (fill * count for count in (1, 2, 3, 10, 1000))
    yield from (rng.randbytes(rng.randrange(200)) for _ in range(300))


def test_any_other_stream_is_an_error_or_the_same_image(codec: LearnedEncoder, stream: bytes) -> None:
    expected, refused = codec.latents([stream], SIZE).y_hat, 0
    for other in changed(stream):
        try:
            assert torch.equal(codec.latents([other], SIZE).y_hat, expected)
        except BitstreamError:
            refused += 1
    assert refused > 8 * len(stream) // 2


def test_a_stream_of_another_size_is_refused(codec: LearnedEncoder, stream: bytes) -> None:
    for size in ((40, 200), (65, 1), (129, 65), (1024, 1024)):
        with pytest.raises(BitstreamError):
            codec.decode([stream], size)


def test_a_stream_alone_does_not_tell_its_size(codec: LearnedEncoder, stream: bytes) -> None:
    with pytest.raises(BitstreamError, match="size"):
        codec.decode([stream])
    with pytest.raises(BitstreamError, match="size"):
        codec.cell([stream])


def test_one_damaged_stream_of_a_batch_is_an_error(codec: LearnedEncoder, stream: bytes) -> None:
    assert codec.decode([stream, stream], SIZE).shape == (2, 3, *SIZE)
    with pytest.raises(BitstreamError):
        codec.decode([stream, stream[:-9]], SIZE)


ATTACK = """
import random, sys
import conftest
from idemcore.errors import BitstreamError
codec, rng = conftest.codec(), random.Random(7)
for attempt in range(300):
    fill = rng.choice([rng.randbytes(1), b"\\xff", b"\\0"])
    stream = rng.randbytes(rng.randrange(40)) + fill * rng.choice([0, 5, 3000]) + rng.randbytes(rng.randrange(40))
    size = rng.choice([(1, 1), (64, 64), (100, 300)])
    try:
        codec.decode([stream], size)
    except BitstreamError:
        pass
print("survived")
"""


def test_no_stream_crashes_or_hangs_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTACK], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr[-2000:]


def test_a_short_stream_that_claims_a_huge_image_is_refused_before_anything_is_allocated(
    codec: LearnedEncoder, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec.coder, "_z_indexes", lambda shape: pytest.fail("allocated"))
    with pytest.raises(BitstreamError, match="too short for the size"):
        codec.coder.decode(stream, (9_000, 9_000))


def test_what_a_decoder_would_not_believe_is_not_written(
    codec: LearnedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, z = random_latents((8, 8), 1.0, 0)
    monkeypatch.setattr("idemcore.learned.coding.SURELY_SMALL", 2)
    monkeypatch.setattr("idemcore.learned.coding.LEAST_BITS", 10_000)
    with pytest.raises(ValueError, match="smaller images"):
        codec.coder.encode(y, z)
