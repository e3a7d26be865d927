"""A page about a comparison: whole, escaped, readable by everyone, and alone in the world."""
import json
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from embgeo_nb.comparison import Comparison, compare
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.manifold import model_distance, model_manifold
from embgeo_nb.omnibus import omnibus
from embgeo_nb.report import changed_neighbors, page, plain, write_map, write_report

VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = ["</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 2'>", '" onmouseover="window.hacked = 3',
           "<!-- <script>", "$\\frac{", "&lt;b&gt;", "\x00\x1b[31m\ud800", "]]>", "{title}", "a\u202eb"]


def views(n=200, seed=0):
    rng = np.random.default_rng(seed)
    X = 2 * rng.normal(size=(5, 12))[np.arange(n) % 5] + rng.normal(size=(n, 12))
    order = np.r_[np.roll(np.arange(10), 1), np.arange(10, n)]
    see = lambda X: (X @ rng.normal(size=(12, 32)) + rng.normal(size=(n, 32))).astype(np.float32)
    return see(X), see(X[order])


@pytest.fixture(scope="module")
def C():
    "Every text, id, label and name of a model is an attack."
    before, after = views()
    hostile = lambda i, what: f"{what} {i} {HOSTILE[i % len(HOSTILE)]}"
    names = [hostile(0, "old"), hostile(1, "new")]
    emb = Embeddings(dict(zip(names, (before, after))), ids=[hostile(i, "id").replace("\ud800", "") for i in range(200)],
                     data=[hostile(i, "text") for i in range(200)], labels=[hostile(i % 10, "label") for i in range(200)])
    return compare(emb, *names, n_neighbors=12, n_rotations=1)


@pytest.fixture(scope="module")
def path(C, tmp_path_factory):
    return write_report(C, tmp_path_factory.mktemp("report") / "report.html", top=30)


@pytest.fixture(scope="module")
def text(path):
    return path.read_text(encoding="utf-8")


class Strict(HTMLParser):
    "Complains of tags that are not closed in their order and of ids that occur twice."
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.ids = [], [], [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert attributes.get("id") not in self.ids - {None}
        self.ids.add(attributes.get("id"))
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> inside <{self.open[-1] if self.open else None}>"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def parsed(text):
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_whole_and_closed(text, C):
    found = parsed(text)
    tags = [tag for tag, _ in found.tags]
    assert text.startswith("<!doctype html>") and tags.count("main") == tags.count("h1") == tags.count("title") == 1
    assert ("html", {"lang": "en"}) in found.tags and ("meta", {"charset": "utf-8"}) in found.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in found.tags)
    assert tags.count("details") == 30 and tags.count("script") == 2
    shown = "".join(found.text)
    for part in (C.verdict, C.summary()["signature"], *(f"p {name}" for name in C.pvalues), "only in", "recommended here"):
        assert part.replace("\x00", "\ufffd") in shown
    assert shown.index(C.verdict) < shown.index("Four questions") < shown.index("Moved most")


def test_html5_has_no_errors(text):
    html5lib = pytest.importorskip("bleach._vendor.html5lib")
    parser = html5lib.HTMLParser()
    parser.parse(text)
    assert parser.errors == []


def test_nothing_from_outside(text):
    for tag, attributes in parsed(text).tags:
        assert not {"href", "srcset", "action", "data", "poster", "background"} & set(attributes), tag
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert not any(name.startswith("on") for name in attributes) and "style" not in attributes
    assert not re.search(r"(https?:)?//[\w.]+|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert "default-src 'none'" in text


def test_texts_are_shown_as_they_are(text, C):
    shown = "".join(parsed(text).text)
    for i in C.order[:30]:
        for value in (C.ids[i], C.data[i], C.labels[i]):
            assert re.sub("[\x00-\x08\x1b\ud800]", "\ufffd", str(value)) in shown
    tags = [tag for tag, _ in parsed(text).tags]
    assert tags.count("img") == 1 and tags.count("script") == 2 and "b" not in tags and "\x00" not in text


def test_summary_is_in_the_page(text, C):
    block = re.search(r'<script type="application/json" id="summary">\n(.*?)\n</script>', text, re.S)[1]
    assert json.loads(block) == json.loads(json.dumps(C.summary())) and "<" not in block


def test_numbers_no_json_knows():
    text = page("t", "", {"a": [float("nan"), {"b": float("-inf")}], "c": 1.5})
    assert json.loads(re.search(r'id="summary">\n(.*?)\n</script>', text, re.S)[1]) == {"a": [None, {"b": None}], "c": 1.5}


def test_table_is_ranked_and_complete(text, C):
    body = text.split('id="search"')[1].split("<tbody>")[1].split("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    ids = [unescape(re.search(r'<th scope="row" dir="auto">(.*?)</th>', row, re.S)[1]) for row in rows]
    assert ids == [unescape(plain(C.ids[i], 120)) for i in C.order[:30]]
    for row, i in zip(rows, C.order):
        values = [float(value) for value in re.findall(r'data-value="(.*?)"', row)]
        assert values == pytest.approx([ids.index(unescape(plain(C.ids[i], 120))) + 1, C.score[i], C.qvalue[i], *(p[i] for p in C.pvalues.values())], rel=1e-9)


def test_neighbours_are_on_the_right_side(C):
    first, second = (C.test.graphs[name].toarray() > 0 for name in C.models)
    for i in C.order[:10]:
        lost, gained = changed_neighbors(C, int(i))
        assert set(lost) == set(np.flatnonzero(first[i] & ~second[i])) and set(gained) == set(np.flatnonzero(second[i] & ~first[i]))
        share = dict(zip(C.explain(int(i)).neighbors.tolist(), C.explain(int(i)).share))
        for side in (lost, gained):
            assert [share[j] for j in side] == sorted((share[j] for j in side), reverse=True)


def test_copies_show_their_first_ones_neighbours(tmp_path):
    before, after = views()
    stacked = [np.concatenate([Y, Y[:5]]) for Y in (before, after)]
    C = compare(dict(zip("ab", stacked)), "a", "b", n_neighbors=12, n_rotations=1)
    assert C.n_copies == 5
    assert all((one == other).all() for one, other in zip(changed_neighbors(C, 0), changed_neighbors(C, 200)))
    assert f"Copies that no model tells apart: {C.n_copies};" in C.verdict and C.verdict in write_report(C, tmp_path / "copies.html", top=10).read_text(encoding="utf-8")


@pytest.mark.parametrize("ids", [range(1000, 1200), range(200)[::-1], [f"d{i}" for i in range(200)]], ids=["large", "reversed", "texts"])
def test_rows_are_not_taken_for_ids(tmp_path, ids):
    "Integers that are ids, as an index of vectors has them, name a datum and not a row."
    C = compare(Embeddings(dict(zip("ab", views())), ids=list(ids)), "a", "b", n_neighbors=12, n_rotations=1)
    first, second = (C.test.graphs[name].toarray() > 0 for name in C.models)
    for i in C.order[:5].tolist():
        lost, gained = changed_neighbors(C, C.ids[i])
        assert set(lost) == set(np.flatnonzero(first[i] & ~second[i])) and set(gained) == set(np.flatnonzero(second[i] & ~first[i]))
    text = write_report(C, tmp_path / "ids.html", top=5).read_text(encoding="utf-8")
    shown = unescape(text.split("<details")[1])
    wanted = [str(C.ids[j]) for side in changed_neighbors(C, C.ids[C.order[0]]) for j in side]
    listed = re.findall(r'<li dir="auto">(.*?)</li>', shown.split("</details>")[0])
    assert listed and set(listed) <= set(wanted)


def test_without_labels_and_texts(C, tmp_path):
    bare = replace(C, labels=None, data=None)
    text = write_report(bare, tmp_path / "bare.html", top=500).read_text(encoding="utf-8")
    parsed(text)
    assert "By label" not in text and "All 200 data" in text and text.count("<details>") == 200


def test_images_are_no_texts(C, tmp_path):
    text = write_report(replace(C, data=[np.zeros((2, 2))] * 200), tmp_path / "images.html", top=3).read_text(encoding="utf-8")
    assert "array(" not in text


def test_equal_models_and_reruns(tmp_path):
    Y, other = views()
    same = write_report(compare({"a": Y, "b": Y.copy()}, "a", "b", n_rotations=1), tmp_path / "same.html", top=5).read_text(encoding="utf-8")
    assert "represent all 200 data alike" in same and "0 neighbours lost, 0 gained" in same
    rng = np.random.default_rng(0)
    runs = {f"{name}{t}": Z + 0.3 * rng.normal(size=Z.shape) for name, Z in (("a", Y), ("b", other)) for t in range(4)}
    C = compare(runs, ["a0", "a1", "a2", "a3"], ["b0", "b1", "b2", "b3"], n_neighbors=12)
    text = write_report(C, tmp_path / "runs.html", top=5).read_text(encoding="utf-8")
    parsed(text)
    assert f"more often in {C.models[0]}" in text and "reruns are the better yardstick" in text


def test_same_bytes_and_after_loading(C, path, tmp_path):
    assert write_report(C, tmp_path / "again.html", top=30).read_bytes() == path.read_bytes()
    before, after = views()
    plain_one = compare(Embeddings({"a": before, "b": after}, data=[f"t{i}" for i in range(200)], labels=[f"l{i % 3}" for i in range(200)]), "a", "b", n_rotations=1)
    loaded = Comparison.load(plain_one.save(tmp_path / "c.npz"))
    assert loaded.report(tmp_path / "l.html", top=9).read_bytes() == plain_one.report(tmp_path / "p.html", top=9).read_bytes()


def test_replaced_whole_or_not_at_all(C, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("as it was")
    monkeypatch.setattr("embgeo_nb.report._PAGE", "{nothing of the kind}")
    with pytest.raises(KeyError):
        write_report(C, path, top=1)
    assert path.read_text() == "as it was" and [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.fixture(scope="module")
def map_page(tmp_path_factory):
    rng = np.random.default_rng(0)
    Y = views()[0]
    D = model_distance(omnibus({f"model {t} {HOSTILE[t]}": Y + t * rng.normal(size=Y.shape) for t in range(4)}, n_neighbors=12))
    return write_map(model_manifold(D), D, tmp_path_factory.mktemp("map") / "map.html"), D


def test_map(map_page):
    path, D = map_page
    found = parsed(path.read_text(encoding="utf-8"))
    shown = "".join(found.text)
    assert all(name in shown for name in D.models)
    off = np.where(np.eye(4, dtype=bool), np.inf, D.matrix)
    values = [float(attributes["data-value"]) for tag, attributes in found.tags if tag == "td" and "data-value" in attributes]
    assert values[::4] == pytest.approx(off.min(1)) and values[1::4] == pytest.approx(D.matrix.sum(1) / 3)


# In a browser ---------------------------------------------------------------------------------------------------------

def axe_script():
    "axe-core, where somebody has put it: npm install axe-core."
    roots = [os.environ.get("AXE_CORE", ""), Path.cwd() / "node_modules" / "axe-core", "/usr/share/nodejs/axe-core", "/usr/lib/node_modules/axe-core"]
    return next((Path(root) / "axe.min.js" for root in roots if root and (Path(root) / "axe.min.js").is_file()), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from browser import Page, chromium
    if not chromium():
        assert os.environ.get("EMBGEO_BROWSER") != "required", "the continuous integration must not pass without a browser"
        pytest.skip("no Chromium here")
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


def opened(browser, path, mode="light"):
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": mode}]})
    browser.driver.get(path if isinstance(path, str) else path.resolve().as_uri())
    return browser


@contextmanager
def served(path):
    "The address of a file on a server of this machine, and what else it was asked for."
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(path.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{path.name}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("which", ["comparison", "map"])
def test_over_http(browser, path, map_page, which):
    "From a server as from the disk: one request, no error, the table in place."
    with served(path if which == "comparison" else map_page[0]) as (address, asked):
        opened(browser, address)
        assert browser.js("return document.querySelectorAll('tbody tr').length") > 3
        assert browser.js("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
        assert browser.errors() == [] and set(asked) == {"/" + address.rpartition("/")[2]}


def test_nothing_runs_and_nothing_is_asked_for(browser, path):
    opened(browser, path)
    assert browser.js("return window.hacked") is None and browser.errors() == []
    assert browser.js("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    assert browser.js("const image = document.querySelector('figure img'); return image.complete && image.naturalWidth > 500 && image.alt.length > 50")
    assert browser.js("return JSON.parse(document.getElementById('summary').textContent).n") == 200


def test_an_injected_script_would_not_run(browser, tmp_path):
    "Should the escaping fail one day, the policy still holds."
    path = tmp_path / "broken.html"
    path.write_text(page("t", "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>", {}), encoding="utf-8")
    opened(browser, path)
    assert browser.js("return window.hacked") is None
    assert any("Content Security Policy" in message for message in browser.errors())


def ids(browser):
    "Of the rows shown."
    return browser.js("return [...document.querySelectorAll('.tools + .scroll tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)")


def test_sorted_and_searched_by_keyboard(browser, path, C):
    from selenium.webdriver.common.keys import Keys
    opened(browser, path)
    ranked = ids(browser)
    table = browser.driver.find_element("css selector", ".tools + .scroll table")
    head = next(head for head in table.find_elements("css selector", "thead th") if head.text.startswith("score"))
    assert table.find_element("css selector", "th[aria-sort]").text.startswith("rank")
    head.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending" and ids(browser) == ranked
    head.find_element("css selector", "button").send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "ascending" and ids(browser) == ranked[::-1]
    assert len(table.find_elements("css selector", "th[aria-sort]")) == 1
    q = next(head for head in table.find_elements("css selector", "thead th") if head.text.startswith("q"))
    q.find_element("css selector", "button").send_keys(Keys.ENTER)
    values = browser.js("return [...document.querySelectorAll('.tools + .scroll tbody tr')].map(row => Number(row.cells[arguments[0]].dataset.value))",
                        table.find_elements("css selector", "thead th").index(q))
    assert values == sorted(values) and len(values) == 30
    field = browser.driver.find_element("id", "search")
    field.send_keys("ONMOUSEOVER text")                       # every word, in any case, of the row itself and not of its neighbours
    wanted = {C.ids[i] for i in C.order[:30] if "onmouseover" in C.data[i]}
    assert set(ids(browser)) == wanted and 0 < len(wanted) < 30
    assert browser.driver.find_element("css selector", "output").text == f"{len(wanted)} of 30 rows."
    field.send_keys(" no such word")
    assert ids(browser) == []


def test_complete_without_javascript(browser, path):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, path)
        assert len(browser.driver.find_elements("css selector", ".tools + .scroll tbody tr")) == 30
        assert not browser.driver.find_element("id", "search").is_displayed()
        assert not browser.driver.find_elements("css selector", "thead button")
        details = browser.driver.find_element("css selector", "details")
        details.find_element("css selector", "summary").click()
        assert details.find_element("css selector", "h3").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("which", ["comparison", "map"])
def test_accessible(browser, path, map_page, mode, which):
    script = axe_script()
    if script is None:
        pytest.skip("no axe-core here; npm install axe-core, and name its folder in AXE_CORE")
    opened(browser, path if which == "comparison" else map_page[0], mode)
    browser.js("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    browser.driver.execute_script(script.read_text(encoding="utf-8"))
    found = browser.driver.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found["violations"]] == [] and len(found["passes"]) > 15


@pytest.mark.parametrize("mode, dark", [("light", False), ("dark", True)])
def test_light_and_dark(browser, path, mode, dark):
    opened(browser, path, mode)
    ground = browser.js("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 200) == dark


def test_narrow_screen_scrolls_inside_the_tables(browser, path):
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    try:
        opened(browser, path)
        assert browser.js("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
