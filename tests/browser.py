"""A JupyterLab and a headless Chromium to look at it with."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--force-device-scale-factor=1")


def chromium():
    "Paths of Chromium and its driver, or None."
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    "A JupyterLab server that serves `folder`, without token, to this machine alone, and nothing of the user's own settings."

    def __init__(self, folder, state):
        self.port, self.folder = free_port(), folder
        settings = state / "settings" / "@jupyterlab"
        for name, values in {"notebook-extension/tracker": {"windowingMode": "none"}, "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
                             "docmanager-extension/plugin": {"autosave": False}}.items():
            path = settings / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        config = state / "config.py"
        config.write_text("from jupyterlab.galata import configure_jupyter_server\nconfigure_jupyter_server(c)\n"
                          f"c.ServerApp.port = {self.port}\nc.ServerApp.ip = '127.0.0.1'\nc.ServerApp.allow_root = True\nc.ServerApp.root_dir = {str(folder)!r}\n"
                          f"c.LabApp.user_settings_dir = {str(state / 'settings')!r}\nc.LabApp.workspaces_dir = {str(state / 'workspaces')!r}\n")
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(state / "jupyter"), "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
                       "JUPYTER_DATA_DIR": str(state / "data"), "IPYTHONDIR": str(state / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1",
                       "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
        environment.pop("MPLBACKEND", None)
        self.log = open(state / "lab.log", "w")
        self.process = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--config", str(config)], stdout=self.log, stderr=self.log, env=environment, cwd=folder)
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait(90)

    def _wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return urllib.request.urlopen(self.url + "/api", timeout=5).read()
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.3)
        raise RuntimeError("JupyterLab did not start:\n" + Path(self.log.name).read_text()[-3000:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Page:
    "A browser with what the tests need of it."

    def __init__(self, profile, size=(1280, 1000)):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        browser, driver = chromium()
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_script_timeout(300)

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, code, *arguments, seconds=60, what=None):
        "The first true value of a JavaScript expression."
        end = time.monotonic() + seconds
        while True:
            value = self.js(f"return {code}", *arguments)
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what or code}")
            time.sleep(0.1)

    def open_notebook(self, lab, name):
        self.driver.get(f"{lab.url}/lab/tree/{name}")
        self.until("window.jupyterapp && window.jupyterapp.shell.currentWidget && window.jupyterapp.shell.currentWidget.context && "
                   "window.jupyterapp.shell.currentWidget.context.isReady", seconds=90, what="the notebook")
        self.js("window.jupyterapp.commands.execute('application:toggle-left-area')")
        self.until("window.jupyterapp.shell.currentWidget.context.sessionContext.session && "
                   "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel && "
                   "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.status === 'idle'", seconds=90, what="the kernel")

    def run_all(self, seconds=900):
        "Run every cell; True if all of them ran without an error."
        self.js("window.ran = null; window.jupyterapp.commands.execute('notebook:run-all-cells').then(value => { window.ran = [value]; }, error => { window.ran = [String(error)]; })")
        return self.until("window.ran", seconds=seconds, what="all cells")[0]

    def ask_kernel(self, code):
        "Run code in the notebook's kernel; what it prints, as JSON."
        printed = self.driver.execute_async_script("""
            const [code, done] = arguments, kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
            let text = ""; const future = kernel.requestExecute({code: "import json\\n" + code, store_history: false});
            future.onIOPub = message => {
              if (message.header.msg_type === "stream" && message.content.name === "stdout") text += message.content.text;
              if (message.header.msg_type === "error") text += "ERROR " + message.content.ename + ": " + message.content.evalue;
            };
            future.done.then(() => done(text));""", code)
        assert not printed.startswith("ERROR"), printed
        return json.loads(printed)

    def click(self, element):
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        time.sleep(0.2)
        element.click()

    def click_point(self, root, row):
        "A real click on the point of a row; False if the row is not drawn."
        from selenium.webdriver import ActionChains
        canvas = root.find_element("css selector", ".eg-points canvas")
        self.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
        time.sleep(0.3)
        at = self.js("return arguments[0].locate(arguments[1])", canvas, row)
        if at is None:
            return False
        size = canvas.size
        ActionChains(self.driver).move_to_element_with_offset(canvas, round(at[0] - size["width"] / 2), round(at[1] - size["height"] / 2)).click().perform()
        return True

    def errors(self):
        "What the page complained of."
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def screenshot(self, root, path):
        "A picture of one element, whole, however long it is."
        self.js("arguments[0].scrollIntoView({block: 'start'})", root)
        time.sleep(0.4)
        path.parent.mkdir(exist_ok=True)
        root.screenshot(str(path))

    def close(self):
        self.driver.quit()


OVERLAPS = """
const root = arguments[0], names = ".eg-head, .eg-message, .eg-frame, .eg-legend, .eg-table, .eg-card, svg.eg-null, img, .widget-dropdown, .widget-text, .widget-checkbox, "
  + ".widget-select, .widget-select-multiple, .widget-button, .lm-TabBar-tab, .lm-Collapse-header, .widget-html";
const seen = [...root.querySelectorAll(names)].filter(e => { const b = e.getBoundingClientRect(); return b.width > 1 && b.height > 1 && getComputedStyle(e).visibility !== "hidden"; });
const name = e => (e.className.baseVal || e.className || e.tagName) + ": " + (e.textContent || "").trim().slice(0, 30), found = [];
const edge = root.getBoundingClientRect();
for (const [at, a] of seen.entries()) {
  const p = a.getBoundingClientRect();
  if (p.right > edge.right + 1 || p.left < edge.left - 1) found.push("sticks out: " + name(a));
  for (const b of seen.slice(at + 1)) {
    if (a.contains(b) || b.contains(a)) continue;
    const q = b.getBoundingClientRect(), w = Math.min(p.right, q.right) - Math.max(p.left, q.left), h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (w > 1.5 && h > 1.5) found.push(name(a) + " over " + name(b));
  }
}
return found;
"""
