"""The chapter in a real JupyterLab, in a real browser: what a reader does, and what the page then says."""
import os
import shutil
import time
from pathlib import Path

import pytest
from browser import OVERLAPS, Lab, Page, chromium

ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / "browser_output"

if not chromium() and os.environ.get("EMBGEO_BROWSER") != "required":
    pytest.skip("no Chromium here; `apt-get install chromium chromium-driver`, or chromium and chromedriver on the path", allow_module_level=True)


def test_browser_is_there():
    assert chromium(), "the continuous integration must not pass without a browser; .ci/run installs one"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    "The chapter, opened in JupyterLab and run from top to bottom."
    state, folder = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("nbs")
    shutil.copy(ROOT / "nbs" / "62_widgets.ipynb", folder / "chapter.ipynb")
    lab = Lab(folder, state)
    try:
        page = Page(state / "profile")
        try:
            page.open_notebook(lab, "chapter.ipynb")
            assert page.run_all() is True
            page.until("document.querySelectorAll('.eg-datum-explorer .eg-card').length", what="the explorer")
            yield page
        finally:
            page.close()
    finally:
        lab.stop()


@pytest.fixture
def explorer(page):
    "The first explorer, after its test was run again with k = 12; `direct` in the kernel is that comparison, made without it. Each test may be the first."
    root = page.driver.find_elements("css selector", ".eg-datum-explorer")[0]
    if "k 12," not in root.find_element("css selector", ".eg-head").text:
        tab(page, root, "Settings")
        fill(field(root, "k"), "12")
        page.until("arguments[0].querySelector('.eg-message').textContent.includes('have changed')", root)
        page.click(button(root, "Run the test"))
        page.until("arguments[0].querySelector('.eg-head').textContent.includes('k 12,')", root)
        page.ask_kernel("direct = eg.compare(pair, 'full 0', 'no mpl 0', n_neighbors=12, n_components=explorer.result.test.n_components)\nprint(1)")
    return root


@pytest.fixture
def atlas(page):
    return page.driver.find_elements("css selector", ".eg-manifold-explorer")[0]


def field(root, label):
    "The input beside a label."
    return next(box for box in root.find_elements("css selector", ".widget-inline-hbox")
                if box.find_element("css selector", "label").text == label).find_element("css selector", "input, select")


def button(root, text):
    return next(found for found in root.find_elements("css selector", ".widget-button") if text in found.text)


def fill(field, text):
    from selenium.webdriver.common.keys import Keys
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text, Keys.TAB)


def fact(root, name):
    return float(root.find_element("css selector", f".eg-card [data-fact='{name}']").text)


def chosen(root):
    "Row number of the datum whose card is shown."
    return int(root.find_element("css selector", ".eg-card").get_attribute("data-datum"))


def near(root):
    "The neighbours as the page shows them, gained, lost and in both: (row number, text) of each row."
    tables = root.find_elements("css selector", ".eg-why .eg-table")[:3]
    return [[(int(row.get_attribute("data-row")), row.text) for row in table.find_elements("css selector", "tbody tr[data-row]")] for table in tables]


def expected(page, result, row):
    "The same from the result, by the functions of the package: p, and the shares of the neighbours."
    return page.ask_kernel(f"E = ({result}).explain({row})\nprint(json.dumps(dict(p=float(({result}).pvalue[{row}]), q=float(({result}).qvalue[{row}]), "
                           "share={int(j): float(s) for j, s in zip(E.neighbors, E.share)}, gained=[int(j) for j, c in zip(E.neighbors, E.change) if c > 0])))")


def agrees(page, root, result, row):
    truth = expected(page, result, row)
    assert chosen(root) == row
    assert fact(root, "p") == float(f"{truth['p']:.4g}") and fact(root, "q") == float(f"{truth['q']:.4g}")
    gained, lost, kept = near(root)
    assert gained + lost, "this datum has no differing neighbour; choose another"
    for group, is_gained in ((gained, True), (lost, False)):
        for number, text in group:
            assert (number in truth["gained"]) == is_gained and f"{truth['share'][str(number)]:.0%}" in text
    assert not {number for number, _ in kept} & set(map(int, truth["share"]))


def tab(page, root, title):
    page.click(next(found for found in root.find_elements("css selector", ".lm-TabBar-tab") if found.text == title))


def test_run_after_changing_k(page, explorer):
    assert page.ask_kernel("print(json.dumps(bool((direct.pvalue == explorer.result.pvalue).all() and (direct.qvalue == explorer.result.qvalue).all())))")
    agrees(page, explorer, "direct", chosen(explorer))


def test_another_question(page, explorer):
    from selenium.webdriver.support.ui import Select
    question = Select(field(explorer, "question"))
    assert [option.text for option in question.options][0] == "did it move more than these two models move data anyway? (recommended)"
    question.select_by_visible_text("is its change systematic, edge by edge?")
    truth = page.ask_kernel("print(json.dumps([float(direct.pvalues['paired'][explorer.selected]), float((direct.pvalues['paired'] <= 0.05).mean())]))")
    page.until("arguments[0].querySelector('[data-fact=p]').textContent == arguments[1]", explorer, f"{truth[0]:.4g}")
    assert f"{truth[1]:.1%} of the data have p" in explorer.text
    assert ("most data moved by this question" in explorer.text) == (truth[1] >= 0.5)
    question.select_by_index(0)
    page.until("arguments[0].querySelector('[data-fact=p_paired]')", explorer)


def test_select_by_click(page, explorer):
    before = chosen(explorer)
    # A point that nothing else covers: the reader's own choice would be one, too.
    row = page.js("""
        const canvas = arguments[0].querySelector(".eg-points canvas"), places = [];
        for (let row = 0; row < 450; row++) { const at = canvas.locate(row); if (at) places.push([row, ...at]); }
        let best = -1, most = 0;
        for (const [row, x, y] of places) {
          const least = Math.min(...places.filter(other => other[0] !== row).map(other => Math.hypot(other[1] - x, other[2] - y)));
          if (row !== arguments[1] && least > most && x > 20 && y > 20 && x < canvas.clientWidth - 20 && y < canvas.clientHeight - 20) { most = least; best = row; }
        }
        return best;""", explorer, before)
    assert page.click_point(explorer, row)
    page.until("arguments[0].querySelector('.eg-card').dataset.datum != arguments[1]", explorer, str(before))
    agrees(page, explorer, "direct", chosen(explorer))
    assert chosen(explorer) == page.ask_kernel("print(explorer.selected)")


def test_select_by_table_and_keys(page, explorer):
    from selenium.webdriver.common.keys import Keys
    rows = explorer.find_elements("css selector", ".eg-table")[0].find_elements("css selector", "tbody tr")
    wanted = [int(row.get_attribute("data-row")) for row in rows]
    at = next(at for at, row in enumerate(wanted[:-1]) if row != chosen(explorer))
    page.click(rows[at])
    page.until("arguments[0].querySelector('.eg-card').dataset.datum == arguments[1]", explorer, str(wanted[at]))
    agrees(page, explorer, "direct", wanted[at])
    page.js("arguments[0].querySelector('.eg-table tr[aria-selected]').focus()", explorer)
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.until("arguments[0].querySelector('.eg-card').dataset.datum == arguments[1]", explorer, str(wanted[at + 1]))
    agrees(page, explorer, "direct", wanted[at + 1])


def test_sort_search_and_labels(page, explorer):
    table = lambda: [row.text for row in explorer.find_elements("css selector", ".eg-table")[0].find_elements("css selector", "tbody tr")]
    page.click(next(found for found in explorer.find_elements("css selector", ".eg-table th button") if found.text == "id"))
    page.until("arguments[0].querySelector('.eg-table th[aria-sort]').textContent.startsWith('id')", explorer)
    assert table() == sorted(table(), key=str)
    field(explorer, "search").send_keys("legend")
    page.until("arguments[0].textContent.includes(' of 450 data') && !arguments[0].textContent.includes('450 of 450')", explorer)
    fill(field(explorer, "search"), "")
    field(explorer, "search").clear()
    tab(page, explorer, "By label")
    page.until("arguments[0].querySelector('img[alt^=\"Distribution functions\"]')", explorer)
    assert explorer.find_element("css selector", "img[alt^='Distribution functions']").is_displayed()
    tab(page, explorer, "Why this p")


def test_what_cannot_be_run_is_said(page, explorer):
    tab(page, explorer, "Settings")
    fill(field(explorer, "k"), "450")
    page.until("arguments[0].querySelector('.eg-message').textContent.includes('k must be between 1 and 449')", explorer)
    assert not button(explorer, "Run the test").is_enabled()
    page.click(explorer.find_elements("css selector", ".eg-table tbody tr")[2])      # the panels are alive
    page.until("arguments[0].querySelectorAll('.eg-table tbody tr')[2].hasAttribute('aria-selected')", explorer)
    fill(field(explorer, "k"), "12")
    page.until("arguments[0].querySelector('.eg-message').textContent === ''", explorer)


def test_cancel(page, explorer):
    "The button works while a comparison is running: one with ever so many rotations."
    page.ask_kernel("kept, real = explorer.result, eg.compare\neg.compare = lambda *names, **options: real(*names, n_rotations=10 ** 6, **options)\nprint(1)")
    tab(page, explorer, "Settings")
    page.click(button(explorer, "Run the test"))
    page.until("arguments[0].querySelector('.eg-working').offsetParent", explorer, what="progress")
    page.click(button(explorer, "Cancel"))
    page.until("arguments[0].querySelector('.eg-message').textContent.includes('Cancelled')", explorer, seconds=5)
    assert page.ask_kernel("print(json.dumps(explorer.result is kept and not explorer.busy))")
    page.ask_kernel("eg.compare = real\nprint(1)")


def test_pair_of_models(page, atlas):
    page.ask_kernel("atlas.pair = ()\nprint(1)")
    page.until("arguments[0].textContent.includes('Choose two models')", atlas)
    for name in ("narrow full", "narrow no mpl"):
        assert page.click_point(atlas, page.ask_kernel(f"print(atlas.result.models.index({name!r}))"))
        page.until("arguments[0].querySelector('.widget-tab-contents').textContent.includes(arguments[1])", atlas, name)
    card = page.until("arguments[0].querySelector('.eg-card [data-fact=distance]')", atlas)
    truth = page.ask_kernel("O = eg.omnibus(emb.select(have), n_neighbors=20)\nprint(eg.model_distance(O)['narrow full', 'narrow no mpl'])")
    assert float(card.text) == float(f"{truth:.4g}")
    apart = [int(row.get_attribute("data-row")) for row in atlas.find_element("css selector", ".widget-tab-contents .eg-table").find_elements("css selector", "tbody tr[data-row]")]
    assert apart == page.ask_kernel("print(json.dumps(np.argsort(-np.linalg.norm(O.displacement('narrow full', 'narrow no mpl'), axis=1), kind='stable')[:10].tolist()))")
    page.click(button(atlas, "Open in DatumExplorer"))
    page.until("(arguments[0].querySelector('.eg-datum-explorer .eg-big') || {textContent: ''}).textContent === 'From narrow full to narrow no mpl'", atlas)
    opened = atlas.find_element("css selector", ".eg-datum-explorer")
    page.ask_kernel("opened = eg.compare(emb, 'narrow full', 'narrow no mpl', n_neighbors=20)\nprint(1)")
    agrees(page, opened, "opened", chosen(opened))


VISIBLE = """
const [root, least] = arguments, view = root.closest(".jp-WindowedPanel-outer, .jp-Notebook").getBoundingClientRect();
const bottom = Math.min(view.bottom, innerHeight), hidden = [];
for (const name of [".eg-head", ".eg-verdict", ".eg-card [data-fact=score]", ".eg-card [data-fact=p]", ".eg-card [data-fact=p_paired]", ".eg-card .eg-datum"])
  for (const e of [...root.querySelectorAll(name)].slice(0, 1)) { const b = e.getBoundingClientRect(); if (b.top < view.top - 1 || b.bottom > bottom + 1) hidden.push(name); }
for (const table of [root.querySelector(".eg-table"), ...root.querySelectorAll(".eg-why .eg-table")]) {
  const b = (table.querySelectorAll("tbody tr")[least] || table).getBoundingClientRect();
  if (b.bottom > bottom + 1) hidden.push(table.textContent.slice(0, 40));
}
return hidden;
"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_all_of_a_datum_without_scrolling(page, explorer, theme):
    "On a small screen: verdict, numbers, text, and the first neighbours of each kind, beside the table in which the datum was clicked."
    page.driver.execute_async_script("window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]}).then(() => arguments[1]())", theme)
    page.driver.set_window_size(1280, 900)
    page.ask_kernel("explorer.message = ''\nprint(1)")
    page.js("arguments[0].scrollIntoView({block: 'start'})", explorer)
    page.js("arguments[0].querySelectorAll('.eg-table tbody tr')[1].click()", explorer)
    page.until("arguments[0].querySelectorAll('.eg-table tbody tr')[1].hasAttribute('aria-selected')", explorer)
    time.sleep(0.5)
    SHOTS.mkdir(exist_ok=True)
    page.driver.save_screenshot(str(SHOTS / f"{theme.split()[1].lower()}-screen.png"))
    try:
        assert page.js(VISIBLE, explorer, 2) == []
    finally:
        page.driver.set_window_size(1280, 1000)


def test_nothing_is_read_as_html(page):
    "Ids, labels, texts and model names with HTML and dollars in them, in the live page."
    page.ask_kernel("""
nasty = '<img src=x onerror="window.struck = 1">$x_1$'
odd = eg.Embeddings({nasty + name: emb[name] for name in ("full 0", "no mpl 0")}, ids=[f"{nasty}{i}" for i in range(emb.n)],
                    data=[f"{nasty} text" for _ in range(emb.n)], labels=[f"{nasty}{i % 9}" for i in range(emb.n)])
other = explorer
explorer = DatumExplorer(eg.compare(odd, *odd.models, n_neighbors=12), odd)
children, other.children = other.children, (explorer,)
print(1)""")
    try:
        root = page.until("document.querySelector('.eg-datum-explorer .eg-datum-explorer')")
        page.until("arguments[0].querySelector('.eg-card') && arguments[0].querySelectorAll('.eg-table tbody tr').length > 5", root)
        for title in ("By label", "Settings", "Kept data", "Why this p"):
            tab(page, root, title)
            time.sleep(0.3)
        assert page.js("return window.struck || 0") == 0 and not page.js("return arguments[0].querySelector('img[src=x]')", root)
        assert "onerror" in root.find_element("css selector", ".eg-card").text and "$x_1$" in root.find_element("css selector", ".eg-head").text
        assert not page.js("return arguments[0].querySelector('mjx-container, .MathJax')", root)
    finally:
        page.ask_kernel("other.children, explorer = children, other\nprint(1)")


def test_static_forms(page):
    "Panels open in the browser, without the kernel, one at a time."
    views = page.driver.find_elements("css selector", ".eg-static")
    assert len(views) == 2
    for view in views:
        titles = view.find_elements("css selector", ".lm-Collapse-header, .jupyter-widget-Collapse-header")
        cards = view.find_elements("css selector", ".eg-panels .eg-card")
        assert len(titles) == len(cards) == 4 and all(image.get_attribute("alt") for image in view.find_elements("css selector", "img"))
        page.click(titles[2])
        page.until("arguments[0].offsetHeight && !arguments[1].offsetHeight", cards[2], cards[0])


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_overlaps(page, theme, width):
    page.driver.execute_async_script("window.jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]}).then(() => arguments[1]())", theme)
    page.driver.set_window_size(width, 2600)
    time.sleep(1)
    try:
        roots = [root for root in page.driver.find_elements("css selector", ".eg-explorer") if not page.js("return arguments[0].parentElement.closest('.eg-explorer')", root)]
        assert len(roots) == 4
        for number, root in enumerate(roots):
            page.screenshot(root, SHOTS / f"{theme.split()[1].lower()}-{width}-{number}.png")
            assert page.js(OVERLAPS, root) == []
            colours = page.js("const s = getComputedStyle(arguments[0].querySelector('.eg-head')), b = getComputedStyle(document.body); return [s.color, b.getPropertyValue('--jp-layout-color0')]", root)
            light = sum(map(int, colours[0][colours[0].index("(") + 1:-1].split(",")[:3])) > 3 * 128
            assert light == (theme == "JupyterLab Dark"), colours
    finally:
        page.driver.set_window_size(1280, 1000)


def test_no_javascript_error(page):
    assert page.errors() == []
