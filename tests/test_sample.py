"""Unconditional samples: whose they are, how they spread, how they are laid out, and `idem sample` around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from idemcore.adapters.diffusion_as_latent import DiffusionAsLatent
from idemcore.adapters.flow import flow_levels
from idemcore.adapters.specs import FlowConfig
from idemcore.cli.sample import sample
from idemcore.errors import UsageError
from idemcore.hookspecs import GeneratorSpec
from idemcore.io.images import read_bytes
from idemcore.noise import Noise, image_seed
from idemcore.pipeline.sample_prior import BATCH_PIXELS, GAP, SIZE, STEPS, Sampler, descend, fitting_size, grid
from idemcore.plugins.catalogue import Catalogue, Plugin, import_target, load_catalogue
from idemcore.plugins.selection import choose
from idemcore.protocols import Generator, Step
from idemcore.runtime import Runtime

TINY = """
import torch
from idemcore.protocols import LatentGenerator

class Tiny(LatentGenerator):
    "Images of 6x10 pixels from 5 numbers."
    latent_shape, size = (5,), (10, 6)

    def __init__(self, config, runtime):
        self.weight = torch.randn(5, 180, generator=torch.Generator().manual_seed(0)) / 5

    def sample(self, noise):
        return noise.normal(5)

    def synthesize(self, z):
        return 0.5 + (z @ self.weight).tanh().reshape(-1, 3, 10, 6)
"""
CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A catalogue with the latent generator `tiny`, installed in the place of the real one."""
    (tmp_path / "tiny_plugin.py").write_text(TINY)
    monkeypatch.syspath_prepend(tmp_path)
    spec = GeneratorSpec("tiny", "tiny_plugin:Tiny", "a latent generator", offers=frozenset({"latent"}))
    catalogue = Catalogue([Plugin("tiny", "1", "ok", "", (("generator", spec),))])
    monkeypatch.setattr("idemcore.plugins.catalogue.load_catalogue", lambda: catalogue)
    return catalogue


@pytest.fixture
def build(request: pytest.FixtureRequest):
    """`build(name)`: an installed generator, or `tiny`."""

    def one(name: str) -> Generator:
        catalogue = request.getfixturevalue("tiny") if name == "tiny" else load_catalogue()
        part = choose(catalogue, "generator", name)
        return import_target(part.spec.target)(part.config, CPU)

    return one


def seeds(count: int, seed: int = 0) -> list[int]:
    return [image_seed(seed, index) for index in range(count)]


@pytest.mark.parametrize(("name", "eta"), [("toy", 0.0), ("toy", 1.0), ("tiny", 0.0), ("ddpm-photo", 0.5)])
def test_samples_are_identical_for_batch_1_4_and_16(build, name: str, eta: float) -> None:
    generator = build(name)
    sampler = Sampler(generator, fitting_size(generator, name, None if name == "tiny" else (8, 12)), 4, eta)
    streams = seeds(16)
    state = torch.get_rng_state()
    whole = sampler.draw(Noise(streams))
    for batch in (1, 4):
        parts = [sampler.draw(Noise(streams[i : i + batch])) for i in range(0, 16, batch)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)
    assert not whole.requires_grad


def test_samples_are_identical_for_1_and_2_threads(build) -> None:
    sampler, threads, drawn = Sampler(build("ddpm-photo"), (24, 40), 6, 0.5), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            drawn.append(sampler.draw(Noise(seeds(2))))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*drawn, rtol=0, atol=1e-5)


def test_an_image_depends_on_its_seed_and_number_only(build) -> None:
    sampler = Sampler(build("toy"), (6, 8), 4)
    many, few = list(sampler.samples(3, 7, batch=3)), list(sampler.samples(3, 2))
    assert [len(images) for images in many] == [3, 3, 1]
    assert [len(images) for images in few] == [2]
    assert torch.equal(torch.cat(many)[:2], few[0])
    assert not torch.equal(few[0][0], few[0][1])
    assert not torch.equal(next(sampler.samples(4, 2)), few[0])


def test_batches_hold_a_bounded_number_of_pixels(build) -> None:
    sizes = {(64, 64): 64, (256, 256): 4, (2048, 16): 8, (1024, 512): 1}
    for size, expected in sizes.items():
        generator = build("toy")
        generator.denoise = lambda x, sigma: x
        assert len(next(Sampler(generator, size, 2).samples(0, 100))) == expected
        assert expected == max(1, BATCH_PIXELS // (size[0] * size[1]))


def test_without_new_noise_it_is_the_flow_and_a_last_pass(build) -> None:
    generator = build("toy")
    latent = DiffusionAsLatent(generator, (6, 8), FlowConfig(9, "dpm++"))
    drawn = Sampler(generator, (6, 8), 10).draw(Noise(seeds(2)))
    with torch.no_grad():
        expected = generator.denoise(latent.synthesize(latent.sample(Noise(seeds(2)))), generator.sigma_min)
    torch.testing.assert_close(drawn, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_spread_of_samples_is_that_of_the_docs() -> None:
    """Of Gaussians whose deviations are well above the least level, to 1 % in 50 passes and to 7 % in 20."""
    spreads = torch.tensor([0.03, 0.1, 0.25, 0.5], dtype=torch.float64)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return x * spreads**2 / (spreads**2 + sigma**2)

    for passes, error in ((STEPS, 0.01), (20, 0.07)):
        levels = flow_levels(passes - 1, 78.0, 0.005)
        x, earlier = torch.full_like(spreads, levels[0]), None
        for i in range(passes - 1):
            x, earlier = descend(denoise, x, levels, i, 0.0, Noise([]), earlier)
        found = float((denoise(x, levels[-1]) / spreads - 1).abs().max())
        assert error / 2 < found < error


def test_a_diffusion_takes_two_passes_or_more(build) -> None:
    for steps, eta in ((1, 0.0), (50, -0.1), (50, 1.1)):
        with pytest.raises(ValueError, match="at least 2 steps and eta in"):
            Sampler(build("toy"), SIZE, steps, eta)


@pytest.mark.parametrize(("eta", "steps"), [(0.0, STEPS), (0.5, 2 * STEPS), (1.0, 2 * STEPS)])
def test_samples_have_the_moments_of_the_prior(build, eta: float, steps: int) -> None:
    generator = build("toy")
    drawn, real = (
        images.double().movedim(1, -1).reshape(-1, 3)
        for images in (
            Sampler(generator, (96, 96), steps, eta).draw(Noise([0, 1])),
            generator.source.sample(Noise([2, 3]), 96, 96),
        )
    )
    spread = real.std(dim=0)
    assert ((drawn.mean(dim=0) - real.mean(dim=0)).abs() < 5 * spread * (2 / len(real)) ** 0.5).all()
    scale = spread.outer(spread)
    torch.testing.assert_close(drawn.T.cov() / scale, real.T.cov() / scale, atol=0.04, rtol=0)


def test_new_noise_changes_the_image(build) -> None:
    generator = build("toy")
    flows, walks = (Sampler(generator, (6, 8), 5, eta).draw(Noise(seeds(1))) for eta in (0.0, 1.0))
    assert float((flows - walks).abs().max()) > 0.01


def test_the_callback_is_told_every_pass(build) -> None:
    for name, passes in (("toy", 5), ("tiny", 1)):
        told: list[Step] = []
        generator = build(name)
        list(Sampler(generator, fitting_size(generator, name), 5).samples(0, 5, 2, told.append))
        assert [step.index for step in told] == list(range(3 * passes))
        assert {step.total for step in told} == {3 * passes}
        assert told[-1].x0.shape[0] == 1


def test_size_is_the_generator_s_own_or_the_one_wanted(build) -> None:
    assert fitting_size(build("toy"), "toy") == SIZE
    assert fitting_size(build("toy"), "toy", (3, 5)) == (3, 5)
    assert fitting_size(build("tiny"), "tiny") == fitting_size(build("tiny"), "tiny", (10, 6)) == (10, 6)
    with pytest.raises(UsageError, match="6x10 pixels only, not of 10x6.*--size 6x10"):
        fitting_size(build("tiny"), "tiny", (6, 10))


@pytest.mark.parametrize(("count", "columns", "shape"), [
    (1, None, (1, 1)), (2, None, (1, 2)), (5, None, (2, 3)), (16, None, (4, 4)), (5, 2, (3, 2)), (3, 8, (1, 3)),
])  # fmt: skip
def test_grid_is_row_by_row_with_white_between(count: int, columns: int | None, shape: tuple[int, int]) -> None:
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 6)
    page = grid(images, columns)
    rows, across = shape
    assert page.shape == (3, rows * (4 + GAP) - GAP, across * (6 + GAP) - GAP)
    expected: Tensor = torch.full_like(page, 255)
    for index in range(count):
        row, column = divmod(index, across)
        expected[:, row * (4 + GAP) :, column * (6 + GAP) :][:, :4, :6] = index
    assert torch.equal(page, expected)


def test_sample_writes_a_grid_and_separate_images(idem, tmp_path: Path) -> None:
    page, folder = tmp_path / "grid.png", tmp_path / "images"
    options = ("--generator", "toy", "-n", 5, "--seed", 7, "--size", "12x8", "--steps", 3, "--set", "generator.seed=2")
    result = idem("sample", *options, "-o", page, "--columns", 2, "--separate", folder, "--batch", 2, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report.pop("file"), report.pop("folder")) == (str(page), str(folder))
    assert report == json.loads((folder / "report.json").read_text())
    assert report.pop("seconds") > 0
    assert report == {
        "generator": "toy", "plugin": "idemcore-toy", "settings": {"components": 5, "seed": 2}, "seed": 7, "count": 5,
        "size": [12, 8], "steps": 3, "eta": 0.0, "schema": 1,
    }  # fmt: skip
    names = [f"{index:04}.png" for index in range(5)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "report.json"]
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", "images"}
    images = torch.cat([read_bytes(folder / name) for name in names])
    assert images.shape == (5, 3, 8, 12)
    assert torch.equal(read_bytes(page)[0], grid(images, 2))
    assert idem("sample", *options, "-o", tmp_path / "again.png").exit_code == 0
    assert torch.equal(read_bytes(tmp_path / "again.png")[0], grid(images))


@pytest.mark.usefixtures("tiny")
def test_sample_of_a_latent_generator(idem, tmp_path: Path) -> None:
    result = idem("sample", "--generator", "tiny", "-n", 3, "-o", tmp_path / "grid.png")
    assert result.exit_code == 0, result.stderr
    assert "images: 3 of 6x10, seed 0\n" in result.stdout
    assert "passes: 1 an image\n" in result.stdout
    assert f"written: {tmp_path / 'grid.png'}\n" in result.stdout
    assert Image.open(tmp_path / "grid.png").size == (2 * 6 + GAP, 2 * 10 + GAP)


def test_settings_of_a_file_yield_to_set(idem, tmp_path: Path) -> None:
    config = tmp_path / "idem.yaml"
    config.write_text("generator:\n  seed: 3\n  components: 2\n")
    options = ("--generator", "toy", "-n", 1, "--size", "4x4", "--steps", 2, "-o", tmp_path / "x.png", "--json")
    result = idem("sample", *options, "--config", config, "--set", "generator.seed=4")
    assert json.loads(result.stdout)["settings"] == {"components": 2, "seed": 4}


def test_help_tells_the_defaults() -> None:
    told = {option.name: option.help for option in sample.params}
    assert f"[default: {STEPS}]" in told["steps"]
    assert f"{SIZE[1]}x{SIZE[0]}" in told["size"]
    assert f"{BATCH_PIXELS:,} pixels" in told["batch"]


@pytest.mark.parametrize(("words", "options"), [
    (("-o grid.png", "--separate"), ()),
    (("out.jpg", ".png file"), ("-o", "out.jpg")),
    (("absent", "Make the folder first"), ("-o", "absent/x.png")),
    (("96", "--size 96x64"), ("-o", "x.png", "--size", "96")),
    (("0x4", "--size 96x64"), ("-o", "x.png", "--size", "0x4")),
    (("--steps", "2"), ("-o", "x.png", "--steps", 1)),
    (("--eta", "2"), ("-o", "x.png", "--eta", 2)),
    (("--count", "0"), ("-o", "x.png", "-n", 0)),
    (("The grid of", "is more than the limit"), ("-o", "x.png", "-n", 9000)),
    (("An image of 12000x12000 pixels is more than the limit",), ("--separate", "x", "--size", "12000x12000")),
    (("--columns has no effect",), ("--separate", "images", "--columns", 3)),
    (("generator.sed", "generator.seed"), ("-o", "x.png", "--set", "generator.sed=1")),
    (("unknown scope 'solver'", "generator"), ("-o", "x.png", "--set", "solver.steps=3")),
    (("precious", "--separate"), ("--separate", "precious")),
    (("Did you mean 'toy'",), ("-o", "x.png", "--generator", "toi")),
    (("--device cuda:99",), ("-o", "x.png", "--device", "cuda:99")),
])  # fmt: skip
def test_what_cannot_be_right_is_told_before_anything_is_written(
    idem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], options: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "letter.txt").write_text("keep me")
    generator = () if "--generator" in options else ("--generator", "toy")
    result = idem("sample", *generator, *options)
    assert result.exit_code == (4 if "cuda:99" in options else 2), result.stderr
    for word in words:
        assert word in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letter.txt", "precious"]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("words", "options"), [
    (("'tiny' makes images of 6x10 pixels only, not of 6x6",), ("--size", "6x6")),
    (("--steps has no effect", "'tiny'"), ("--steps", 10)),
    (("--eta has no effect", "'tiny'"), ("--eta", 0.0)),
])  # fmt: skip
def test_what_a_latent_generator_cannot_do(idem, tmp_path: Path, words: tuple[str, ...], options) -> None:
    result = idem("sample", "--generator", "tiny", "-o", tmp_path / "x.png", *options)
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "x.png").exists()


def test_weights_that_are_missing_exit_4(idem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    result = idem("sample", "--generator", "ddpm-ffhq", "-o", tmp_path / "x.png")
    assert result.exit_code == 4
    assert "idem models import ddpm-ffhq" in result.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space", "0001.png"), 1)])
def test_a_failure_half_way_leaves_the_earlier_samples(
    idem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    folder, page = tmp_path / "images", tmp_path / "grid.png"
    options = ("sample", "--generator", "toy", "--size", "8x8", "--steps", 2, "-o", page, "--separate", folder)
    assert idem(*options, "-n", 2).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    passes = []

    def failing(self: object, x: Tensor, sigma: float) -> Tensor:
        passes.append(sigma)
        if len(passes) > 5:
            raise error
        return x

    monkeypatch.setattr("idemcore_toy.generator.ToyGenerator.denoise", failing)
    result = idem(*options, "-n", 4, "--batch", 1)
    assert result.exit_code == code
    assert len(passes) == (6 if isinstance(error, KeyboardInterrupt) else 7)  # an error is looked into by one more
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_diffusion_that_diverges_is_told_and_not_written(idem, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("idemcore_toy.generator.ToyGenerator.denoise", lambda self, x, sigma: x * float("nan"))
    result = idem("sample", "--generator", "toy", "--size", "4x4", "--steps", 2, "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "`denoise` of generator 'toy' gives values that are not finite" in result.stderr
    assert list(tmp_path.iterdir()) == []
