"""The commands: what they write, print and return; and that help and listings stay light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from idemcore.cli import main
from idemcore.cli.doctor import _places
from idemcore.io.images import read_bytes

TOY = ("--codec", "toy", "--generator", "toy")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins", "list"], ["codecs", "info", "jpeg"], ["run", "--help"]]
)
def test_help_and_listings_import_no_torch(arguments):
    code = (
        "import sys\nfrom idemcore.cli import main\n"
        f"try: main({arguments!r}, prog_name='idem')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'omegaconf'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_lists_every_command_that_can_be_imported(idem):
    text = idem("--help").stdout
    for name in main.targets:
        assert f"  {name}" in text
        assert idem(name, "--help").exit_code == 0


def test_run_writes_a_whole_result(idem, photo, tmp_path):
    result = idem("run", photo, *TOY, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "out" / "photo"
    names = "bitstream.idem certificate.json comparison.png decoded.png reconstruction.png reencoded.idem report.json"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names.split())
    assert [path.name for path in folder.parent.iterdir()] == ["photo"]
    report = json.loads(result.stdout)
    assert report.pop("folder") == str(folder)
    assert report == json.loads((folder / "report.json").read_text())
    data = (folder / "bitstream.idem").read_bytes()
    assert report["exact"]
    assert data == (folder / "reencoded.idem").read_bytes()
    assert (report["bytes"], report["size"]) == (len(data), [40, 24])
    assert report["bpp"] == pytest.approx(8 * len(data) / (40 * 24))
    assert set(report["seconds"]) == {"encode", "decode", "solve", "certify"}
    assert report["psnr"]["reencoded_vs_decoded"] is None
    assert report["nfe"] > 0
    assert report["backwards"] == 0


def test_subsampling_needs_no_quotes(idem, photo, tmp_path):
    found = []
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        options = ("-o", tmp_path / "y.jpg", "--set", f"codec.subsampling={subsampling}")
        assert idem("encode", photo, *options).exit_code == 0
        found.append(json.loads(idem("inspect", tmp_path / "y.jpg", "--json").stdout)["subsampling"])
    assert found == ["4:4:4", "4:2:2", "4:2:0"]


def test_run_with_jpeg_writes_a_jpeg_file(idem, photo, tmp_path):
    result = idem("run", photo, "--generator", "toy", "--quality", 30, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "exact: yes" in result.stdout
    folder = tmp_path / "out" / "photo"
    assert Image.open(folder / "bitstream.jpg").format == "JPEG"
    assert (folder / "bitstream.jpg").read_bytes() == (folder / "reencoded.jpg").read_bytes()


def test_run_with_samples_numbers_them(idem, photo, tmp_path):
    result = idem("run", photo, *TOY, "--samples", 2, "--out", tmp_path / "out", "--json")
    folder = tmp_path / "out" / "photo"
    first, second = (read_bytes(folder / f"reconstruction-{n}.png") for n in (1, 2))
    assert not torch.equal(first, second)
    assert {"certificate-1.json", "reencoded-2.idem"} <= {path.name for path in folder.iterdir()}
    rows = json.loads(result.stdout)["reconstructions"]
    assert [row["file"] for row in rows] == ["reconstruction-1.png", "reconstruction-2.png"]
    assert idem("run", photo, *TOY, "--out", tmp_path / "alone").exit_code == 0
    assert torch.equal(first, read_bytes(tmp_path / "alone" / "photo" / "reconstruction.png"))


def test_a_bad_image_does_not_stop_the_others(idem, photo, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    result = idem("run", bad, photo, *TOY, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert "bad.png" in result.stderr
    assert json.loads(result.stdout)["image"] == str(photo)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo"]


def test_settings_win_in_order(idem, photo, tmp_path):
    config = tmp_path / "idem.yaml"
    config.write_text("codec:\n  quality: 1\nsolver:\n  steps: 2\n")
    by_file = ("run", photo, *TOY, "--out", tmp_path / "out", "--json", "--config", config)
    assert json.loads(idem(*by_file).stdout)["quality"] == 1
    assert json.loads(idem(*by_file).stdout)["nfe"] == 2
    assert json.loads(idem(*by_file, "--quality", 2).stdout)["quality"] == 2
    assert json.loads(idem(*by_file, "--quality", 2, "--set", "codec.quality=3").stdout)["quality"] == 3


def test_decode_needs_nothing_but_the_file(idem, photo, tmp_path):
    stream, out = tmp_path / "y.idem", tmp_path / "x.png"
    assert idem("encode", photo, "-o", stream, "--codec", "toy", "--quality", 3).exit_code == 0
    photo.unlink()
    assert idem("decode", stream, "-o", out, "--generator", "toy", "--require-exact").exit_code == 0
    certificate = json.loads((tmp_path / "x.certificate.json").read_text())
    assert certificate["exact"]
    assert certificate["codec"]["stream"] == {"quality": 3, "step": 32}
    assert certificate["image"]["width"] == 40


def test_certificate_describes_the_file_and_not_the_settings(idem, photo, tmp_path):
    Image.open(photo).save(tmp_path / "old.jpg", quality=33, subsampling="4:2:2", progressive=True)
    arguments = ("decode", tmp_path / "old.jpg", "-o", tmp_path / "x.png", "--generator", "toy", "--json")
    certificate = json.loads(idem(*arguments).stdout)
    assert certificate["exact"]
    assert certificate["codec"]["stream"] == {
        "coding": "progressive", "quality": 33, "subsampling": "4:2:2", "compared": "coefficients and tables",
    }  # fmt: skip
    assert "compared=coefficients" in idem("inspect", tmp_path / "x.certificate.json").stdout


def test_decode_mse_and_tradeoff_move_from_least_error_to_most_realism(idem, photo, tmp_path):
    stream = tmp_path / "y.idem"
    idem("encode", photo, "-o", stream, "--codec", "toy", "--quality", 1)

    def decoded(*options: object) -> torch.Tensor:
        result = idem("decode", stream, "-o", tmp_path / "x.png", "--generator", "toy", *options)
        assert "exact: yes" in result.stdout, result.stderr
        return read_bytes(tmp_path / "x.png").float()

    mse, least, half, most = decoded("--mse"), decoded("--tradeoff", 0), decoded("--tradeoff", 0.5), decoded()
    assert (least - mse).abs().max() <= 1
    distance, full = (float((image - mse).square().mean()) for image in (half, most))
    assert distance == pytest.approx(full / 4, rel=0.1)


def test_verify_exits_0_inside_the_cell_and_3_outside(idem, photo, tmp_path):
    idem("run", photo, *TOY, "--quality", 1, "--out", tmp_path)
    folder = tmp_path / "photo"
    assert idem("verify", folder / "reconstruction.png", folder / "bitstream.idem").exit_code == 0
    Image.open(photo).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "other.png")
    result = idem("verify", tmp_path / "other.png", folder / "bitstream.idem", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["differing_symbols"] > 0
    Image.open(photo).crop((0, 0, 16, 16)).save(tmp_path / "small.png")
    result = idem("verify", tmp_path / "small.png", folder / "bitstream.idem", "--json")
    assert result.exit_code == 3
    assert "16x16" in result.stderr
    assert not json.loads(result.stdout)["exact"]


def test_require_exact_exits_3_with_the_result_written(idem, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("idemcore_toy.cell.ToyCell.snap", lambda self, x: torch.zeros_like(x, dtype=torch.uint8))
    result = idem("run", photo, *TOY, "--out", tmp_path / "out", "--require-exact")
    assert result.exit_code == 3
    assert "symbols differ" in result.stderr
    report = json.loads((tmp_path / "out" / "photo" / "report.json").read_text())
    assert not report["exact"]
    assert report["differing_symbols"] > 0
    assert idem("run", photo, *TOY, "--out", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(("solver", "hint"), [("cell", "Try another --seed."), ("mse", "such as --solver cell")])
def test_require_exact_advises_what_can_help(idem, photo, tmp_path, monkeypatch, solver, hint):
    monkeypatch.setattr("idemcore_toy.cell.ToyCell.contains", lambda self, x: torch.zeros(len(x), dtype=torch.bool))
    result = idem("run", photo, *TOY, "--solver", solver, "--out", tmp_path / "out", "--require-exact")
    assert result.exit_code == 3
    assert hint in result.stderr
    assert ("--seed" in result.stderr) == (solver == "cell")


def test_inspect_tells_bitstreams_and_certificates(idem, photo, tmp_path):
    idem("run", photo, *TOY, "--quality", 2, "--out", tmp_path)
    bitstream = json.loads(idem("inspect", tmp_path / "photo" / "bitstream.idem", "--json").stdout)
    assert (bitstream["codec"], bitstream["size"]) == ("toy", [40, 24])
    assert len(bitstream["model_id"]) == 8
    certificate = idem("inspect", tmp_path / "photo" / "certificate.json").stdout
    assert "exact: yes" in certificate
    assert "quality=2" in certificate
    assert re.search(r"psnr moved: (nothing|[0-9.]+ dB \(higher is less\))\n", certificate)


def test_lists_tell_name_plugin_and_settings(idem):
    assert {"name": "toy", "plugin": "idemcore-toy"}.items() <= {
        key: value for entry in json.loads(idem("codecs", "list", "--json").stdout) if entry["name"] == "toy"
        for key, value in entry.items()
    }.items()  # fmt: skip
    assert "quality" in idem("codecs", "info", "toy").stdout
    assert "denoise" in idem("generators", "info", "toy").stdout
    assert "steps" in idem("solvers", "info", "cell").stdout
    assert "--set train." in idem("recipes", "info", "ddpm").stdout


@pytest.mark.parametrize("kind", ["codec", "generator", "solver"])
def test_every_setting_says_what_it_means(idem, kind):
    for entry in json.loads(idem(f"{kind}s", "list", "--json").stdout):
        for setting in json.loads(idem(f"{kind}s", "info", entry["name"], "--json").stdout)["settings"]:
            assert setting["help"], f"{kind} {entry['name']}: {setting['name']}"


def test_plugins_list_shows_states_and_reasons(idem, monkeypatch):
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "idemcore-toy")
    states = {p["name"]: p for p in json.loads(idem("plugins", "list", "--json").stdout)}
    assert states["idemcore-jpeg"]["state"] == "ok"
    assert states["idemcore-toy"]["state"] == "disabled"
    assert "IDEM_DISABLE_PLUGINS" in idem("plugins", "info", "toy").stdout


def test_doctor_decodes_a_tiny_image(idem):
    checks = {c["check"]: c for c in json.loads(idem("doctor", "--json").stdout)}
    assert checks["self-test"]["state"] == "ok", checks["self-test"]
    assert checks["idemcore-toy"]["state"] == "ok"
    assert checks["weights of ddpm-photo"]["found"].startswith("sha256 ")
    assert checks["cache"]["found"].endswith("GB free")


def test_doctor_names_a_cache_that_may_not_be_looked_at(monkeypatch):
    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refused)
    checks = {name: (state, told) for name, state, told in _places()}
    assert checks["cache"] == ("note", "cache: Permission denied")
    assert checks["this folder"][0] == "note"


def test_doctor_prints_what_a_bug_report_needs_and_no_name(idem, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    monkeypatch.delenv("IDEM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("IDEM_MAX_PIXELS", "1e6")
    monkeypatch.setattr("idemcore.cli.doctor._exact", lambda catalogue, runtime: "byte-exact")
    result = idem("doctor")
    assert result.exit_code == 0, result.stdout
    for word in ("python", "torch", "idemcore-jpeg", "~/.cache/idem/models", "IDEM_MAX_PIXELS", "1e6", "precision"):
        assert word in result.stdout
    assert "somebody" not in result.stdout


def test_doctor_reads_weights_and_builds_nothing_else_but_the_self_test(idem, monkeypatch):
    monkeypatch.setattr("idemcore.cli.doctor._exact", lambda catalogue, runtime: "byte-exact")
    monkeypatch.setattr("idemcore.pipeline.codec.Codec.build", lambda *_, **__: pytest.fail("built"))
    monkeypatch.setattr("idemcore.pipeline.decoder.Decoder.build", lambda *_, **__: pytest.fail("built"))
    assert idem("doctor").exit_code == 0


def test_doctor_tells_a_device_that_is_not_there_among_the_rest(idem):
    checks = {c["check"]: c for c in json.loads(idem("doctor", "--device", "cuda:99", "--json").stdout)}
    assert checks["device"]["state"] == "bad"
    assert checks["idemcore-jpeg"]["state"] == "ok"


def test_doctor_fails_without_the_default_solver(idem, monkeypatch):
    monkeypatch.setenv("IDEM_DISABLE_PLUGINS", "idemcore-dps")
    result = idem("doctor")
    assert result.exit_code == 1
    assert "bad" in result.stdout


def test_shell_completion_offers_commands():
    environment = {"_IDEM_COMPLETE": "bash_complete", "COMP_WORDS": "idem ve", "COMP_CWORD": "1"}
    code = "from idemcore.cli import main; main(prog_name='idem')"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "verify" in result.stdout


def test_decode_without_a_name_for_the_result_writes_beside_the_file_and_overwrites_nothing(idem, photo, tmp_path):
    bitstream = tmp_path / "old.jpg"
    assert idem("encode", photo, "-o", bitstream).exit_code == 0
    (tmp_path / "old.png").write_bytes(b"mine")
    (tmp_path / "old-2.certificate.json").write_bytes(b"mine too")
    (tmp_path / "old-3.trace.png").write_bytes(b"and mine")
    for expected, *options in (("old-3.png",), ("old-4.png", "--trace"), ("old-5.png",)):
        decoded = idem("decode", bitstream, "--generator", "toy", *options)
        assert decoded.exit_code == 0, decoded.output
        assert f"image: {tmp_path / expected}, 40x24" in decoded.stdout
        assert idem("verify", tmp_path / expected, bitstream).exit_code == 0
    kept = ("old.png", "old-2.certificate.json", "old-3.trace.png")
    assert [(tmp_path / name).read_bytes() for name in kept] == [b"mine", b"mine too", b"and mine"]
    assert not (tmp_path / "old-2.png").exists()


def test_decode_asks_for_a_name_where_there_is_none_to_choose(idem, tmp_path):
    for place, asked in ((tmp_path, "`-o FOLDER`"), ("/dev/null", "`-o FILE.png`")):
        result = idem("decode", place)
        assert (result.exit_code, asked in result.stderr) == (2, True), result.stderr
