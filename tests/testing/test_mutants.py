"""Faults sown into our own plugins: the kit finds them, each by the law that is named; or it is said why it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Solution, Step
from idemcore.testing import Subject, check, laws
from idemcore.testing.pictures import byte_image

Mutate = Callable[[Any], None]
"""Changes an instance in place."""


@dataclass(frozen=True)
class Mutant:
    kind: str
    name: str
    mutate: Mutate
    law: str
    """That is broken; empty for one that no law finds."""
    why: str = ""
    """Why none does."""

    def subject(self) -> Subject:
        whole = Subject.installed(self.kind, self.name)

        def make() -> Any:
            instance = whole.make()
            self.mutate(instance)
            return instance

        return replace(whole, make=make, distribution="")


MUTANTS: dict[str, Mutant] = {}


def mutant(kind: str, name: str, law: str, why: str = "") -> Callable[[Mutate], Mutate]:
    def add(mutate: Mutate) -> Mutate:
        MUTANTS[mutate.__name__] = Mutant(kind, name, mutate, law, why)
        return mutate

    return add


def wrap(instance: Any, method: str, around: Callable[..., Any]) -> None:
    """`around(original, *arguments)` in the method's place."""
    original = getattr(instance, method)
    setattr(instance, method, lambda *a, **k: around(original, *a, **k))


# Codecs: range, padding, rounding, hidden state, names.


@mutant("codec", "toy", "decode-image")
def decode_in_minus_one_to_one(encoder: Any) -> None:
    wrap(encoder, "decode", lambda f, *a: 2 * f(*a) - 1)


@mutant("codec", "jpeg", "alignment")
def off_by_one_crop_at_odd_widths(encoder: Any) -> None:
    def decode(f: Any, *a: Any) -> Tensor:
        image = f(*a)
        return image.roll(1, -1) if image.shape[-1] % 2 else image

    wrap(encoder, "decode", decode)


@mutant("codec", "toy", "encode-rounds")
def biased_rounding(encoder: Any) -> None:
    wrap(encoder, "quantise", lambda f, x: f((x * 255 + 1e-3).floor() / 255))


@mutant("codec", "toy", "batch-independent")
def batch_dependent_dither(encoder: Any) -> None:
    wrap(encoder, "quantise", lambda f, x: f(x + torch.arange(len(x))[:, None, None, None] * 5 / 255))


@mutant("codec", "toy", "deterministic")
def dither_of_the_global_rng(encoder: Any) -> None:
    wrap(encoder, "quantise", lambda f, x: f(x + torch.rand_like(x) / 50))


@mutant("codec", "toy", "global-state")
def seeds_the_global_rng(encoder: Any) -> None:
    torch.manual_seed(0)


@mutant("codec", "toy", "streams-suffice")
def decodes_what_it_remembers(encoder: Any) -> None:
    seen: dict[bytes, Tensor] = {}

    def encode(f: Any, image: Tensor) -> list[bytes]:
        seen.update(zip(f(image), image, strict=True))
        return f(image)

    def decode(f: Any, streams: list[bytes], size: Any = None) -> Tensor:
        return torch.stack([seen.get(s, one) for s, one in zip(streams, f(streams, size), strict=True)])

    wrap(encoder, "encode", encode)
    wrap(encoder, "decode", decode)


@mutant("codec", "toy", "damage")
def accepts_damage(encoder: Any) -> None:
    from idemcore.errors import BitstreamError

    def symbols(f: Any, streams: Any, size: Any) -> Tensor:
        try:
            return f(streams, size)
        except BitstreamError:
            return torch.zeros(len(streams), 3, *size)

    wrap(encoder, "symbols", symbols)


@mutant("codec", "toy", "files")
def model_id_that_is_no_one_s(encoder: Any) -> None:
    encoder.model_id = b"abc"


# Cells: gradients, units, projections, what is inside.


def cell_mutant(codec: str, law: str, method: str) -> Callable[[Callable[..., Any]], None]:
    """Puts the function in place of that method of every cell."""

    def add(around: Callable[..., Any]) -> None:
        def mutate(encoder: Any) -> None:
            def cell(original: Callable[..., Any], *arguments: Any) -> Any:
                made = original(*arguments)
                wrap(made, method, around)
                return made

            wrap(encoder, "cell", cell)

        MUTANTS[around.__name__] = Mutant("codec", codec, mutate, law)

    return add


@cell_mutant("toy", "measure-gradient", "measure")
def gradient_lost_in_the_quantiser(f: Any, x: Tensor) -> Tensor:
    return f(x).detach() + 0 * x


@cell_mutant("jpeg", "measure-gradient", "measure")
def gradient_of_the_wrong_sign(f: Any, x: Tensor) -> Tensor:
    return 2 * f(x).detach() - f(x)


@cell_mutant("jpeg", "position-gradient", "position")
def gradient_through_another_path(f: Any, x: Tensor) -> Tensor:
    return f(x) + f(x.flip(-1)) - f(x.flip(-1)).detach()


@cell_mutant("toy", "measure-gradient-of-its-own-image", "measure")
def gradient_into_the_other_images(f: Any, x: Tensor) -> Tensor:
    return f(x) + x.mean() - x.mean().detach()


@cell_mutant("toy", "excess-is-contains", "excess")
def excess_of_the_wrong_sign(f: Any, x: Tensor) -> Tensor:
    return -f(x)


@cell_mutant("toy", "excess-is-distance", "excess")
def excess_in_the_wrong_unit(f: Any, x: Tensor) -> Tensor:
    return f(x) * 24 / 255


@cell_mutant("jpeg", "project-idempotent", "project")
def projection_half_way(f: Any, x: Tensor, *margin: float) -> Tensor:
    return x.lerp(f(x, *margin), 0.5)


@cell_mutant("toy", "project-keeps-inside", "project")
def projection_of_something_else(f: Any, x: Tensor, *margin: float) -> Tensor:
    return f(torch.full_like(x, 0.5), *margin)


@cell_mutant("toy", "inputs-untouched", "project")
def projection_in_place(f: Any, x: Tensor, *margin: float) -> Tensor:
    return x.copy_(f(x, *margin))


@cell_mutant("jpeg", "contains-is-encoding", "contains")
def contains_everything(f: Any, image: Tensor) -> Tensor:
    return torch.ones(len(image), dtype=torch.bool)


@cell_mutant("jpeg", "own-image-inside", "differing_symbols")
def one_symbol_too_many(f: Any, image: Tensor) -> Tensor:
    return f(image) + 1


@cell_mutant("jpeg", "certifies", "snap")
def snap_one_level_too_far(f: Any, x: Tensor) -> Tensor:
    return f(x) + 16


@cell_mutant("jpeg", "certifies-another", "snap")
def snap_that_only_rounds(f: Any, x: Tensor) -> Tensor:
    return byte_image(x)


@cell_mutant("jpeg", "certifies-odd-sizes", "snap")
def snap_of_whole_blocks_only(f: Any, x: Tensor) -> Tensor:
    return byte_image(x) if x.shape[-1] % 8 else f(x)


@mutant("codec", "jpeg", "cell-distortion")
def distortion_in_grey_levels(encoder: Any) -> None:
    def cell(f: Any, *a: Any) -> Any:
        made = f(*a)
        made.distortion = made.distortion * 255
        return made

    wrap(encoder, "cell", cell)


def estimate_mutant(codec: str, law: str) -> Callable[[Callable[[Any], dict[str, Tensor]]], None]:
    """Every cell of the codec has the values that the function gives in place of its own."""

    def add(faulty: Callable[[Any], dict[str, Tensor]]) -> None:
        def mutate(encoder: Any) -> None:
            def cell(original: Callable[..., Any], *arguments: Any) -> Any:
                made = original(*arguments)
                values = faulty(made)
                made.__class__ = type("Faulty", (type(made),), values)  # over properties,
                vars(made).update(values)  # and over what they keep
                return made

            wrap(encoder, "cell", cell)

        MUTANTS[faulty.__name__] = Mutant("codec", codec, mutate, law)

    return add


@estimate_mutant("toy", "estimate-is-offered")
def estimate_that_is_not_offered(cell: Any) -> dict[str, Tensor]:
    return {"estimate": cell.centre * 0.9}


@estimate_mutant("jpeg", "estimate-is-offered")
def estimate_that_is_only_offered(cell: Any) -> dict[str, Tensor]:
    return {"estimate": cell.centre, "estimate_error": cell.distortion}


@estimate_mutant("jpeg", "estimate-in-cell")
def estimate_outside_the_cell(cell: Any) -> dict[str, Tensor]:
    return {"estimate": cell.estimate * 0.8}


@estimate_mutant("jpeg", "estimate-has-less-error")
def estimate_of_another_picture(cell: Any) -> dict[str, Tensor]:
    return {"estimate": cell.project(cell.centre.flip(-1))}


@estimate_mutant("jpeg", "estimate-has-less-error")
def estimate_error_in_grey_levels(cell: Any) -> dict[str, Tensor]:
    return {"estimate_error": cell.estimate_error * 255}


@estimate_mutant("jpeg", "cell-batch-independent")
def estimate_of_its_whole_batch(cell: Any) -> dict[str, Tensor]:
    return {"estimate": cell.estimate + 0.1 * cell.estimate.mean()}


# Generators.


@mutant("generator", "toy", "small-noise")
def denoise_in_minus_one_to_one(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: 2 * f(x, s) - 1)


@mutant("generator", "toy", "large-noise")
def ignores_the_level(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: f(x, 0.2))


@mutant(
    "generator", "toy", "", "told another level, it is the denoiser of another prior, with its own samples to match"
)
def sigma_of_another_scaling(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: f(x, 4 * s))


@mutant("generator", "toy", "batch-independent")
def level_of_the_first_image(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: f(x, torch.as_tensor(s).flatten()[0]))


@mutant("generator", "toy", "denoises")
def biased_estimate(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: f(x, s) + 0.06)


@mutant("generator", "toy", "denoise-gradient")
def gradient_past_the_network(generator: Any) -> None:
    wrap(generator, "denoise", lambda f, x, s: x + (f(x, s) - x).detach())


@mutant("generator", "toy", "global-state")
def sets_the_number_of_threads(generator: Any) -> None:
    torch.set_num_threads(3)


# Restorers: shape, range, channels, levels, noise, graphs, padding.


@mutant("generator", "toy-restorer", "restored-image")
def restores_in_double_precision(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, s, n).double())


@mutant("generator", "toy-restorer", "keeps-the-picture")
def restores_blue_for_red(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, s, n).flip(1))


@mutant("generator", "toy-restorer", "keeps-the-picture")
def restores_in_minus_one_to_one(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: 2 * f(x, s, n) - 1)


@mutant("generator", "toy-restorer", "batch-independent")
def restores_with_the_noise_of_the_first_image(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, s, Noise([n.generators[0].initial_seed()] * len(x))))


@mutant("generator", "toy-restorer", "batch-independent")
def restores_at_the_level_of_the_first_image(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, torch.as_tensor(s).flatten()[0], n))


@mutant("generator", "toy-restorer", "odd-sizes")
def restores_even_sizes_only(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x[..., : x.shape[-1] // 2 * 2], s, n))


@mutant("generator", "toy-restorer", "inputs-untouched")
def restores_in_place(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: x.copy_(f(x, s, n)))


@mutant("generator", "toy-restorer", "no-graph")
def restores_with_weights_that_train(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, s, n) * torch.ones(1, requires_grad=True))


@mutant("generator", "toy-restorer", "deterministic")
def restores_with_the_global_rng(generator: Any) -> None:
    wrap(generator, "restore", lambda f, x, s, n: f(x, s, n) + 0.01 * torch.randn_like(x))


# Solvers.


@mutant("solver", "cell", "batch-independent")
def batch_dependent_noise(solver: Any) -> None:
    def solve(f: Any, cell: Any, generator: Any, noise: Noise, callback: Any = None) -> Solution:
        noise.generators = [noise.generators[0]] * len(noise)
        return f(cell, generator, noise, callback)

    wrap(solver, "solve", solve)


@mutant("solver", "cell", "cancellation")
def swallows_cancellation(solver: Any) -> None:
    def solve(f: Any, cell: Any, generator: Any, noise: Noise, callback: Any = None) -> Solution:
        def safe(step: Step) -> None:
            with suppress(BaseException):
                callback(step)

        return f(cell, generator, noise, safe if callback else None)

    wrap(solver, "solve", solve)


@mutant("solver", "cell", "callback")
def steps_from_one(solver: Any) -> None:
    def solve(f: Any, cell: Any, generator: Any, noise: Noise, callback: Any = None) -> Solution:
        told = callback and (lambda step: callback(replace(step, index=step.index + 1)))
        return f(cell, generator, noise, told)

    wrap(solver, "solve", solve)


@mutant("solver", "backproj", "passes")
def passes_counted_by_image(solver: Any) -> None:
    wrap(solver, "solve", lambda f, *a: replace(found := f(*a), nfe=found.nfe * len(found.image)))


@mutant("solver", "cell", "needs-are-enough")
def asks_for_what_it_does_not_need(solver: Any) -> None:
    wrap(solver, "solve", lambda f, cell, *a: (cell.measure(cell.centre), f(cell, *a))[1])


@mutant("solver", "cell", "stateless")
def carries_on_where_it_was(solver: Any) -> None:
    before: list[Tensor] = []

    def solve(f: Any, *a: Any) -> Solution:
        found = f(*a)
        mixed = found.image.lerp(before[-1], 0.1) if before and before[-1].shape == found.image.shape else found.image
        before.append(found.image)
        return replace(found, image=mixed)

    wrap(solver, "solve", solve)


@mutant("solver", "pulse", "solution")
def leaves_the_range(solver: Any) -> None:
    wrap(solver, "solve", lambda f, *a: replace(found := f(*a), image=2 * found.image - 0.5))


# Metrics and engines.


@mutant("metric", "psnr", "direction")
def psnr_upside_down(metric: Any) -> None:
    wrap(metric, "measure", lambda f, case: 100 - f(case))


@mutant("metric", "spectrum", "resetting")
def never_forgets(metric: Any) -> None:
    metric.reset()
    metric.reset = lambda: None


@mutant("metric", "bpp", "", "bytes for bits: as far as the kit can see, another unit is another metric")
def bytes_for_bits(metric: Any) -> None:
    wrap(metric, "measure", lambda f, case: f(case) / 8)


@mutant("engine", "local", "jobs-as-needed")
def takes_all_jobs_at_once(engine: Any) -> None:
    wrap(engine, "map", lambda f, make, jobs: f(make, list(jobs)))


@mutant("engine", "local", "every-job-once")
def loses_the_last_job(engine: Any) -> None:
    def but_one(jobs: Any) -> Iterator[Any]:
        last = object()
        for job in jobs:
            if last.__class__ is not object:
                yield last
            last = job

    wrap(engine, "map", lambda f, make, jobs: f(make, but_one(jobs)))


@mutant("codec", "toy", "", "a wasteful stream is a bad codec, but one that keeps every promise")
def wastes_bits(encoder: Any) -> None:
    import zlib

    wrap(encoder, "encode", lambda f, x: [zlib.compress(zlib.decompress(s), 0) for s in f(x)])


def broken_laws(one: Mutant, only: list[str] | None = None) -> dict[str, str]:
    chosen = [law for law in laws(one.kind) if only is None or law.name in only]
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        subject = one.subject()
        return {r.law.name: r.message for r in check(subject, [x for x in subject.laws if x in chosen]) if not r.ok}
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


@pytest.mark.parametrize("name", [name for name, one in MUTANTS.items() if one.law])
def test_a_fault_is_found(name: str) -> None:
    one = MUTANTS[name]
    found = broken_laws(one, [one.law])
    assert list(found) == [one.law]
    assert len(found[one.law]) > 20, "the message says what is wrong"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in MUTANTS.items() if not one.law])
def test_what_is_not_found_is_known(name: str) -> None:
    assert MUTANTS[name].why
    assert broken_laws(MUTANTS[name]) == {}


def test_nine_faults_of_ten_are_found() -> None:
    assert len(MUTANTS) >= 20
    assert sum(bool(one.law) for one in MUTANTS.values()) >= 0.9 * len(MUTANTS)
