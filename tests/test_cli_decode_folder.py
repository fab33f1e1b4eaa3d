"""`idem decode` of photographs as they lie about: turned, with profiles; and of whole folders."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image, ImageCms

from idemcore.io.files import write_together
from idemcore.io.images import decode_bytes

TOY = ("--generator", "toy", "--set", "solver.steps=2")


@pytest.fixture
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def lying(photo, tmp_path, profile) -> Path:
    """A JPEG whose EXIF says that it is to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    path = tmp_path / "lying.jpg"
    picture = Image.open(photo).transpose(Image.Transpose.ROTATE_90)
    picture.save(path, quality=50, exif=exif, icc_profile=profile, comment=b"of a ship", progressive=True)
    return path


@pytest.fixture
def photos(photo, tmp_path) -> Path:
    """A folder of four JPEGs in two folders, two of one stem, with a bad file and others that are none."""
    folder = tmp_path / "photos"
    (folder / "1998").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "1998/b.JPG", "1998/c.jpg", "1998/c.jpeg")):
        Image.open(photo).crop((number, 0, 30, 20)).save(folder / name, "JPEG", quality=30 + number)
    (folder / "bad.jpg").write_text("no image")
    (folder / "letter.txt").write_text("Dear reader")
    (folder / "._a.jpg").write_text("a resource fork")
    return folder


PNGS = ["1998/b.png", "1998/c.jpeg.png", "1998/c.jpg.png", "a.png"]


def pngs(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_turned_photo_is_upright_in_any_viewer_and_still_verified(idem, lying, tmp_path, profile):
    out = tmp_path / "x.png"
    result = idem("decode", lying, "-o", out, *TOY, "--require-exact", "--json")
    assert result.exit_code == 0, result.stderr
    picture = Image.open(out)
    assert picture.size == (40, 24)
    assert picture.getexif().get(0x0112) == 1
    assert picture.getexif()[0x010F] == "a camera"
    assert picture.info["icc_profile"] == profile
    assert json.loads(result.stdout)["image"]["width"] == 40
    assert idem("verify", out, lying).exit_code == 0
    picture.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "other.png")
    assert idem("verify", tmp_path / "other.png", lying).exit_code == 3


def test_as_stored_leaves_turning_to_the_viewer(idem, lying, tmp_path):
    out, turned = tmp_path / "x.png", tmp_path / "y.png"
    assert idem("decode", lying, "-o", out, *TOY, "--as-stored").exit_code == 0
    picture = Image.open(out)
    assert picture.size == (24, 40)
    assert picture.getexif()[0x0112] == 6
    assert idem("verify", out, lying).exit_code == 0
    assert idem("decode", lying, "-o", turned, *TOY).exit_code == 0
    assert torch.equal(decode_bytes(out.read_bytes(), out), decode_bytes(turned.read_bytes(), turned))


def test_verify_takes_what_encode_was_given(idem, photo, tmp_path):
    """A photograph that is turned or has a profile is encoded upright and in sRGB."""
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(photo).save(tmp_path / "photo8.png", exif=exif)
    assert idem("encode", tmp_path / "photo8.png", "-o", tmp_path / "y.jpg").exit_code == 0
    assert idem("verify", tmp_path / "photo8.png", tmp_path / "y.jpg").exit_code == 0


def test_written_jpeg_has_the_files_coefficients_and_metadata(idem, lying, tmp_path, profile):
    again = tmp_path / "again.jpg"
    assert idem("decode", lying, "-o", tmp_path / "x.png", *TOY, "--write-jpeg", again).exit_code == 0
    old, new = Image.open(lying), Image.open(again)
    assert new.quantization == old.quantization
    assert new.tobytes() == old.tobytes()
    assert new.info["comment"] == b"of a ship"
    assert new.info["icc_profile"] == profile
    assert new.getexif()[0x0112] == 6
    assert new.info.get("progressive") is None


def test_written_jpeg_of_our_own_file_is_that_file(idem, photo, tmp_path):
    ours, again = tmp_path / "ours.jpg", tmp_path / "again.jpg"
    assert idem("encode", photo, "-o", ours).exit_code == 0
    assert idem("decode", ours, "-o", tmp_path / "x.png", *TOY, "--write-jpeg", again).exit_code == 0
    assert again.read_bytes() == ours.read_bytes()


def test_write_jpeg_of_no_jpeg_is_refused_before_anything_is_done(idem, photo, tmp_path):
    idem("encode", photo, "-o", tmp_path / "y.idem", "--codec", "toy")
    arguments = ("decode", tmp_path / "y.idem", "-o", tmp_path / "x.png", *TOY, "--write-jpeg")
    assert "not a JPEG" in idem(*arguments, tmp_path / "again.jpg").stderr
    assert idem(*arguments, tmp_path / "again.png").exit_code == 2
    assert not (tmp_path / "x.png").exists()


def test_folder_is_decoded_and_one_bad_file_does_not_stop_the_others(idem, photos, tmp_path):
    out = tmp_path / "restored"
    result = idem("decode", photos, "-o", out, *TOY, "--write-jpeg", tmp_path / "jpegs")
    assert result.exit_code == 3, "damaged, and nothing else is wrong"
    assert result.stderr.count("error: ") == 1
    assert "bad.jpg" in result.stderr
    assert pngs(out) == PNGS
    assert len(list((tmp_path / "jpegs").rglob("*.jpg"))) == 4
    assert "decoded: 4" in result.stdout
    for name in PNGS:
        assert json.loads((out / name).with_suffix(".certificate.json").read_text())["exact"]
    source = photos / "1998" / "c.jpeg"
    assert idem("verify", out / "1998" / "c.jpeg.png", source).exit_code == 0


def test_folder_goes_on_where_it_was(idem, photos, tmp_path):
    out = tmp_path / "restored"
    arguments = ("decode", photos, "-o", out, *TOY, "--json")

    def summary(*options: object) -> dict[str, int]:
        found = json.loads(idem(*arguments, *options).stdout.splitlines()[-1])
        return {key: found[key] for key in ("decoded", "done_before", "failed")}

    assert summary() == {"decoded": 4, "done_before": 0, "failed": 1}
    before = {name: (out / name).stat().st_mtime_ns for name in PNGS}
    assert summary() == {"decoded": 0, "done_before": 4, "failed": 1}
    assert before == {name: (out / name).stat().st_mtime_ns for name in PNGS}
    (out / "a.png").unlink()
    (out / "1998" / "b.png").unlink()
    (out / "1998" / "b.certificate.json").unlink()
    Image.open(photos / "1998" / "c.jpg").save(photos / "1998" / "c.jpg", quality=9)
    assert summary() == {"decoded": 3, "done_before": 1, "failed": 1}
    assert summary("--seed", 1) == {"decoded": 4, "done_before": 0, "failed": 1}
    assert summary("--seed", 1, "--set", "solver.steps=3") == {"decoded": 4, "done_before": 0, "failed": 1}
    assert summary("--mse") == {"decoded": 4, "done_before": 0, "failed": 1}
    assert summary("--mse") == {"decoded": 0, "done_before": 4, "failed": 1}


def test_a_picture_that_is_not_ours_any_more_is_kept(idem, photos, tmp_path):
    out = tmp_path / "restored"
    (photos / "bad.jpg").unlink()
    assert idem("decode", photos, "-o", out, *TOY).exit_code == 0
    Image.open(out / "a.png").rotate(180).save(out / "a.png")
    retouched = (out / "a.png").read_bytes()
    result = idem("decode", photos, "-o", out, *TOY, "--seed", 1)
    assert (result.exit_code, (out / "a.png").read_bytes()) == (1, retouched)
    assert result.stderr.count("a.png is there already, without a certificate of its own") == 1
    assert "decoded: 3" in result.stdout
    assert json.loads((out / "1998" / "b.certificate.json").read_text())["seed"] == 1, "the others went on"


def test_pictures_of_ones_own_are_kept(idem, photo, tmp_path):
    """In the folder that is decoded into itself, and where --write-jpeg would write."""
    Image.open(photo).save(tmp_path / "a.jpg", quality=30)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    own = (tmp_path / "a.png").read_bytes()
    result = idem("decode", tmp_path, "-o", tmp_path, "--mse")
    assert (result.exit_code, (tmp_path / "a.png").read_bytes()) == (1, own)
    (tmp_path / "jpegs").mkdir()
    (tmp_path / "jpegs" / "a.jpg").write_bytes(own)
    (tmp_path / "album").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "album" / "a.jpg")
    words = ("decode", tmp_path / "album", "-o", tmp_path / "out")
    for certificate_of_another in (False, True):
        result = idem(*words, "--write-jpeg", tmp_path / "jpegs", *TOY, "--seed", 1)
        assert (result.exit_code, (tmp_path / "jpegs" / "a.jpg").read_bytes()) == (1, own)
        assert (tmp_path / "out" / "a.png").exists() is certificate_of_another
        assert idem(*words, *TOY).exit_code == 0
    (tmp_path / "jpegs" / "a.jpg").unlink()
    for seed in (1, 2):
        again = idem(*words, "--write-jpeg", tmp_path / "jpegs", *TOY, "--seed", seed)
        assert (again.exit_code, "decoded: 1" in again.stdout) == (0, True), again.stderr
        assert (tmp_path / "jpegs" / "a.jpg").read_bytes() == (tmp_path / "album" / "a.jpg").read_bytes()


def test_two_files_of_one_stem_have_a_picture_each(idem, photo, tmp_path):
    for number, name in enumerate(("a.jpg", "a.jpeg")):
        Image.open(photo).crop((0, 0, 20 + number, 20)).save(tmp_path / name)
    words = ("decode", tmp_path / "a.jpg", tmp_path / "a.jpeg", "--mse")
    assert "decoded: 2" in idem(*words).stdout
    assert {name: Image.open(tmp_path / name).size for name in pngs(tmp_path) if name != photo.name} == {
        "a.png": (20, 20),
        "a-2.png": (21, 20),
    }
    assert "done before: 2" in idem(*words).stdout
    (tmp_path / "e").mkdir()
    Image.open(photo).save(tmp_path / "e" / "a.jpg")
    both = idem("decode", tmp_path / "a.jpg", tmp_path / "e" / "a.jpg", "--mse", "--write-jpeg", tmp_path / "jpegs")
    assert (both.exit_code, "would both be written to" in both.stderr) == (2, True)


def test_a_zip_file_writes_into_the_folder_alone(idem, photo, tmp_path):
    data = io.BytesIO()
    Image.open(photo).save(data, "JPEG")
    names = ("good.jpg", f"{tmp_path}/absolute.jpg", "../above.jpg", "a/../../above.jpg", "C:/drive.jpg")
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names:
            archive.writestr(name, data.getvalue())
    words = ("-o", tmp_path / "out", "--write-jpeg", tmp_path / "jpegs", "--mse")
    result = idem("decode", tmp_path / "photos.zip", *words)
    assert result.exit_code == 0
    assert result.stderr.count("which leads elsewhere") == 4
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.suffix in (".png", ".jpg")
                  and p != photo) == ["jpegs/good.jpg", "out/good.png"]  # fmt: skip


def test_a_name_that_is_no_utf8_is_kept(idem, photo, tmp_path):
    place = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    data = io.BytesIO()
    Image.open(photo).save(data, "JPEG")
    try:
        Path(os.fsdecode(place)).write_bytes(data.getvalue())
    except OSError:
        pytest.skip("file names are Unicode here")
    source = os.fsdecode(place)
    assert idem("run", source, "--solver", "mse", "--codec", "toy", "--out", tmp_path / "run").exit_code == 0
    words = ("sweep", "-m", "codec=toy", "solver=mse", source, "--store", tmp_path / "store")
    assert idem(*words, "--metrics", "psnr,kd").exit_code == 0
    assert "caf" in (tmp_path / "store" / "rows.jsonl").read_text()
    assert idem("report", tmp_path / "store", "-o", tmp_path / "page").exit_code == 0
    again = idem(*words)
    assert (again.exit_code, again.stderr.count("unexpected")) == (0, 0)


def test_a_folder_in_the_way_leaves_picture_and_certificate_as_they_were(idem, photo, tmp_path):
    Image.open(photo).save(tmp_path / "a.jpg")
    (tmp_path / "x.png").mkdir()
    (tmp_path / "x.certificate.json").write_text("of another picture")
    result = idem("decode", tmp_path / "a.jpg", "--mse", "-o", tmp_path / "x.png")
    assert (result.exit_code, (tmp_path / "x.certificate.json").read_text()) == (2, "of another picture")


def test_interrupted_folder_leaves_whole_files_only(idem, photos, tmp_path, monkeypatch):
    out, written = tmp_path / "restored", []

    def interrupted(files: dict[Path, bytes]) -> None:
        if written:
            raise KeyboardInterrupt
        written.extend(files)
        write_together(files)

    monkeypatch.setattr("idemcore.pipeline.decode_file.write_together", interrupted)
    result = idem("decode", photos, "-o", out, *TOY)
    assert result.exit_code == 130
    monkeypatch.undo()
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(written)
    found = json.loads(idem("decode", photos, "-o", out, *TOY, "--json").stdout.splitlines()[-1])
    assert (found["decoded"], found["done_before"]) == (3, 1)


def test_full_disk_ends_a_folder_at_once(idem, photos, tmp_path, monkeypatch):
    def full(files: dict[Path, bytes]) -> None:
        raise OSError(28, "No space left on device", str(next(iter(files))))

    monkeypatch.setattr("idemcore.pipeline.decode_file.write_together", full)
    result = idem("decode", photos, "-o", tmp_path / "restored", *TOY)
    assert result.exit_code == 1
    assert result.stderr.count("no space left") == 1


def test_models_are_loaded_once_for_a_folder(idem, photos, tmp_path, monkeypatch):
    from idemcore.pipeline.codec import Codec
    from idemcore.pipeline.decoder import Decoder

    built: list[str] = []
    for kind, owner in (("codec", Codec), ("decoder", Decoder)):
        build = owner.build

        def counted(*arguments: object, kind: str = kind, build=build) -> object:
            built.append(kind)
            return build(*arguments)

        monkeypatch.setattr(owner, "build", counted)
    idem("decode", photos, "-o", tmp_path / "restored", *TOY)
    assert sorted(built) == ["codec", "decoder"]
    idem("decode", photos / "1998", "-o", tmp_path / "restored" / "1998", *TOY)
    assert sorted(built) == ["codec", "decoder"], "all is done: nothing is built"


def test_require_exact_of_a_folder(idem, photos, tmp_path, monkeypatch):
    (photos / "bad.jpg").unlink()
    monkeypatch.setattr("idemcore_jpeg.cell.JpegCell.snap", lambda self, x: torch.zeros_like(x, dtype=torch.uint8))
    loose = idem("decode", photos, "-o", tmp_path / "restored", *TOY)
    assert loose.exit_code == 0
    assert loose.stderr.count("not exact") == 4
    assert "exact: 0" in loose.stdout
    strict = idem("decode", photos, "-o", tmp_path / "strict", *TOY, "--require-exact")
    assert strict.exit_code == 3
    assert pngs(tmp_path / "strict") == PNGS
    again = idem("decode", photos, "-o", tmp_path / "strict", *TOY, "--require-exact")
    assert (again.exit_code, again.stderr.count("does not re-encode")) == (3, 4)
    assert "done before: 4" in again.stdout


def test_folder_that_cannot_be(idem, photos, photo, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ((tmp_path / "empty", "-o", tmp_path / "out"), "holds no bitstreams"),
        ((photos, "-o", photo), "is a file"),
        ((photos, "-o", tmp_path / "out", "--write-jpeg", photos), "would destroy an input"),
    ):
        result = idem("decode", *arguments, *TOY)
        assert result.exit_code == 2
        assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_results_inside_the_folder_are_not_decoded_again(idem, photos):
    arguments = ("decode", photos, "-o", photos / "restored", "--write-jpeg", photos / "restored", *TOY, "--json")
    for _ in range(2):
        assert json.loads(idem(*arguments).stdout.splitlines()[-1])["failed"] == 1
    assert pngs(photos / "restored") == PNGS


def test_bar_tells_the_time_left_on_a_terminal_only(photos, tmp_path, monkeypatch):
    import rich.console

    from idemcore.cli.album import find_jobs
    from idemcore.cli.folder import Bar, Tally

    screen = io.StringIO()
    console = rich.console.Console
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console(file=screen, force_terminal=True, width=100))
    bar, jobs = Bar(Tally()), find_jobs([photos], tmp_path / "out", None, set())
    with bar.shown():
        for _ in bar.each(jobs, "decoding"):
            bar.progress.refresh()
    assert "decoding: 5 of 5, bad.jpg" in screen.getvalue()
    assert "%" in screen.getvalue()
