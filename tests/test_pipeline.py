"""The library behind the command line: selection, bitstreams, reconstructions, the comparison picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idemcore.errors import BitstreamError, MissingError, UnsupportedCombination, UsageError
from idemcore.hookspecs import EncoderSpec, GeneratorSpec, SolverSpec
from idemcore.io.images import read_bytes, read_image, to_bytes, to_float
from idemcore.pipeline import identity
from idemcore.pipeline.certificate import certificate, picture_facts, pixels_sha256
from idemcore.pipeline.certify import Certified, certify
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.pipeline.decoder import Decoder, plain_decode
from idemcore.pipeline.run_image import folder_in_place_of, run_image
from idemcore.pipeline.side_by_side import Panel, compare, zoom_box
from idemcore.plugins.catalogue import Catalogue, Plugin, load_catalogue
from idemcore.plugins.selection import check_combination, choose, select
from idemcore.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def bitstream(photo):
    return Codec.load("toy", CPU, quality=2).encode(read_image(photo))


@pytest.fixture(scope="module")
def decoder():
    return Decoder.load("toy", "cell", CPU, {"solver": {"steps": 3}})


def test_bitstream_is_opened_by_the_codec_that_wrote_it(photo, bitstream):
    opened = open_bitstream(bitstream.data, runtime=CPU)
    assert opened.codec.part.config.quality == 2
    assert opened.size == (24, 40)
    assert torch.equal(opened.decoded, bitstream.decoded)
    jpeg = Codec.load("jpeg", CPU).encode(read_image(photo))
    assert open_bitstream(jpeg.data, runtime=CPU).codec.name == "jpeg"


def test_bytes_of_no_codec_are_refused(bitstream):
    with pytest.raises(BitstreamError, match="letter"):
        open_bitstream(b"Dear reader", "letter", CPU)
    with pytest.raises(MissingError, match="no installed codec knows"):
        open_bitstream(bitstream.data, "photo.idem", CPU, Catalogue([]))


def test_a_file_of_another_model_is_not_called_damaged(photo, bitstream):
    other = Codec.load("toy", CPU, quality=3)
    with pytest.raises(BitstreamError, match=r"x\.idem was written by the model \w+; codec 'toy' with these settings"):
        other.open(bitstream.data, "x.idem")


def test_a_certificate_says_what_drew_not_what_opened_the_file(bitstream):
    half = Decoder.load("toy", "cell", Runtime(torch.device("cpu"), torch.bfloat16), {"solver": {"steps": 1}})
    result = half.reconstruct(bitstream)
    content = certificate(bitstream, result, picture_facts(result.image, b""), half)
    assert (bitstream.codec.computed.precision, content.computed.precision) == ("fp32", "bf16")


def test_a_bitstream_of_another_device_is_refused(bitstream, decoder):
    elsewhere = replace(decoder, runtime=Runtime(torch.device("meta"), torch.float32))
    with pytest.raises(UsageError, match="opened on cpu, but the decoder is on meta"):
        elsewhere.reconstruct(bitstream)


def test_reconstruction_is_in_the_cell_and_belongs_to_its_seed(bitstream, decoder):
    first, again, other = (decoder.reconstruct(bitstream, seed) for seed in (0, 0, 1))
    assert first.exact
    assert bitstream.codec.encode(to_float(first.image)).data == bitstream.data
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.nfe == 3
    assert set(first.seconds) == {"solve", "certify"}


def test_a_device_has_solved_before_the_clock_is_read_and_certifying_begins(bitstream, decoder, monkeypatch):
    waited, order = [], []
    monkeypatch.setattr("idemcore.pipeline.decoder.wait", lambda device: (waited.append(device), order.append("wait")))
    monkeypatch.setattr("idemcore.pipeline.decoder.certify", lambda *a: (order.append("certify"), certify(*a))[1])
    decoder.reconstruct(bitstream, callback=lambda step: order.append("step"))
    assert order == ["wait", "step", "step", "step", "wait", "certify"]
    assert waited == [CPU.device] * 2


def test_callback_sees_each_step_and_can_cancel(bitstream, decoder):
    steps = []
    decoder.reconstruct(bitstream, callback=steps.append)
    assert [(s.index, s.total) for s in steps] == [(0, 3), (1, 3), (2, 3)]

    def cancel(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoder.reconstruct(bitstream, callback=cancel)


@pytest.mark.parametrize("tradeoff", [0.0, 0.3, 0.9])
def test_blend_of_two_points_of_the_cell_is_certified(bitstream, decoder, tradeoff):
    assert decoder.reconstruct(bitstream, tradeoff=tradeoff).exact


def test_plain_decode_is_judged_but_not_moved(bitstream):
    result = plain_decode(bitstream)
    assert torch.equal(result.image, (bitstream.decoded * 255).round().byte())
    assert result.exact == (bitstream.codec.encode(to_float(result.image)).data == bitstream.data)


def test_certificate_names_image_bitstream_and_parts(bitstream, decoder):
    result = decoder.reconstruct(bitstream)
    picture = picture_facts(result.image, b"")
    content = certificate(bitstream, result, picture, decoder, seed=0)
    assert (picture.width, picture.height, picture.rgb_sha256) == (40, 24, pixels_sha256(result.image))
    assert content.codec.stream == {"quality": 2, "step": 48}
    assert content.solver.name == "cell"
    assert content.seed == 0


def test_facts_of_parts_are_found_before_the_work_however_many_certificates_there_are(bitstream, decoder, monkeypatch):
    looked = []
    real = identity.source_sha256
    monkeypatch.setattr(identity, "source_sha256", lambda name: looked.append(name) or real(name))
    result = decoder.reconstruct(bitstream)
    first, last = (certificate(bitstream, result, picture_facts(result.image, b""), decoder) for _ in range(2))
    assert first == last
    assert set(looked) == {"idemcore"}, "the parts were looked at when they were loaded"


@pytest.mark.parametrize("exact", [True, False])
def test_an_image_is_encoded_once_and_again_only_if_it_is_not_exact(photo, decoder, monkeypatch, exact):
    codec, encoded = Codec.load("toy", CPU, quality=2), []
    real = Codec.bitstream_of
    monkeypatch.setattr(Codec, "bitstream_of", lambda self, image: encoded.append(1) or real(self, image))
    if not exact:
        missed = lambda cell, image: Certified(to_bytes(1 - image), [False], [7], [20.0])  # noqa: E731
        monkeypatch.setattr("idemcore.pipeline.decoder.certify", missed)
    run = run_image(photo, codec, decoder, samples=2)
    assert len(encoded) == (1 if exact else 3)
    assert [sample.reencoded.data == run.bitstream.data for sample in run.samples] == [exact] * 2
    assert (run.report.exact, run.report.psnr.reencoded_vs_decoded is None) == (exact, exact)
    assert [run.certificate(sample, b"").exact for sample in run.samples] == [exact] * 2


def test_selection_refuses_unknown_names_and_keys():
    catalogue = load_catalogue()
    assert select(catalogue, "toy", "toy", "cell", {"solver": {"steps": 2}}).solver.config.steps == 2
    with pytest.raises(UsageError, match="solver.steps"):
        select(catalogue, "toy", "toy", "cell", {"solver": {"stpes": 2}})
    with pytest.raises(UsageError, match="qualtiy"):
        choose(catalogue, "codec", "jpeg", {"qualtiy": 2})


def test_unsupported_combination_says_what_is_missing_and_what_would_work():
    codec = EncoderSpec("blackbox", "a:B", "no gradients", offers=frozenset({"measure"}))
    generator = GeneratorSpec("faces", "a:B", "", offers=frozenset({"diffusion"}))
    needy = SolverSpec("needy", "a:B", "", needs=frozenset({"project", "diffusion"}))
    modest = SolverSpec("modest", "a:B", "", needs=frozenset({"measure", "diffusion"}))
    specs = (("codec", codec), ("generator", generator), ("solver", needy), ("solver", modest))
    catalogue = Catalogue([Plugin("demo", "1", "ok", "", specs)])
    check_combination(codec, generator, modest, catalogue)
    with pytest.raises(UnsupportedCombination) as error:
        check_combination(codec, generator, needy, catalogue)
    assert "'project'" in error.value.message
    assert "blackbox" in error.value.message
    assert "--solver modest" in error.value.hint
    with pytest.raises(UnsupportedCombination):
        select(catalogue, "blackbox", "faces", "needy")


def test_zoom_is_where_the_decode_lost_texture(photo):
    original = read_bytes(photo)
    left, top, right, bottom = zoom_box(original, torch.full_like(original, 128), (8, 10))
    assert left >= 18, "the texture is on the right"
    assert (right - left, bottom - top) == (10, 8)
    assert 0 <= top <= 16


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (700, 300)])
def test_comparison_has_the_panels_side_by_side_at_any_size(size):
    black, white = (torch.full((1, 3, *size), value, dtype=torch.uint8) for value in (0, 255))
    picture = compare(Panel(black, "Original", "a"), Panel(white, "Decoded", "b"), Panel(black, "Third", "c" * 60))
    assert picture.dtype == torch.uint8
    assert (picture == 0).all(dim=1).any()
    assert (picture == 255).all(dim=1).any()


def test_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "result"

    def write(text: str, fail: bool) -> None:
        with folder_in_place_of(target) as partial:
            (partial / "report.json").write_text(text)
            if fail:
                raise RuntimeError

    write("first", fail=False)
    with pytest.raises(RuntimeError):
        write("second", fail=True)
    assert (target / "report.json").read_text() == "first"
    write("third", fail=False)
    assert (target / "report.json").read_text() == "third"
    assert list(target.parent.iterdir()) == [target]
