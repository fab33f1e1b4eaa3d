"""A check names the cause: the law that the others rely on first, and the method that the author has to write."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from mutants import wrap
from torch import Tensor

from idemcore.protocols import Cell, Solution
from idemcore.testing import LawResult, Subject, check, laws

IMAGES = torch.zeros(2, 3, 6, 10)


def faulty(kind: str, name: str, mutate: Any, **expected: str) -> Subject:
    """A plugin of ours, with `mutate` applied to every instance."""
    whole = Subject.installed(kind, name)

    def make() -> Any:
        instance = whole.make()
        mutate(instance)
        return instance

    return replace(whole, make=make, distribution="", expected_failures=expected)


def found(subject: Subject, *names: str) -> dict[str, LawResult]:
    return {r.law.name: r for r in check(subject, [one for one in subject.laws if one.name in names])}


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("codec", ["described", "light", "protocol", "encode-bytes", "decode-image"]),
        ("generator", ["described", "light", "protocol", "denoise-image", "restored-image", "synthesis"]),
        ("solver", ["described", "light", "protocol", "needs-are-enough", "solution"]),
    ],
)
def test_laws_that_others_rely_on_are_tried_first(kind: str, first: list[str]) -> None:
    assert [one.name for one in laws(kind)][: len(first)] == first


def test_where_such_a_law_is_broken_the_later_ones_are_not_tried() -> None:
    def crop(generator: Any) -> None:
        wrap(generator, "denoise", lambda f, x, s: f(x, s)[..., :-1, :])

    results = check(faulty("generator", "toy", crop))
    assert [r.law.name for r in results if not r.ok] == ["denoise-image"]
    after = results[[r.law.name for r in results].index("denoise-image") + 1 :]
    assert {(r.outcome, r.message) for r in after} == {("not tried", "`denoise-image` is broken; mend it first")}
    assert len(after) > 10


def test_what_is_downloaded_at_the_first_use_alone_is_noticed_whichever_law_comes_first() -> None:
    """Later ones find it in a cache."""
    cache: list[bool] = []

    def asks(generator: Any) -> None:
        def denoise(f: Any, x: Tensor, s: Any) -> Tensor:
            if not cache:
                with suppress(OSError), socket.socket() as one:
                    one.connect(("127.0.0.1", 9))
                cache.append(True)
            return f(x, s)

        wrap(generator, "denoise", denoise)

    for names in (("no-network",), ("denoise-image", "no-network")):
        cache.clear()
        assert not found(faulty("generator", "toy", asks), *names)["no-network"].ok


def test_where_such_a_law_is_an_expected_failure_the_later_ones_are_tried() -> None:
    def double(generator: Any) -> None:
        wrap(generator, "denoise", lambda f, x, s: f(x, s).double())

    names = found(faulty("generator", "toy", double, **{"denoise-image": "why"}), "denoise-image", "inputs-untouched")
    assert [r.outcome for r in names.values()] == ["expected", "holds"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda streams: streams[0], "encode gave bytes, not a list of bytes, one an image"),
        (tuple, "encode gave tuple, not a list of bytes, one an image"),
        (lambda streams: [bytearray(s) for s in streams], "encode gave a list of bytearray, not a list of"),
    ],
)
def test_encode_that_gives_no_list_of_bytes_says_what_it_gave(given: Any, message: str) -> None:
    results = found(
        faulty("codec", "toy", lambda encoder: wrap(encoder, "encode", lambda f, x: given(f(x)))), "encode-bytes"
    )
    assert message in results["encode-bytes"].message


def test_a_solver_that_gives_nan_is_not_praised_for_its_seeds() -> None:
    def solve(f: Any, cell: Any, *rest: Any) -> Solution:
        return Solution(torch.full_like(cell.centre, torch.nan))

    (result,) = found(
        faulty("solver", "cell", lambda solver: wrap(solver, "solve", solve), seeds="it draws nothing"), "seeds"
    ).values()
    assert result.outcome == "expected"
    assert "not finite" in result.message


class NeverInside(Cell):
    """No certificate is ever found."""

    def __init__(self, cell: Cell) -> None:
        self.centre, self.distortion = cell.centre, cell.distortion

    def contains(self, byte_image: Tensor) -> Tensor:
        return torch.zeros(len(byte_image), dtype=torch.bool)

    def differing_symbols(self, byte_image: Tensor) -> Tensor:
        return torch.full((len(byte_image),), 19)

    def project(self, x: Tensor, margin: float = 0.0) -> Tensor:
        return x


class SnapsItself(NeverInside):
    """As vain, by a `snap` of its own."""

    def snap(self, x: Tensor) -> Tensor:
        return (x * 255).round().to(torch.uint8)


@pytest.mark.parametrize("law", ["certifies-another", "certifies-odd-sizes"])
def test_a_certificate_that_fails_says_what_to_write(law: str) -> None:
    def cells(made: type[NeverInside]) -> Subject:
        return faulty("codec", "toy", lambda encoder: wrap(encoder, "cell", lambda f, *a: made(f(*a))))

    default, own = (found(cells(made), law)[law].message for made in (NeverInside, SnapsItself))
    assert "The default `snap` found no byte image in the cell: override `Cell.snap(self, x)`" in default
    assert "or take larger quantiser steps" in default
    assert "The cell's `snap` found no byte image" in own
    assert "override" not in own
