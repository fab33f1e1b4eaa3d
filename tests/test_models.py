"""Weights brought from a server or a file: checked, adapted, stored whole or not at all, and found again.

The cards here are of a small network `demo` whose published file a local server has (see conftest.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from idemcore.errors import IdemError, InputError, IntegrityError, MissingError, UsageError
from idemcore.weights import store as models
from idemcore.weights.checkpoints import read_safetensors

State = dict[str, torch.Tensor]
InCache = Callable[[], list[str]]
WriteCard = Callable[..., None]
Card = dict[str, object]


def test_pull_fetches_adapts_and_stores(demo: models.ModelFile, in_cache: InCache, demo_state: State) -> None:
    told: list[tuple[int, int | None]] = []
    assert models.state(demo) == "missing"
    path = models.pull(demo, lambda here, total: told.append((here, total)))
    assert path == models.stored("demo") == models.cache_folder() / "demo.safetensors"
    assert in_cache() == ["demo.safetensors"]
    tensors, metadata = read_safetensors(path)
    assert tensors.keys() == {"g_a.weight", "entropy_bottleneck.biases.0"}
    assert tensors["g_a.weight"].equal(demo_state["g_a.weight"])
    assert (metadata["N"], metadata["id"], metadata["source_sha256"]) == ("30", "demo", demo.sha256)
    assert (told[0], told[-1]) == ((0, demo.bytes), (demo.bytes, demo.bytes))
    assert (models.state(demo), models.verify(demo)) == ("here", "here")


def test_what_is_here_and_sound_is_not_fetched_again(demo: models.ModelFile, server: Any) -> None:
    models.pull(demo)
    models.pull(demo)
    assert server.asked == [None]
    path = models.stored("demo")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    models.pull(demo)
    assert server.asked == [None, None]
    assert models.verify(demo) == "here"


def test_a_cut_connection_is_gone_on_with(demo: models.ModelFile, server: Any, in_cache: InCache) -> None:
    server.cut = 5000
    with pytest.raises(IdemError, match=r"ended after 5,000 of") as caught:
        models.pull(demo)
    assert "goes on from there" in caught.value.hint
    assert (models.state(demo), in_cache()) == ("missing", ["demo.part"])
    server.cut, told = None, []
    models.pull(demo, lambda here, total: told.append((here, total)))
    assert server.asked == [None, "bytes=5000-"]
    assert told[0] == (5000, demo.bytes)
    assert (models.verify(demo), in_cache()) == ("here", ["demo.safetensors"])


def test_a_server_without_ranges_sends_it_all_again(demo: models.ModelFile, server: Any) -> None:
    server.cut, server.ranges = 5000, False
    with pytest.raises(IdemError):
        models.pull(demo)
    server.cut = None
    models.pull(demo)
    assert models.verify(demo) == "here"


def test_an_interrupt_after_the_last_byte_loses_nothing(
    demo: models.ModelFile, server: Any, published: Path, in_cache: InCache
) -> None:
    part = models.cache_folder() / "demo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(published.read_bytes())
    models.pull(demo)
    assert server.asked == [f"bytes={demo.bytes}-"]
    assert in_cache() == ["demo.safetensors"]


def test_a_file_that_was_replaced_meanwhile_is_fetched_whole(demo: models.ModelFile, server: Any) -> None:
    part = models.cache_folder() / "demo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"the beginning of another file")
    models.pull(demo)
    assert server.asked == ["bytes=29-", None]
    assert models.verify(demo) == "here"


def test_without_a_published_sha256_nothing_is_resumed(
    write_card: WriteCard, demo: models.ModelFile, server: Any
) -> None:
    write_card(url=demo.url)
    server.cut = 5000
    with pytest.raises(IdemError, match="5,000"):
        models.pull(models.find_one("demo"))
    server.cut = None
    models.pull(models.find_one("demo"))
    assert server.asked == [None, None]
    assert models.verify(models.find_one("demo")) == "here"


@pytest.mark.parametrize("kept", [64, 8])
def test_a_wrong_sha256_stores_nothing(
    kept: int, demo: models.ModelFile, write_card: WriteCard, in_cache: InCache
) -> None:
    wrong = hashlib.sha256(b"another").hexdigest()[:kept]
    write_card(url=demo.url, **{"sha256" if kept == 64 else "sha256_prefix": wrong})
    with pytest.raises(IntegrityError, match=wrong):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_the_right_first_digits_pass(demo: models.ModelFile, write_card: WriteCard, in_cache: InCache) -> None:
    write_card(url=demo.url, sha256_prefix=demo.sha256[:8])
    models.pull(models.find_one("demo"))
    assert in_cache() == ["demo.safetensors"]


def test_two_programs_do_not_fetch_into_one_file(demo: models.ModelFile, in_cache: InCache) -> None:
    models.cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(models.cache_folder() / ".demo.lock"), pytest.raises(UsageError, match="is fetching the weights"):
        models.pull(demo)
    assert in_cache() == []
    models.pull(demo)
    assert in_cache() == ["demo.safetensors"]


def test_not_found_and_unreachable(
    demo: models.ModelFile, write_card: WriteCard, server: Any, in_cache: InCache
) -> None:
    write_card(url=server.url("absent.pth.tar"))
    with pytest.raises(IdemError, match="absent.*404"):
        models.pull(models.find_one("demo"))
    write_card(url="http://127.0.0.1:9/demo")
    with pytest.raises(IdemError, match="cannot be reached"):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_a_published_file_of_another_layout_is_not_stored(
    demo: models.ModelFile, write_card: WriteCard, server: Any, tmp_path: Path, in_cache: InCache, demo_state: State
) -> None:
    torch.save({**demo_state, "extra": torch.zeros(1)}, tmp_path / "other.pt")
    server.files["other.pt"] = (tmp_path / "other.pt").read_bytes()
    write_card(url=server.url("other.pt"))
    with pytest.raises(InputError, match=r"other\.pt: .*unexpected extra"):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_import_takes_a_file_and_tells_if_it_is_the_published_one(
    demo: models.ModelFile, published: Path, write_card: WriteCard, in_cache: InCache, demo_state: State
) -> None:
    before = published.read_bytes()
    assert models.import_file(demo, published) is True
    assert models.verify(demo) == "here"
    assert published.read_bytes() == before
    torch.save(demo_state, published)
    assert models.import_file(demo, published) is False
    write_card(url=None)
    assert models.import_file(models.find_one("demo"), published) is None
    assert in_cache() == ["demo.safetensors"]


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def bad_files(good: bytes, state: State) -> Iterator[tuple[str, object]]:
    """Bytes, or what to save, of files that are no weights of `demo`."""
    yield from {"empty": b"", "text": b"Dear reader,", "page": b"<html>", "cut": good[:-200], "half": good[:99]}.items()
    yield "code", {"state_dict": state, "optimizer": Surprise()}
    for name in state:
        yield f"without {name}", {key: value for key, value in state.items() if key != name}
        yield f"longer {name}", {**state, name: torch.zeros(*state[name].shape, 1)}
        yield f"integers {name}", {**state, name: state[name].long()}
    yield "transposed", {**state, "g_a.weight": state["g_a.weight"].T}
    yield "extra", {**state, "g_a.bias": torch.zeros(30)}
    yield "double", {**state, "entropy_bottleneck.biases.0": torch.ones(4)}
    yield "renamed", {f"head.{key}": value for key, value in state.items()}
    yield "list", list(state.values())
    yield "two sets", {"one": state, "other": state}
    yield "not a number", {key: value * float("nan") for key, value in state.items()}
    yield "nothing", {}


def test_whatever_is_wrong_with_a_file_nothing_is_stored(
    demo: models.ModelFile,
    published: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    in_cache: InCache,
    demo_state: State,
) -> None:
    for name, content in bad_files(published.read_bytes(), demo_state):
        path = tmp_path / f"{name}.pth.tar"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(InputError, match=re.escape(str(path))):
            models.import_file(demo, path)
        assert in_cache() == [], name
    assert "executed" not in capsys.readouterr().out


READER = """
import json
import torch

from idemcore.errors import InputError

def read(path):
    try:
        return {name: torch.tensor(value) for name, value in json.loads(path.read_bytes()).items()}
    except ValueError as error:
        raise InputError(f"{path} is no JSON.") from error
"""


def test_a_file_that_is_no_state_dict_is_read_as_its_card_says(
    write_card: WriteCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_cache: InCache, demo_state: State
) -> None:
    (tmp_path / "demo_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    write_card(reader="demo_reader:read")
    demo, path = models.find_one("demo"), tmp_path / "demo.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"demo\.json is no JSON"):
        models.import_file(demo, path)
    path.write_text(json.dumps({"g_a.weight": [1.0]}))
    with pytest.raises(InputError, match=r"demo\.json: .*missing entropy_bottleneck\.biases\.0"):
        models.import_file(demo, path)
    assert in_cache() == []
    path.write_text(json.dumps({name: value.tolist() for name, value in demo_state.items()}))
    models.import_file(demo, path)
    assert read_safetensors(models.stored("demo"))[0]["g_a.weight"].equal(demo_state["g_a.weight"])


def test_a_refused_file_leaves_the_stored_one(demo: models.ModelFile, published: Path) -> None:
    models.import_file(demo, published)
    torch.save({"a": torch.zeros(1)}, published)
    with pytest.raises(InputError):
        models.import_file(demo, published)
    assert models.verify(demo) == "here"


def test_import_of_no_file_is_an_error_of_the_path(demo: models.ModelFile, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(UsageError, match="no file"):
            models.import_file(demo, path)


def test_missing_weights_name_source_and_both_commands(demo: models.ModelFile, write_card: WriteCard) -> None:
    for url in (demo.url, None):
        write_card(url=url)
        with pytest.raises(MissingError, match=r"'demo' are not here: demo\.pth\.tar, released with Demo") as caught:
            models.stored("demo")
        assert "https://example.org/demo" in caught.value.message
        assert "`idem models pull demo`" in caught.value.hint
        assert "`idem models import demo FILE`" in caught.value.hint


def test_what_no_program_can_fetch_says_where_it_is(write_card: WriteCard) -> None:
    write_card()
    with pytest.raises(MissingError, match=r"https://example\.org/demo") as caught:
        models.pull(models.find_one("demo"))
    assert "idem models import demo FILE" in caught.value.hint


def test_a_missing_plugin_is_named_before_anything_is_fetched(
    demo: models.ModelFile, write_card: WriteCard, server: Any, published: Path, in_cache: InCache
) -> None:
    write_card(url=demo.url, adapter="idemcore_absent.weights:adapt")
    for bring in (models.pull, lambda file: models.import_file(file, published)):
        with pytest.raises(MissingError, match=r"Not installed: .*idemcore-demo") as caught:
            bring(models.find_one("demo"))
        assert "pip install idemcore-demo" in caught.value.hint
    assert (server.asked, in_cache()) == ([], [])


def test_every_flipped_byte_of_a_stored_file_is_seen(demo: models.ModelFile, published: Path) -> None:
    models.import_file(demo, published)
    path = models.stored("demo")
    whole = path.read_bytes()
    for position in [*range(0, 700, 11), *range(700, len(whole), 997), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert models.verify(demo) == "damaged", position
    for content in (whole[:-1], whole[:50], whole[:4], b"", whole + b"\0"):
        path.write_bytes(content)
        assert models.state(demo) == "damaged"
        with pytest.raises(IntegrityError, match="damaged") as caught:
            models.stored("demo")
        assert "idem models pull demo" in caught.value.hint
    path.write_bytes(whole)
    assert models.verify(demo) == "here"


def test_weights_stored_under_another_id_are_damaged(
    demo: models.ModelFile, published: Path, write_card: WriteCard
) -> None:
    models.import_file(demo, published)
    write_card("other")
    other = models.find_one("other")
    models.location(other).write_bytes(models.stored("demo").read_bytes())
    assert models.verify(other) == "damaged"


def test_a_card_of_several_files(write_card: WriteCard, demo_card: Card) -> None:
    write_card(files=[{"id": f"demo-{q}", "quality": q, "lambda": 0.01 * q} for q in (1, 2)])
    first, second = models.find("demo")
    assert models.find("demo-2") == (second,)
    assert (first.quality, first.lambda_, first.adapter, first.page) == (
        1,
        0.01,
        demo_card["adapter"],
        demo_card["page"],
    )
    with pytest.raises(UsageError, match="2 files") as caught:
        models.find_one("demo")
    assert "demo-1, demo-2" in caught.value.hint
    with pytest.raises(UsageError, match="demo-3") as caught:
        models.stored("demo-3")
    assert "Did you mean 'demo-" in caught.value.hint


def test_locate_takes_ids_and_paths(demo: models.ModelFile, published: Path) -> None:
    models.import_file(demo, published)
    assert models.locate("demo") == models.stored("demo")
    assert models.locate("some/where.pt") == Path("some/where.pt")
    assert models.locate("./demo") == Path("./demo")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IDEM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert models.cache_folder() == tmp_path / "home" / ".cache" / "idem" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models.cache_folder() == tmp_path / "xdg" / "idem" / "models"
    monkeypatch.setenv("IDEM_CACHE", "~/own")
    assert models.cache_folder() == tmp_path / "home" / "own" / "models"
