"""The page in headless Chromium, from file://: charts, tables and the viewer, by mouse and by keyboard."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

ROWS = "[...document.querySelectorAll('#{}-table tbody tr')].map(row => row.cells[{}].textContent)"
BOX = "(b => [b.left, b.top, b.width, b.height])(document.querySelector('{}').getBoundingClientRect())"


@pytest.fixture
def page(idem, store, tmp_path, browser):
    """The browser with the report of the store in it."""
    assert idem("report", store, "-o", tmp_path / "site").exit_code == 0
    browser.site = tmp_path / "site" / "index.html"
    browser.open(browser.site)
    return browser


def column(page, table, index):
    return page.run(ROWS.format(table, index))


def scale(page):
    return page.run("view.scale")


def test_nothing_is_wider_than_the_window_and_no_script_of_a_name_runs(page):
    for width in (1280, 390, 320):
        page.open(page.site, width, 800)
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelectorAll('img[src=x], main b:not(.tag b)').length") == 0
    assert page.run("[...document.images].every(image => image.complete && image.naturalWidth)")


def test_a_column_sorts_both_ways_by_number(page):
    for table, index in (("configurations", 3), ("runs", 5)):
        page.run(f"document.querySelectorAll('#{table}-table thead th')[{index}].querySelector('button').focus()")
        page.key("Enter")
        falling = [float(text.split(" ")[0]) for text in column(page, table, index)]
        assert falling == sorted(falling, reverse=True)
        assert len(set(falling)) > 2
        assert page.run(f"document.querySelectorAll('#{table}-table thead th')[{index}].ariaSort") == "descending"
        page.key("Enter")
        rising = [float(text.split(" ")[0]) for text in column(page, table, index)]
        assert rising == sorted(falling)


def test_missing_values_sort_last_both_ways(page):
    head = "#configurations-table thead th:nth-child(6) button"
    for _ in range(2):
        page.click(head)
        assert column(page, "configurations", 5)[-4:] == ["–"] * 4


def test_filters_take_words_and_bounds(page):
    def kept(table, text):
        page.run(f"(() => {{ const box = document.querySelector('[data-filter={table}-table]'); box.value = {text!r}; "
                 "box.dispatchEvent(new Event('input')); })()")  # fmt: skip
        return len(column(page, table, 0))

    assert kept("configurations", "elic cell") == 2
    assert kept("configurations", "psnr>23") == 4
    assert kept("configurations", "nfe<=12 jpeg") == 2
    assert kept("runs", "c.png dps not-exact") == 4
    assert page.text("[data-filter=runs-table] + .count") == "4 of 48"
    assert kept("runs", "") == 48


def test_a_legend_entry_hides_its_curve_everywhere(page):
    curves = "[...document.querySelectorAll('.chart [data-curve=\"1\"]')]"
    hidden = f"{curves}.filter(curve => getComputedStyle(curve).display === 'none').length"
    total = page.run("document.querySelectorAll('.chart [data-curve=\"1\"]').length")
    assert page.run(hidden) == 0
    page.click(".switch[data-curve='1']")
    assert page.run(hidden) == total > 2
    page.click(".switch[data-curve='1']")
    assert page.run(hidden) == 0


def test_a_panel_shows_the_chosen_metric(page):
    page.run("(() => { const s = [...document.querySelectorAll('.panel select')].pop(); s.selectedIndex = 1; "
             "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    shown = "[...document.querySelectorAll('.panel')].pop().querySelectorAll('.figure:not([hidden])')"
    assert page.run(f"{shown}.length") == 1
    assert page.run(f"{shown}[0].querySelector('.title').textContent").startswith("Network passes")


def test_the_slider_follows_mouse_and_arrows(page):
    page.run("document.querySelector('#pictures').scrollIntoView()")
    left, top, width, height = page.run(BOX.format("#stage"))
    page.mouse("mousePressed", left + width / 2, top + height / 2)
    page.mouse("mouseMoved", left + width / 4, top + height / 2)
    page.mouse("mouseReleased", left + width / 4, top + height / 2)
    assert page.run("state.divider") == pytest.approx(25, abs=0.5)
    assert page.run("$('layer-b').style.clipPath") == "inset(0px 0px 0px 25%)"
    page.run("$('handle').focus()")
    page.key("ArrowRight")
    assert page.run("Number($('handle').ariaValueNow)") == 27


def test_zoom_and_pan_are_the_same_in_both_panes(page):
    page.run("$('stage').focus()")
    page.key("b")
    fitted = scale(page)
    page.key("+")
    assert scale(page) == pytest.approx(1.5 * fitted)
    page.key("ArrowRight")
    transforms = page.run("['image-a', 'image-c'].map(id => $(id).style.transform)")
    assert transforms[0] == transforms[1]
    assert page.run("$('image-a').src !== $('image-c').src")
    page.key("0")
    assert scale(page) == pytest.approx(fitted)


def test_the_wheel_zooms_about_the_mouse(page):
    page.run("document.querySelector('#pictures').scrollIntoView()")
    page.run("setMode('slider')")
    left, top, width, height = page.run(BOX.format("#stage"))
    x, y = width / 2 + 30, height / 2 - 20
    under = f"[({x} - view.x) / view.scale, ({y} - view.y) / view.scale]"
    before, point = scale(page), page.run(under)
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=left + x, y=top + y, deltaX=0, deltaY=-200, modifiers=2)
    assert page.run("new Promise(done => setTimeout(() => done(view.scale), 200))") > 1.5 * before
    assert page.run(under) == pytest.approx(point, abs=1)


def test_two_fingers_zoom_on_a_phone(page):
    page.open(page.site, 390, 800)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    page.run("$('stage').scrollIntoView({ block: 'center' })")
    left, top, width, height = page.run(BOX.format("#stage"))
    fitted = scale(page)

    def touch(kind, apart):
        middle = left + width / 2, top + height / 2
        points = [{"x": middle[0] + sign * apart, "y": middle[1], "id": n} for n, sign in enumerate((-1, 1))]
        page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points if kind != "touchEnd" else [])

    touch("touchStart", 20)
    for apart in (30, 40, 60):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert scale(page) > 2 * fitted


def test_difference_is_black_for_equal_pictures_only(page):
    def brightest():
        page.run("Promise.all([$('image-a').decode(), $('image-b').decode()]).then(() => true)")
        page.run("$('stage').scrollIntoView({ block: 'center' })")
        left, top, width, height = page.run(BOX.format("#pane-a"))
        shot = Image.open(io.BytesIO(base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])))
        inside = shot.convert("RGB").crop((int(left) + 9, int(top) + 9, int(left + width) - 9, int(top + 0.8 * height)))
        return max(high for _, high in inside.getextrema())

    page.run("setMode('difference')")
    assert brightest() > 50
    page.run("state.a = { ...state.b }; render()")
    assert brightest() == 0


def test_runs_and_points_open_their_pictures(page):
    row = "c.pngjpeg (quality 2) · toy + cell1"
    page.run(f"[...document.querySelectorAll('#runs-table tbody tr')].find(r => r.textContent.startsWith('{row}'))"
             ".querySelector('.open').click()")  # fmt: skip
    assert page.text("#tag-b") == "B jpeg (quality 2) · toy + cell, seed 1"
    assert page.text("#tag-a") == "A jpeg (quality 2) · plain decode"
    assert page.text("#facts h3") == "c.png, 48 × 32 pixels"
    assert page.text("#facts .badge") == "byte-exact"
    assert page.text("#facts .command code") == "idem run 'c.png' --codec jpeg"
    assert page.run("document.querySelectorAll('#facts .occupancy rect').length") == 5
    page.run("document.querySelector('.chart .mark[data-configuration=\"4\"]').dispatchEvent(new Event('click'))")
    assert page.text("#tag-b") == "B elic (quality 1) · toy + dps"
    assert page.text("#facts .badge") == "not exact: 3 symbols differ"


def test_keys_change_image_and_sides(page):
    first, a = page.text("#facts h3"), page.text("#tag-a")
    page.run("$('stage').focus()")
    page.key("n")
    assert page.text("#facts h3") != first
    page.key("p")
    assert page.text("#facts h3") == first
    page.key("x")
    assert page.text("#tag-b") == a.replace("A ", "B ", 1)
    page.key("f")
    assert page.run("$('tag-a').hidden") is False
    page.key("f")
    assert page.run("$('tag-a').hidden") is True


def test_the_theme_follows_the_system_until_it_is_chosen(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.run(colour)
    page.open(page.site, dark=True)
    dark = page.run(colour)
    assert dark != light
    page.click("#theme")
    assert page.run(colour) == light
    page.open(page.site, dark=True)
    assert page.run(colour) == light
