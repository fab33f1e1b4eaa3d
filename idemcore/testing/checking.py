"""Laws tried on a subject, and what came of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import MissingError
from .guard import network
from .law import Broken, Law, NotTried
from .subject import Subject, subjects_of

Outcome = Literal["holds", "broken", "not tried", "expected", "unexpected"]
"""What became of a law: `expected` and `unexpected` are of those that the plugin declares not to hold."""


@dataclass(frozen=True)
class LawResult:
    """What came of one law."""

    subject: Subject
    law: Law
    outcome: Outcome
    """`expected`: broken, as the plugin declares. `unexpected`: it holds, although the plugin declares otherwise."""
    message: str
    """What was found, or why it was not tried; empty if it holds."""
    seconds: float

    @property
    def ok(self) -> bool:
        """It is not a fault: neither `broken` nor `unexpected`."""
        return self.outcome not in ("broken", "unexpected")


def check(subject: Subject, only: Iterable[Law] | None = None) -> list[LawResult]:
    """Tries all laws of the subject's kind, or `only` some, on it."""
    return list(checked(subject, only))


def check_plugin(name: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> list[LawResult]:
    """Tries all laws on all that the installed plugin provides. Raises UsageError or MissingError if it is not ok."""
    return [result for subject in subjects_of(name, settings) for result in checked(subject)]


def checked(subject: Subject, only: Iterable[Law] | None = None) -> Iterator[LawResult]:
    """As `check`, one after the other. After a broken law of `BASES` the later ones are not tried."""
    from .trials import trial_of

    trial, cause = trial_of(subject), ""
    for one in subject.laws if only is None else only:
        if cause:
            yield LawResult(subject, one, "not tried", f"`{cause}` is broken; mend it first", 0.0)
            continue
        yield (result := _tried(subject, trial, one))
        cause = one.name if one.is_base and result.outcome == "broken" else ""


def _tried(subject: Subject, trial: Any, one: Law) -> LawResult:
    begin = time.perf_counter()
    with network(refused=False) as asked:
        outcome, message = _outcome(subject, trial, one)
    subject.asked.extend(asked)
    if (reason := subject.expected_failures.get(one.name)) is not None:
        if outcome == "broken":
            outcome, message = "expected", f"{reason} ({message})"
        elif outcome == "holds":
            outcome, message = "unexpected", f"declared as an expected failure ({reason}), but holds: remove that"
    return LawResult(subject, one, outcome, message, time.perf_counter() - begin)


def _outcome(subject: Subject, trial: Any, one: Law) -> tuple[Outcome, str]:
    if lacking := one.needs - subject.capabilities:
        return "not tried", f"{' and '.join(sorted(lacking))} not offered"
    try:
        one.run(trial)
    except Broken as error:
        return "broken", str(error)
    except NotTried as error:
        return "not tried", str(error)
    except MissingError as error:
        return "not tried", str(error)
    except Exception as error:
        return "broken", _raised(error)
    return "holds", ""


def _raised(error: Exception) -> str:
    """What was raised, and the line of the plugin (or of the kit) where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}: {text} (line {last.lineno} of {last.filename}, in {last.name})"
