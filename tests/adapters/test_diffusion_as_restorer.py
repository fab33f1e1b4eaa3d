"""A denoiser as a restorer, against closed forms of the toy source; and what is refused."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace

import pytest
import torch

from idemcore.adapters.diffusion_as_restorer import DiffusionAsRestorer
from idemcore.adapters.specs import NoisingConfig
from idemcore.errors import UnsupportedCombination
from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import select


def test_it_adds_noise_of_the_level_and_denoises_once(world: SimpleNamespace) -> None:
    prior, sigma = world.toy(), torch.tensor([0.1, 0.4])
    x = prior.source.sample(Noise([0, 1]), *world.SIZE)
    drawn = Noise([7, 8]).like(x)
    for share in (0.0, 0.5, 1.0):
        found = DiffusionAsRestorer(prior, NoisingConfig(share)).restore(x, sigma, Noise([7, 8]))
        wanted = prior.denoise(x + share * sigma[:, None, None, None] * drawn, sigma)
        torch.testing.assert_close(found, wanted)


def test_levels_outside_of_the_denoiser_s_range_are_clamped(world: SimpleNamespace) -> None:
    prior = world.toy()
    x = prior.source.sample(Noise([0]), *world.SIZE)
    for wild, level in ((1e9, prior.sigma_max), (0.0, prior.sigma_min)):
        found = DiffusionAsRestorer(prior).restore(x, wild, Noise([3]))
        torch.testing.assert_close(found, DiffusionAsRestorer(prior).restore(x, level, Noise([3])))


def test_it_sees_as_much_of_an_image_at_once_as_the_denoiser_would(world: SimpleNamespace) -> None:
    denoiser = copy(world.toy())
    denoiser.window, denoiser.halo, denoiser.multiple = 256, 8, 4
    restorer = DiffusionAsRestorer(denoiser)
    assert (restorer.window, restorer.halo, restorer.multiple) == (256, 8, 4)


def test_the_share_of_noise_is_checked() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="noise must be between 0 and 1"):
            NoisingConfig(share)


@pytest.mark.parametrize("solver", ["once", "latino"])
def test_solvers_for_restorers_run_on_a_denoiser_and_the_certificate_says_so(
    solver: str, world: SimpleNamespace, photo
) -> None:
    bitstream = Codec.load("toy", world.CPU, quality=2).encode(read_image(photo))
    settings = {"solver": {"steps": 3} if solver == "latino" else {}, "adapter": {"noise": 0.5}}
    decoder = Decoder.load("toy", solver, world.CPU, settings)
    result = decoder.reconstruct(bitstream, seed=1)
    assert result.exact
    assert (result.nfe, result.backwards) == (3 if solver == "latino" else 1, 0)
    adapter = certificate(bitstream, result, picture_facts(result.image, b""), decoder).adapter
    assert (adapter.name, adapter.settings) == ("diffusion-as-restorer", {"noise": 0.5})
    assert Decoder.load("toy-restorer", solver, world.CPU).parts.adapter is None


@pytest.mark.parametrize("solver", ["cell", "dps", "backproj", "pulse"])
def test_a_restorer_is_refused_where_a_denoiser_or_a_latent_is_needed(solver: str) -> None:
    with pytest.raises(UnsupportedCombination) as error:
        select(load_catalogue(), "jpeg", "toy-restorer", solver)
    needed = "'latent'" if solver == "pulse" else "'diffusion'"
    assert needed in error.value.message
    assert ("not a denoiser of any noise level" in error.value.message) == (solver != "pulse")
    assert "once" in error.value.hint
    assert "latino" in error.value.hint


def test_a_latent_generator_is_refused_where_a_restorer_is_needed() -> None:
    with pytest.raises(UnsupportedCombination, match="'restorer'"):
        select(load_catalogue(), "jpeg", "stylegan2-faces64", "once")


def test_a_restorer_draws_nothing_without_an_image(idem, tmp_path) -> None:
    result = idem("sample", "--generator", "toy-restorer", "-o", tmp_path / "grid.png")
    assert result.exit_code == 2
    assert "restores images; without one it draws nothing" in result.stderr
