"""The solvers that the core provides: `mse`, g(y), and `mean`, the estimate, moved into the cell; no generator."""

from __future__ import annotations

import json

import pytest
import torch

from idemcore.io.images import read_bytes, read_image
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.protocols import Step
from idemcore.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


def test_mse_is_the_plain_decode_with_no_passes_whatever_the_seed(photo):
    bitstream = Codec.load("toy", CPU, quality=1).encode(read_image(photo))
    decoder = Decoder.load("toy", "mse", CPU)
    told: list[Step] = []
    first, other = decoder.reconstruct(bitstream, seed=0, callback=told.append), decoder.reconstruct(bitstream, seed=1)
    assert first.exact
    assert (first.image.float() / 255 - bitstream.decoded).abs().max() <= 1.01 / 255
    assert torch.equal(first.image, other.image)
    assert (first.nfe, first.backwards) == (0, 0)
    assert [(step.index, step.total, step.nfe) for step in told] == [(0, 1, 0)]
    assert torch.equal(told[0].x0, bitstream.decoded)


def test_mean_is_the_estimate_and_nearer_to_the_picture_than_the_plain_decode(photo):
    image = read_image(photo)
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(image)
    found = {name: Decoder.load("toy", name, CPU).reconstruct(bitstream) for name in ("mean", "mse")}
    assert all(one.exact for one in found.values())
    assert found["mean"].nfe == 0
    assert (found["mean"].image.float() / 255 - bitstream.cell.estimate).abs().max() <= 2 / 255
    errors = {name: (one.image.float() / 255 - image).square().mean() for name, one in found.items()}
    assert errors["mean"] < errors["mse"]


def test_mean_of_a_codec_without_an_estimate_is_the_plain_decode(photo):
    bitstream = Codec.load("toy", CPU, quality=1).encode(read_image(photo))
    images = [Decoder.load("toy", name, CPU).reconstruct(bitstream).image for name in ("mean", "mse")]
    assert torch.equal(*images)


@pytest.mark.parametrize("tradeoff", [0.0, 0.5])
def test_the_dial_runs_from_the_estimate_to_the_draw(photo, tradeoff):
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(read_image(photo)[..., :48, :64])
    decoder = Decoder.load("toy", "cell", CPU, {"solver": {"steps": 2}})
    drawn, blended = (decoder.reconstruct(bitstream, tradeoff=a) for a in (1.0, tradeoff))
    wanted = torch.lerp(bitstream.cell.estimate, drawn.solution, tradeoff)
    torch.testing.assert_close(blended.solution, wanted)
    assert blended.exact


def test_mse_needs_no_weights_and_takes_any_size(idem, photo, tmp_path, monkeypatch):
    """Those of ddpm-ffhq are not here, and it makes 256x256 only."""
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "empty"))
    result = idem("run", photo, "--generator", "ddpm-ffhq", "--solver", "mse", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["generator"], report["solver"], report["nfe"], report["exact"]) == (None, "mse", 0, True)
    written = json.loads((tmp_path / "out" / "photo" / "certificate.json").read_text())
    assert (written["generator"], written["solver"]["plugin"]) == (None, "idemcore")
    assert "solver: mse, 0 passes" in idem("run", photo, "--solver", "mse", "--out", tmp_path / "out").stdout
    assert "solver: mse (idemcore" in idem("inspect", tmp_path / "out" / "photo" / "certificate.json").stdout


def test_decode_with_mse_moves_the_plain_decode_into_the_cell(idem, photo, tmp_path):
    stream = tmp_path / "y.idem"
    idem("encode", photo, "-o", stream, "--codec", "toy", "--quality", 1)
    for name, options in (("solver", ("--solver", "mse", "--require-exact")), ("plain", ("--mse",))):
        assert idem("decode", stream, "-o", tmp_path / f"{name}.png", *options).exit_code == 0
    solver, plain = (read_bytes(tmp_path / f"{name}.png").int() for name in ("solver", "plain"))
    assert (solver - plain).abs().max() <= 1


def test_a_solver_that_needs_a_generator_still_names_it(photo):
    bitstream = Codec.load("toy", CPU).encode(read_image(photo))
    decoder = Decoder.load("toy", "cell", CPU, {"solver": {"steps": 1}})
    assert decoder.parts.prior is decoder.parts.generator
    result = decoder.reconstruct(bitstream)
    assert certificate(bitstream, result, picture_facts(result.image, b""), decoder).generator.name == "toy"


@pytest.mark.parametrize(
    ("environment", "options", "code", "words"),
    [
        ({}, ("--set", "solver.steps=2"), 2, "Keys: none"),
        ({"IDEM_DISABLE_PLUGINS": "idemcore"}, (), 4, "idemcore is disabled"),
    ],
)
def test_mse_has_no_settings_and_is_a_plugin_like_others(
    idem, photo, tmp_path, monkeypatch, environment, options, code, words
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = idem("run", photo, "--solver", "mse", *options, "--out", tmp_path / "out")
    assert result.exit_code == code
    assert words in result.stderr
