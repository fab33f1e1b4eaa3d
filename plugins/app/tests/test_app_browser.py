"""The page in headless Chromium: everything that a user does with it."""

from __future__ import annotations

import io
import json
import re
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
LONG = 60_000
"""Milliseconds: the machine may be busy."""


@pytest.fixture
def page(chromium, app):
    """The app's page with quick settings, the errors of which are the test's."""
    with opened(chromium, app) as page:
        yield page


class opened:
    """A tab of its own, in a window of its own."""

    def __init__(self, chromium, app, **window):
        self.context = chromium.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True, **window)
        self.context.set_default_timeout(LONG)
        self.app, self.errors = app, []

    def __enter__(self):
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if "Content Security" in said.text else None)
        page.app_folder = self.app.folder
        page.goto(self.app.address)
        page.evaluate("() => { localStorage.setItem('idem-generator', 'toy'); }")
        page.reload()
        page.locator("#generator option").first.wait_for(state="attached")
        page.evaluate("() => { document.getElementById('steps').value = 2; }")
        return page

    def __exit__(self, *_):
        self.context.close()
        assert not self.errors


def restored(page, paths):
    """Adds photographs, and waits until all of them are restored."""
    page.set_input_files("#files", [str(path) for path in paths])
    page.locator(".status.done").nth(len(paths) - 1).wait_for()


def scale(page):
    return page.evaluate("() => view.scale")


def test_dropped_photographs_are_restored_with_progress(page, photos):
    content = [[path.name, list(path.read_bytes())] for path in photos]
    page.evaluate("""(content) => {
        const carried = new DataTransfer();
        for (const [name, bytes] of content) carried.items.add(new File([new Uint8Array(bytes)], name));
        dispatchEvent(new DragEvent("dragenter", { dataTransfer: carried, bubbles: true }));
        if (document.getElementById("drop").hidden) throw new Error("nothing invites to drop");
        dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
    }""", content)  # fmt: skip
    page.locator("#progress").wait_for()
    assert page.locator("#drop").is_hidden()
    page.locator(".status.running").first.wait_for()
    assert "left" in page.locator("#queue").text_content()
    page.locator(".status.done").nth(2).wait_for()
    assert [one.text_content() for one in page.locator(".card .name").all()] == [path.name for path in photos]
    assert page.locator("#queue").text_content() == "3 of 3 restored"
    assert "exactly the data of one.jpg" in page.locator("#facts").text_content()
    assert page.locator("#command").text_content().startswith("idem decode one.jpg --generator toy")


def test_the_divider_moves_by_mouse_and_by_key(page, photos):
    restored(page, photos[:1])
    page.locator("#handle").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#handle").get_attribute("aria-valuenow") == "46"
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.46 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20, steps=3)
    page.mouse.up()
    assert page.locator("#handle").get_attribute("aria-valuenow") == "80"
    assert "80%" in page.locator(".clip").evaluate("node => node.style.clipPath")


def test_zoom_and_pan_move_all_layers_together(page, photos):
    restored(page, photos[:1])
    page.locator("[data-mode=beside]").click()
    fitted = scale(page)
    page.locator("#stage").focus()
    page.keyboard.press("+")
    assert scale(page) == pytest.approx(1.5 * fitted)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 90, steps=3)
    page.mouse.up()
    moved = {node.evaluate("node => node.style.transform") for node in page.locator(".world").all()}
    assert len(moved) == 1
    assert "translate(-" in moved.pop()
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(fitted)
    page.mouse.dblclick(box["x"] + 50, box["y"] + 50)
    assert scale(page) == pytest.approx(2 * fitted)
    assert page.locator("#zoom-text").text_content() == f"{round(200 * fitted)} %"


def test_the_dial_blends_at_once_and_its_download_is_certified(page, photos):
    restored(page, photos[:1])
    page.locator("#dial").focus()
    page.keyboard.press("Home")
    drawn = page.locator("[data-layer=draw-1]")
    assert drawn.evaluate("node => node.style.opacity") == "0"
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert drawn.evaluate("node => node.style.opacity") == "0.4"
    assert page.locator("#dial").get_attribute("aria-valuetext") == "40 % natural"
    page.locator("#command", has_text="--tradeoff 0.4").wait_for()
    with page.expect_download() as downloading:
        page.locator("#png").click()
    assert downloading.value.suggested_filename == "one.png"
    blend = np.asarray(Image.open(downloading.value.path())).astype(float)
    with page.expect_download() as downloading:
        page.locator("#certificate").click()
    certificate = json.loads(downloading.value.path().read_text())
    assert certificate["exact"]
    assert (certificate["tradeoff"], certificate["generator"]["name"]) == (0.4, "toy")
    (folder,) = (page.app_folder / "photos").iterdir()
    ends = [np.asarray(Image.open(folder / f"{name}.png")).astype(float) for name in ("nearest", "draw-1")]
    assert np.abs(blend - (0.6 * ends[0] + 0.4 * ends[1])).mean() < 2


def test_another_version_is_shown_beside_and_how_sure(page, photos):
    restored(page, photos[:1])
    page.locator("#sure").click()
    page.locator("#sure-text", has_text="Draw another version first").wait_for()
    page.locator("#another").click()
    page.locator("#versions button").nth(1).wait_for()
    page.locator("[data-mode=versions]").click()
    assert page.locator(".pane").count() == 2
    page.locator("#versions button").nth(1).click()
    page.locator(".layer .spread").nth(1).wait_for()
    assert "Over 2 versions" in page.locator("#sure-text").text_content()
    page.locator("#command", has_text="--seed 1").wait_for()
    page.locator("#drop-version").click()
    page.locator("#versions button").nth(1).wait_for(state="detached")


def test_cancel_and_try_again(page, photos, app):
    page.evaluate("() => { document.getElementById('steps').value = 3000; }")
    page.set_input_files("#files", [str(path) for path in photos])
    page.locator(".status.running").first.wait_for()
    page.locator("#stage-text", has_text="drawing").wait_for()
    page.locator("#cancel").click()
    page.locator("#failure-text", has_text="Cancelled").wait_for()
    page.locator("#cancel-all").click()
    page.locator(".status.cancelled").nth(2).wait_for()
    assert page.locator("#again").is_visible()
    assert app.get("state")["running"] is None


def test_jpeg_and_album_are_downloaded(page, photos):
    restored(page, photos)
    page.locator(".card").nth(1).click()
    page.locator("#title", has_text="two.jpg").wait_for()
    page.wait_for_timeout(300)
    with page.expect_download() as downloading:
        page.locator("#jpeg").click()
    assert downloading.value.suggested_filename == "two.jpg"
    assert downloading.value.path().read_bytes() == photos[1].read_bytes()
    with page.expect_download() as downloading:
        page.locator("#album").click()
    with zipfile.ZipFile(downloading.value.path()) as archive:
        assert archive.testzip() is None
        names = sorted(archive.namelist())
        assert names == sorted(f"{path.stem}{suffix}" for path in photos for suffix in (".png", ".certificate.json"))
        assert Image.open(io.BytesIO(archive.read("one.png"))).size == (96, 64)


def test_a_restart_loses_nothing_and_open_pages_go_on(page, photos, app):
    restored(page, photos[:1])
    page.evaluate("() => { document.getElementById('steps').value = 3000; }")
    page.set_input_files("#files", [str(photos[1])])
    page.locator(".status.running").wait_for()
    address = app.address
    app.stop(signal.SIGKILL)
    page.locator("#offline").wait_for()
    app.start()
    assert app.address == address
    page.locator("#offline").wait_for(state="hidden")
    page.locator(".status.running").wait_for()
    assert page.locator(".card").count() == 2
    assert page.locator(".status.done").count() == 1


def test_two_tabs_show_the_same(page, photos, chromium, app):
    with opened(chromium, app) as other:
        restored(page, photos[:2])
        other.locator(".status.done").nth(1).wait_for()
        other.locator("#remove").click()
        page.locator(".card").nth(1).wait_for(state="detached")
        assert page.locator(".card .name").text_content() == other.locator(".card .name").text_content()


def test_phone_width_has_nothing_wider_than_the_window(page, photos, chromium, app):
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    restored(page, photos[:1])
    for mode in ("slider", "beside", "versions"):
        page.locator(f"[data-mode={mode}]").click()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_everything_has_a_name_for_screen_readers(page, photos):
    restored(page, photos[:1])
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, a, input, select, [role], progress")]
        .filter((node) => node.checkVisibility() && !node.ariaHidden)
        .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length || node.role === "status"))
        .map((node) => node.outerHTML)""")
    assert nameless == []
    assert page.evaluate("() => document.documentElement.lang") == "en"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, paper = page.evaluate(
            "() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
        assert (light[0] < light[1]) == (scheme == "light")


def test_large_photographs_come_as_a_small_copy_and_pieces(page, tmp_path, picture):
    path = tmp_path / "large.jpg"
    picture(0, 200, 60).resize((2000, 600), Image.Resampling.BICUBIC).save(path, quality=30)
    page.set_input_files("#files", [str(path)])
    first = page.locator("[data-layer=before] img").first
    first.evaluate("node => node.decode()")
    assert first.evaluate("node => node.naturalWidth") == 1600
    page.locator("#stage-text", has_text="drawing").wait_for()
    page.locator("[data-zoom=one]").click()
    piece = page.locator("[data-layer=before] img").nth(1)
    piece.wait_for()
    piece.evaluate("node => node.decode()")
    assert piece.evaluate("node => [node.naturalWidth, node.naturalHeight]") == [1024, 600]
    page.locator("#cancel").click()


def test_text_named_as_a_jpeg_is_refused_in_a_sentence(page, tmp_path):
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader <b>bold</b>")
    page.set_input_files("#files", [str(path)])
    said = page.locator("#refused li")
    said.wait_for()
    assert "letter.jpg is not a picture; it begins with b'Dear rea'" in said.text_content()
    said.locator("button").click()
    assert page.locator("#refused li").count() == 0
    assert page.locator(".card").count() == 0


def test_what_is_left_of_a_cut_file_is_restored(page, photos, tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(photos[0].read_bytes()[:-100])
    page.set_input_files("#files", [str(path)])
    page.locator("#salvage").wait_for()
    page.locator("#salvage").click()
    page.locator(".status.done").wait_for()
    assert "--salvage" in page.locator("#command").text_content()
