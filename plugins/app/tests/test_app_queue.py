"""What is drawn when something goes wrong: numbers, full disks, cancelling, and a worker that dies."""

from __future__ import annotations

import asyncio

import pytest

from idemcore.errors import IdemError
from idemcore_app.album import Album
from idemcore_app.computing import Computer, Failed


def test_no_number_is_given_twice_as_browsers_keep_pictures(client, jpeg):
    photo = client.upload("a.jpg", jpeg)
    base = f"photos/{photo['id']}"
    client.post(f"{base}/versions")
    client.draw_all()
    assert client.get(f"{base}/versions/1/spread").status_code == 200
    client.post(f"{base}/versions/2/remove")
    folder = client.site.album.folder(client.site.album.photos[photo["id"]])
    assert not list(folder.glob("view-spread-*"))
    assert client.post(f"{base}/versions").json()["versions"][-1]["number"] == 3
    assert Album(folder.parent.parent).photos[photo["id"]].drawn == 3


def test_a_photograph_that_cannot_be_kept_does_not_stop_the_next(client, jpeg, monkeypatch):
    first, second = (client.upload(name, jpeg)["id"] for name in ("a.jpg", "b.jpg"))
    save = Album.save

    def cannot(album, photo):
        if photo.id == first:
            raise IdemError("Cannot write photo.json: no space left on device.")
        save(album, photo)

    async def run():
        drawing = asyncio.ensure_future(client.queue.run())
        while client.queue.waiting() or client.queue.now:
            await asyncio.sleep(0.01)
        drawing.cancel()

    monkeypatch.setattr(Album, "save", cannot)
    asyncio.run(run())
    photos = client.site.album.photos
    assert [photos[id].versions[0].state for id in (first, second)] == ["done", "done"]
    client.post(f"photos/{second}/versions")
    monkeypatch.setattr(client.queue, "_done", lambda *_: 1 / 0)
    asyncio.run(run())
    assert photos[second].versions[1].state == "failed"
    assert "ZeroDivisionError" in photos[second].versions[1].error


def test_what_is_cancelled_before_its_turn_is_not_begun():
    computer = Computer({})

    async def run():
        async with computer.turn:
            wanted = {"draw": True}
            asked = asyncio.ensure_future(computer.ask({"do": "draw"}, wanted=lambda: wanted["draw"]))
            await asyncio.sleep(0)
            wanted["draw"] = False
            await computer.cancel()  # the turn is another's, which goes on
        with pytest.raises(Failed) as failed:
            await asked
        assert failed.value.cancelled

    asyncio.run(run())
    assert computer.process is None, "no worker was started"


def test_choices_are_asked_for_again_after_a_failure(client):
    ask = client.computer.ask

    async def dies(request, *_):
        raise Failed("The process that draws was ended by the system.")

    client.computer.ask = dies
    answer = client.get("choices")
    assert (answer.status_code, "ended by the system" in answer.json()["message"]) == (503, True)
    client.computer.ask = ask
    assert client.get("choices").status_code == 200
