"""Nothing that comes from elsewhere crashes a parser: damaged inputs of each kind, and those that once did."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest
from fuzz_mutations import mutant
from fuzz_target import SCRATCH, Made, allowed
from fuzz_targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

FOUND = sorted((Path(__file__).parent / "found").glob("*/*"))
SLOW = {"elic", "hyperprior", "jpeg-cell"}
"""Left to `python tests/fuzz/fuzz.py`: tens of milliseconds an input."""
FAST = [name for name in TARGETS if name not in SLOW]
TEXTS = ["card", "config", "override", "sweep", "certificate", "curve"]
INPUTS = 40


@cache
def made(name: str) -> Made:
    return TARGETS[name].make()


@pytest.fixture(scope="module", autouse=True)
def clean() -> object:
    yield
    import shutil

    for folder in SCRATCH:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", FAST)
def test_whole_inputs_are_taken(name: str) -> None:
    """What is damaged below is sound before: at least one seed passes."""
    run, seeds, _ = made(name)
    assert None in [allowed(run, seed) for seed in seeds]


@pytest.mark.parametrize("name", FAST)
def test_damaged_inputs_are_taken_or_refused(name: str) -> None:
    run, seeds, words = made(name)
    rng = random.Random(name)
    for _ in range(INPUTS):
        allowed(run, TARGETS[name].repair(rng, mutant(rng, seeds, words)))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_inputs_that_were_findings_once_are_taken_or_refused(path: Path) -> None:
    allowed(made(path.parent.name)[0], path.read_bytes())


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=300), name=st.sampled_from(FAST))
def test_any_bytes_are_taken_or_refused(name: str, data: bytes) -> None:
    allowed(made(name)[0], data)


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(max_size=200), name=st.sampled_from(["card", "config", "override", "sweep", "certificate", "curve"])
)
def test_any_text_is_taken_or_refused(name: str, text: str) -> None:
    allowed(made(name)[0], text.encode(errors="surrogatepass"))
