"""Whose fault a failed solve is: errors name the plugin that gave something wrong, whatever stumbled over it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from idemcore.cli.options import check_samples
from idemcore.errors import IdemError, Unsupported, UsageError
from idemcore.io.images import read_image
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.sample_prior import Sampler
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.objects import spec_of
from idemcore.plugins.selection import choose, select_decoder
from idemcore.protocols import InversionSolver, Solution
from idemcore.runtime import Runtime
from idemcore.testing import Subject, check

CPU = Runtime(torch.device("cpu"), torch.float32)
SPEC = """
from idemcore.hookspecs import EncoderSpec, hookimpl

@hookimpl
def idem_encoders():
    return [EncoderSpec("{name}", "{target}", "one line", api=1)]

"""
OF_TOY = "`idem plugins check idemcore-toy`"


@pytest.fixture
def bitstream(photo):
    return Codec.load("toy", CPU, quality=2).encode(read_image(photo))


@pytest.fixture
def decoder():
    return Decoder.load("toy", "cell", CPU, {"solver": {"steps": 3}})


WRONG = {
    "half the size": (lambda image: image[..., ::2, ::2], r"gives a torch.float32 tensor \[1, 3, 12, 20\] for images"),
    "grey": (lambda image: image[:, :1], r"gives a torch.float32 tensor \[1, 1, 24, 40\] for images \[1, 3, 24, 40\]"),
    "bytes": (lambda image: (255 * image).byte(), "gives a torch.uint8 tensor"),
    "an array": (lambda image: image.numpy(), "gives a ndarray"),
    "not a number": (lambda image: image * float("nan"), "gives values that are not finite for finite images"),
}


@pytest.mark.parametrize(("spoil", "told"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_with_a_prior_is_laid_at_it(bitstream, decoder, monkeypatch, spoil, told):
    denoise = decoder.generator.denoise
    monkeypatch.setattr(decoder.generator, "denoise", lambda *given: spoil(denoise(*given)))
    with pytest.raises(IdemError, match=f"`denoise` of generator 'toy' {told}") as raised:
        decoder.reconstruct(bitstream)
    assert OF_TOY in raised.value.hint


def test_what_is_wrong_with_a_restorer_is_laid_at_it(bitstream, monkeypatch):
    decoder = Decoder.load("toy", "cell", CPU, {"solver": {"steps": 3, "start_at": "toy-restorer"}})
    spoil, told = WRONG["half the size"]
    restore = decoder.solver.restorer.restore
    monkeypatch.setattr(decoder.solver.restorer, "restore", lambda *given: spoil(restore(*given)))
    with pytest.raises(IdemError, match=f"`restore` of generator 'toy-restorer' {told}") as raised:
        decoder.reconstruct(bitstream)
    assert OF_TOY in raised.value.hint


@pytest.mark.parametrize(("spoil", "told"), [WRONG["grey"], WRONG["not a number"]], ids=["grey", "not a number"])
def test_what_is_wrong_with_a_cell_is_laid_at_the_codec(bitstream, decoder, monkeypatch, spoil, told):
    project = type(bitstream.cell).project
    monkeypatch.setattr(type(bitstream.cell), "project", lambda *given: spoil(project(*given)))
    with pytest.raises(IdemError, match=f"`project` of codec 'toy' {told}") as raised:
        decoder.reconstruct(bitstream)
    assert OF_TOY in raised.value.hint


def test_a_centre_that_is_no_image_is_laid_at_the_codec(bitstream, decoder, monkeypatch):
    monkeypatch.setattr(bitstream.cell, "centre", bitstream.cell.centre[0])
    with pytest.raises(IdemError, match=r"`centre` of codec 'toy' is a torch.float32 tensor \[3, 24, 40\]"):
        decoder.solve(bitstream.cell, decoder.generator, None, codec=bitstream.codec.part)


def test_a_cell_that_lacks_what_the_codec_offers_says_so(bitstream, decoder, monkeypatch):
    def lacking(*_):
        raise Unsupported("this codec has no projection")

    monkeypatch.setattr(type(bitstream.cell), "project", lacking)
    with pytest.raises(IdemError, match="no projection. Codec 'toy' offers what its cells lack, or solver 'cell'"):
        decoder.reconstruct(bitstream)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (lambda image: image, "`solve` of solver 'cell' gives a Tensor, not a Solution"),
        (lambda image: Solution(image[0]), r"Solver 'cell' gave a tensor \[3, 24, 40\] for images \[1, 3, 24, 40\]"),
        (lambda image: Solution(image * float("nan")), "solver 'cell' found has pixels that are not a number"),
    ],
)
def test_what_is_wrong_with_a_solver_is_laid_at_it(bitstream, decoder, monkeypatch, found, told):
    monkeypatch.setattr(type(decoder.solver), "solve", lambda solver, cell, *_: found(cell.centre))
    with pytest.raises(IdemError, match=told) as raised:
        decoder.reconstruct(bitstream)
    assert "`idem plugins check idemcore-dps`" in raised.value.hint


@pytest.mark.parametrize("name", ["half the size", "not a number"])
def test_samples_of_a_prior_that_is_wrong_name_it(monkeypatch, name):
    spoil, _ = WRONG[name]
    part = choose(load_catalogue(), "generator", "toy")
    generator = part.build(CPU)
    denoise = generator.denoise
    monkeypatch.setattr(generator, "denoise", lambda *given: spoil(denoise(*given)))
    with pytest.raises(IdemError, match="`denoise` of generator 'toy' gives"):
        list(Sampler(generator, (16, 16), part=part).samples(0, 1))


@pytest.mark.parametrize(
    ("streams", "told"), [(b"abc", "gave bytes for one image"), ([b"a", b"b"], "gave 2 streams for one image")]
)
def test_an_encoder_that_gives_no_list_is_named(photo, monkeypatch, streams, told):
    codec = Codec.load("toy", CPU)
    monkeypatch.setattr(type(codec.encoder), "encode", lambda *_: streams)
    with pytest.raises(IdemError, match=f"`encode` of codec 'toy' {told}"):
        codec.encode(read_image(photo))


def test_a_class_that_lacks_methods_of_its_contract_is_named():
    part = choose(load_catalogue(), "codec", "toy")
    unfinished = dataclasses.replace(part.spec, target="idemcore.protocols:Encoder")
    with pytest.raises(IdemError, match="Encoder of idemcore-toy lacks cell, decode, encode"):
        dataclasses.replace(part, spec=unfinished).build(CPU)


def test_a_stream_that_no_codec_knows_names_plugins_that_are_not_loaded(bitstream, monkeypatch):
    catalogue = load_catalogue()
    broken = [
        dataclasses.replace(plugin, state="broken", reason="'projekt' is not a capability")
        if plugin.name == "idemcore-toy"
        else plugin
        for plugin in catalogue.plugins
    ]
    for data in (bitstream.data, b"Dear reader"):
        with pytest.raises(
            IdemError, match="no installed codec knows|not a bitstream of any installed codec"
        ) as raised:
            open_bitstream(data, "odd.idem", CPU, dataclasses.replace(catalogue, plugins=broken))
        assert "Not loaded: idemcore-toy ('projekt' is not a capability)." in str(raised.value) + raised.value.hint


def test_a_plugin_that_cannot_be_imported_cannot_be_checked(tmp_path, install, idem):
    (tmp_path / "needy_codec.py").write_text("import no_such_package\nclass Codec: pass\n")
    install("demo-needy", SPEC.format(name="needy", target="needy_codec:Codec"))
    result = idem("plugins", "check", "demo-needy")
    assert result.exit_code == 4, result.stdout
    assert "needs the package 'no_such_package', which is not installed" in result.stderr
    assert "holds" not in result.stdout


def test_a_plugin_whose_class_is_misspelt_cannot_be_checked(install, idem):
    install("demo-wrong", SPEC.format(name="wrong", target="{module}:Codek") + "class Codec: pass\n")
    result = idem("plugins", "check", "demo-wrong")
    assert result.exit_code == 4
    assert "Did you mean 'Codec'? Mend that first." in result.stderr


def test_a_solver_that_draws_nothing_says_so_and_is_run_once():
    class Still(InversionSolver):
        """Denoises the centre."""

        needs = frozenset({"diffusion"})
        draws = False

        def solve(self, cell, generator, noise, callback=None):
            return Solution(generator.denoise(cell.centre, 0.1), nfe=1)

    still = spec_of(Still())
    parts = select_decoder(load_catalogue(), "toy", Still())
    assert list(parts.different(range(5))) == [0]
    with pytest.raises(UsageError, match="has one picture, whatever the seed"):
        check_samples(parts, 2)
    outcome = {result.law.name: result for result in check(Subject("solver", still, Still))}["seeds"]
    assert outcome.outcome == "holds"
    claims = dataclasses.replace(still, draws=True)
    outcome = {result.law.name: result for result in check(Subject("solver", claims, Still))}["seeds"]
    assert outcome.outcome == "broken"
    assert "SolverSpec(draws=False)" in outcome.message
