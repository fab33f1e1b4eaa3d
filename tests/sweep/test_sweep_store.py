"""The store of a sweep: what a killed writer, two writers or another program leave."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from sweeping import sweep_row

from idemcore.errors import IntegrityError, UsageError
from idemcore.results.rows import SweepRow
from idemcore.sweeps.store import Store

DEFINITION = {"title": "t"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    with store.writing(DEFINITION):
        pass
    return store


def row(name: str, status: str = "ok", **more: object) -> SweepRow:
    return sweep_row(id=name, status=status, **more)


def line(name: str) -> bytes:
    return (json.dumps(row(name).to_json()) + "\n").encode()


def test_rows_come_back_in_order(store: Store) -> None:
    store.append(row("a", error="ä\n"))
    store.append(row("b", "failed"))
    assert Store.open(store.root).rows() == [row("a", error="ä\n"), row("b", "failed")]
    assert store.ids() == {"a", "b"}
    assert store.ids("failed") == {"b"}


def test_of_two_rows_with_one_id_the_last_counts(store: Store) -> None:
    for one in (row("a", "failed"), row("b"), row("a")):
        store.append(one)
    assert store.rows() == [row("a"), row("b")]


@pytest.mark.parametrize("cut", [1, 5, 25, 30])
def test_a_torn_line_is_not_read_and_cut_off_by_the_next_writer(store: Store, cut: int) -> None:
    store.append(row("a"))
    whole = store.path("rows.jsonl").read_bytes()
    torn = line("torn")[:cut]
    store.path("rows.jsonl").write_bytes(whole + torn)
    assert store.rows() == [row("a")]
    store.append(row("b"))
    assert store.path("rows.jsonl").read_bytes() == whole + line("b")


def test_a_torn_first_line_longer_than_a_block_is_cut_off(store: Store) -> None:
    store.path("rows.jsonl").write_bytes(b"{" + b"x" * 200_000)
    store.append(row("a"))
    assert store.path("rows.jsonl").read_bytes() == line("a")


def test_a_damaged_line_is_named(store: Store) -> None:
    store.path("rows.jsonl").write_bytes(line("a") + b"rubbish\n")
    with pytest.raises(IntegrityError, match="line 2"):
        store.rows()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 2}, "line 1 is of another version of idem"),
        ({"id": 3}, "line 1 is damaged"),
        ({"image": None}, "line 1 is damaged"),
    ],
)
def test_a_row_of_another_schema_is_named(store: Store, change: dict[str, object], told: str) -> None:
    store.path("rows.jsonl").write_text(json.dumps(row("a").to_json() | change) + "\n")
    with pytest.raises(IntegrityError, match=told):
        store.rows()


def test_nan_is_null_in_the_store(store: Store) -> None:
    store.append(row("a", metrics={"psnr": math.nan}))
    assert store.rows()[0].metrics == {"psnr": None}


def test_a_second_writer_is_kept_out(store: Store) -> None:
    with (
        store.writing(DEFINITION),
        pytest.raises(UsageError, match="Another sweep"),
        Store(store.root).writing(DEFINITION),
    ):
        pass


def test_meta_holds_each_sweep_once(store: Store) -> None:
    for definition in (DEFINITION, {"title": "u"}):
        with store.writing(definition):
            pass
    assert [sweep["title"] for sweep in store.meta()["sweeps"]] == ["t", "u"]


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="other files"), Store(tmp_path).writing(DEFINITION):
        pass
    with pytest.raises(UsageError, match="not the store"):
        Store.open(tmp_path)
    with pytest.raises(UsageError, match="is a file"), Store(tmp_path / "thesis.tex").writing(DEFINITION):
        pass


def test_a_newer_format_is_refused(store: Store) -> None:
    store.path("meta.json").write_text('{"format": 99, "sweeps": []}')
    with pytest.raises(UsageError, match="format 99"):
        Store.open(store.root).meta()
