"""Open every page of the built site in a browser, at two widths and in both themes, and look for what stops a reader.

    make docs; python tools/check_site.py path/to/axe.min.js

It fails on what axe-core (`npm install axe-core`) calls a violation, on a page that asks the network for anything, on
a formula that is not typeset, on a page wider than the window, and on a search that finds nothing.
"""
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

DOCS = Path(__file__).resolve().parents[1] / "_docs"
WIDTHS = (1280, 400)
FLAGS = ("--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars").split()
AXE = "const done = arguments[arguments.length - 1]; axe.run({resultTypes: ['violations']}).then(r => done(r.violations.map(v => " \
      "[v.id, v.impact, v.nodes.length, v.nodes[0].target.join(' '), v.nodes[0].html.slice(0, 160)])))"
OUTSIDE = "return performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin) && !/^(data|blob):/.test(n))"
RAW = r"return [...document.querySelectorAll('main p, main li, main td')].filter(e => /\$[^$]+\$|\\\\(frac|sum|bar)/.test([...e.childNodes]" \
      ".filter(n => n.nodeType == 3).map(n => n.data).join(''))).map(e => e.innerText.slice(0, 80))"
WIDE = "return document.documentElement.scrollWidth - innerWidth"
SEARCH = """const done = arguments[arguments.length - 1], form = document.getElementById('search');
form.elements.q.value = 'displacement'; form.oninput(); setTimeout(() => done(document.querySelectorAll('#found a').length), 3000)"""


class Quiet(SimpleHTTPRequestHandler):
    "A server that says nothing."

    def log_message(self, *args):
        pass


def browser(folder):
    "A Chromium without a window."
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    return webdriver.Chrome(options, Service("/usr/bin/chromedriver"))


def check(driver, address, axe):
    "What is wrong with one page, in words."
    for width in WIDTHS:
        driver.set_window_size(width, 900)
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        driver.get(address)
        driver.execute_script(axe)
        for theme in ("light", "dark"):
            driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
            for rule, impact, count, where, html in driver.execute_async_script(AXE):
                yield f"{width} px, {theme}: {rule} ({impact}), {count} times, first at {where}: {html}"
        if (more := driver.execute_script(WIDE)) > 0:
            yield f"{width} px: {more} px wider than the window"
    yield from (f"asks the network for {name}" for name in driver.execute_script(OUTSIDE))
    yield from (f"a formula is not typeset: {text}" for text in driver.execute_script(RAW))


def main(axe, *names):
    axe = Path(axe).read_text(encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=DOCS))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base, found = f"http://127.0.0.1:{server.server_address[1]}/", 0
    pages = [DOCS / name for name in names] or sorted(DOCS.rglob("*.html"))
    with tempfile.TemporaryDirectory() as folder:
        driver = browser(folder)
        driver.set_script_timeout(60)
        try:
            for page in pages:
                for fault in check(driver, base + page.relative_to(DOCS).as_posix(), axe):
                    found += 1
                    print(f"{page.relative_to(DOCS)}: {fault}", flush=True)
            if driver.execute_script("return document.getElementById('search').hidden"):
                print("there is no search (pagefind is not installed)")
            elif not driver.execute_async_script(SEARCH):
                found += 1
                print("the search finds nothing")
        finally:
            driver.quit()
            server.shutdown()
    print(f"{len(pages)} pages, {found} faults")
    return found


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]) > 0)
