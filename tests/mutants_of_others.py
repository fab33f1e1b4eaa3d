"""Faults to sow into our own generators, restorers, solvers, metrics and engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from mutants import mutant, wrap
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import Solution, Step

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


@mutant("metric", "spectrum", "merging")
def loads_nothing(metric: Any) -> None:
    metric.load = lambda state: None


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
