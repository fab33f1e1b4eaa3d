"""Objects beside names in evaluations and sweeps, whose rows pandas takes as they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import idemcore as idem
from idemcore.errors import UsageError
from idemcore.io.images import to_bytes, write_png
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.objects import Made
from idemcore.protocols import ImageMetric
from idemcore.sweeps.config import LocalConfig
from idemcore.sweeps.local import LocalEngine, _unpacked


def l1(reconstruction: Tensor, original: Tensor) -> Tensor:
    return (reconstruction - original).abs().mean()


def test_an_evaluation_takes_names_objects_and_functions(image: Tensor, photo: Path, mine: SimpleNamespace) -> None:
    decoders = [idem.load_decoder(mine.Grey(), solver) for solver in ("cell", mine.MySolver(steps=2))]
    rows = idem.evaluate(
        ["jpeg", idem.load_codec("jpeg", quality=5)], decoders, [image, photo], ["psnr", "exact", l1], seeds=2
    )
    assert len(rows) == 2 * 2 * 2 * 2
    assert {(row["codec"], row["codec.quality"], row["solver"]) for row in rows} == {
        ("jpeg", quality, solver) for quality in (10, 5) for solver in ("cell", "MySolver")
    }
    assert {row["image"] for row in rows} == {"image-0", "photo.png"}
    assert all(row["exact"] == 1 and 0 < row["l1"] < 1 for row in rows)
    assert len(rows.scores) == 4
    assert rows.scores[0]["l1"] == pytest.approx(sum(row["l1"] for row in rows[:4]) / 4)
    assert repr(rows).startswith("<Records: 16 rows of codec, generator, solver, ")
    assert rows._repr_html_().count("<tr>") == 17


def test_two_images_of_one_name_are_two_images(image: Tensor, tmp_path: Path) -> None:
    places = [tmp_path / folder / "a.png" for folder in ("g", "h")]
    for place, pixels in zip(places, (image, image.flip(-1) ** 2), strict=True):
        place.parent.mkdir()
        write_png(to_bytes(pixels), place)
    rows = idem.evaluate("jpeg", idem.load_decoder("toy", "mse"), places, ["psnr"])
    assert [row["image"] for row in rows] == [str(place) for place in places]
    assert rows.scores[0]["psnr ±"] > 0, "an interval, over two images"


def test_records_are_what_pandas_takes(image: Tensor, mine: SimpleNamespace) -> None:
    pandas = pytest.importorskip("pandas")
    rows = idem.evaluate(mine.Coarse(), idem.load_decoder(mine.Grey(), mine.MySolver()), [image], ["psnr", l1])
    table = pandas.DataFrame(rows)
    assert table.loc[0, "codec"] == "Coarse"
    assert table["l1"].dtype == float


def test_a_metric_object_has_its_direction_and_name(image: Tensor, mine: SimpleNamespace) -> None:
    class Brightness(ImageMetric):
        """The mean of all samples."""

        direction = "higher"

        def measure(self, case):  # type: ignore[no-untyped-def]
            return (case.reconstruction / 255).double().mean(dim=(1, 2, 3)).cpu()

    rows = idem.evaluate(mine.Coarse(), idem.load_decoder(mine.Grey(), mine.MySolver()), [image], [Brightness()])
    assert 0.3 < rows[0]["Brightness"] < 0.7


def test_a_sweep_runs_objects_once_and_goes_on(image: Tensor, tmp_path: Path, mine: SimpleNamespace) -> None:
    axes = {"codec": mine.Coarse(), "generator": mine.Grey(), "solver": [mine.MySolver(1), mine.MySolver(2), "mse"]}
    rows = idem.sweep(axes, [image], tmp_path / "store", ["psnr", l1])
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert {row["solver.name"]: row["nfe"] for row in rows} == {
        "MySolver(steps=1)": 1,
        "MySolver(steps=2)": 2,
        "mse": 0,
    }
    assert all(row["metrics.l1"] > 0 for row in rows)
    assert all(row["command"] == "" for row in rows)
    again = idem.sweep({**axes, "seed": "0..1"}, [image], tmp_path / "store", ["psnr", l1])
    assert len(again) == 5
    assert {row["id"] for row in rows} < {row["id"] for row in again}


def test_a_sweep_stops_once_intervals_are_narrow(image: Tensor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("idemcore.sweeps.rounds.FIRST", 2)
    images = [image, image.flip(1), image.flip(2)]
    axes = {"codec": "toy", "solver": "mse"}
    assert len(idem.sweep(axes, images, tmp_path / "a", ["psnr"], until={"psnr": 100.0})) == 2
    assert len(idem.sweep(axes, images, tmp_path / "b", ["psnr"])) == 3
    with pytest.raises(UsageError, match="does not measure 'bpp'"):
        idem.sweep(axes, images, tmp_path / "c", ["psnr"], until={"bpp": 1.0})


def test_several_workers_refuse_objects_in_one_sentence_and_take_names(
    image: Tensor, tmp_path: Path, mine: SimpleNamespace
) -> None:
    """Another process does not know what a notebook's cell defines."""
    engine = LocalEngine(LocalConfig(workers=2))
    for axes, metrics in [({"generator": mine.Grey(), "solver": "cell"}, ["psnr"]), ({"solver": "mse"}, [l1])]:
        with pytest.raises(UsageError, match=r"cannot be sent to other processes.*Use one worker.*idem plugins new"):
            idem.sweep({"codec": "toy", **axes}, [image], tmp_path / "store", metrics, engine=engine)
    rows = idem.sweep({"codec": "toy", "solver": "mse"}, [image], tmp_path / "store", ["psnr"], engine=engine)
    assert [row["status"] for row in rows] == ["ok"]


def test_what_another_process_cannot_find_is_said_there_too() -> None:
    with pytest.raises(UsageError, match="No module named 'nowhere'"):
        _unpacked(b"cnowhere\nThing\n.")


def test_settings_of_a_dataclass_are_an_axis(image: Tensor, tmp_path: Path, mine: SimpleNamespace) -> None:
    idem.register(mine.MySolver(), "mine")
    axes = {"codec": mine.Coarse(), "generator": mine.Grey(), "solver": "mine", "solver.steps": [1, 3]}
    rows = idem.sweep(axes, [image], tmp_path / "store", [l1])
    assert sorted(row["nfe"] for row in rows) == [1, 3]


def test_a_registered_object_is_there_by_name(image: Tensor, mine: SimpleNamespace) -> None:
    assert idem.register(mine.MySolver(steps=2), "mine") == "mine"
    idem.register(mine.Grey(0.3))
    assert idem.decode(idem.encode(image), "Grey", "mine").nfe == 2
    assert [plugin.name for plugin in load_catalogue().plugins if plugin.state == "ok"][-1] == "python"
    idem.register(mine.MySolver(steps=4), "mine")
    assert idem.decode(idem.encode(image), "Grey", "mine").nfe == 4
    with pytest.raises(UsageError, match="idemcore-dps provides a solver named 'cell' already"):
        idem.register(mine.MySolver(), "cell")


def test_another_algorithm_of_the_same_name_is_another_run(
    image: Tensor, tmp_path: Path, mine: SimpleNamespace
) -> None:
    def ran(scale: float) -> str:
        class Scaled(mine.Grey):  # type: ignore[name-defined,misc]
            def denoise(self, x, sigma):  # type: ignore[no-untyped-def]
                return 0.5 + (super().denoise(x, sigma) - 0.5) * scale

        prior = Scaled()
        prior.table = torch.full((2,), scale)
        axes = {"codec": mine.Coarse(), "generator": prior, "solver": mine.MySolver(1)}
        (row,) = idem.sweep(axes, [image], tmp_path / "store", ["psnr"])
        return row["id"]

    assert ran(1.0) == ran(1.0)
    assert ran(1.0) != ran(0.5)


def test_the_digest_of_an_object_is_of_its_code_not_of_its_lines(mine: SimpleNamespace) -> None:
    sources = ["class A:\n    def f(self):\n        return {1, 2} | {'a', 'b'}\n"]
    sources += ["class A:\n\n    # a comment\n    def f(self):\n        return {1, 2} | {'a', 'b'}\n"]
    sources += [sources[0].replace("'b'", "'c'")]
    versions = []
    for source in sources:
        namespace: dict[str, object] = {"__name__": "notebook"}
        exec(source, namespace)
        versions.append(Made(namespace["A"]()).version)  # type: ignore[operator]
    assert versions[0] == versions[1] != versions[2]


def test_metrics_and_images_that_cannot_be_right_are_refused(image: Tensor, mine: SimpleNamespace) -> None:
    decoder = idem.load_decoder(mine.Grey(), mine.MySolver())
    for call, words in [
        (lambda: idem.evaluate("jpeg", decoder, [image], "psnr"), r"Give a list: \['psnr'\]"),
        (lambda: idem.evaluate("jpeg", decoder, [image], ["psnrr"]), "Did you mean 'psnr'"),
        (lambda: idem.evaluate("jpeg", decoder, [image], [3]), "3 is not a part of idem"),
        (lambda: idem.evaluate("jpeg", decoder, [], ["psnr"]), "There are no images"),
        (lambda: idem.evaluate("jpeg", decoder, [255 * image], ["psnr"]), "image 0 has samples from"),
        (lambda: idem.evaluate("jpeg", decoder, "nowhere", ["psnr"]), "nowhere is not there"),
        (lambda: idem.sweep({"solvr": ["cell"]}, [image], "store"), "Did you mean 'solver'"),
    ]:
        with pytest.raises(UsageError, match=words):
            call()
