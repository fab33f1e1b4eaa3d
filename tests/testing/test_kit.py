"""The kit itself: outcomes, expected failures, pytest, the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from idemcore.errors import IdemWarning, MissingError, UsageError
from idemcore.hookspecs import EncoderSpec, Spec
from idemcore.plugins.catalogue import Catalogue, Plugin, load_catalogue
from idemcore.testing import Law, NotTried, Subject, check, check_plugin, laws, parametrize_with_checks, subjects_of
from idemcore.testing.guard import watch
from idemcore.testing.law import Broken


def law_that(name: str, error: Exception | None) -> Law:
    def run(trial: Any) -> None:
        if error:
            raise error

    return Law(name, ("codec",), "It is so.", run)


LAWS = {
    "holds": law_that("one", None),
    "broken": law_that("one", Broken("it is not")),
    "not tried": law_that("one", NotTried("it cannot be seen")),
}


def toy(**expected: str) -> Subject:
    return replace(Subject.installed("codec", "toy"), expected_failures=expected)


@pytest.mark.parametrize("outcome", LAWS)
def test_an_outcome_is_told_with_its_reason(outcome: str) -> None:
    (result,) = check(toy(), [LAWS[outcome]])
    assert (result.outcome, result.ok) == (outcome, outcome != "broken")
    assert result.message == {"holds": "", "broken": "it is not", "not tried": "it cannot be seen"}[outcome]


def test_what_a_law_meets_unexpectedly_breaks_it_and_names_the_line() -> None:
    (result,) = check(toy(), [law_that("one", ZeroDivisionError("oh"))])
    assert result.outcome == "broken"
    assert "ZeroDivisionError: oh" in result.message
    assert "test_kit.py" in result.message


def test_what_is_missing_is_not_tried() -> None:
    (result,) = check(toy(), [law_that("one", MissingError("no weights", "bring them"))])
    assert (result.outcome, result.message) == ("not tried", "no weights bring them")


def test_an_expected_failure_is_no_fault_unless_the_law_holds() -> None:
    (broken,) = check(toy(one="known"), [LAWS["broken"]])
    assert (broken.outcome, broken.ok, broken.message) == ("expected", True, "known (it is not)")
    (holds,) = check(toy(one="known"), [LAWS["holds"]])
    assert (holds.outcome, holds.ok) == ("unexpected", False)
    assert "remove that" in holds.message
    (other,) = check(toy(two="known"), [LAWS["broken"]])
    assert other.outcome == "broken"


def test_the_spec_s_expected_failures_count_and_more_can_be_added() -> None:
    subject = Subject.installed("codec", "elic", expected_failures={"one": "why"})
    assert set(subject.expected_failures) == {"one", "project-lands", "project-idempotent", "project-margin"}
    assert subject.expecting({"two": "why"}).expected_failures.keys() > subject.expected_failures.keys()


@pytest.mark.parametrize(
    ("outcome", "expected", "raised"),
    [
        ("broken", {}, pytest.fail.Exception),
        ("broken", {"one": "known"}, pytest.xfail.Exception),
        ("holds", {"one": "known"}, pytest.fail.Exception),
        ("not tried", {}, pytest.skip.Exception),
    ],
)
def test_a_check_speaks_to_pytest(outcome: str, expected: dict[str, str], raised: type[BaseException]) -> None:
    from idemcore.testing.parametrize import Check

    with pytest.raises(raised):
        Check(toy(**expected), LAWS[outcome])()
    assert Check(toy(), LAWS["holds"])().ok


def test_parametrizing_makes_a_test_of_each_law() -> None:
    mark = parametrize_with_checks("toy").mark
    assert mark.args[0] == "check"
    ids = mark.kwargs["ids"]
    assert {"codec-toy-encode-rounds", "generator-toy-denoises"} <= set(ids)
    assert not [one for one in ids if "synthesis" in one], "laws of the other family"
    assert len(ids) == len(mark.args[1]) == sum(len(subject.laws) for subject in subjects_of("toy"))


def test_a_subject_needs_no_installed_plugin() -> None:
    installed = Subject.installed("codec", "toy", quality=6)
    spec = EncoderSpec("mine", "m:C", "one line", offers=installed.spec.offers)  # type: ignore[attr-defined]
    subject = Subject("codec", spec, installed.make, installed.config)
    chosen = [law for law in laws("codec") if law.name in ("encode-bytes", "project-lands", "light", "files")]
    assert {r.law.name: r.outcome for r in check(subject, chosen)} == {
        "encode-bytes": "holds", "project-lands": "holds", "light": "not tried", "files": "not tried",
    }  # fmt: skip


def test_a_name_that_has_nothing_to_check_is_refused() -> None:
    for name, message in (("idemcore-toi", "Did you mean"), ("xyz", "idem plugins list")):
        with pytest.raises(UsageError, match=message):
            check_plugin(name)
    with pytest.raises(UsageError, match="no laws of the kind 'recipe'"):
        laws("recipe")


def test_an_expected_failure_of_no_law_is_noted(monkeypatch) -> None:
    def misspelt(kind: str, spec: Spec) -> tuple[str, Spec]:
        return kind, replace(spec, expected_failures={"seedz": "why"} if spec.name == "dps" else {})

    plugins = [replace(p, specs=tuple(misspelt(*one) for one in p.specs)) for p in load_catalogue().plugins]
    monkeypatch.setattr("idemcore.testing.subject.load_catalogue", lambda: Catalogue(plugins))
    with pytest.warns(IdemWarning, match="solver dps expects the law 'seedz' to fail, but .* Did you mean 'seeds'?"):
        subjects_of("dps")


def test_the_fault_of_a_plugin_that_cannot_be_checked_ends_as_one_sentence(monkeypatch) -> None:
    broken = Plugin("demo", "1", "broken", "'projekt' is not a capability. Did you mean 'project'?", ())
    monkeypatch.setattr("idemcore.testing.subject.load_catalogue", lambda: Catalogue([broken]))
    with pytest.raises(MissingError) as error:
        subjects_of("demo")
    assert str(error.value).endswith("Did you mean 'project'? Mend that first.")


def test_what_is_changed_and_asked_for_is_seen() -> None:
    import os
    import random
    import socket

    def work() -> None:
        random.random()
        os.environ["IDEM_TEST_OF_THE_KIT"] = "1"
        socket.create_connection(("example.org", 80), 1)

    try:
        seen = watch(work)
    finally:
        del os.environ["IDEM_TEST_OF_THE_KIT"]
    assert seen.outputs is None
    assert set(seen.changed) == {"Python's global random numbers", "environment variables"}
    assert seen.asked == ("example.org",)


def test_the_command_prints_a_table_or_json_and_exits_with_the_verdict(idem, monkeypatch) -> None:
    for outcome, code in (("holds", 0), ("not tried", 0), ("broken", 1)):
        monkeypatch.setattr(Subject, "laws", (LAWS[outcome],))
        told = idem("plugins", "check", "jpeg")
        assert told.exit_code == code
        assert told.stdout.startswith("codec jpeg\n")
        assert f"  {outcome}" in told.stdout
        assert told.stderr.strip() == f"1 {outcome}"
        (fact,) = json.loads(idem("plugins", "check", "jpeg", "--json", "--set", "codec.quality=5").stdout)
        assert (fact["kind"], fact["name"], fact["law"], fact["outcome"]) == ("codec", "jpeg", "one", outcome)


def test_the_command_refuses_what_cannot_be_right(idem) -> None:
    assert idem("plugins", "check", "no-such-plugin").exit_code == 2
    assert idem("plugins", "check", "jpeg", "--set", "codec.qality=5").exit_code == 2
    assert idem("plugins", "check", "jpeg", "--set", "quality=5").exit_code == 2
