"""`idem decode` of files at addresses, and results that are sent to one."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from idemcore.io import remote

TOY = ("--generator", "toy", "--set", "solver.steps=2", "--device", "cpu")


@pytest.fixture
def bucket():
    """A folder in memory with two JPEGs, one in a folder of its own, and a text."""
    files = fsspec.filesystem("memory")
    rng = np.random.default_rng(0)
    for name in ("photos/a.jpg", "photos/1998/b.jpg"):
        with files.open(f"/bucket/{name}", "wb") as file:
            Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).save(file, "JPEG", quality=20)
    files.pipe_file("/bucket/photos/notes.txt", b"no picture")
    yield files
    files.rm("/bucket", recursive=True)
    if files.exists("/restored"):
        files.rm("/restored", recursive=True)


def last(result) -> dict:
    return json.loads(result.stdout.splitlines()[-1])


def test_a_folder_at_an_address_goes_to_another_and_is_resumed(idem, bucket):
    words = ("decode", "memory://bucket/photos", "-o", "memory://restored/here", *TOY, "--json")
    first = idem(*words)
    assert first.exit_code == 0, first.stderr
    assert (last(first)["decoded"], last(first)["exact"]) == (2, 2)
    names = ["1998/b.certificate.json", "1998/b.png", "a.certificate.json", "a.png"]
    assert sorted(bucket.find("/restored/here")) == [f"/restored/here/{name}" for name in names]
    assert json.loads(first.stdout.splitlines()[0])["file"] == "memory://restored/here/1998/b.png"
    assert "left out 1 file: 1 .txt" in first.stderr
    assert last(idem(*words))["done_before"] == 2
    bucket.rm("/restored/here/a.png")
    assert last(idem(*words))["decoded"] == 1, "a certificate without its picture is not done"
    bucket.pipe_file("/restored/here/a.png", b"another")
    kept = idem(*words)
    assert (last(kept)["failed"], bucket.cat_file("/restored/here/a.png")) == (1, b"another")
    assert "memory://restored/here/a.png is there already, without a certificate of its own" in kept.stderr
    bucket.rm("/restored/here/a.certificate.json")
    assert (last(idem(*words))["failed"], bucket.cat_file("/restored/here/a.png")) == (1, b"another")


def test_several_addresses_have_folders_of_their_own(idem, bucket, tmp_path):
    places = "memory://bucket/photos/1998", "memory://bucket/photos/a.jpg"
    assert idem("decode", *places, "-o", tmp_path / "out", *TOY).exit_code == 0
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["1998/b.png", "a.png"]


def test_what_is_sent_is_what_is_written_here(idem, bucket, tmp_path):
    assert idem("decode", "memory://bucket/photos", "-o", tmp_path / "out", *TOY).exit_code == 0
    (tmp_path / "b.jpg").write_bytes(bucket.cat_file("/bucket/photos/1998/b.jpg"))
    sent = idem("decode", tmp_path / "b.jpg", "-o", "memory://restored", *TOY)
    assert sent.exit_code == 0, sent.stderr
    assert bucket.cat_file("/restored/b.png") == (tmp_path / "out" / "1998" / "b.png").read_bytes()
    assert idem("verify", tmp_path / "out" / "1998" / "b.png", tmp_path / "b.jpg").exit_code == 0


def test_a_file_that_fails_stops_no_other_and_is_named_by_its_address(idem, bucket):
    bucket.pipe_file("/bucket/photos/c.jpg", b"\xff\xd8\xff nothing")
    result = idem("decode", "memory://bucket/photos", "-o", "memory://restored", *TOY, "--json")
    assert result.exit_code == 3
    assert (last(result)["decoded"], last(result)["failed"]) == (2, 1)
    assert "memory://bucket/photos/c.jpg" in result.stderr
    assert not bucket.exists("/restored/c.certificate.json")


def test_several_processes_share_the_files(idem, bucket, tmp_path):
    bucket.get("/bucket/photos", str(tmp_path / "photos"), recursive=True)
    words = ("-o", f"file://{tmp_path}/out", *TOY, "--jobs", 2, "--json")
    result = idem("decode", f"file://{tmp_path}/photos", *words)
    assert result.exit_code == 0, result.stderr
    assert last(result)["exact"] == 2
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png"]


def test_a_photograph_of_the_web_is_restored_here(idem, bucket, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.jpg").write_bytes(bucket.cat_file("/bucket/photos/a.jpg"))
    handler = partial(Quiet, directory=tmp_path / "web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        result = idem("decode", f"{place}/a.jpg", "-o", tmp_path / "out", *TOY)
        lost = idem("decode", f"{place}/lost.jpg", "-o", tmp_path / "out", *TOY)
        refused = idem("decode", f"{place}/a.jpg", "-o", f"{place}/out", *TOY)
        server.shutdown()
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "a.certificate.json").is_file()
    assert lost.exit_code == 1
    assert f"{place}/lost.jpg cannot be reached" in lost.stderr
    assert refused.exit_code != 0
    assert place in refused.stderr


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("memory://bucket/photos",), 2, "need a place"),
        (("memory://bucket/empty", "-o", "memory://restored"), 2, "holds no bitstreams"),
        (("memory://bucket/photos", "-o", "memory://restored/a.png"), 2, "names a file"),
        (("memory://bucket/photos", "-o", "memory://restored", "--write-jpeg", "x"), 2, "writes here only"),
        (("nowhere://bucket", "-o", "out"), 2, "Protocol not known"),
    ],
)
def test_what_cannot_be_right_is_said_before_anything_is_read(idem, bucket, words, code, told):
    result = idem("decode", *words, *TOY)
    assert result.exit_code == code
    assert told in result.stderr


def test_a_protocol_whose_package_is_missing_says_what_brings_it(monkeypatch):
    def without(address: str):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", without)
    with pytest.raises(remote.MissingError, match=r"Install s3fs.*idemcore\[remote\]"):
        remote.read("s3://bucket/a.jpg")


def test_a_file_that_is_too_large_is_not_read(bucket, monkeypatch):
    monkeypatch.setattr("idemcore.io.remote.max_file_bytes", lambda: 100)
    with pytest.raises(remote.UsageError, match="more than 100 bytes"):
        remote.read("memory://bucket/photos/a.jpg")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("s3://b/a.jpg", True), ("https://host/a.jpg", True), ("zip::s3://b/a.zip", True), ("C:/a.jpg", False),
     ("a.jpg", False), ("/a//b.jpg", False), (Path("x/y"), False)],
)  # fmt: skip
def test_addresses_are_told_from_paths(text, is_one):
    assert remote.is_address(str(text)) is is_one
