"""What the server answers, to its own page and to others; the worker is played by a stand-in that draws at once."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from stand_in import TOKEN, Client

from idemcore_app.album import Photo


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_without_the_token_nothing_is_answered(client):
    for path in ("/", "/state", "/wrong/state", f"/{TOKEN[:-1]}/state", f"/x{TOKEN}/state", "//"):
        answer = client.http.get(path)
        assert answer.status_code == 403
        assert "whole address" in answer.text
    assert client.http.post("/photos", content=b"x").status_code == 403
    assert client.get("state").status_code == 200


def test_every_answer_says_that_nothing_comes_from_elsewhere(client):
    for answer in (
        client.get(""),
        client.get("app.js"),
        client.get("state"),
        client.get("nothing"),
        client.http.get("/"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = client.get("").text
    assert not [part for part in ("http:", "https:", "<style", "style=", "onclick") if part in page]


def test_another_origin_may_not_post_nor_read(client, jpeg):
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert client.post("photos", jpeg, params={"name": "a.jpg"}, headers=headers).status_code == 403
        assert client.get("state", headers=headers).status_code == 403
    assert client.get("state").json()["photos"] == []
    own = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("photos", jpeg, params={"name": "a.jpg"}, headers=own).status_code == 201
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("", headers=link).status_code == 200


def test_a_name_that_was_made_to_mean_this_machine_is_refused(client):
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::", "192.168.1.5"):
        assert client.get("state", headers={"host": host}).status_code == 421
    assert client.get("state", headers={"host": "127.0.0.1:1234"}).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "C:\\x.jpg", "a/../../b.jpg", "x\0y.jpg", "con.jpg",
     "a" * 5000, "", ".", "<b>x</b>.jpg", "\u202egpj.exe"],
)  # fmt: skip
def test_names_lead_nowhere(client, tmp_path, jpeg, name):
    before = everything(tmp_path)
    photo = client.upload(name, jpeg)
    new = everything(tmp_path) - before
    assert new == {f"app/photos/{photo['id']}/{file}" for file in ("file", "photo.json")}
    shown = photo["name"]
    assert ".." not in shown.split("/")
    assert not shown.startswith("/")
    assert len(shown) <= 200
    assert not set(shown) & set('\\\0<>:"|?*\u202e')
    client.draw_all()
    with zipfile.ZipFile(io.BytesIO(client.get("album.zip").content)) as archive:
        assert all(not entry.startswith("/") and ".." not in entry.split("/") for entry in archive.namelist())
    given = client.get(f"photos/{photo['id']}/versions/1/file").headers["content-disposition"]
    assert "/" not in given.partition("''")[0].removeprefix("attachment") or "%2F" not in given


def test_no_path_of_the_server_is_readable(client, jpeg):
    photo = client.upload("a.jpg", jpeg)
    client.draw_all()
    base = f"photos/{photo['id']}"
    for path in (
        "../token", "%2e%2e/token", "..%2ftoken", "photos/../../token", "photos/..%2f..%2ftoken/thumb", "web.py",
        "token", "photos/%2e%2e/thumb", f"{base}/view/photo", f"{base}/view/..%2f..%2ftoken", f"{base}/view/file",
        f"{base}/view/draw-2", f"{base}/view/draw-1%00", f"{base}/file", f"{base}/photo.json",
        f"{base}/view/before/9/9", f"{base}/versions/2/file", "photos/0000000000000000/thumb",
    ):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code in (403, 404), (path, answer.text)
        assert TOKEN not in answer.text
    assert client.get(f"{base}/view/draw-1").status_code == 200


def test_errors_name_the_photograph_and_no_path(client, jpeg, tmp_path):
    photo = client.upload("bad.jpg", jpeg)
    client.draw_all()
    (shown,) = client.get("state").json()["photos"]
    assert shown["versions"][0]["state"] == "failed"
    assert shown["versions"][0]["error"] == "bad.jpg is damaged."
    assert str(tmp_path) not in client.get("state").text
    assert client.post(f"photos/{photo['id']}/salvage").json()["versions"][0]["state"] == "waiting"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, without its pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 50)
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (head, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("huge.png", png_header(20000, 10000), "too large"),
        ("vast.png", png_header(60000, 60000), "too large"),
        (
            "letter.jpg",
            b"Dear reader, this is not a picture",
            "letter.jpg is not a picture; it begins with b'Dear rea'",
        ),
        ("empty.jpg", b"", "empty.jpg is empty"),
        ("page.jpg", b"<!doctype html><script>alert(1)</script>", "is not a picture"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "damaged"),
        ("x.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-5:] else "",
)
def test_what_is_no_photograph_is_refused_in_a_sentence(client, tmp_path, name, content, said):
    answer = client.post("photos", content, params={"name": name})
    assert answer.status_code == 415
    assert said in answer.json()["message"]
    assert everything(tmp_path) == set()
    assert client.get("state").json()["photos"] == []


def test_a_jpeg_of_200_megapixels_is_refused_by_its_header(client, jpeg):
    at = jpeg.index(b"\xff\xc0") + 5
    huge = jpeg[:at] + struct.pack(">HH", 10000, 20000) + jpeg[at + 4 :]
    answer = client.post("photos", huge, params={"name": "huge.jpg"})
    assert answer.status_code == 415
    assert "huge.jpg is too large" in answer.json()["message"]


def test_an_upload_beyond_the_limit_is_stopped(tmp_path, jpeg):
    client = Client(tmp_path / "app", file_bytes=1000)
    claimed = client.post("photos", b"x" * 2000, params={"name": "a.jpg"})
    streamed = client.post("photos", (jpeg[:300] for _ in range(9)), params={"name": "a.jpg"})
    for answer in (claimed, streamed):
        assert answer.status_code == 413
        assert "more than 0 MB" in answer.json()["message"]
    assert everything(tmp_path) == set()


@pytest.mark.slow
def test_a_thousand_files_are_taken_and_shown(client, jpeg):
    for number in range(1000):
        client.upload(f"album/{number:04}.jpg", jpeg)
    state = client.get("state").json()
    assert [photo["name"] for photo in state["photos"]] == [f"album/{number:04}.jpg" for number in range(1000)]
    assert len(state["left"]) == 1000
    again = client.get("state", params={"boot": state["boot"], "since": state["revision"]}).json()
    assert again["photos"] == []
    client.post("cancel")
    assert client.queue.waiting() == []


def test_more_photographs_than_the_limit_are_refused(tmp_path, jpeg):
    client = Client(tmp_path / "app", photos=2, versions=2)
    photo = client.upload("a.jpg", jpeg)
    client.upload("b.jpg", jpeg)
    assert client.post("photos", jpeg, params={"name": "c.jpg"}).status_code == 409
    assert client.post(f"photos/{photo['id']}/versions").status_code == 201
    assert client.post(f"photos/{photo['id']}/versions").status_code == 409


@pytest.mark.parametrize("choices", [{"steps": "0"}, {"steps": "1e9"}, {"seed": "-1"}, {"generator": "../x"},
                                     {"solver": "a b"}, {"quality": "ten"}, {"codec": "x" * 200}])  # fmt: skip
def test_choices_that_cannot_be_right_are_refused(client, jpeg, choices):
    answer = client.post("photos", jpeg, params={"name": "a.jpg", **choices})
    assert answer.status_code == 400
    assert next(iter(choices)) in answer.json()["message"]
    assert client.get("state").json()["photos"] == []


def test_versions_take_the_next_seed_and_the_map_needs_two(client, jpeg):
    photo = client.upload("a.jpg", jpeg, solver="mean")
    base = f"photos/{photo['id']}"
    client.draw_all()
    assert client.get(f"{base}/versions/1/spread").status_code == 409
    seeds = [one["seed"] for one in client.post(f"{base}/versions", params={"solver": "mean"}).json()["versions"]]
    assert seeds == [0, 1]
    other = client.post(f"{base}/versions", params={"solver": "cell", "seed": 7}).json()["versions"][-1]
    assert (other["seed"], other["choices"]["solver"]) == (7, "cell")
    client.draw_all()
    answer = client.get(f"{base}/versions/1/spread")
    assert answer.headers["content-type"] == "image/png"
    assert "Over%202%20versions" in answer.headers["x-words"]
    assert client.get(f"{base}/versions/3/spread").status_code == 409
    client.post(f"{base}/versions/2/remove")
    assert [one["number"] for one in client.get("state").json()["photos"][0]["versions"]] == [1, 3]
    assert not (client.site.album.folder(client.site.album.photos[photo["id"]]) / "draw-2.png").exists()


def test_downloads_are_what_the_dial_says(client, jpeg):
    photo = client.upload("trip/a.jpg", jpeg)
    client.draw_all()
    base = f"photos/{photo['id']}/versions/1"
    folder = client.site.album.folder(client.site.album.photos[photo["id"]])
    assert client.get(f"{base}/file").content == (folder / "draw-1.png").read_bytes()
    assert client.get(f"{base}/file?dial=0").content == (folder / "nearest.png").read_bytes()
    assert client.get(f"{base}/file?dial=40").content == (folder / "blend-1-40.png").read_bytes()
    blends = [asked for asked in client.computer.asked if asked["do"] == "blend"]
    assert [(asked["tradeoff"], asked["layer"]) for asked in blends] == [(0.4, "draw-1")]
    client.get(f"{base}/file?dial=40")
    assert len([asked for asked in client.computer.asked if asked["do"] == "blend"]) == 1
    assert client.get(f"{base}/file?kind=jpeg").content == jpeg
    assert 'filename="a.jpg"' in client.get(f"{base}/file?kind=jpeg").headers["content-disposition"]
    assert client.get(f"{base}/file?kind=certificate&dial=0").json()["exact"]
    assert client.get(f"{base}/file?kind=exe").status_code == 404
    facts = client.get(f"{base}/facts?dial=40").json()
    assert facts["command"] == "idem decode a.jpg --tradeoff 0.4 -o a.png"
    assert dict(facts["facts"])["Proof"].startswith("Compressed again in the same way")


def test_an_album_has_every_photograph_once_by_its_name(client, jpeg):
    assert client.get("album.zip").status_code == 409
    for name in ("x/a.jpg", "x/a.jpeg", "X/A.jpg", "b.jpg", "bad.jpg"):
        client.upload(name, jpeg)
    client.draw_all()
    with zipfile.ZipFile(io.BytesIO(client.get("album.zip").content)) as archive:
        assert archive.testzip() is None
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert names == ["x/a.png", "x/a-2.png", "X/A-3.png", "b.png"]
        assert len(archive.namelist()) == 2 * len(names)


def test_a_restart_finds_all_and_draws_what_was_not_done(client, jpeg, tmp_path):
    first, second = client.upload("a.jpg", jpeg), client.upload("b.jpg", jpeg)
    client.draw_all()
    client.post(f"photos/{second['id']}/versions")
    photo = client.site.album.photos[second["id"]]
    photo.versions[1].state = "running"
    client.site.album.save(photo)
    (tmp_path / "app" / "photos" / second["id"] / ".idem-0.tmp").write_bytes(b"half")
    (tmp_path / "app" / "photos" / ("f" * 16)).mkdir()
    later = Client(tmp_path / "app")
    state = later.get("state", params={"boot": client.site.album.boot, "since": 99}).json()
    assert [photo["id"] for photo in state["photos"]] == [first["id"], second["id"]]
    assert [version["state"] for version in state["photos"][1]["versions"]] == ["done", "waiting"]
    assert later.site.album.unreadable == 1
    assert not any(".tmp" in name for name in everything(tmp_path))


def test_a_removed_photograph_leaves_nothing(client, jpeg, tmp_path):
    photo = client.upload("a.jpg", jpeg)
    before = client.get("state").json()
    client.draw_all()
    client.post(f"photos/{photo['id']}/remove")
    after = client.get("state", params={"boot": before["boot"], "since": before["revision"]}).json()
    assert after["gone"] == [photo["id"]]
    assert everything(tmp_path) == set()
    assert client.get(f"photos/{photo['id']}/thumb").status_code == 404


def test_a_turned_photograph_is_shown_upright(client, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture(0, 60, 40).save(buffer, "JPEG", exif=exif)
    photo = client.upload("a.jpg", buffer.getvalue())
    assert photo["size"] == [40, 60]
    shown = Image.open(io.BytesIO(client.get(f"photos/{photo['id']}/view/before").content))
    assert shown.size == (40, 60)


def test_a_cancelled_version_can_be_tried_again(client, jpeg):
    photo = client.upload("a.jpg", jpeg)
    base = f"photos/{photo['id']}/versions/1"
    assert client.post(f"{base}/cancel").json()["versions"][0]["state"] == "cancelled"
    assert client.queue.waiting() == []
    assert client.post(f"{base}/again").json()["versions"][0]["state"] == "waiting"
    client.draw_all()
    assert client.get("state").json()["photos"][0]["versions"][0]["state"] == "done"


def test_photos_survive_the_way_to_json_and_back():
    photo = Photo("0" * 16, "a.jpg", "jpeg", 3, 1.0, size=(2, 1))
    assert Photo.from_json(json.loads(json.dumps(photo.to_json()))) == photo
    assert SimpleNamespace(**photo.to_json()).size == (2, 1)
