"""`idem report --watch`: a page while the sweep runs, which loads itself again, and one without that at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from idemcore.sweeps.store import Store


@pytest.fixture
def sleeps(monkeypatch):
    """What is done at each pause, in the place of waiting."""
    later: list[object] = []
    monkeypatch.setattr("idemcore.cli.report.sleep", lambda seconds: later.pop(0)())
    return later


def test_the_page_is_renewed_until_the_sweep_ends(store: Path, idem, tmp_path: Path, sleeps) -> None:
    page, seen = tmp_path / "report" / "index.html", []
    writing = Store(store).writing({"test": 1}, runs=99)
    writing.__enter__()

    def end() -> None:
        seen.append(page.read_text())
        writing.__exit__(None, None, None)

    sleeps.append(end)
    result = idem("report", store, "-o", page.parent, "--watch")
    assert result.exit_code == 0, result.stderr
    assert '<meta http-equiv="refresh" content="20">' in seen[0]
    assert "still running: 37 of 99 runs" in seen[0]
    assert "http-equiv" not in page.read_text()
    assert not sleeps


def test_a_sweep_without_a_run_yet_is_waited_for(idem, tmp_path: Path, store: Path, sleeps) -> None:
    young = Store(tmp_path / "young")
    writing = young.writing({}, runs=1)
    writing.__enter__()
    row = Store(store).rows()[0]

    def first() -> None:
        young.append(row)

    sleeps += [lambda: None, first, lambda: writing.__exit__(None, None, None)]
    assert idem("report", young.root, "-o", tmp_path / "report", "--watch").exit_code == 0


def test_watching_is_for_pages(store: Path, idem) -> None:
    assert "--watch has no effect" in idem("report", store, "--format", "md", "--watch").stderr
    assert "not the store" in idem("report", store.parent, "-o", "x", "--watch").stderr
