"""Training of learned codecs: phases, losses that fall, and a resumed training that is the one never stopped."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from idemcore.errors import IdemError, InputError, MissingError, UsageError
from idemcore.learned.config import CodecTrainConfig
from idemcore.learned.training import CodecTraining, Phase, phases, straight_through, train_codec
from idemcore.learned.weights import Library
from idemcore.training.crops import Crops
from idemcore.weights.checkpoints import read_safetensors

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index, image in enumerate(make.picture(3, 80, 96)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The starting transform from a few crops."""
    monkeypatch.setattr("idemcore.learned.training.KLT_CROPS", 4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes one second."""
    seconds = iter(range(10**6))
    monkeypatch.setattr("idemcore.training.loop.time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def config(steps: float, **settings: object) -> CodecTrainConfig:
    """Of a training of so many steps of one second, small ones."""
    usual = {
        "minutes": steps / 60,
        "lambdas": (0.005, 0.02),
        "first": 2,
        "crops": 64,
        "batch": 2,
        "scales": (1.0,),
        "init": "",
    }
    return CodecTrainConfig(**{**usual, **settings})


def training(make: SimpleNamespace, photos: Path, out: Path, settings: CodecTrainConfig) -> CodecTraining:
    out.mkdir(exist_ok=True)
    return CodecTraining(out, settings, CPU, "small", make.model, Crops(photos, settings.crops, settings.scales), {})


def library(bundled: Path) -> Library:
    """Of the codec `small`, whose bundled weights lie in this folder."""
    return Library("small", bundled, {})


def same(a: Path, b: Path) -> bool:
    """The same weights, bit for bit, under the same description; safetensors writes that in any order."""
    (one, told), (other, also) = read_safetensors(a), read_safetensors(b)
    return told == also and one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def silent(record: dict[str, float]) -> None:
    """Progress of no interest."""


def test_the_first_quality_comes_first_and_the_others_outwards_from_it() -> None:
    schedule = phases(CodecTrainConfig(lambdas=(1, 2, 3, 4, 5), first=3, first_share=0.6, init=""))
    assert [(phase.quality, phase.parent) for phase in schedule] == [(3, None), (4, 3), (5, 4), (2, 3), (1, 2)]
    assert (schedule[0].begin, schedule[0].end, schedule[-1].end) == pytest.approx((0, 0.6, 1))
    assert all(before.end == after.begin for before, after in pairwise(schedule))
    assert [phase.end - phase.begin for phase in schedule[1:]] == pytest.approx([0.1] * 4)
    assert phases(CodecTrainConfig(lambdas=(1,), first=1, init="")) == [Phase(1, None, 0.0, 1.0)]


def test_from_weights_each_quality_has_the_same_time_and_starts_from_its_own() -> None:
    schedule = phases(CodecTrainConfig(lambdas=(1, 2, 3, 4), first=4, init="bundled"))
    assert [(phase.quality, phase.parent) for phase in schedule] == [(4, None), (3, None), (2, None), (1, None)]
    assert [phase.end for phase in schedule] == pytest.approx([0.25, 0.5, 0.75, 1])


@pytest.mark.usefixtures("clock")
def test_training_goes_on_from_weights_and_says_which_do_not_fit(
    make: SimpleNamespace, photos: Path, tmp_path: Path
) -> None:
    first = train_codec(library(tmp_path), make.model, photos, tmp_path / "first", config(8), CPU, silent)
    still = {"learning_rate": 0.0, "finetune_rate": 0.0}
    for init, bundled in (("bundled", first), (str(first), tmp_path)):
        out = tmp_path / Path(init).name
        train_codec(library(bundled), make.model, photos, out, config(8, init=init, **still), CPU, silent)
        for name in ("small-1.safetensors", "small-2.safetensors"):
            before, after = (read_safetensors(folder / name)[0] for folder in (first, out))
            assert all(torch.allclose(before[key], after[key]) for key in before if key.startswith(("g_a", "g_s")))
    settings = config(8, init=str(first), lambdas=(0.005, 0.02, 0.03))
    with pytest.raises(UsageError, match=r"have no quality 3. Start from scratch with --set train.init="):
        train_codec(library(first), make.model, photos, tmp_path / "more", settings, CPU, silent)
    with pytest.raises(MissingError, match="there are no weights 'elsewhere'"):
        train_codec(library(first), make.model, photos, tmp_path / "no", config(8, init="elsewhere"), CPU, silent)
    assert not (tmp_path / "more").exists()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "wrong", [{"minutes": 0}, {"minutes": float("nan")}, {"first": 0}, {"first": 5}, {"crops": 0}, {"crops": 100}]
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CodecTrainConfig(**wrong)


def test_rounding_passes_the_gradient_straight_through() -> None:
    x = torch.tensor([0.2, 1.6], requires_grad=True)
    out = straight_through(x, torch.tensor([0.25, 0.5]))
    out.backward(torch.tensor([3.0, 4.0]))
    assert out.tolist() == [0.25, 1.5]
    assert x.grad.tolist() == [3.0, 4.0]


@pytest.mark.usefixtures("clock")
def test_a_few_steps_lower_the_loss(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    run = training(make, photos, tmp_path, config(1000, learning_rate=0.1))
    losses = []
    for _ in range(60):
        told = run.update()
        losses.append(told["loss"])
    assert told.keys() == {"loss", "quality", "bpp", "psnr"}
    assert told["loss"] == pytest.approx(told["bpp"] + 0.02 * 255**2 * 10 ** (-told["psnr"] / 10), rel=1e-4)
    assert sum(losses[-10:]) < 0.7 * 10 * losses[0]


@pytest.mark.usefixtures("clock")
def test_the_learning_rate_rises_for_200_steps_and_falls_to_0_in_the_second_half_of_a_phase(
    make: SimpleNamespace, photos: Path, tmp_path: Path
) -> None:
    run = training(make, photos, tmp_path, config(8, lambdas=(0.01,), first=1, learning_rate=0.01, entropy_rate=3.0))
    for warm, factor in ((0, 1 / 200), (99, 0.5), (199, 1.0), (5000, 1.0)):
        for progress, left in ((0.0, 1.0), (0.5, 1.0), (0.75, 0.5), (0.9, 0.2)):
            run.phase_step, run.elapsed = warm, progress * 8
            run.update()
            rates = [group["lr"] for group in run.optimizer.param_groups]
            assert rates == pytest.approx([0.01 * factor * left, 0.03 * factor * left])


@pytest.mark.usefixtures("clock")
def test_every_quality_is_written_and_loads(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    folder = train_codec(library(tmp_path), make.model, photos, tmp_path / "out", config(8), CPU, silent)
    assert folder == tmp_path / "out"
    assert {path.name for path in folder.glob("[!.]*")} == {
        "checkpoint.pt", "curves.png", "log.csv", "log.jsonl", "small-1.safetensors", "small-2.safetensors",
    }  # fmt: skip
    known, ids = library(tmp_path), set()
    for quality, rate in ((1, "0.005"), (2, "0.02")):
        path = known.locate(str(folder), quality)
        network, model_id, ratio = known.load(path, lambda state: make.model())
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
        assert (told["quality"], told["lambda"], told["model_id"]) == (str(quality), rate, model_id.hex())
        density = network.entropy_bottleneck
        middle = density.logits(density.quantiles)[..., 1]
        assert float(middle.abs().max()) < 0.05, "the medians are those of the averaged density"
        assert ratio == float(told["error_ratio"]) > 0
        ids.add(model_id)
    assert len(ids) == 2


@pytest.mark.usefixtures("clock")
def test_a_resumed_training_is_the_one_that_was_never_stopped(
    make: SimpleNamespace, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(12)
    train_codec(library(tmp_path), make.model, photos, tmp_path / "straight", settings, CPU, silent)
    update = CodecTraining.update
    for stop in (0, 3, 7, 12):

        def interrupted(self: CodecTraining, stop: int = stop) -> dict[str, float]:
            if self.step == stop:
                raise KeyboardInterrupt
            return update(self)

        out = tmp_path / f"stopped-{stop}"
        monkeypatch.setattr(CodecTraining, "update", interrupted)
        if stop < 12:
            with pytest.raises(KeyboardInterrupt):
                train_codec(library(tmp_path), make.model, photos, out, settings, CPU, silent)
        monkeypatch.setattr(CodecTraining, "update", update)
        for _ in range(2):  # the second finds nothing left to do
            train_codec(library(tmp_path), make.model, photos, out, settings, CPU, silent)
            for quality in (1, 2):
                name = f"small-{quality}.safetensors"
                assert same(out / name, tmp_path / "straight" / name), (stop, name)


@pytest.mark.usefixtures("clock")
def test_saving_in_between_changes_nothing(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    for name, save_minutes in (("rarely", 99.0), ("often", 0.001)):
        settings = config(6, save_minutes=save_minutes)
        train_codec(library(tmp_path), make.model, photos, tmp_path / name, settings, CPU, silent)
    for quality in (1, 2):
        name = f"small-{quality}.safetensors"
        assert same(tmp_path / "rarely" / name, tmp_path / "often" / name)


@pytest.mark.usefixtures("clock")
def test_steps_longer_than_a_phase_leave_no_quality_out(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    settings = config(3, lambdas=(0.001, 0.002, 0.003, 0.004, 0.005), first=3, first_share=0.1)
    run = training(make, photos, tmp_path, settings)
    run.run(silent)
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {f"small-{q}.safetensors" for q in (2, 3, 4, 5)}, (
        "all that came before the time was up"
    )


@pytest.mark.usefixtures("clock")
def test_with_more_minutes_each_quality_goes_on_from_its_own_weights(
    make: SimpleNamespace, photos: Path, tmp_path: Path
) -> None:
    train_codec(library(tmp_path), make.model, photos, tmp_path, config(8), CPU, silent)
    run = training(make, photos, tmp_path, config(40))
    run.resume()
    assert (run.phase.quality, run.progress) == (1, pytest.approx(0.2))
    earlier = {name: value.clone() for name, value in run.finished[2].items()}
    run._turn()
    assert (run.phase.quality, run.phase_step) == (2, 0)
    assert all(torch.equal(value, earlier[name]) for name, value in run.model.state_dict().items())


@pytest.mark.usefixtures("clock")
def test_each_quality_keeps_the_weights_that_did_best_on_what_is_held_out(
    make: SimpleNamespace, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(12, held_out=0.34, validate_minutes=2 / 60, learning_rate=1e-3, finetune_rate=1e-3)
    crops = Crops(photos, settings.crops, settings.scales, settings.held_out)
    assert len(crops.held_out) == 1
    scores, states = iter([-1.0, -3.0, *[-4.0] * 99]), []

    def worse(self: CodecTraining, state: dict[str, torch.Tensor]) -> dict[str, float]:
        states.append((self.phase.quality, state))
        return {"quality": self.phase.quality, "score": next(scores)}

    run = CodecTraining(tmp_path, settings, CPU, "small", make.model, crops, {})
    measured = run.validate()
    assert measured["score"] == pytest.approx(-(measured["bpp"] + 0.02 * 255**2 * 10 ** (-measured["psnr"] / 10)))
    assert run.validate() == measured, "the same noise each time"
    run.top = None
    monkeypatch.setattr(CodecTraining, "_validated", worse)
    run.run(silent)
    first = states[0][1]
    assert states[0][0] == 2
    assert all(torch.equal(run.finished[2][name], first[name]) for name in first)
    assert not all(torch.equal(states[1][1][name], first[name]) for name in first), "training went on from there"
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scored = [line for line in log if "score" in line]
    assert {line["quality"] for line in scored} == {1, 2}
    assert scored[0]["step"] == 1, "what training starts from counts too"
    resumed = CodecTraining(tmp_path, settings, CPU, "small", make.model, crops, {})
    assert resumed.resume()
    assert (resumed.top is None) == (run.top is None)


@pytest.mark.usefixtures("clock")
def test_a_resumed_training_has_the_learning_rate_of_its_settings(
    make: SimpleNamespace, photos: Path, tmp_path: Path
) -> None:
    train_codec(library(tmp_path), make.model, photos, tmp_path, config(4), CPU, silent)
    settings = config(8, learning_rate=1e-6, finetune_rate=1e-6)
    crops = Crops(photos, settings.crops, settings.scales, settings.held_out)
    resumed = CodecTraining(tmp_path, settings, CPU, "small", make.model, crops, {})
    assert resumed.resume()
    assert {group["rate"] for group in resumed.optimizer.param_groups} <= {1e-6, 1e-6 * settings.entropy_rate}


@pytest.mark.usefixtures("clock")
def test_a_checkpoint_of_other_settings_is_refused(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    train_codec(library(tmp_path), make.model, photos, tmp_path, config(8), CPU, silent)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be resumed: .*it has other qualities"):
        train_codec(library(tmp_path), make.model, photos, tmp_path, config(8, lambdas=(0.01,), first=1), CPU, silent)

    def other() -> torch.nn.Module:
        model = make.model()
        model.context = torch.nn.Conv2d(2, 4, 1)
        return model

    with pytest.raises(InputError, match="cannot be resumed: .*size mismatch"):
        train_codec(library(tmp_path), other, photos, tmp_path, config(8), CPU, silent)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.usefixtures("clock")
def test_a_loss_that_is_no_number_ends_the_training(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(IdemError, match="diverged"):
        train_codec(library(tmp_path), make.model, photos, tmp_path, config(30, learning_rate=1e30), CPU, silent)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_folder_without_usable_images_is_refused_before_anything_is_written(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        train_codec(library(tmp_path), make.model, tmp_path / "none", tmp_path / "out", config(1), CPU, silent)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("clock")
def test_training_leaves_the_process_as_it_was(make: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_codec(library(tmp_path), make.model, photos, tmp_path, config(2, threads=1), CPU, silent)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert torch.tensor(1e-40) / 2 > 0, "denormals are not flushed"
