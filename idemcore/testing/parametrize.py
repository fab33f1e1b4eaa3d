"""The laws as tests of pytest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .checking import LawResult, check
from .law import Law
from .subject import Subject, subjects_of


class Check:
    """One law on one subject: call it in the test."""

    def __init__(self, subject: Subject, law: Law) -> None:
        self.subject, self.law = subject, law

    def __call__(self) -> LawResult:
        """Fails the test if the law is broken, skips it if it cannot be tried, or xfails it as is expected."""
        import pytest

        (result,) = check(self.subject, [self.law])
        told = f"{self.law.name}: {self.law.sentence}\n{self.subject}: {result.message}"
        if result.outcome == "expected":
            pytest.xfail(result.message)
        if result.outcome == "not tried":
            pytest.skip(result.message)
        if not result.ok:
            pytest.fail(told, pytrace=False)
        return result

    def __repr__(self) -> str:
        return f"{self.subject} {self.law.name}"


def parametrize_with_checks(what: str | Iterable[Subject], expected_failures: Mapping[str, str] | None = None) -> Any:
    """A decorator for a test of one argument, `check`, that it calls: it becomes a test for each law and subject.

        @parametrize_with_checks("mycodec")
        def test_conformance(check):
            check()

    `what` is the name of an installed plugin, or subjects; `expected_failures` are added to those that the specs name.
    """
    import pytest

    subjects = subjects_of(what) if isinstance(what, str) else list(what)
    checks = [Check(s.expecting(expected_failures or {}), law) for s in subjects for law in s.laws]
    names = [f"{c.subject.kind}-{c.subject.spec.name}-{c.law.name}" for c in checks]
    return pytest.mark.parametrize("check", checks, ids=names)
