"""The app's folder and address: the same at every start, and for its owner only."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from filelock import FileLock

from idemcore.errors import UsageError
from idemcore_app import serving
from idemcore_app.serving import Serving, default_folder


def app(folder: Path, port: int | None = None, host: str = "127.0.0.1") -> Serving:
    return Serving(folder, host, port, {}, 2**20)


def test_the_key_in_the_address_stays_and_is_the_owners(tmp_path):
    folder = app(tmp_path / "new" / "app")._folder()
    token = serving._token(folder)
    assert len(token) >= 43
    assert serving._token(folder) == token
    if os.name == "posix":
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "token").write_text("short")
    assert serving._token(folder) not in ("short", token)


def test_the_port_of_last_time_is_taken_again_if_it_is_free(tmp_path):
    folder = app(tmp_path)._folder()
    with app(tmp_path)._bound(folder) as first:
        port = first.getsockname()[1]
        (folder / "address").write_text(f"http://127.0.0.1:{port}/x/")
        first.listen()
        with app(tmp_path)._bound(folder) as other:
            assert other.getsockname()[1] != port
    with app(tmp_path)._bound(folder) as again:
        assert again.getsockname()[1] == port


def test_a_port_that_is_taken_is_an_error_if_it_was_asked_for(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--host 127.0.0.1, port {port}: .* Name another --port"):
            app(tmp_path, port)._bound(tmp_path)


def test_it_listens_to_this_machine_only(tmp_path):
    with app(tmp_path)._bound(tmp_path) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_a_second_start_in_the_same_folder_says_where_the_first_is(tmp_path):
    (tmp_path / "address").write_text("http://127.0.0.1:1/key/")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "half").write_bytes(b"on its way")
    with (
        FileLock(tmp_path / "lock"),
        pytest.raises(UsageError, match=r"runs in .* already. Open http://127.0.0.1:1/key/"),
    ):
        app(tmp_path).run(browser=False)
    assert (tmp_path / "uploads" / "half").exists(), "it is the first one's"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write to .* Name another --folder"):
        app(tmp_path / "file" / "app")._folder()


def test_the_default_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "idem" / "app"
