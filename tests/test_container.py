"""The .idem file: small, canonical, and no damage goes unseen."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from idemcore.errors import BitstreamError, UsageError
from idemcore.io.limits import MAX_PIXELS
from idemcore.pipeline.container import MAGIC, Container


@st.composite
def containers(draw: st.DrawFn) -> Container:
    width = draw(st.one_of(st.integers(1, 5000), st.integers(1, MAX_PIXELS // 64)))
    height = draw(st.integers(1, MAX_PIXELS // max(width, 64)))
    return Container(draw(st.binary(min_size=4, max_size=4)), width, height, draw(st.binary(max_size=60)))


def sealed(body: bytes) -> bytes:
    return body + google_crc32c.value(body).to_bytes(4, "big")


EXAMPLE = Container(b"\x8a\x01\xff\x00", 512, 768, b"payload")


def test_the_example_of_the_documentation() -> None:
    packed = Container(b"\xa1\xb2\xc3\xd4", 768, 512, b"\x2a").pack()
    assert packed.hex(" ") == "1d 65 6d 02 a1 b2 c3 d4 80 06 80 04 2a bf 04 4c 2d"
    assert packed.hex(" ") in (Path(__file__).parents[1] / "docs" / "format.md").read_text()


@given(containers())
def test_unpack_is_the_inverse_of_pack(container: Container) -> None:
    packed = container.pack()
    assert Container.unpack(packed) == container
    assert 14 <= len(packed) - len(container.payload) <= 18


@given(st.integers(6, 21))
def test_at_most_18_bytes_beside_the_payload(bits: int) -> None:
    assert len(Container(b"abcd", 2**bits, 2 ** (27 - bits), b"").pack()) <= 18


@given(containers(), st.data())
def test_every_changed_byte_is_detected(container: Container, data: st.DataObject) -> None:
    packed = bytearray(container.pack())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BitstreamError):
        Container.unpack(bytes(packed))


@given(containers(), st.data())
def test_every_burst_of_32_bits_before_the_checksum_is_detected(container: Container, data: st.DataObject) -> None:
    packed = container.pack()
    start = data.draw(st.integers(0, len(packed) - 8))
    burst = data.draw(st.binary(min_size=4, max_size=4))
    changed = packed[:start] + burst + packed[start + 4 :]
    assume(changed != packed)
    with pytest.raises(BitstreamError):
        Container.unpack(changed)


def test_every_single_bit_and_every_truncation_is_detected() -> None:
    packed = EXAMPLE.pack()
    flipped = [
        packed[:i] + bytes([packed[i] ^ 1 << bit]) + packed[i + 1 :] for i in range(len(packed)) for bit in range(8)
    ]
    for damaged in flipped + [packed[:n] for n in range(len(packed))]:
        with pytest.raises(BitstreamError) as error:
            Container.unpack(damaged, "x.idem")
        assert error.value.exit_code == 3
        assert "x.idem" in error.value.message


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_bitstream_errors(data: bytes) -> None:
    for candidate in (data, MAGIC + data, sealed(MAGIC + b"\x02" + data)):
        with contextlib.suppress(BitstreamError):
            assert Container.unpack(candidate).pack() == candidate


HEAD = MAGIC + b"\x02abcd"
FAULTS = {
    b"": "is cut short: 0 bytes",
    b"\xff\xd8\xff\xe0 jpeg header": "is not an .idem file",
    MAGIC[:2]: "is cut short: 2 bytes",
    MAGIC + b"\x01abcd" + bytes(20): "has .idem version 1, this idem reads version 2",
    EXAMPLE.pack() + b"zz": "has 2 bytes after its end",
    EXAMPLE.pack()[:-1]: "is damaged or cut short",
    sealed(HEAD + b"\x00\x05"): "an image of 0x5 pixels is empty",
    sealed(HEAD + b"\xff\xff\xff\xff\x0f\x01"): "4294967295x1 pixels is more than the limit of 134,217,728",
    sealed(HEAD + b"\x85\x00\x05"): "not a canonical varint",
    sealed(HEAD + b"\x05\x85"): "ends within its header",
}


@pytest.mark.parametrize(("data", "reason"), FAULTS.items(), ids=list(FAULTS.values()))
def test_each_fault_has_its_own_message(data: bytes, reason: str) -> None:
    with pytest.raises(BitstreamError) as error:
        Container.unpack(data)
    assert reason in error.value.message


@pytest.mark.parametrize("fields", [(b"abc", 1, 1), (b"abcde", 1, 1), (b"abcd", 0, 1), (b"abcd", 2**20, 2**20)])
def test_what_cannot_be_unpacked_cannot_be_built(fields: tuple[bytes, int, int]) -> None:
    with pytest.raises(ValueError, match=r"4 bytes|empty|more than"):
        Container(*fields, b"")


def test_the_end_of_a_long_damaged_file_is_not_sought_byte_by_byte() -> None:
    packed = Container(b"abcd", 8, 8, bytes(50_000_000)).pack()
    start = time.perf_counter()
    with pytest.raises(BitstreamError, match="checksum does not match"):
        Container.unpack(packed[:-1] + b"\0")
    with pytest.raises(BitstreamError, match="has 3 bytes after its end"):
        Container.unpack(packed + b"abc")
    assert time.perf_counter() - start < 5


def test_the_limit_on_pixels_can_be_raised_and_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Container(b"abcd", 1000, 1000, b"").pack()
    monkeypatch.setenv("IDEM_MAX_PIXELS", "999999")
    with pytest.raises(BitstreamError, match="1000x1000 pixels is more than the limit of 999,999"):
        Container.unpack(packed)
    monkeypatch.setenv("IDEM_MAX_PIXELS", "3e8")
    assert Container(b"abcd", 17000, 17000, b"").width == 17000
    for wrong in ("many", "0", "inf"):
        monkeypatch.setenv("IDEM_MAX_PIXELS", wrong)
        with pytest.raises(UsageError, match="IDEM_MAX_PIXELS"):
            Container.unpack(packed)


def test_an_endless_varint_is_given_up_at_once() -> None:
    start = time.perf_counter()
    with pytest.raises(BitstreamError, match="not a canonical varint"):
        Container.unpack(sealed(HEAD + b"\xff" * 10_000_000))
    assert time.perf_counter() - start < 1
