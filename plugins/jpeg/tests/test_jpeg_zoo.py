"""JPEGs of every kind: exact on coefficients, or refused by the name of what is not read."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile

import jpeg_zoo as zoo
import make_files
import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import InputError
from idemcore_jpeg.files import decode_image
from idemcore_jpeg.layout import Layout
from idemcore_jpeg.model import coefficients, quantise
from idemcore_jpeg.reading import pack_symbols, pack_tables
from idemcore_jpeg.stream import Stream, parse

MODELLED = sorted(
    path.stem
    for path in zoo.FILES.glob("cjpeg-*.jpg")
    if not any(word in path.stem for word in ("arithmetic", "fast", "float", "smooth"))
)
"""Written by the accurate integer DCT, which the model is of."""
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in zoo.EXACT if name not in zoo.QUICK]


def source() -> torch.Tensor:
    return torch.from_numpy(zoo.source().copy()).permute(2, 0, 1)[None]


def found_in_cell(cell) -> torch.Tensor:
    noise = torch.randn(cell.centre.shape, generator=torch.Generator().manual_seed(0))
    return cell.snap(cell.project((cell.centre + 0.03 * noise).clamp(0, 1)))


def symbols(stream: Stream) -> torch.Tensor:
    layout = Layout(stream.height, stream.width, stream.sampling)
    return pack_symbols(stream, layout)[layout.valid]


def test_there_are_enough_files() -> None:
    assert len(zoo.ALL) > 120
    assert set(zoo.REFUSED) < set(zoo.ALL)
    assert set(zoo.QUICK) < set(zoo.EXACT)


@pytest.mark.parametrize("name", MODELLED)
def test_model_gives_the_coefficients_of_files_of_every_sampling(name: str) -> None:
    stream = parse(zoo.fixture(name))
    layout = Layout(stream.height, stream.width, stream.sampling)
    found = quantise(coefficients(source(), layout), pack_tables(stream, layout))[0]
    assert torch.equal(found[layout.valid], symbols(stream))


@pytest.mark.parametrize("name", [*sorted(zoo.QUICK), *SLOW])
def test_file_is_exact_and_rewritten_without_loss(encoder, name: str) -> None:
    """libjpeg decodes the file that was written anew to the very pixels of the old one."""
    data = zoo.ALL[name]()
    cell = encoder().cell([data])
    image = found_in_cell(cell)
    assert cell.contains(image).all(), f"{int(cell.differing_symbols(image))} symbols differ"
    assert not cell.contains(255 - image).any()
    again = encoder().rewrite(data, image)
    assert torch.equal(symbols(parse(again)), symbols(parse(data)))
    assert torch.equal(decode_image(again), decode_image(parse(data).readable))
    for key in ("icc_profile", "exif", "comment") if "after-frame" not in name else ():
        assert Image.open(io.BytesIO(again)).info.get(key) == Image.open(io.BytesIO(parse(data).readable)).info.get(key)


@pytest.mark.parametrize("name", sorted(zoo.REFUSED))
def test_file_is_refused_by_the_name_of_its_feature(encoder, name: str) -> None:
    for read in (encoder().cell, encoder().decode):
        with pytest.raises(InputError, match=zoo.REFUSED[name]) as error:
            read([zoo.ALL[name]()])
        assert error.value.hint


@pytest.mark.parametrize("name", zoo.EDGES)
def test_file_whose_edge_no_image_gives_is_exact_but_there_and_says_so(encoder, name: str) -> None:
    cell = encoder().cell([zoo.ALL[name]()])
    image = found_in_cell(cell)
    assert not cell.contains(image).any()
    assert "cropped without loss" in cell.reason(image)
    assert cell.reason(255 - image) == ""


def test_grey_files_stand_for_grey_images(encoder) -> None:
    cell = encoder().cell([zoo.fixture("cjpeg-grey")])
    coloured = source().float() / 255
    for image in (cell.project(coloured) * 255, cell.snap(coloured).float()):
        torch.testing.assert_close(image, image[:, :1].expand(-1, 3, -1, -1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["cjpeg-440", "cjpeg-411", "cjpeg-3x1", "cjpeg-luma-subsampled", "cjpeg-rgb-2x2"])
def test_measure_is_what_libjpeg_decodes(encoder, name: str) -> None:
    cell = encoder().cell([zoo.fixture(name)])
    assert (cell.measure(source().float() / 255) - cell.centre).abs().max() * 255 < 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cjpeg") is None, reason="cjpeg is not installed (Debian: libjpeg-turbo-progs)")
@pytest.mark.parametrize("name", [name for name in zoo.EXACT if name.startswith(("cjpeg", "magick", "jpegtran"))])
def test_real_encoder_agrees_with_the_certificate(encoder, name: str) -> None:
    """cjpeg, given the file's tables and sampling, makes the file's coefficients of the image found."""
    data = zoo.fixture(name)
    stream, image = parse(data), found_in_cell(encoder().cell([data]))
    buffer = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(buffer, "PPM")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as tables, tempfile.NamedTemporaryFile("w") as scans:
        tables.write("\n".join(" ".join(map(str, table)) for table in stream.component_tables().tolist()))
        scans.write("".join(f"{number};\n" for number in range(len(stream.components))))
        tables.flush(), scans.flush()
        slots = ",".join(map(str, range(len(stream.components))))
        factors = ",".join(f"{h}x{v}" for v, h in stream.sampling.factors)
        colours = {"grey": ["-grayscale"], "RGB": ["-rgb"], "YCbCr": []}[stream.sampling.colours]
        options = ["-qtables", tables.name, "-qslots", slots, "-sample", factors, "-scans", scans.name, *colours]
        again = subprocess.run(["cjpeg", *options], input=buffer.getvalue(), capture_output=True, check=True).stdout
    assert np.array_equal(parse(again).component_tables(), stream.component_tables())
    assert torch.equal(symbols(parse(again)), symbols(stream))


TOOLS = ("cjpeg", "jpegtran", make_files.CONVERT)


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"not all of {', '.join(TOOLS)} are installed")
def test_files_are_what_their_script_makes(monkeypatch, tmp_path) -> None:
    assert np.array_equal(make_files.picture(), zoo.source())
    monkeypatch.setattr(make_files, "FILES", tmp_path)
    make_files.main()
    for path in zoo.FILES.glob("*.jpg"):
        again = parse((tmp_path / path.name).read_bytes()) if path.stem not in zoo.REFUSED else None
        assert again is None or torch.equal(symbols(again), symbols(parse(path.read_bytes()))), path.name
