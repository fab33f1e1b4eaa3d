"""Faults to sow into our own codecs and their cells, and how any fault is sown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from idemcore.testing import Subject
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


@cell_mutant("jpeg", "snap-is-near", "snap")
def snap_of_a_blurred_image(f: Any, x: Tensor) -> Tensor:
    return f(x.lerp(x.mean(dim=(2, 3), keepdim=True).expand_as(x), 0.5))


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
