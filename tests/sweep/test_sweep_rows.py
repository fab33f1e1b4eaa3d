"""What `idem sweep` records of each run: rows, pictures, exports."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from sweeping import comparable

from idemcore.io.images import read_bytes
from idemcore.sweeps.store import Store


def test_every_combination_has_a_row_with_images_that_are_there(sweep, photos: Path) -> None:
    result, told, store = sweep("quality=3,4", "solver=cell,mse", "seed=0..1")
    assert result.exit_code == 0
    none = dict.fromkeys(("earlier", "measured", "failed", "spared", "refused", "unreadable"), 0)
    assert told == {"store": str(store.root), "runs": 24, "new": 24, **none}
    rows = store.rows()
    assert len(rows) == len({row.id for row in rows}) == 24
    shown = {(r.codec["quality"], r.solver["name"], r.seed, r.image.name) for r in rows}
    assert len(shown) == 24
    for row in rows:
        assert row.status == "ok"
        assert row.exact is True
        assert set(row.metrics) == {"bpp", "psnr", "exact"}
        images = {kind: read_bytes(store.path(name)) for kind, name in row.files.to_json().items()}
        assert torch.equal(images["original"], read_bytes(photos / row.image.name))
        assert {tuple(image.shape[-2:]) for image in images.values()} == {(row.image.height, row.image.width)}
    of_kind = {
        kind: len({getattr(row.files, kind) for row in rows}) for kind in ("original", "decoded", "reconstruction")
    }
    assert of_kind == {"original": 4, "decoded": 8, "reconstruction": 24}
    assert len(list(store.path("images").iterdir())) == 36


def test_a_row_is_what_idem_run_gives_by_its_command(sweep, idem, tmp_path: Path, monkeypatch) -> None:
    _, _, store = sweep("quality=3", "solver=cell", "seed=5")
    row = store.rows()[1]
    monkeypatch.chdir(store.root)
    words = shlex.split(row.command)
    assert words[:2] == ["idem", "run"]
    result = idem(*words[1:], "--out", tmp_path / "runs", "--json")
    report = json.loads(result.stdout)
    assert (report["bpp"], report["bytes"]) == (row.metrics["bpp"], row.bytes)
    mine, theirs = store.path(row.files.reconstruction), Path(report["folder"]) / "reconstruction.png"
    assert torch.equal(read_bytes(mine), read_bytes(theirs))
    assert torch.equal(read_bytes(store.path(row.files.decoded)), read_bytes(theirs.with_name("decoded.png")))


def test_results_do_not_depend_on_batches_or_workers(sweep) -> None:
    stores = [
        sweep("seed=0..2", "--batch", batch, "--set", f"engine.workers={workers}", store=f"{batch}-{workers}")[2]
        for batch, workers in ((1, 1), (5, 1), (2, 2))
    ]
    first, *others = [comparable(store) for store in stores]
    assert len(first) == 12
    for other in others:
        assert other == first
    images = [sorted((p.name, p.read_bytes()) for p in store.path("images").iterdir()) for store in stores]
    assert images[0] == images[1] == images[2]


def test_size_crops_to_the_middle_square_and_resizes(sweep) -> None:
    _, _, store = sweep("seed=0", "--size", 8, "--limit", 3)
    assert {(row.image.width, row.image.height) for row in store.rows()} == {(8, 8)}
    assert len(store.rows()) == 3


def test_a_file_is_a_sweep_and_the_command_line_wins(idem, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(
        "images: photos\nlimit: 1\nmetrics: [psnr]\nbase: {codec: toy, generator: toy, solver.steps: 2}\n"
        "axes: {solver: [cell, mse], seed: 0..3}\nexclude: [{solver: mse, seed: 1..3}]\n"
    )
    result = idem("sweep", "two.yaml", "seed=0..1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"] == 3
    rows = Store.open("runs/two").rows()
    assert [row.solver["name"] for row in rows].count("cell") == 2
    assert set(rows[0].metrics) == {"psnr"}


def test_a_trade_off_is_an_axis_between_the_plain_decode_and_the_solvers_image(
    sweep, idem, tmp_path, monkeypatch
) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "tradeoff=0,0.5,1", "--limit", 1)
    rows = {(row.solver["name"], row.tradeoff): row for row in store.rows()}
    assert set(rows) == {("mse", 1), ("cell", 0), ("cell", 0.5), ("cell", 1)}
    least, half, most = (read_bytes(store.path(rows["cell", a].files.reconstruction)).float() for a in (0, 0.5, 1))
    assert (half - (least + most) / 2).abs().mean() < 2
    assert (most - least).abs().mean() > 4
    monkeypatch.chdir(store.root)
    row = rows["cell", 0.5]
    report = json.loads(idem(*shlex.split(row.command)[1:], "--out", tmp_path / "runs", "--json").stdout)
    again = read_bytes(Path(report["folder"]) / "reconstruction.png")
    assert torch.equal(again, read_bytes(store.path(row.files.reconstruction)))


def test_rows_tell_how_symbols_fill_their_intervals(sweep) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "--limit", 1)
    drawn, plain = (row.positions for row in sorted(store.rows(), key=lambda row: row.solver["name"]))
    assert sum(plain["counts"]) == sum(plain["original"]) == sum(drawn["counts"]) == 3 * 16 * 16
    middle = slice(len(plain["counts"]) // 2 - 2, len(plain["counts"]) // 2 + 2)
    assert sum(plain["counts"][middle]) > 0.9 * sum(plain["counts"]) > sum(drawn["counts"][middle])
    assert drawn["outside"] == 0


def test_images_of_a_zip_file_are_cropped_as_those_of_its_folder(sweep, photos: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.iterdir():
            archive.write(path, f"inside/{path.name}")
    _, _, zipped = sweep("quality=3", "--crop", 8, images=tmp_path / "photos.zip")
    _, _, plain = sweep("quality=3", "--crop", 8, store="plain")
    assert {row.id for row in zipped.rows()} == {row.id for row in plain.rows()}
    assert {row.image.name for row in zipped.rows()} == {f"inside/{k}.png" for k in range(4)}
    tall = read_bytes(plain.path(next(r for r in plain.rows() if r.image.name == "2.png").files.original))
    assert torch.equal(tall, read_bytes(photos / "2.png")[..., 8:16, 4:12])
    assert "exclude each other" in sweep("quality=3", "--crop", 8, "--size", 8)[0].stderr
    assert "smaller than the crop" in sweep("quality=3", "--crop", 20, store="none")[0].stderr


def test_exports_have_a_line_a_run(sweep, idem, tmp_path: Path) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "--export", tmp_path / "rows.csv")
    header, *body = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(body) == 8
    assert {"codec.quality", "generator.name", "metrics.psnr", "image.name"} <= set(header.split(","))
    assert "generator" not in header.split(",")
    assert idem("sweep", "--store", store.root, "--export", tmp_path / "rows.jsonl").exit_code == 0
    exported = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["metrics.psnr"] for row in exported] == [row.metrics["psnr"] for row in store.rows()]


def test_parquet_has_the_same_columns(sweep, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _, _, store = sweep("quality=3", "solver=cell,mse", "--export", tmp_path / "rows.parquet")
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["metrics.psnr"] == [row.metrics["psnr"] for row in store.rows()]
    assert set(table["generator.name"]) == {"toy", None}
