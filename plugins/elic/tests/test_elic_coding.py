"""ELIC's streams: exact both ways, the same on any machine, and nothing but an error for other bytes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idemcore.errors import BitstreamError, IdemError, InputError, UsageError
from idemcore.io.images import read_bytes, to_bytes
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.model import hyper_size
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.pipeline.container import Container
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime
from idemcore_elic.config import ElicConfig
from idemcore_elic.encoder import ElicEncoder

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def codec(make: SimpleNamespace) -> LearnedEncoder:
    return make.codec()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(1, 8), st.integers(1, 12)),
    spread=st.sampled_from([0.3, 4.0, 300.0, 2e5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_latents_come_back_exactly(codec: LearnedEncoder, size: tuple[int, int], spread: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    y = spread * torch.randn(1, 12, *size, generator=rng)
    z = 3 * torch.randn(1, 8, *hyper_size(size), generator=rng)
    found, sent = codec.coder.decode(codec.coder.encode(y, z), size), codec.coder.quantise(y, z)
    assert all(torch.equal(getattr(found, part), getattr(sent, part)) for part in vars(sent))


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (65, 64)])
def test_decoding_gives_the_networks_own_reconstruction_bit_for_bit(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]
) -> None:
    image = make.real(make.picture(1, *size))
    own = codec.synthesise(codec.coder.quantise(*codec.analyse(image)).y_hat)[..., : size[0], : size[1]]
    assert torch.equal(codec.decode(codec.encode(image), size), own)


def test_a_batch_is_coded_as_its_images_alone(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.real(make.picture(4, 70, 40))
    streams = codec.encode(image)
    assert streams == [codec.encode(one[None])[0] for one in image]
    together = codec.coder.quantise(*codec.analyse(image))
    for k, stream in enumerate(streams):
        assert torch.equal(codec.latents([stream], (70, 40)).y_hat[0], together.y_hat[k])


def test_streams_decode_to_the_same_symbols_on_another_machine(make: SimpleNamespace) -> None:
    """With 1 and 2 threads, image networks in float32 and bf16, alone and in batches of 4; the bundled weights."""
    image = make.picture(4, 128, 192)
    with threads(1):
        streams = ElicEncoder(ElicConfig(quality=2), CPU).encode(make.real(image))
        expected = ElicEncoder(ElicConfig(quality=2), CPU).latents(streams, (128, 192)).y_hat
    for count in (1, 2):
        for precision in ("fp32", "bf16"):
            with threads(count):
                other = ElicEncoder(ElicConfig(quality=2, precision=precision), CPU)
                assert other.encode(make.real(image[:1])) == streams[:1]
                assert torch.equal(other.latents(streams, (128, 192)).y_hat, expected)
                for k in (0, 3):
                    assert torch.equal(other.latents([streams[k]], (128, 192)).y_hat[0], expected[k])
                cell = other.cell(streams[:1], (128, 192))
                assert torch.equal(cell.y_hat.double(), expected[:1])


def test_any_other_stream_is_an_error_or_the_same_image(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.real(make.picture(1, 40, 40))
    (stream,) = codec.encode(image)
    expected, refused = codec.latents([stream], (40, 40)).y_hat, 0
    others = [stream[:end] for end in range(0, len(stream), 7)]
    others += [stream[:k] + bytes([stream[k] ^ 1 << k % 8]) + stream[k + 1 :] for k in range(0, len(stream), 2)]
    others += [stream + bytes(5), stream + b"\xff" * 99, stream[1:], stream[::-1], b"\xff" * 500]
    for other in others:
        try:
            assert torch.equal(codec.latents([other], (40, 40)).y_hat, expected)
        except BitstreamError:
            refused += 1
    assert refused > len(others) // 2


def test_every_change_of_a_byte_of_a_file_is_found(make: SimpleNamespace, tiny_weights: Path) -> None:
    settings, catalogue = {"weights": str(tiny_weights), "quality": 1}, load_catalogue()
    written = Codec.load("elic", CPU, **settings).encode(make.real(make.picture(1, 16, 16)))
    data = written.data
    assert torch.equal(open_bitstream(data, "x.idem", CPU, catalogue, settings).decoded, written.decoded)
    for position in range(len(data)):
        for mask in (*(1 << bit for bit in range(8)), 0xFF, data[position] or 0x55):
            changed = data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
            with pytest.raises(IdemError, match=r"x\.idem"):
                open_bitstream(changed, "x.idem", CPU, catalogue, settings)


def test_a_whole_file_around_a_damaged_stream_is_named(make: SimpleNamespace, tiny_weights: Path) -> None:
    settings = {"weights": str(tiny_weights), "quality": 1}
    written = Codec.load("elic", CPU, **settings).encode(make.real(make.picture(1, 16, 16)))
    held = Container.unpack(written.data)
    for payload, size in ((held.payload[:-9], (16, 16)), (held.payload, (16, 99)), (b"", (16, 16))):
        file = Container(held.model_id, size[1], size[0], payload).pack()
        with pytest.raises(BitstreamError, match=r"x\.idem: .*does not decode"):
            _ = open_bitstream(file, "x.idem", CPU, settings=settings).decoded


def test_a_file_decodes_with_whichever_weights_wrote_it(make: SimpleNamespace, tiny_weights: Path) -> None:
    image, folder = make.real(make.picture(1, 16, 16)), {"weights": str(tiny_weights)}
    for quality in (1, 2):
        written = Codec.load("elic", CPU, **folder, quality=quality).encode(image)
        opened = open_bitstream(written.data, "x.idem", CPU, settings=folder)
        assert torch.equal(opened.decoded, written.decoded)
    with pytest.raises(IdemError, match="which no installed codec knows") as caught:
        open_bitstream(written.data, "x.idem", CPU)
    assert "codec.weights=FOLDER" in caught.value.hint


ATTACK = """
import random
import conftest
from idemcore.errors import BitstreamError
codec, rng = conftest.codec(), random.Random(5)
for attempt in range(60):
    fill = rng.choice([rng.randbytes(1), b"\\xff", b"\\0"])
    stream = rng.randbytes(rng.randrange(300)) + fill * rng.choice([0, 5, 3000]) + rng.randbytes(rng.randrange(40))
    try:
        codec.decode([stream], rng.choice([(1, 1), (64, 64), (100, 200)]))
    except BitstreamError:
        pass
print("survived")
"""


def test_no_stream_crashes_or_hangs_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTACK], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr[-2000:]


def test_encode_and_decode_by_the_command_line(idem, photo: Path, tmp_path: Path, tiny_weights: Path) -> None:
    weights = ("--set", f"codec.weights={tiny_weights}", "--device", "cpu")
    result = idem("encode", photo, "-o", tmp_path / "photo.idem", "--codec", "elic", "--quality", 2, *weights)
    assert result.exit_code == 0, result.stderr
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(tmp_path / "photo.idem", tmp_path / "elsewhere")
    result = idem("decode", copy, "-o", tmp_path / "elsewhere" / "photo.png", "--mse", *weights)
    assert result.exit_code in (0, 3), result.stderr
    encoder = ElicEncoder(ElicConfig(quality=2, weights=str(tiny_weights)), CPU)
    held = Container.unpack((tmp_path / "photo.idem").read_bytes())
    expected = to_bytes(encoder.decode([held.payload], (held.height, held.width)))
    assert torch.equal(read_bytes(tmp_path / "elsewhere" / "photo.png"), expected)


def test_wrong_settings_are_refused_in_words(idem, photo: Path, tmp_path: Path, tiny_weights: Path) -> None:
    out = tmp_path / "photo.idem"
    for words, code, told in (
        (("--quality", 9, "--set", f"codec.weights={tiny_weights}"), 2, "--quality one of: 1, 2"),
        (("--set", "codec.weights=/absent"), 4, "idem train elic"),
        (("--set", "codec.weights=chandelier", "--quality", 9), 2, "0, 1, 2, 3, 4, 5"),
        (("--set", "codec.precision=fp8"), 2, "fp32, bf16"),
        (("--set", f"codec.weights={photo}"), 1, "photo.png"),
    ):
        result = idem("encode", photo, "-o", out, "--codec", "elic", *words)
        assert result.exit_code == code, result.stderr
        assert told in " ".join(result.stderr.split())
        assert not out.exists()


def test_published_weights_that_are_not_here_name_both_commands(
    idem, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    words = ("--codec", "elic", "--set", "codec.weights=chandelier", "--quality", 1)
    result = idem("encode", photo, "-o", tmp_path / "photo.idem", *words)
    told = " ".join(result.stderr.split())
    assert result.exit_code == 4
    assert "drive.google.com" in told
    assert "`idem models pull elic-chandelier-1`" in told
    assert "`idem models import elic-chandelier-1 FILE`" in told


def test_a_network_that_gives_no_number_is_an_error_of_the_input(make: SimpleNamespace) -> None:
    wild = make.codec()
    wild.model.g_a[0].weight.mul_(float("inf"))
    with pytest.raises(InputError, match="cannot be encoded"):
        wild.encode(make.real(make.picture()))


def test_quality_of_a_folder_must_be_there(tiny_weights: Path) -> None:
    with pytest.raises(UsageError, match="have no quality 3"):
        ElicEncoder(ElicConfig(quality=3, weights=str(tiny_weights)), CPU)
