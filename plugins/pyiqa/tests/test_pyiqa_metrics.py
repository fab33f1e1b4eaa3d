"""Metrics of pyiqa: what is handed to it, and what is said where it, its weights or an original is missing."""

from __future__ import annotations

import shlex
import socket
import sys
import threading
from types import ModuleType
from typing import Any

import pytest
import torch

from idemcore.errors import MissingError, UsageError
from idemcore.metrics.building import build, choose_metrics
from idemcore.plugins.catalogue import load_catalogue
from idemcore.results.case import Case
from idemcore.runtime import Runtime
from idemcore_pyiqa.config import PyiqaConfig
from idemcore_pyiqa.metric import PyiqaMetric
from idemcore_pyiqa.offline import WouldDownload, offline

CPU = Runtime.choose("cpu")


class Network:
    """Of a fake pyiqa: the mean of an image, or its mean distance to the original; 8 pixels a side at least."""

    def __call__(self, image: torch.Tensor, original: torch.Tensor | None = None) -> torch.Tensor:
        assert image.dtype == torch.float32
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        if min(image.shape[-2:]) < 8:
            raise RuntimeError("kernel size can't be greater than actual input size")
        return (image if original is None else (image - original).abs()).mean(dim=(1, 2, 3))


def create_metric(name: str, device: Any) -> Network:
    if name == "lacking":
        raise ImportError("No module named 'pkg_resources'")
    if name == "musiq":
        socket.create_connection(("192.0.2.1", 80))
    return Network()


@pytest.fixture
def pyiqa(monkeypatch):
    """A pyiqa with two metrics that work, one whose weights are not here, and one of sets."""
    library, configs = ModuleType("pyiqa"), ModuleType("pyiqa.default_model_configs")
    library.create_metric = create_metric  # type: ignore[attr-defined]
    modes = {"mean": "NR", "distance": "FR", "musiq": "NR", "lacking": "NR", "fid": "NR"}
    configs.DEFAULT_CONFIGS = {name: {"metric_mode": mode} for name, mode in modes.items()}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", library)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", configs)


def case(side: int = 16, original: bool = True) -> Case:
    reconstruction = torch.full((2, 3, side, side), 51, dtype=torch.uint8)
    reconstruction[1] = 255
    return Case(("a", "b"), reconstruction, torch.zeros_like(reconstruction) if original else None)


def test_scores_are_those_of_the_library_image_by_image(pyiqa) -> None:
    found = PyiqaMetric(PyiqaConfig("mean"), CPU).measure(case())
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([0.2, 1.0])
    assert PyiqaMetric(PyiqaConfig("distance"), CPU).measure(case()).tolist() == pytest.approx([0.2, 1.0])


def test_what_cannot_be_scored_is_undefined(pyiqa) -> None:
    assert PyiqaMetric(PyiqaConfig("distance"), CPU).measure(case(original=False)).isnan().all()
    assert PyiqaMetric(PyiqaConfig("mean"), CPU).measure(case(side=4)).isnan().all()
    assert not PyiqaMetric(PyiqaConfig("mean"), CPU).measure(case(original=False)).isnan().any()


def test_missing_weights_are_not_downloaded_but_said_in_one_sentence(pyiqa) -> None:
    built, missing = build(choose_metrics(load_catalogue(), ["pyiqa:mean", "pyiqa:musiq", "pyiqa:lacking"]), CPU)
    assert "needs a package that is not here: No module named 'pkg_resources'" in missing["pyiqa:lacking"]
    assert [metric.name for metric in built] == ["pyiqa:mean"]
    assert "weights are not here" in missing["pyiqa:musiq"]
    command = missing["pyiqa:musiq"].partition("type: ")[2]
    assert shlex.split(command) == ["python", "-c", "import pyiqa; pyiqa.create_metric('musiq')"]


def test_a_library_that_is_not_here_is_said_with_its_licence(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MissingError, match="pip install pyiqa .*Noncommercial"):
        PyiqaMetric(PyiqaConfig("musiq"), CPU)


def test_names_that_are_none_and_measures_of_sets_are_refused(pyiqa) -> None:
    with pytest.raises(UsageError, match="Did you mean 'musiq'"):
        PyiqaMetric(PyiqaConfig("musik"), CPU)
    with pytest.raises(UsageError, match="no metric 'fid' of single images"):
        PyiqaMetric(PyiqaConfig("fid"), CPU)


def test_the_name_after_the_colon_is_the_metric() -> None:
    (chosen,) = choose_metrics(load_catalogue(), ["pyiqa:clipiqa+"])
    assert (chosen.spec.name, chosen.config) == ("pyiqa", PyiqaConfig("clipiqa+"))


def test_only_this_thread_is_offline_and_only_for_the_block() -> None:
    real, server = socket.socket.connect, socket.create_server(("127.0.0.1", 0))
    address, reached = server.getsockname(), list[bool]()

    def other() -> None:
        socket.create_connection(address).close()
        reached.append(True)

    with server, offline():
        with pytest.raises(WouldDownload):
            socket.create_connection(address)
        with pytest.raises(WouldDownload):
            socket.create_connection(("example.org", 80))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert reached
    assert socket.socket.connect is real
