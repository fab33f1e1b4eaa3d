"""Networks by their files alone: recognised, run at any size, refused where they are something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from idemcore.errors import InputError, MissingError, UnsupportedCombination
from idemcore.noise import Noise
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.sample_prior import Sampler
from idemcore.pipeline.tiles import TiledRestorer, fitted
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime
from idemcore.testing import Subject, check
from idemcore.testing.pictures import pictures
from idemcore.weights.checkpoints import read_state_dict, write_safetensors
from idemcore_spandrel.config import DenoiserConfig, RestorerConfig
from idemcore_spandrel.denoiser import LevelDenoiser
from idemcore_spandrel.networks import load
from idemcore_spandrel.restorer import SpandrelRestorer
from idemcore_spandrel.weights import adapt

CPU = Runtime(torch.device("cpu"), torch.float32)
RESTORERS = ("dncnn", "fbcnn", "dncnn-grey", "scunet", "swinir", "nafnet", "rcan", "safmn", "esrgan")
WITH_LEVEL = ("drunet", "drunet-grey", "fdncnn")
FileOf = Callable[[str], Path]


def restorer(path: Path, **settings: Any) -> SpandrelRestorer:
    return SpandrelRestorer(RestorerConfig(str(path), **settings), CPU)


@pytest.mark.parametrize("name", RESTORERS)
def test_each_architecture_is_recognised_and_restores_any_size(name: str, file_of: FileOf) -> None:
    network = restorer(file_of(name))
    for size in ((1, 1), (9, 70), (65, 33)):
        x = pictures(1, *size)
        found = network.restore(x, 0.1, Noise([1]))
        assert found.shape == x.shape
        assert found.dtype == torch.float32
        assert bool(found.isfinite().all())
        assert not found.is_inference()


@pytest.mark.parametrize("name", ["nafnet", "dncnn-grey", "rcan"])
def test_a_restorer_gives_what_the_network_itself_gives(name: str, file_of: FileOf) -> None:
    network, x = load(str(file_of(name))), pictures(1, 64, 80)
    planes = x.reshape(-1, network.input_channels, 64, 80)
    with torch.no_grad():
        out = torch.cat([network._call_fn(network.model, plane.clone()) for plane in planes.split(1)]).clamp(0, 1)
    wanted = F.avg_pool2d(out.reshape(1, 3, *out.shape[-2:]), network.scale)
    torch.testing.assert_close(restorer(file_of(name)).restore(x, 0.1, Noise([1])), wanted)


def test_what_enlarges_may_see_the_image_reduced(file_of: FileOf) -> None:
    x = pictures(1, 128, 144)
    reduced = restorer(file_of("rcan"), shrink=2).restore(x, 0.1, Noise([1]))
    network = load(str(file_of("rcan")))
    torch.testing.assert_close(reduced, network(F.avg_pool2d(x, 2)).clone())
    with pytest.raises(InputError, match="enlarges by 2, so it cannot see images reduced by 4"):
        restorer(file_of("rcan"), shrink=4)
    with pytest.raises(ValueError, match="shrink"):
        RestorerConfig(shrink=3)


@pytest.mark.parametrize("name", WITH_LEVEL)
def test_a_network_with_a_level_is_a_denoiser_and_a_restorer_at_that_level(name: str, file_of: FileOf) -> None:
    denoiser, x = LevelDenoiser(DenoiserConfig(str(file_of(name))), CPU), pictures(2, 24, 40)
    network = load(str(file_of(name)))
    level = torch.tensor([0.05, 0.1])
    planes = x.reshape(-1, network.input_channels, 24, 40)
    maps = level.repeat_interleave(len(planes) // 2).reshape(-1, 1, 1, 1).expand_as(planes[:, :1])
    with torch.no_grad():
        wanted = network.model(torch.cat([planes, maps], dim=1)).reshape_as(x)
        torch.testing.assert_close(denoiser.denoise(x, level), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(restorer(file_of(name)).restore(x, level, Noise([1, 2])), wanted, rtol=0, atol=1e-5)
        assert torch.equal(denoiser.denoise(x, 5.0), denoiser.denoise(x, denoiser.sigma_max))


def test_the_levels_are_those_of_the_training(file_of: FileOf) -> None:
    levels = {name: LevelDenoiser(DenoiserConfig(str(file_of(name))), CPU).sigma_max for name in WITH_LEVEL}
    assert levels == {"drunet": 50 / 255, "drunet-grey": 50 / 255, "fdncnn": 75 / 255}


def test_a_denoiser_of_little_noise_draws_nothing_from_noise_alone(file_of: FileOf) -> None:
    denoiser = LevelDenoiser(DenoiserConfig(str(file_of("drunet"))), CPU)
    with pytest.raises(UnsupportedCombination, match=r"knows noise of up to 0\.196"):
        Sampler(denoiser, (16, 16)).draw(Noise([1]))
    settings = {"generator": {"model": str(file_of("drunet"))}}
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(pictures(1, 32, 32))
    with pytest.raises(UnsupportedCombination, match="restores images, and makes none of noise alone"):
        Decoder.load("drunet", "pulse", CPU, settings).reconstruct(bitstream)


STEPPING = ("cell", "dps", "mcg", "dsg", "diffpir", "mpgd", "backproj", "latino", "ddnm", "fast", "dcic")
QUICK: dict[str, dict[str, Any]] = {name: {"steps": 2} for name in STEPPING}


@pytest.mark.parametrize("solver", [*QUICK, "once"])
def test_every_warm_solver_runs_on_drunet(solver: str, file_of: FileOf) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(pictures(1, 32, 40))
    settings = {"generator": {"model": str(file_of("drunet"))}, "solver": QUICK.get(solver, {})}
    assert Decoder.load("drunet", solver, CPU, settings).reconstruct(bitstream).exact


@pytest.mark.parametrize(("name", "solver"), [("nafnet", "once"), ("esrgan", "once"), ("swinir", "latino")])
def test_restorers_decode_exactly(name: str, solver: str, file_of: FileOf) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(pictures(1, 40, 32))
    settings = {"generator": {"model": str(file_of(name))}, "solver": QUICK.get(solver, {})}
    assert Decoder.load("spandrel", solver, CPU, settings).reconstruct(bitstream).exact


def test_cell_starts_at_a_restorer_by_its_file(file_of: FileOf) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(pictures(1, 40, 32))
    settings = {"solver": {"steps": 2, "start_at": "spandrel"}, "restorer": {"model": str(file_of("nafnet"))}}
    result = Decoder.load("toy", "cell", CPU, settings).reconstruct(bitstream)
    assert (result.exact, result.nfe) == (True, 3)


# A network with random weights is not a restorer of pictures, and no denoiser.
RANDOM = {"keeps-the-picture": "random weights", "small-noise": "random weights", "denoises": "random weights"}


@pytest.mark.parametrize(
    ("generator", "name"), [("drunet", "drunet"), ("spandrel", "nafnet"), ("spandrel", "dncnn-grey")]
)
def test_generators_keep_the_laws_that_weights_do_not_decide(generator: str, name: str, file_of: FileOf) -> None:
    subject = Subject.installed("generator", generator, model=str(file_of(name)))
    laws = [law for law in subject.laws if law.name not in {*RANDOM, "light"}]
    assert [(r.law.name, r.message) for r in check(subject, laws) if r.outcome not in ("holds", "not tried")] == []


def test_tiles_follow_what_spandrel_knows(file_of: FileOf) -> None:
    windows = {name: restorer(file_of(name)).window for name in ("nafnet", "rcan", "swinir")}
    assert windows == {"nafnet": 512, "rcan": 256, "swinir": 1024}
    assert isinstance(fitted(restorer(file_of("rcan")), (300, 260)), TiledRestorer)


def test_files_that_are_something_else_are_refused(file_of: FileOf, tmp_path: Path) -> None:
    nothing = {"a.weight": torch.zeros(3, 3)}
    write_safetensors(tmp_path / "other.safetensors", nothing, {})
    broken = dict(read_state_dict(file_of("nafnet")))
    broken["intro.weight"] = torch.zeros(1, 1)
    write_safetensors(tmp_path / "broken.safetensors", broken, {})
    (tmp_path / "page.pth").write_text("<html>")
    cases: list[tuple[str, type[Exception], str]] = [
        (str(tmp_path / "none.pth"), MissingError, "none.pth"),
        (str(tmp_path / "other.safetensors"), InputError, "no architecture that spandrel"),
        (str(tmp_path / "broken.safetensors"), InputError, "broken.safetensors"),
        (str(tmp_path / "page.pth"), InputError, "page.pth"),
    ]
    for model, kind, message in cases:
        with pytest.raises(kind, match=message):
            load(model)
    with pytest.raises(InputError, match="takes no noise level") as error:
        LevelDenoiser(DenoiserConfig(str(file_of("nafnet"))), CPU)
    assert "--generator spandrel" in error.value.hint
    with pytest.raises(InputError, match="no architecture"):
        adapt(nothing)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"params": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError):
        load(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_an_adapted_file_is_loaded_by_safetensors(file_of: FileOf, tmp_path: Path) -> None:
    tensors, metadata = adapt(dict(read_state_dict(file_of("swinir"))))
    assert metadata == {"architecture": "SwinIR"}
    write_safetensors(tmp_path / "swinir.safetensors", tensors, metadata)
    x = pictures(1, 64, 64)
    found, wanted = (
        restorer(p).restore(x, 0.1, Noise([1])) for p in (tmp_path / "swinir.safetensors", file_of("swinir"))
    )
    torch.testing.assert_close(found, wanted)


def test_without_a_file_it_says_where_the_weights_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))
    for spec in (load_catalogue().resolve("generator", name) for name in ("drunet", "spandrel")):
        with pytest.raises(MissingError, match="idem models pull"):
            Decoder.load(spec.name, "once", CPU)
