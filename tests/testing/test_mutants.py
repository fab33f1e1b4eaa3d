"""Faults sown into our own plugins: the kit finds them, each by the law that is named; or it is said why it cannot."""

from __future__ import annotations

import re
from pathlib import Path

import mutants_of_others  # noqa: F401  # which adds its own
import pytest
import torch
from mutants import MUTANTS, Mutant

from idemcore.testing import check, laws


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


def test_the_page_has_the_number_of_faults() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "conformance.md").read_text(encoding="utf-8")
    said = re.search(r"plants (\d+) faults", page)
    assert said is not None
    assert int(said[1]) == len(MUTANTS)
    assert "all but three" in page
    assert sum(not one.law for one in MUTANTS.values()) == 3
