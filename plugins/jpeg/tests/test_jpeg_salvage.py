"""Damaged files: what is there is kept exactly, what is missing is left open, and both are counted."""

from __future__ import annotations

import re

import jpeg_zoo as zoo
import numpy as np
import pytest
import torch

from idemcore.errors import BitstreamError, InputError
from idemcore.runtime import Runtime
from idemcore.testing.pictures import byte_image
from idemcore_jpeg.cell import JpegCell
from idemcore_jpeg.config import JpegConfig
from idemcore_jpeg.encoder import JpegEncoder
from idemcore_jpeg.entropy import read_coefficients
from idemcore_jpeg.reading import Reading
from idemcore_jpeg.stream import Stream, parse

KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "progressive-restarts": {"progressive": True, "restart_marker_rows": 1},
    "grey-progressive": {"mode": "L", "progressive": True, "quality": 90},
    "4:4:4-progressive": {"progressive": True, "subsampling": 0, "quality": 90},
}


def salvager() -> JpegEncoder:
    return JpegEncoder(JpegConfig(salvage=True), Runtime.choose("cpu", "fp32"))


def half(data: bytes) -> bytes:
    """Without the second half of its scan."""
    return data[: (data.index(b"\xff\xda") + len(data)) // 2]


def check_sound(data: bytes, whole: Stream) -> int:
    """Every coefficient of the whole file lies in the interval that the damaged one gives; counts those that are known.

    -1 if there is nothing to salvage.
    """
    try:
        stream = parse(data)
        found = read_coefficients(stream, salvage=True)
    except BitstreamError:
        return -1
    known, true = 0, read_coefficients(whole).planes
    for component, table in enumerate(whole.component_tables()):
        low, high = found.interval(component, table)
        assert ((low <= true[component]) & (true[component] <= high)).all()
        known += int((low == high).sum())
    return known


@pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_salvaged_to_intervals_that_hold_the_truth(kind: str, step: int) -> None:
    data = zoo.pillow(**KINDS[kind])
    whole, before = parse(data), -1
    total = sum(plane.size for plane in read_coefficients(whole).planes)
    for length in [*range(2, len(data), step), len(data)]:
        known = check_sound(data[:length], whole)
        assert known >= before - 64 * 6  # a few bits of the last MCU may look like a whole one
        before = known
    assert before == total


@pytest.mark.parametrize("progressive", [False, True])
def test_damage_ends_at_the_next_restart_marker(progressive: bool) -> None:
    data = zoo.pillow(progressive=progressive, restart_marker_blocks=2)
    whole = parse(data)
    total = check_sound(data, whole)
    first = data.index(b"\xff\xda")
    marks = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data) if match.start() > first]
    # An interval is lost, without its markers, with the one before it, or with both.
    for start, end in ((marks[1] + 2, marks[2]), (marks[1], marks[2]), (marks[1], marks[2] + 2)):
        known = check_sound(data[:start] + data[end:], whole)
        assert 0.2 * total < known < total


@pytest.mark.parametrize("scans", range(1, 10))
def test_missing_scans_leave_the_bits_open_that_they_had(encoder, scans: int) -> None:
    data = zoo.pillow(progressive=True)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    cut = (
        data[
            : data.rindex(b"\xff\xc4", 0, starts[scans])
            if scans < 9 and b"\xff\xc4" in data[starts[scans - 1] : starts[scans]]
            else starts[scans]
        ]
        + b"\xff\xd9"
    )
    assert 0 <= check_sound(cut, parse(data)) < sum(plane.size for plane in read_coefficients(parse(data)).planes)
    with pytest.warns(UserWarning, match="coefficients are missing.*taken as 0"):
        strict = encoder().cell([cut])
    assert strict.box.complete
    assert "coefficients_missing" in encoder().describe(cut)
    with pytest.raises(BitstreamError, match="scans are missing.*--salvage"):
        encoder().cell([cut[:-2]])


@pytest.mark.parametrize("kind", KINDS)
def test_cell_of_a_cut_file_holds_what_is_there_and_certifies_on_it(kind: str) -> None:
    data = zoo.pillow(**KINDS[kind])
    codec = salvager()
    cut = data[: int(0.7 * len(data))]
    with pytest.warns(UserWarning, match="are missing.*filled in, not restored"):
        cell = codec.cell([cut])
    original = torch.from_numpy(zoo.source().copy()).permute(2, 0, 1)[None]
    if "grey" in kind:
        original = codec.decode([data]).mul(255).round().byte()
    else:
        assert cell.contains(original).all()
        assert cell.excess(original / 255).max() < 0.4  # rounding
    noisy = (original / 255 + 0.1 * torch.randn(original.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    image = cell.snap(cell.project(noisy))
    assert cell.contains(image).all()
    assert not cell.contains(255 - image).any()
    torch.testing.assert_close(cell.measure(image / 255), cell.centre, atol=4 / 255, rtol=0)
    facts = codec.describe(cut)
    assert facts["missing_are"] == "unconstrained"
    assert facts["coefficients_there"] + facts["coefficients_there_in_part"] > 0
    assert facts["coefficients_missing"] + facts["coefficients_there_in_part"] > 0
    assert facts["compared"] == "coefficients and tables"
    again = codec.rewrite(cut, image)
    reading = Reading.of(cut, salvage=True)
    assert not reading.differ(Reading.of(again).symbols).any()


def test_what_is_missing_is_free(encoder) -> None:
    data = zoo.pillow()
    cell = JpegCell([half(data)], salvage=True)
    image = cell.snap(cell.centre)
    changed = image.clone()
    changed[..., -8:, :] = byte_image(torch.rand(changed[..., -8:, :].shape))
    assert cell.contains(changed).all()
    assert cell.distortion > JpegCell([data]).distortion


def test_refusal_of_a_cut_file_names_the_flag(encoder) -> None:
    data = zoo.pillow()
    for cut in (data[:-40], half(data)):
        with pytest.raises(BitstreamError, match="truncated") as error:
            encoder().cell([cut])
        assert "--salvage" in error.value.hint
    for nothing in (data[:100], data[: data.index(b"\xff\xda") + 1]):
        with pytest.raises(BitstreamError) as error:
            salvager().cell([nothing])
        assert "--salvage" not in error.value.hint


def test_a_whole_file_is_the_same_with_salvage(encoder) -> None:
    for name in ("pillow-progressive", "pillow-restart-blocks", "cjpeg-scans-3"):
        data = zoo.ALL[name]()
        one, other = JpegCell([data]), JpegCell([data], salvage=True)
        assert torch.equal(one.box.symbols, other.box.symbols)
        assert other.box.complete
        assert one.own_bytes.equal(other.own_bytes)


def test_means_of_missing_blocks_are_their_neighbours() -> None:
    data = zoo.pillow(mode="L")
    reading = Reading.of(data[:-150], salvage=True)
    guess, true = reading.symbols[..., 0, 0].float(), Reading.of(data).symbols[..., 0, 0].float()
    missing = (reading.low != reading.high)[..., 0, 0]
    assert missing.any()
    assert guess[missing].std() < true[missing].std() + 5
    assert abs(guess[missing].mean() - true[~missing].mean()) < 3 * true.std()
    assert torch.equal(guess[~missing], true[~missing])


def bomb(scans: int, side: int = 2048) -> bytes:
    """A white grey-scale file whose AC scan, of a few bytes, is repeated."""
    data = zoo.pillow("L", progressive=True)
    head, _ = zoo.segments(data)
    head = [part for part in head if part[1] in (0xD8, 0xDB)]
    frame = zoo.segment(0xC2, b"\x08" + side.to_bytes(2, "big") * 2 + b"\x01\x01\x11\0")
    dc = zoo.segment(0xC4, b"\0\1" + bytes(15) + b"\0")
    ac = zoo.segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    blocks = (side // 8) ** 2
    first = zoo.segment(0xDA, b"\1\1\0\0\0\0") + bytes(blocks // 8)
    runs = -(-blocks // (1 << 14)) * "000000000000000"
    run = int(runs + "0" * (-len(runs) % 8), 2).to_bytes(-(-len(runs) // 8), "big")
    repeated = zoo.segment(0xDA, b"\1\1\0\1\x3f\0") + run
    return b"".join([*head, frame, dc, ac, first, repeated * scans, b"\xff\xd9"])


def test_a_scan_bomb_is_refused_before_it_is_read(encoder, monkeypatch) -> None:
    few, many = bomb(3), bomb(400)
    assert len(many) < 24_000
    assert read_coefficients(parse(few)).complete
    monkeypatch.setattr("idemcore_jpeg.reading.read_coefficients", None)
    for read in (encoder().cell, encoder().decode, lambda data: encoder().describe(data[0])):
        with pytest.raises(InputError, match="scans or more over 65,536 blocks in few bytes"):
            read([many])


def test_many_scans_of_a_small_image_are_read(encoder) -> None:
    assert read_coefficients(parse(bomb(400, side=64))).complete


def test_runs_of_empty_blocks_cost_nothing(monkeypatch) -> None:
    """However many blocks a run skips, its scan reads one of them."""
    import idemcore_jpeg.entropy as entropy

    calls, original = [], entropy._Scanner.ac_first
    monkeypatch.setattr(entropy._Scanner, "ac_first", lambda *args: (calls.append(1), original(*args)))
    read_coefficients(parse(bomb(2)))
    assert len(calls) == 2 * 4


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bits_never_crash_the_salvaging_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(zoo.pillow(progressive=bool(seed % 2), size=(24, 24)))
    for _ in range(15):
        damaged = bytearray(data)
        for at in rng.integers(2, len(data), 3):
            damaged[at] = rng.integers(256)
        try:
            cell = JpegCell([bytes(damaged)], salvage=True)
        except (BitstreamError, InputError):
            continue
        assert cell.centre.isfinite().all()
        assert cell.project(cell.centre).isfinite().all()
