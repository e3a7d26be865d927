"""The view of points in a browser, without a kernel: a stand-in for the model, real pointer events, and what is drawn."""
import json
import os
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[1] / "embgeo_nb" / "widgets_static"
SCENE = dict(points=[[0, 0], [1, 0], [0, 1], [1, 1], [.5, .5]], rows=[10, 11, 12, 13, 14], look=[[0, 0, 60, 1]] * 2 + [[1, 1, 60, 1]] * 3,
             names=[f"datum {row}" for row in range(10, 15)], palette=["#000000", "#0072B2"], axes=["across", "up"], alt="Five points.", lasso=True, pressed="two",
             legend=[dict(name="one", key="one", color="#000000", title="These alone."), dict(name="two", key="two", color="#0072B2"), dict(name="line", color="#999999", line=True)],
             overlay=dict(lines=[dict(x0=0, y0=0, x1=1, y1=1, color="#000000", width=3)], labels=[dict(x=.5, y=.5, text="here")]))
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>points</title><style>{style}</style>
<style>body {{ margin: 0; background: var(--eg-ground); color: var(--ink); --eg-ground: #fff; --ink: #111; width: 620px; }} body.dark {{ --eg-ground: #111; --ink: #ddd; }}</style>
</head><body><div id="at"></div><script type="module">{script}
const given = {scene}, heard = {{}}, view = type => values => new DataView(new type(values.flat()).buffer);
const values = {{ ...given, points: view(Float32Array)(given.points), rows: view(Int32Array)(given.rows), look: view(Uint8Array)(given.look), faded: view(Uint8Array)([]), selected: -1 }};
window.sent = []; window.set = (name, value) => {{ values[name] = name === "faded" ? view(Uint8Array)(value) : value; (heard["change:" + name] || []).forEach(f => f()); }};
render({{ el: document.getElementById("at"), model: {{ get: name => values[name], send: message => window.sent.push(message), on: (name, f) => (heard[name] = heard[name] || []).push(f) }} }});
window.ready = true;</script></body></html>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from browser import Page, chromium
    if not chromium():
        assert os.environ.get("EMBGEO_BROWSER") != "required", "the continuous integration must not pass without a browser"
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("points")
    path = folder / "points.html"
    path.write_text(PAGE.format(style=(STATIC / "explorer.css").read_text(), script=(STATIC / "points.js").read_text(), scene=json.dumps(SCENE)), encoding="utf-8")
    page = Page(folder / "profile", size=(900, 700))
    page.address = path.as_uri()
    yield page
    page.close()


@pytest.fixture
def page(browser):
    browser.driver.get(browser.address)
    browser.until("window.ready")
    browser.until("document.querySelector('canvas').width > 0")
    yield browser
    assert browser.errors() == []


def spot(page, row):
    return page.js("const c = document.querySelector('canvas'); return c.locate(arguments[0])", row)


def actions(page):
    from selenium.webdriver import ActionChains
    return ActionChains(page.driver, duration=20)


def moved(chain, page, x, y):
    canvas = page.driver.find_element("css selector", "canvas")
    return chain.move_to_element_with_offset(canvas, round(x - canvas.size["width"] / 2), round(y - canvas.size["height"] / 2))


def sent(page):
    return page.js("return window.sent.splice(0)")


def test_a_click_picks(page):
    moved(actions(page), page, *spot(page, 13)).click().perform()
    assert sent(page) == [{"event": "pick", "row": 13}]


def around(page, rows, key=None):
    "Draw a square around some points; corners of what was sent, in the coordinates of the data."
    spots = [spot(page, row) for row in rows]
    (x0, x1), (y0, y1) = ((min(axis) - 14, max(axis) + 14) for axis in zip(*spots))
    chain = actions(page)
    if key:
        chain.key_down(key)
    chain = moved(chain, page, x0, y0).click_and_hold()
    for x, y in ((x1, y0), (x1, y1), (x0, y1)):
        chain = moved(chain, page, x, y)
    chain.release()
    if key:
        chain.key_up(key)
    chain.perform()


@pytest.mark.parametrize("how", ["button", "shift", "key"])
def test_drawn_around(page, how):
    import numpy as np
    from selenium.webdriver.common.keys import Keys

    from embgeo_nb.widgets import inside
    if how == "button":
        page.driver.find_element("css selector", ".eg-zoom button:last-child").click()
    if how == "key":
        page.driver.find_element("css selector", "canvas").send_keys("l")
    around(page, [10, 12], Keys.SHIFT if how == "shift" else None)
    [message] = sent(page)
    assert message["event"] == "lasso" and np.flatnonzero(inside(np.array(SCENE["points"]), message["loop"])).tolist() == [0, 2]
    assert page.driver.find_element("css selector", ".eg-zoom button:last-child").get_attribute("aria-pressed") == "false"
    page.driver.find_element("css selector", "canvas").send_keys(Keys.ESCAPE)
    assert sent(page) == [{"event": "lasso", "loop": []}]


def test_a_drag_moves_and_draws_around_nothing(page):
    before = spot(page, 14)
    moved(moved(actions(page), page, 300, 200).click_and_hold(), page, 340, 220).release().perform()
    after = spot(page, 14)
    assert sent(page) == [] and after[0] - before[0] == pytest.approx(40, abs=2) and after[1] - before[1] == pytest.approx(20, abs=2)


def wheel(page, x, y, by):
    page.js("const c = document.querySelector('canvas'), b = c.getBoundingClientRect(); c.dispatchEvent(new WheelEvent('wheel', "
            "{ deltaY: arguments[2], clientX: b.left + arguments[0], clientY: b.top + arguments[1], bubbles: true, cancelable: true }))", x, y, by)


def test_the_wheel_zooms_where_it_points_once_clicked(page):
    x, y = spot(page, 13)
    before = spot(page, 10)
    wheel(page, x, y, -400)
    assert spot(page, 10) == before                                # a page that scrolls past is not held up
    moved(actions(page), page, 40, 40).click().perform()
    sent(page)
    wheel(page, x, y, -400)
    assert spot(page, 13) == pytest.approx([x, y], abs=1.5) and spot(page, 10)[0] < before[0] - 50


def test_the_legend_is_a_choice(page):
    buttons = page.driver.find_elements("css selector", ".eg-legend button")
    assert [button.text.split()[-1] for button in buttons] == ["one", "two"] and [button.get_attribute("aria-pressed") for button in buttons] == ["false", "true"]
    buttons[0].click()
    assert sent(page) == [{"event": "legend", "key": "one"}]


def luminance(page, x, y):
    return page.js("const c = document.querySelector('canvas'), r = window.devicePixelRatio, d = c.getContext('2d').getImageData(arguments[0] * r, arguments[1] * r, 1, 1).data; "
                   "return (.2126 * d[0] + .7152 * d[1] + .0722 * d[2]) / 255", x, y)


def test_light_and_dark(page):
    x, y = spot(page, 10)
    assert luminance(page, 5, 5) > .99 and luminance(page, x, y) < .4                 # a black point on white
    page.js("document.body.classList.add('dark')")
    page.until("document.querySelector('.eg-points').classList.contains('eg-dark')")
    assert luminance(page, 5, 5) < .1 and luminance(page, x, y) > .5                 # nearly white on nearly black
    page.js("document.body.classList.remove('dark')")
    page.until("!document.querySelector('.eg-points').classList.contains('eg-dark')")
    assert luminance(page, 5, 5) > .99


def test_faded_points_are_not_picked(page):
    page.js("window.set('faded', [0, 0, 0, 1, 0])")
    moved(actions(page), page, *spot(page, 13)).click().perform()
    assert sent(page) == [{"event": "lasso", "loop": []}]
