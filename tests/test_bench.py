"""`idem bench`: what is counted, how memory is measured, and how solvers are compared."""

from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from idemcore.adapters.specs import PullBackConfig
from idemcore.errors import IdemError, UsageError
from idemcore.evaluation import bench
from idemcore.evaluation.bench import BenchJob, Cost, CountingConstraint, measure, measure_alone
from idemcore.io.images import read_image
from idemcore.observe.cost import PeakMemory
from idemcore.pipeline.codec import Codec
from idemcore.plugins.blame import as_failure
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import select
from idemcore.runtime import Runtime

TOY = ("--codec", "toy", "--generator", "toy")
CPU = torch.device("cpu")


@pytest.fixture
def job(photo):
    """`job(solver, **settings)`: on the toy's codec and generator."""

    def make(solver: str, size: int = 16, repeat: int = 1, **settings: object) -> BenchJob:
        selection = select(load_catalogue(), "toy", "toy", solver, {"solver": settings})
        return BenchJob(str(photo), size, selection, "cpu", "fp32", repeat)

    return make


@pytest.fixture
def measured(monkeypatch):
    """Jobs that the command line would measure, each as if it had taken 10 passes a step."""
    jobs: list[BenchJob] = []

    def pretended(job: BenchJob) -> Cost:
        jobs.append(job)
        steps = getattr(job.selection.solver.config, "steps", 0)
        passes = 10 * (12 if steps == "auto" else steps)
        return Cost(passes, passes, passes, passes, 0, 0.5 * passes, 3 * 2**20)

    monkeypatch.setattr(bench, "measure_alone", pretended)
    return jobs


def test_a_cell_counts_calls_backward_passes_and_projections(photo):
    bitstream = Codec.load("toy", Runtime(CPU, torch.float32)).encode(read_image(photo))
    cell = CountingConstraint(bitstream.cell)
    x = (bitstream.decoded + 0.3).requires_grad_()
    assert torch.equal(cell.measure(x), bitstream.cell.measure(x))
    for found in (cell.measure(x), cell.excess(x), cell.position(x)):
        found.sum().backward()
    projected = cell.project(x.detach(), 0.1)
    assert torch.equal(projected, bitstream.cell.project(x.detach(), 0.1))
    assert (cell.calls.forwards, cell.calls.backwards, cell.projections) == (4, 3, 1)
    assert torch.equal(cell.target, bitstream.cell.target)


def test_cost_is_that_of_one_solve(job):
    cost = measure(job("cell", repeat=2, steps=3))
    assert (cost.passes, cost.backwards, cost.codec_gradients, cost.projections) == (3, 0, 0, 4)
    cost = measure(job("dps", steps=4))
    assert (cost.passes, cost.backwards, cost.codec_gradients, cost.projections) == (4, 4, 4, 0)
    assert cost.codec_calls >= 4
    assert 0 < cost.seconds < 60
    cost = measure(job("mse"))
    assert (cost.passes, cost.codec_calls) == (0, 0)


@pytest.mark.parametrize("solver", ["cell", "dps", "dsg", "diffpir", "mpgd", "mcg", "pulse", "latino"])
def test_a_job_can_be_sent_to_a_process_of_its_own(job, solver):
    sent = job(solver)
    received = pickle.loads(pickle.dumps(sent))
    assert received == sent
    assert received.selection.solver.spec.needs == sent.selection.solver.spec.needs


def test_an_image_smaller_than_the_crop_is_refused(job):
    with pytest.raises(UsageError, match="40x24, smaller than a crop of 32x32"):
        measure(job("mse", size=32))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the maximum cannot begin anew")
def test_peak_memory_is_that_above_the_level_before():
    megabytes = 2**20
    kept = [torch.ones(2000) for _ in range(8000)]  # 64 MB in small pieces
    del kept
    first = PeakMemory(CPU)
    large = torch.ones(100 * megabytes // 4)
    assert 95 < first.above() / megabytes < 120
    del large
    second = PeakMemory(CPU)
    large = torch.ones(48 * megabytes // 4)  # beyond what glibc takes from memory that it kept
    del large
    assert 43 < second.above() / megabytes < 68


def test_solvers_are_compared_with_dps(idem, photo, measured):
    options = ("--steps", 4, "--set", "dps.steps=20", "--set", "codec.quality=3", "--size", 24, "--repeat", 2)
    result = idem("bench", photo, *TOY, "--solver", "cell, dps,mse", *options, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["reference"], told["size"], told["repeat"]) == ("dps", 24, 2)
    by_name = {row["solver"]: row for row in told["solvers"]}
    assert list(by_name) == ["cell", "dps", "mse"]
    assert by_name["cell"]["ratios"] == {
        **dict.fromkeys(("passes", "backwards", "codec_calls", "codec_gradients", "seconds"), 0.2),
        "projections": None, "peak_bytes": 1.0,
    }  # fmt: skip
    steps = [getattr(job.selection.solver.config, "steps", None) for job in measured]
    assert steps == [4, 20, None]
    assert all(job.selection.codec.config.quality == 3 for job in measured)
    assert [row["settings"]["solver"].get("steps") for row in told["solvers"]] == steps


def test_table_shows_ratios_to_the_first_without_dps(idem, photo, measured):
    options = ("--set", "cell.steps=5", "--quality", 2)
    result = idem("bench", photo, *TOY, "--solver", "cell,mse", *options)
    header, *lines = result.stdout.splitlines()
    assert header.split("  ")[0] == "solver"
    assert "50 (1x)" in lines[0]
    assert "25 (1x)" in lines[0]
    assert "0 (0x)" in lines[1]
    assert "3.0 (1x)" in lines[1]
    assert "relative to cell" in result.stderr
    assert measured[0].selection.codec.config.quality == 2


def test_all_solvers_that_work_are_measured_if_none_is_named(idem, photo, measured):
    names = [entry["name"] for entry in json.loads(idem("solvers", "list", "--json").stdout)]
    assert idem("bench", photo, *TOY).exit_code == 0
    assert [job.selection.solver.spec.name for job in measured] == names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--solver", "sell"), "Did you mean 'cell'"),
        (("--solver", ","), "names nothing"),
        (("--solver", "cell", "--set", "dps.steps=3"), "unknown scope 'dps'"),
        (("--solver", "cell", "--set", "cell.stepz=3"), "stepz"),
        (("--solver", "cell,dps", "--steps", "0"), "--steps"),
        (("--solver", "cell", "--set", "adapter.steps=3"), "no adapter is used"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is(idem, photo, measured, options, words):
    result = idem("bench", photo, *TOY, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert measured == []


def test_an_adapter_is_named_and_set_for_those_that_need_it(idem, photo, measured):
    options = ("--generator", "stylegan2-faces64", "--solver", "cell,mse", "--set", "adapter.project_steps=3")
    rows = json.loads(idem("bench", photo, *options, "--json").stdout)["solvers"]
    assert [row["adapter"] for row in rows] == ["latent-as-diffusion", None]
    adapters = [job.selection.adapter and job.selection.adapter.config for job in measured]
    assert adapters == [PullBackConfig(project_steps=3), None]


def test_each_solver_runs_in_a_process_of_its_own(idem, photo, tmp_path):
    result = idem("bench", photo, *TOY, "--solver", "mse", "--size", 16, "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["solvers"]
    assert (row["passes"], row["adapter"]) == (0, None)
    assert row["peak_bytes"] < 50 * 2**20, "what loading took is not counted"
    result = idem("bench", tmp_path / "absent.png", *TOY, "--solver", "mse")
    assert result.exit_code == 2
    assert "absent.png" in result.stderr


def test_a_killed_process_is_told(job, monkeypatch):
    class Killed:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Killed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, *_: object) -> None:
            raise BrokenProcessPool

    monkeypatch.setattr(bench, "ProcessPoolExecutor", Killed)
    cost = measure_alone(job("cell"))
    assert isinstance(cost, IdemError)
    assert "was killed" in str(cost)
    assert "--size" in cost.hint


def test_a_solver_without_memory_is_a_row_beside_the_others(idem, photo, monkeypatch):
    def short(job: BenchJob) -> Cost | IdemError:
        if job.selection.solver.spec.name == "dps":
            return as_failure(torch.cuda.OutOfMemoryError("CUDA out of memory."))
        return Cost(3, 0, 0, 0, 4, 0.5, 2**20)

    monkeypatch.setattr(bench, "measure_alone", short)
    arguments = ("bench", photo, *TOY, "--solver", "cell,dps")
    result = idem(*arguments, "--json")
    assert result.exit_code == 1
    cell, dps = json.loads(result.stdout)["solvers"]
    assert (cell["error"], cell["passes"], cell["ratios"]["passes"]) == (None, 3, None)
    assert "Out of memory: CUDA out of memory." in dps["error"]
    assert (dps["passes"], dps["ratios"]["passes"]) == (None, None)
    assert "dps could not be measured" in result.stderr
    lines = idem(*arguments).stdout.splitlines()
    assert lines[2].split() == ["dps", *["-"] * 7]
