"""`import idemcore as idem`: files and arrays in, pictures with certificates out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor

import idemcore as idem
from idemcore.errors import BitstreamError, IdemWarning, UsageError
from idemcore.protocols import Step


def test_the_import_brings_no_torch() -> None:
    code = "import sys, idemcore; assert idemcore.__all__; dir(idemcore); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", idem.__all__)
def test_every_name_is_a_function_whatever_was_imported_before(name: str) -> None:
    import idemcore.evaluation.evaluation
    import idemcore.sweeps.run  # noqa: F401

    assert callable(getattr(idem, name))
    assert getattr(idem, name).__doc__


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'decoed'; it has available, certify, decode, encode"):
        idem.decoed  # noqa: B018


def test_a_file_is_decoded_saved_and_verified(photo: Path, tmp_path: Path, mine: SimpleNamespace) -> None:
    jpeg = idem.encode(photo, quality=10).save(tmp_path / "old.jpg")
    picture = idem.decode(jpeg, mine.Grey(), "cell", settings={"solver": {"steps": 2}})
    assert picture.exact
    assert picture.image.shape == (1, 3, 24, 40)
    assert repr(picture) == "<Picture 40x24, exact, 2 passes>"
    assert picture._repr_png_()[:4] == b"\x89PNG"
    assert picture.save(tmp_path / "sharp.png").is_file()
    content = json.loads((tmp_path / "sharp.certificate.json").read_text())
    assert content == json.loads(json.dumps(picture.certificate.to_json()))
    assert content["generator"]["name"] == "Grey"
    assert content["generator"]["settings"] == {"deviation": 0.2}
    assert idem.verify(tmp_path / "sharp.png", jpeg)
    assert idem.verify(picture, jpeg.read_bytes())
    assert idem.verify(photo, jpeg), "what was encoded"
    wrong = idem.verify(255 - picture.image, jpeg)
    assert not wrong
    assert wrong.differing_symbols > 0
    with pytest.raises(UsageError, match="not a name of a PNG"):
        picture.save(tmp_path / "sharp.jpg")


def test_a_file_is_opened_as_its_decoder_computes(photo: Path, tmp_path: Path) -> None:
    source = idem.encode(photo, "toy", quality=2).save(tmp_path / "letter.idem")
    decoder = idem.load_decoder("toy", "cell", settings={"solver": {"steps": 1}}, device="cpu", precision="bf16")
    for codec in (None, "toy"):
        picture = idem.decode(source, decoder=decoder, codec=codec)
        assert picture.decoded.bitstream.codec.computed.precision == "bf16"
        assert picture.certificate.computed.precision == "bf16"


def test_a_codec_by_name_opens_its_own_files_alone(photo: Path, tmp_path: Path, mine: SimpleNamespace) -> None:
    source = idem.encode(photo, "toy", quality=2).save(tmp_path / "letter.idem")
    assert idem.open_bitstream(source, "toy").codec.part.config.quality == 2, "as the container says"
    with pytest.raises(UsageError, match="written by codec 'toy', not by 'elic'"):
        idem.open_bitstream(source, "elic")
    own = idem.encode(photo, mine.Coarse())
    assert torch.equal(idem.open_bitstream(own.data, idem.register(mine.Coarse())).decoded, own.decoded)


def test_codec_prior_and_solver_may_all_be_objects(image: Tensor, mine: SimpleNamespace) -> None:
    codec = idem.load_codec(mine.Coarse())
    assert repr(codec) == "<Codec Coarse(height=8)>"
    bitstream = codec.encode(image)
    assert repr(bitstream) == "<Bitstream Coarse 12x8, 288 bytes, 24.000 bpp>"
    decoder = idem.load_decoder(mine.Grey(), mine.MySolver(steps=4), device="cpu")
    assert repr(decoder) == "<Decoder Grey + MySolver on cpu>"
    first, again = (idem.decode(source, decoder=decoder, codec=mine.Coarse()) for source in (bitstream, bitstream.data))
    assert first.exact
    assert torch.equal(first.image, again.image)
    assert (first.nfe, first.certificate.solver.settings) == (4, {"steps": 4})
    assert not torch.equal(first.image, idem.decode(bitstream, decoder=decoder, seed=1).image)
    assert torch.equal(idem.decode(bitstream, decoder=decoder, tradeoff=0.0).image, bitstream.byte_image)


def test_a_dataclass_has_settings_and_another_object_has_none_to_change(image: Tensor, mine: SimpleNamespace) -> None:
    bitstream = idem.encode(image, mine.Coarse())
    picture = idem.decode(bitstream, mine.Grey(), mine.MySolver(), settings={"solver": {"steps": 5}})
    assert picture.nfe == 5
    with pytest.raises(UsageError, match="deviation of a Grey that is made already cannot be changed"):
        idem.decode(bitstream, mine.Grey(), mine.MySolver(), settings={"generator": {"deviation": 0.5}})
    with pytest.raises(UsageError, match="Did you mean 'solver.steps'"):
        idem.decode(bitstream, mine.Grey(), mine.MySolver(), settings={"solver": {"step": 5}})


def test_a_callback_sees_the_noisy_image_and_its_estimate(image: Tensor, mine: SimpleNamespace) -> None:
    told: list[Step] = []
    prior = mine.Grey()
    idem.decode(idem.encode(image, mine.Coarse()), prior, mine.MySolver(), callback=told.append)
    assert [step.index for step in told] == [0, 1, 2]
    assert all(step.x.shape == step.x0.shape == (1, 3, 8, 12) for step in told)


SAME = {
    "float tensor with a batch": lambda x: x[None],
    "uint8 tensor": lambda x: (x * 255).round().to(torch.uint8),
    "float64 array": lambda x: x.double().movedim(0, -1).numpy(),
    "uint8 array": lambda x: (x * 255).round().to(torch.uint8).movedim(0, -1).numpy(),
    "channels first array": lambda x: x.numpy(),
    "pillow": lambda x: Image.fromarray((x * 255).round().to(torch.uint8).movedim(0, -1).numpy()),
    "a hair outside": lambda x: torch.where(x == x.max(), 1.009, x),
    "with a graph": lambda x: x.clone().requires_grad_(),
    "a list of one": lambda x: [x],
}


@pytest.mark.parametrize("given", SAME.values(), ids=list(SAME))
def test_an_image_is_the_same_however_it_is_held(given, image: Tensor) -> None:  # type: ignore[no-untyped-def]
    image = torch.where(image == image.max(), 1.0, image)
    assert idem.encode(given(image), quality=30).data == idem.encode(image, quality=30).data


def test_grey_is_three_equal_channels(image: Tensor) -> None:
    grey = (image[0] * 255).round().to(torch.uint8)
    wanted = idem.encode(grey.expand(3, -1, -1)).data
    assert idem.encode(grey.numpy()).data == idem.encode(Image.fromarray(grey.numpy())).data == wanted


REFUSED = {
    "0..255 floats": (lambda x: 255 * x, "If they are in 0..255, give `image / 255`"),
    "-1..1 floats": (lambda x: 2 * x - 1, r"If they are in \[-1,1\], give `\(image \+ 1\) / 2`"),
    "not a number": (lambda x: torch.where(x > 0.5, torch.nan, x), "Some are not a number"),
    "whole numbers": (lambda x: (255 * x).long(), "type int64, whose range is not clear"),
    "16 bits": (lambda x: (255 * x).numpy().astype("uint16"), "type uint16"),
    "channels last": (lambda x: x.movedim(0, -1), r"shape \[8, 12, 3\].*movedim"),
    "one channel": (lambda x: x[:1], r"shape \[1, 8, 12\]"),
    "two axes": (lambda x: x[0], r"shape \[8, 12\]"),
    "empty": (lambda x: x[:, :0], "shape"),
    "a batch": (lambda x: x.expand(2, -1, -1, -1), "The batch has 2 images.*Encode each by itself"),
    "of two sizes": (lambda x: [x, x[:, :4]], "several sizes"),
    "a number": (lambda x: 3, "of type int, which is not an image"),
    "nothing": (lambda x: None, "of type NoneType"),
    "no file": (lambda x: "nowhere.png", "nowhere.png"),
    "see-through": (lambda x: Image.new("RGBA", (8, 8)), "transparent pixels. Lay it over a colour first"),
    "samples of 32 bits": (lambda x: Image.fromarray((255 * x[0]).int().numpy()), "32-bit integer samples"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_could_be_two_things_is_refused(given, words: str, image: Tensor) -> None:  # type: ignore[no-untyped-def]
    for encode in (idem.encode, idem.load_codec("jpeg").encode):
        with pytest.raises(Exception, match=f"(?s){words}") as found:
            encode(given(image))
        assert isinstance(found.value, idem_errors())
        assert "\n" not in str(found.value)


def idem_errors() -> type[Exception]:
    from idemcore.errors import IdemError

    return IdemError


def test_settings_and_parts_that_cannot_be_right_are_refused(image: Tensor, mine: SimpleNamespace) -> None:
    bitstream = idem.encode(image)
    for call, words in [
        (lambda: idem.decode(bitstream, settings={"solvr": {}}), "unknown scope 'solvr'. Did you mean 'solver'"),
        (lambda: idem.decode(bitstream, settings={"codec": {}}), "unknown scope 'codec'"),
        (lambda: idem.decode(bitstream, settings={"solver": 3}), "'solver' is 3, not a mapping"),
        (lambda: idem.decode(bitstream, solver="cel"), "Did you mean 'cell'"),
        (lambda: idem.decode(bitstream, solver=mine.MySolver), r"Pass an instance of it: MySolver\(...\)"),
        (lambda: idem.decode(bitstream, solver=mine.Grey()), "is a generator, not a solver"),
        (lambda: idem.decode(bitstream, solver=3), "3 is not a part of idem. Give a name, or an Encoder"),
        (lambda: idem.decode(bitstream, tradeoff=2), "tradeoff is 2"),
        (lambda: idem.decode(image), r"decode\(encode\(image\)\)"),
        (lambda: idem.decode("nowhere.jpg"), "nowhere.jpg"),
        (lambda: idem.encode(image, idem.load_codec("jpeg"), quality=3), "A loaded codec has its settings"),
        (lambda: idem.encode(image, qualiti=3), "Did you mean 'codec.quality'"),
        (lambda: idem.load_decoder(settings={"adapter": {"steps": 3}}), "adapter.steps has no effect"),
    ]:
        with pytest.raises(UsageError, match=f"(?s){words}"):
            call()
    with pytest.raises(BitstreamError, match="the bitstream is not a bitstream of any installed codec"):
        idem.decode(b"no bitstream")


def test_what_an_object_needs_is_said_and_known(image: Tensor, mine: SimpleNamespace) -> None:
    class Silent(mine.MySolver):  # type: ignore[name-defined,misc]
        needs = None

    class Misspelt(mine.MySolver):  # type: ignore[name-defined,misc]
        needs = {"projekt"}

    class Greedy(mine.MySolver):  # type: ignore[name-defined,misc]
        needs = {"diffusion", "measure"}

    for solver, words in ((Silent(), "does not say what it needs"), (Misspelt(), "Did you mean 'project'")):
        with pytest.raises(UsageError, match=words):
            idem.load_decoder(mine.Grey(), solver)
    with pytest.raises(UsageError, match="'measure'"):
        idem.decode(idem.encode(image, mine.Coarse()), mine.Grey(), Greedy())


def test_any_image_is_made_exact(photo: Path, tmp_path: Path) -> None:
    jpeg = idem.encode(photo, quality=10).save(tmp_path / "old.jpg")
    blurred = tmp_path / "blurred.png"
    Image.open(photo).resize((20, 12)).resize((40, 24)).save(blurred)
    assert not idem.verify(blurred, jpeg)
    for given in (blurred, Image.open(blurred), torch.zeros(3, 24, 40)):
        picture = idem.certify(given, jpeg)
        assert picture.exact
        assert idem.verify(picture, jpeg)
    assert idem.certify(photo, jpeg).image.equal(idem.certify(photo, jpeg.read_bytes()).image), "is inside, and stays"
    assert picture.certificate.generator is None
    with pytest.raises(UsageError, match=r"has 8x8 pixels, but .*old.jpg holds a picture of 40x24. Resize it"):
        idem.certify(torch.zeros(3, 8, 8), jpeg)


def test_a_turned_photograph_is_certified_upright(photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(tmp_path / "lying.jpg", exif=exif, quality=30)
    picture = idem.certify(torch.full((3, 40, 24), 0.5), tmp_path / "lying.jpg")
    assert picture.exact
    assert picture.image.shape == (1, 3, 40, 24)


def test_a_cut_file_is_salvaged_when_asked(photo: Path, tmp_path: Path) -> None:
    whole = idem.encode(photo, quality=10).data
    with pytest.raises(BitstreamError, match=r"letter.jpg: The JPEG file is truncated"):
        _ = idem.open_bitstream(whole[:-40], name="letter.jpg").size
    with pytest.warns(IdemWarning, match="are filled in, not restored"):
        picture = idem.decode(whole[:-40], solver="mean", salvage=True)
    assert picture.certificate.special == ("salvage",)


def test_salvage_is_the_codecs_or_refused(photo: Path, tmp_path: Path) -> None:
    whole = Path(idem.encode(photo, quality=50).save(tmp_path / "whole.jpg")).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-40])
    found = [idem.decode(tmp_path / "cut.jpg", solver="mse", codec=codec, salvage=True) for codec in (None, "jpeg")]
    assert [picture.certificate.special for picture in found] == [("salvage",)] * 2
    assert [picture.certificate.codec.settings["salvage"] for picture in found] == [True] * 2
    with pytest.raises(UsageError, match="'jpeg' was loaded without salvage"):
        idem.decode(tmp_path / "cut.jpg", solver="mse", codec=idem.load_codec("jpeg"), salvage=True)
    with pytest.raises(UsageError, match="'jpeg' was loaded without salvage"):
        idem.decode(idem.open_bitstream(whole), solver="mse", salvage=True)


def test_what_is_installed_is_listed_with_its_settings() -> None:
    solvers = {found["name"]: found for found in idem.available("solver")}
    assert solvers["cell"]["plugin"] == "idemcore-dps"
    assert "steps" in solvers["cell"]["settings"]
    assert solvers["mean"]["settings"] == {}
    with pytest.raises(UsageError, match=r"no kind 'solvers'. Kinds are codec, generator, solver"):
        idem.available("solvers")
