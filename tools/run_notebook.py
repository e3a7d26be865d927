"""Run a notebook on a fresh kernel, show its progress, and keep the result.

    python tools/run_notebook.py nbs/tour.ipynb tour_output

The notebook itself is left as it is; the executed copy goes to the output
folder as a notebook and as one web page that needs no other file.
"""
import os
import re
import sys
import threading
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

from build import single_page
from embgeo_nb.common import atomic_path

ROOT = Path(__file__).resolve().parents[1]


def headings(nb):
    "For each cell, the heading it stands under."
    current, found = "", []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            current = (re.findall(r"^#+ +(.+)$", cell.source, re.M) or [current])[-1]
        found.append(current)
    return found


def last(line):
    "What a line shows in the end, after its carriage returns."
    return line.rstrip("\r").rsplit("\r", 1)[-1]


class LiveClient(NotebookClient):
    "A notebook client that shows which cell is running and what it prints."

    def run(self):
        code = [i for i, cell in enumerate(self.nb.cells) if cell.cell_type == "code" and cell.source.strip()]
        names, partial = headings(self.nb), {}
        # On a terminal a bar keeps time below the lines; in a log there are the lines alone.
        bar = tqdm(total=len(code), disable=None, leave=False, dynamic_ncols=True,
                   bar_format="{n_fmt}/{total_fmt} |{bar:24}| {elapsed} {desc}{postfix}")

        def started(cell, cell_index):
            self.cell_start = time.perf_counter()
            bar.set_description_str(names[cell_index][:40], refresh=False)
            bar.write(f"cell {code.index(cell_index) + 1} of {len(code)}: {names[cell_index]}")

        def finished(cell, cell_index, execute_reply):
            for rest in filter(str.strip, partial.values()):
                bar.write("    " + last(rest))
            partial.clear()
            seconds = time.perf_counter() - self.cell_start
            if seconds > 1:
                bar.write(f"    {seconds:.1f} s")
            bar.set_postfix_str("")
            bar.update()

        def printed(name, text):
            # What a carriage return overwrites is progress: shown beside the bar, not kept.
            *lines, rest = (partial.get(name, "") + text).replace("\r\n", "\n").split("\n")
            for line in lines:
                bar.write("    " + last(line))
            partial[name] = last(rest) + "\r" * rest.endswith("\r")
            bar.set_postfix_str(last(rest)[:60])

        self.on_cell_execute, self.on_cell_executed, self.printed = started, finished, printed
        done = threading.Event()

        def tick():
            while not done.wait(0.5):
                bar.refresh()

        ticker = threading.Thread(target=tick)
        ticker.start()
        try:
            return self.execute()
        finally:
            done.set()
            ticker.join()
            bar.close()

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream":
            self.printed(msg["content"]["name"], msg["content"]["text"])
        return super().process_message(msg, cell, cell_index)


def main(source, out):
    source, out = Path(source).resolve(), Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    page = out / source.with_suffix(".html").name
    page.unlink(missing_ok=True)  # a run that fails leaves no page of an earlier one
    os.environ.pop("MPLBACKEND", None)  # figures go into the notebook, whatever the shell asks for
    nb = nbformat.read(source, as_version=4)
    client = LiveClient(nb, timeout=None, kernel_name="python3", extra_arguments=["--log-level=ERROR"],
                        resources={"metadata": {"path": str(source.parent)}})
    start = time.perf_counter()
    try:
        client.run()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        with atomic_path(out / source.name) as temporary:
            nbformat.write(nb, temporary)
    with atomic_path(page) as temporary:
        temporary.write_text(single_page(out / source.name, source), encoding="utf-8")
    print(f"\nDone in {time.perf_counter() - start:.0f} s.")
    for path in sorted(out.rglob("*")):
        if path.is_file():
            print(f"  {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    print(f"\nOpen {page.as_uri()} in a browser, or run `make lab` to go on from here in JupyterLab.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
