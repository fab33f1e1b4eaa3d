"""Laws of a solver, tried on cells and priors in closed form (see `worlds.py`)."""

from __future__ import annotations

import math

import torch

from ..adapters.specs import FAMILIES
from ..errors import Unsupported, article
from ..hookspecs import SolverSpec
from ..noise import Noise
from ..plugins.catalogue import load_catalogue
from ..plugins.selection import configure
from ..protocols import Solution, Step
from .law import Broken, NotTried, close, equal, image, law, require
from .trials import SolverTrial
from .worlds import BoxCell, MeanCell, World, solve, world_for

CELLS = (BoxCell, MeanCell)
"""Two codecs: f keeps every sample in the one, half of them in the other."""


@law("solver")
def solution(trial: SolverTrial) -> None:
    """A solution is float32 images in [0,1], one a cell, without a graph, and counts of passes."""
    for world in worlds(trial):
        found = solve(trial.solver, world)
        require(isinstance(found, Solution), f"solve gave {article(type(found).__name__)}, not a Solution")
        image(found.image, tuple(world.cell().centre.shape), "the solution")
        require(not found.image.requires_grad, "the solution holds on to a graph; detach it")


@law("solver")
def needs_are_enough(trial: SolverTrial) -> None:
    """It asks of cell and generator only what its spec needs, and so works with every codec that offers that."""
    for world in worlds(trial):
        try:
            solve(trial.solver, world)
        except Unsupported as error:
            raise Broken(f"it asked for more: {error}") from error
        except AttributeError as error:
            raise Broken(f"it asked for what no protocol has: {error}") from error


@law("solver")
def needs_by_default(trial: SolverTrial) -> None:
    """With its default settings a solver needs what its spec says: `needs`, and `needs_with` of the default config."""
    subject = trial.subject
    if not subject.distribution:
        raise NotTried("it is not an installed plugin")
    declared = load_catalogue().resolve("solver", f"{subject.distribution}:{subject.spec.name}")
    assert isinstance(declared, SolverSpec)
    if not declared.needs_with:
        raise NotTried("what it needs does not depend on its settings")
    found = declared.needs_with(configure(declared, {}, "solver"))
    said = f"needs is {sorted(declared.needs)}, but needs_with gives {sorted(found)} for the default settings"
    require(found == declared.needs, said)


@law("solver")
def seeds(trial: SolverTrial) -> None:
    """A solver that draws from a prior gives another image for another seed; one that says it does not, the same."""
    if not any(trial.offers(family) for family in FAMILIES):
        raise NotTried("it draws from no prior")
    draws = getattr(trial.subject.spec, "draws", True)
    for world in worlds(trial):
        first, second = (solve(trial.solver, World(world.cell, world.generator, s)).image for s in ([1, 2], [3, 4]))
        image(first, tuple(world.cell().centre.shape), "the solution")  # nan differs from itself, and is no draw
        alike = [b for b in range(2) if first[b].equal(second[b])]
        hint = "if it draws nothing, say so: SolverSpec(draws=False)"
        require(not (draws and alike), f"images {alike} are the same for other seeds; {hint}")
        require(draws or len(alike) == 2, "images differ for other seeds, although its Spec says draws=False")


@law("solver")
def batch_independent(trial: SolverTrial) -> None:
    """An image depends on its own cell and seed alone, not on what stands beside it, nor on the order."""
    spec = trial.subject.spec
    for kind in CELLS:
        together = solve(trial.solver, world_for(spec, kind, (5, 6, 7))).image
        turned = solve(trial.solver, world_for(spec, kind, (7, 6, 5))).image
        close(turned.flip(0), together, 1e-5, "images in the other order and in this one")
        for b, seed in enumerate((5, 6, 7)):
            alone = solve(trial.solver, world_for(spec, kind, (seed,))).image
            close(alone[0], together[b], 1e-5, "an image on its own and in a batch")


@law("solver")
def passes(trial: SolverTrial) -> None:
    """`nfe` and `backwards` are the passes through the generator, forwards and backwards, counted once a batch."""
    for world in worlds(trial):
        generator = world.generator()
        found = trial.solver.solve(world.cell(), generator, Noise(world.seeds))
        done = getattr(generator, "passes", None)
        counted = (done.forwards, done.backwards) if done else (0, 0)
        told = (found.nfe, found.backwards)
        require(told == counted, f"it tells of {told} passes forwards and backwards, but made {counted}")


@law("solver")
def callback(trial: SolverTrial) -> None:
    """The callback is told each step: index 0, 1, 2 ... below one total, passes that never fall, finite numbers."""
    for world in worlds(trial):
        told: list[Step] = []
        found = solve(trial.solver, world, told.append)
        require(told, "the callback was never called")
        require([s.index for s in told] == list(range(len(told))), f"indices are {[s.index for s in told][:9]} ...")
        totals = {s.total for s in told}
        require(len(totals) == 1 and len(told) <= max(totals), f"{len(told)} steps were told, of totals {totals}")
        nfes = [s.nfe for s in told]
        require(nfes == sorted(nfes) and nfes[-1] <= found.nfe, f"nfe is told as {nfes[-9:]}, at the end {found.nfe}")
        for step in told:
            image(step.x0, tuple(found.image.shape), f"x0 of step {step.index}", bounded=False)
            for name, tensor in {"x0": step.x0, "x": step.x, "gradient": step.gradient}.items():
                held = tensor is not None and tensor.requires_grad
                require(not held, f"{name} of step {step.index} holds on to a graph; detach it")
            if step.gradient is not None:
                require(step.x is not None and step.x.shape == step.gradient.shape, "a gradient has the shape of x")
            numbers = {"sigma": step.sigma, "residual": step.residual}
            for name, value in numbers.items():
                require(math.isfinite(value) and value >= 0, f"{name} of step {step.index} is {value}")


@law("solver")
def residual_descends(trial: SolverTrial) -> None:
    """A solver whose spec says that it descends ends with a residual no larger than that of its first step."""
    if not getattr(trial.subject.spec, "descends", False):
        raise NotTried("the spec does not promise it: descends is False")
    for world in worlds(trial):
        told: list[float] = []
        solve(trial.solver, world, lambda step, told=told: told.append(step.residual))  # type: ignore[misc]
        require(told and told[-1] <= told[0] + 1e-6, f"the residual goes from {told[:1]} to {told[-1:]}")


@law("solver")
def callback_optional(trial: SolverTrial) -> None:
    """The image is the same whether or not steps are told."""
    for world in worlds(trial):
        silent, told = solve(trial.solver, world), solve(trial.solver, world, lambda _: None)
        equal(told.image, silent.image, "images with and without a callback")


@law("solver")
def cancellation(trial: SolverTrial) -> None:
    """An exception of the callback ends the solve at once and passes through as it is."""

    class Cancelled(BaseException):
        pass

    def cancel(step: Step) -> None:
        calls.append(step.index)
        raise Cancelled

    for world in worlds(trial):
        calls: list[int] = []
        generator = world.generator()
        try:
            trial.solver.solve(world.cell(), generator, Noise(world.seeds), cancel)
        except Cancelled:
            require(len(calls) == 1, f"the callback was called {len(calls)} times, although it raised")
        else:
            raise Broken("the callback raised, but solve returned")


@law("solver")
def stateless(trial: SolverTrial) -> None:
    """A solver may be used again and again: what it solved before does not matter."""
    first, other = (world_for(trial.subject.spec, BoxCell, s) for s in ((5, 6), (8, 9)))
    wanted = solve(trial.solver, first).image
    solve(trial.solver, other)
    equal(solve(trial.solver, first).image, wanted, "the same image before and after another one")


@law("solver")
def inputs_untouched(trial: SolverTrial) -> None:
    """The cell's tensors are left as they were."""
    for world in worlds(trial):
        cell = world.cell()
        before = {name: value.clone() for name, value in vars(cell).items() if isinstance(value, torch.Tensor)}
        trial.solver.solve(cell, world.generator(), Noise(world.seeds))
        for name, value in before.items():
            equal(getattr(cell, name), value, f"the cell's {name} before and after")


def worlds(trial: SolverTrial) -> list[World]:
    """One for each kind of cell."""
    return [world_for(trial.subject.spec, kind) for kind in CELLS]
