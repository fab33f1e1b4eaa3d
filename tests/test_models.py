"""Weights brought from a server or a file: checked, adapted, stored whole or not at all, and found again.

The cards here are of a small network `demo` whose published file a local server has.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml

from idemcore import cards, models
from idemcore.cards import read_card
from idemcore.checkpoints import read_safetensors
from idemcore.errors import IdemError, InputError, IntegrityError, MissingError, UsageError
from idemcore.hookspecs import Spec
from idemcore.plugins import KINDS, load_catalogue

STATE = {"g_a.weight": torch.arange(3000.0).reshape(30, 100), "entropy_bottleneck._bias0": torch.ones(4)}
ADAPTER = """
from idemcore.checkpoints import check_layout, modern_names

def adapt(state):
    state = modern_names(state)
    check_layout(state, {"g_a.weight": (30, 100), "entropy_bottleneck.biases.0": (4,)}, "the demo codec")
    return state, {"N": "30"}
"""
Card = dict[str, object]


class Server(ThreadingHTTPServer):
    """Serves `files` by path; `cut` is the number of bytes after which it hangs up, `ranges` whether it resumes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        data = self.server.files.get(self.path[1:])
        if data is None:
            self.send_error(404)
            return
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0
        if begin and begin >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The published file, as training leaves it, with old names."""
    path = tmp_path / "demo.pth.tar"
    torch.save({"epoch": 7, "state_dict": STATE}, path)
    return path


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`write(key=value, ...)`: a card `demo` with these keys beside the usual ones; an empty cache, and its adapter."""
    folder = tmp_path / "registry" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "demo_plugin.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cards, "registry_folder", lambda: tmp_path / "registry")

    def one(name: str = "demo", **keys: object) -> None:
        cards._read_cards.cache_clear()
        content = {"name": name, **usual(), **keys}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))

    yield one
    cards._read_cards.cache_clear()
    sys.modules.pop("demo_plugin", None)


def usual() -> Card:
    return {
        "kind": "codec", "plugin": "idemcore-demo", "summary": "a demonstration", "adapter": "demo_plugin:adapt",
        "source": "demo.pth.tar, released with Demo (Doe, 2020)", "page": "https://example.org/demo",
    }  # fmt: skip


@pytest.fixture
def demo(write: Callable[..., None], server: Server, published: Path) -> models.ModelFile:
    """The card's file, whose url the server has and whose sha256 is published."""
    data = published.read_bytes()
    server.files["demo.pth.tar"] = data
    write(url=server.url("demo.pth.tar"), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    return models.find_one("demo")


def in_cache() -> list[str]:
    return sorted(path.name for path in models.cache_folder().rglob("*"))


def test_pull_fetches_adapts_and_stores(demo: models.ModelFile) -> None:
    told: list[tuple[int, int | None]] = []
    assert models.state(demo) == "missing"
    path = models.pull(demo, lambda here, total: told.append((here, total)))
    assert path == models.stored("demo") == models.cache_folder() / "demo.safetensors"
    assert in_cache() == ["demo.safetensors"]
    tensors, metadata = read_safetensors(path)
    assert tensors.keys() == {"g_a.weight", "entropy_bottleneck.biases.0"}
    assert tensors["g_a.weight"].equal(STATE["g_a.weight"])
    assert (metadata["N"], metadata["id"], metadata["source_sha256"]) == ("30", "demo", demo.sha256)
    assert (told[0], told[-1]) == ((0, demo.bytes), (demo.bytes, demo.bytes))
    assert (models.state(demo), models.verify(demo)) == ("here", "here")


def test_what_is_here_and_sound_is_not_fetched_again(demo: models.ModelFile, server: Server) -> None:
    models.pull(demo)
    models.pull(demo)
    assert server.asked == [None]
    path = models.stored("demo")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    models.pull(demo)
    assert server.asked == [None, None]
    assert models.verify(demo) == "here"


def test_a_cut_connection_is_gone_on_with(demo: models.ModelFile, server: Server) -> None:
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


def test_a_server_without_ranges_sends_it_all_again(demo: models.ModelFile, server: Server) -> None:
    server.cut, server.ranges = 5000, False
    with pytest.raises(IdemError):
        models.pull(demo)
    server.cut = None
    models.pull(demo)
    assert models.verify(demo) == "here"


def test_an_interrupt_after_the_last_byte_loses_nothing(
    demo: models.ModelFile, server: Server, published: Path
) -> None:
    part = models.cache_folder() / "demo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(published.read_bytes())
    models.pull(demo)
    assert server.asked == [f"bytes={demo.bytes}-"]
    assert in_cache() == ["demo.safetensors"]


def test_a_file_that_was_replaced_meanwhile_is_fetched_whole(demo: models.ModelFile, server: Server) -> None:
    part = models.cache_folder() / "demo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"the beginning of another file")
    models.pull(demo)
    assert server.asked == ["bytes=29-", None]
    assert models.verify(demo) == "here"


def test_without_a_published_sha256_nothing_is_resumed(
    write: Callable[..., None], demo: models.ModelFile, server: Server
) -> None:
    write(url=demo.url)
    server.cut = 5000
    with pytest.raises(IdemError, match="5,000"):
        models.pull(models.find_one("demo"))
    server.cut = None
    models.pull(models.find_one("demo"))
    assert server.asked == [None, None]
    assert models.verify(models.find_one("demo")) == "here"


@pytest.mark.parametrize("kept", [64, 8])
def test_a_wrong_sha256_stores_nothing(kept: int, demo: models.ModelFile, write: Callable[..., None]) -> None:
    wrong = hashlib.sha256(b"another").hexdigest()[:kept]
    write(url=demo.url, **{"sha256" if kept == 64 else "sha256_prefix": wrong})
    with pytest.raises(IntegrityError, match=wrong):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_the_right_first_digits_pass(demo: models.ModelFile, write: Callable[..., None]) -> None:
    write(url=demo.url, sha256_prefix=demo.sha256[:8])
    models.pull(models.find_one("demo"))
    assert in_cache() == ["demo.safetensors"]


def test_not_found_and_unreachable(demo: models.ModelFile, write: Callable[..., None], server: Server) -> None:
    write(url=server.url("absent.pth.tar"))
    with pytest.raises(IdemError, match="absent.*404"):
        models.pull(models.find_one("demo"))
    write(url="http://127.0.0.1:9/demo")
    with pytest.raises(IdemError, match="cannot be reached"):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_a_published_file_of_another_layout_is_not_stored(
    demo: models.ModelFile, write: Callable[..., None], server: Server, tmp_path: Path
) -> None:
    torch.save({**STATE, "extra": torch.zeros(1)}, tmp_path / "other.pt")
    server.files["other.pt"] = (tmp_path / "other.pt").read_bytes()
    write(url=server.url("other.pt"))
    with pytest.raises(InputError, match=r"other\.pt: .*unexpected extra"):
        models.pull(models.find_one("demo"))
    assert in_cache() == []


def test_import_takes_a_file_and_tells_if_it_is_the_published_one(
    demo: models.ModelFile, published: Path, write: Callable[..., None]
) -> None:
    before = published.read_bytes()
    assert models.import_file(demo, published) is True
    assert models.verify(demo) == "here"
    assert published.read_bytes() == before
    torch.save(STATE, published)
    assert models.import_file(demo, published) is False
    write(url=None)
    assert models.import_file(models.find_one("demo"), published) is None
    assert in_cache() == ["demo.safetensors"]


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def bad_files(good: bytes) -> Iterator[tuple[str, object]]:
    """Bytes, or what to save, of files that are no weights of `demo`."""
    yield from {"empty": b"", "text": b"Dear reader,", "page": b"<html>", "cut": good[:-200], "half": good[:99]}.items()
    yield "code", {"state_dict": STATE, "optimizer": Surprise()}
    for name in STATE:
        yield f"without {name}", {key: value for key, value in STATE.items() if key != name}
        yield f"longer {name}", {**STATE, name: torch.zeros(*STATE[name].shape, 1)}
        yield f"integers {name}", {**STATE, name: STATE[name].long()}
    yield "transposed", {**STATE, "g_a.weight": STATE["g_a.weight"].T}
    yield "extra", {**STATE, "g_a.bias": torch.zeros(30)}
    yield "double", {**STATE, "entropy_bottleneck.biases.0": torch.ones(4)}
    yield "renamed", {f"net.{key}": value for key, value in STATE.items()}
    yield "list", list(STATE.values())
    yield "a step", {**STATE, "step": 3}
    yield "other wrapper", {"model": STATE}
    yield "nothing", {}


def test_whatever_is_wrong_with_a_file_nothing_is_stored(
    demo: models.ModelFile, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in bad_files(published.read_bytes()):
        path = tmp_path / f"{name}.pth.tar"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(InputError, match=re.escape(str(path))):
            models.import_file(demo, path)
        assert in_cache() == [], name
    assert "executed" not in capsys.readouterr().out


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


def test_missing_weights_name_source_and_both_commands(demo: models.ModelFile, write: Callable[..., None]) -> None:
    for url in (demo.url, None):
        write(url=url)
        with pytest.raises(MissingError, match=r"'demo' are not here: demo\.pth\.tar, released with Demo") as caught:
            models.stored("demo")
        assert "https://example.org/demo" in caught.value.message
        assert "`idem models pull demo`" in caught.value.hint
        assert "`idem models import demo FILE`" in caught.value.hint


def test_what_no_program_can_fetch_says_where_it_is(write: Callable[..., None]) -> None:
    write()
    with pytest.raises(MissingError, match=r"https://example\.org/demo") as caught:
        models.pull(models.find_one("demo"))
    assert "idem models import demo FILE" in caught.value.hint


def test_a_missing_plugin_is_named_before_anything_is_fetched(
    demo: models.ModelFile, write: Callable[..., None], server: Server, published: Path
) -> None:
    write(url=demo.url, adapter="idemcore_absent.weights:adapt")
    for bring in (models.pull, lambda file: models.import_file(file, published)):
        with pytest.raises(MissingError, match="idemcore-demo, which is not installed") as caught:
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


def test_weights_stored_under_another_id_are_damaged(demo: models.ModelFile, published: Path, write) -> None:
    models.import_file(demo, published)
    write("other")
    other = models.find_one("other")
    models.location(other).write_bytes(models.stored("demo").read_bytes())
    assert models.verify(other) == "damaged"


def test_a_card_of_several_files(write: Callable[..., None]) -> None:
    write(files=[{"id": f"demo-{q}", "quality": q, "lambda": 0.01 * q} for q in (1, 2)])
    first, second = models.find("demo")
    assert models.find("demo-2") == (second,)
    assert (first.quality, first.lambda_, first.adapter, first.page) == (1, 0.01, usual()["adapter"], usual()["page"])
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"summary": None}, "'summary' is missing"),
        ({"kind": "metric"}, "kind is 'metric'"),
        ({"adaptor": "a.b:c"}, "no key 'adaptor' (Did you mean 'adapter'?)"),
        ({"adapter": "demo_plugin.adapt"}, "'adapter' of demo"),
        ({"adapter": None}, "'adapter' of demo is missing"),
        ({"page": None}, "'page' of demo is missing"),
        ({"source": None}, "'source' of demo is missing"),
        ({"url": "ftp://example.org/x"}, "https://"),
        ({"url": "file:///etc/passwd"}, "https://"),
        ({"sha256": "12ab"}, "64 digits"),
        ({"sha256_prefix": 93677231}, "text in quotes"),
        ({"bytes": "many"}, "not a number"),
        ({"file": "weights/x.safetensors"}, "'sha256' of demo is missing"),
        ({"files": []}, "'files' is not a list"),
        ({"files": [{"quality": 1}, {"quality": 2}]}, "no 'id'"),
        ({"files": [{"id": "a"}, {"id": "a"}]}, "two files have the id 'a'"),
        ({"files": [{"id": "../a"}]}, "'id' of ../a"),
        ({"files": [{"id": "a", "qualty": 1}]}, "no key 'qualty'"),
        ({"files": [{"id": "a"}], "bytes": 3}, "'bytes' belongs in the entries"),
        ({"name": "other"}, "that of the file 'demo'"),
    ],
)
def test_each_fault_of_a_card_is_named(change: Card, named: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    content = {"name": "demo", **usual(), **change}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(InputError, match=r"demo\.yaml") as caught:
        read_card(path)
    assert named in caught.value.message


@pytest.mark.parametrize("content", ["- a\n- b\n", "name: [", "", "a: !!python/object/apply:os.system [true]\n"])
def test_a_card_that_is_no_mapping_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(content)
    with pytest.raises(InputError, match=r"demo\.yaml"):
        read_card(tmp_path / "demo.yaml")


def test_two_cards_cannot_name_one_file(write: Callable[..., None]) -> None:
    write()
    write("other", files=[{"id": "demo"}])
    with pytest.raises(InputError, match="both name 'demo'"):
        cards.cards()


def test_the_cards_of_the_registry_are_whole() -> None:
    for card in cards.cards():
        assert {"licence", "layout", "citation", "parameters", "value_range"} <= card.facts.keys(), card.name
        for file in card.files:
            assert file.bundled or file.adapter.startswith(card.plugin.replace("-", "_") + "."), file.id
            digits = re.search(r"-([0-9a-f]{8})\.pth\.tar$", file.url)
            assert not digits or file.checksum == digits[1], file.id
        qualities = [file.quality for file in card.files]
        assert len(set(qualities)) == len(qualities), card.name


def test_every_weights_id_of_a_plugin_has_a_card() -> None:
    catalogue = load_catalogue()
    named: list[Spec] = [spec for kind in KINDS for _, spec in catalogue.specs(kind)]
    assert [models.find(weights) for spec in named for weights in spec.weights]


# The command line


@pytest.mark.parametrize(
    "arguments",
    [["models"], ["models", "list", "--json"], ["models", "info", "ddpm-photo"], ["models", "path", "ddpm-photo"],
     ["models", "--help"], ["models", "pull", "--help"]],
)  # fmt: skip
def test_list_info_path_and_help_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom idemcore.cli import main\n"
        f"try: main({arguments!r}, prog_name='idem')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'omegaconf', 'safetensors'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_models_list_tells_every_state(idem, demo: models.ModelFile, published: Path, write) -> None:
    assert json.loads(idem("models", "list", "--json").stdout)[0]["state"] == "missing"
    models.import_file(demo, published)
    (listed,) = json.loads(idem("models", "list", "--json").stdout)
    assert (listed["id"], listed["state"], listed["kind"]) == ("demo", "here", "codec")
    assert listed["path"] == str(models.stored("demo"))
    models.stored("demo").write_bytes(b"damage")
    assert re.search(r"^demo +codec +damaged ", idem("models").stdout, re.MULTILINE)
    write(adapter=None, file="weights/demo.safetensors", sha256="0" * 64, bytes=3, plugin="idemcore-absent")
    assert re.search(r"^demo +codec +missing ", idem("models").stdout, re.MULTILINE)


def test_models_info_shows_the_card(idem, write: Callable[..., None]) -> None:
    write(
        licence="CC0", training={"data": "photos", "steps": {1: 2}},
        files=[{"id": f"demo-{q}", "quality": q} for q in (1, 2)],
    )  # fmt: skip
    told = idem("models", "info", "demo").stdout
    assert "training data: photos" in told
    assert "training steps: 1: 2" in told
    assert "demo-2" in told
    facts = json.loads(idem("models", "info", "demo-2", "--json").stdout)
    assert facts["licence"] == "CC0"
    assert [file["quality"] for file in facts["files"]] == [2]


def test_models_pull_of_a_card_brings_all_its_files(idem, demo: models.ModelFile, write) -> None:
    write(files=[{"id": f"demo-{q}", "url": demo.url, "sha256": demo.sha256} for q in (1, 2)])
    result = idem("models", "pull", "demo", "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["demo-1", "demo-2"]
    assert demo.url in result.stderr
    assert in_cache() == ["demo-1.safetensors", "demo-2.safetensors"]
    assert idem("models", "verify", "demo").exit_code == 0


def test_models_import_and_path(idem, demo: models.ModelFile, published: Path) -> None:
    result = idem("models", "import", "demo", published, "--json")
    assert json.loads(result.stdout) == {"id": "demo", "path": str(models.stored("demo")), "published": True}
    assert idem("models", "path", "demo").stdout.strip() == str(models.stored("demo"))
    torch.save(STATE, published)
    assert "not the published file" in idem("models", "import", "demo", published).stderr


def test_models_verify_exits_0_3_and_4(idem, demo: models.ModelFile, published: Path) -> None:
    assert idem("models", "verify", "demo").exit_code == 4
    assert idem("models", "verify").exit_code == 0
    models.import_file(demo, published)
    assert json.loads(idem("models", "verify", "--json").stdout) == [{"id": "demo", "state": "here"}]
    path = models.stored("demo")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    result = idem("models", "verify", "demo")
    assert result.exit_code == 3
    assert "idem models pull demo" in result.stderr


def test_doctor_notes_missing_weights_and_fails_on_damaged_ones(idem, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))

    def found(name: str) -> tuple[str, str]:
        checks = {check["check"]: check for check in json.loads(idem("doctor", "--json").stdout)}
        return checks[f"weights of {name}"]["state"], checks[f"weights of {name}"]["found"]

    state, told = found("ddpm-imagenet")
    assert (state, "idem models pull ddpm-imagenet" in told) == ("note", True)
    models.cache_folder().mkdir()
    (models.cache_folder() / "ddpm-imagenet.safetensors").write_bytes(b"damage")
    state, told = found("ddpm-imagenet")
    assert (state, "damaged" in told) == ("bad", True)


def test_models_verify_compares_bundled_weights_with_their_card(idem) -> None:
    assert json.loads(idem("models", "verify", "ddpm-photo", "--json").stdout)[0]["state"] == "bundled"


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (2, ("demmo", "Did you mean 'demo'"), ("pull", "demmo")),
        (2, ("absent.pt", "no file"), ("import", "demo", "absent.pt")),
        (4, ("not here", "idem models pull demo", "idem models import demo FILE"), ("path", "demo")),
    ],
)
def test_errors_of_models_have_their_exit_code(
    idem, demo: models.ModelFile, code: int, words: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    result = idem("models", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert all(word in result.stderr for word in words), result.stderr


def test_errors_of_bringing_weights_have_their_exit_code(
    idem, demo: models.ModelFile, server: Server, published: Path, write: Callable[..., None]
) -> None:
    torch.save({**STATE, "extra": torch.zeros(1)}, published)
    result = idem("models", "import", "demo", published)
    assert (result.exit_code, "unexpected extra" in result.stderr) == (1, True)
    server.files["demo.pth.tar"] = b"something else"
    assert idem("models", "pull", "demo").exit_code == 3
    write(url=server.url("absent"))
    assert idem("models", "pull", "demo").exit_code == 1
    write()
    assert idem("models", "pull", "demo").exit_code == 4
    assert in_cache() == []
