"""The tour's runner: a page that stands alone, a notebook left as it was, and failures that are seen."""
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TOOL = Path(__file__).resolve().parents[1] / "tools" / "run_notebook.py"


@pytest.fixture
def run(tmp_path):
    def run(*code):
        kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
        cells = [new_markdown_cell("# Trial\n\n> With $x^2$ in it."), new_markdown_cell("## First part"), *map(new_code_cell, code)]
        nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "trial.ipynb")
        before = (tmp_path / "trial.ipynb").read_bytes()
        done = subprocess.run([sys.executable, TOOL, tmp_path / "trial.ipynb", tmp_path / "out"], capture_output=True, text=True)
        assert (tmp_path / "trial.ipynb").read_bytes() == before
        return done

    return run


def test_a_run_is_shown_and_kept(run, tmp_path):
    done = run("print('step', end='\\r'); print('final'); print('no newline', end='')",
               "import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert done.returncode == 0, done.stderr
    assert "cell 1 of 2: First part\n    final\n    no newline\ncell 2 of 2: First part" in done.stdout
    page = (tmp_path / "out" / "trial.html").read_text()
    assert "<math" in page and 'src="data:image/png' in page
    assert not re.search(r'(src|<link[^>]*href)="(?!data:)', page)
    outputs = nbformat.read(tmp_path / "out" / "trial.ipynb", 4).cells[-1].outputs
    assert "image/png" in outputs[0].data


def test_a_failure_is_shown(run, tmp_path):
    done = run("1 / 0", "print('never')")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "never" not in done.stdout
    assert not (tmp_path / "out" / "trial.html").exists()


def test_pages_for_those_who_hear_them():
    "Headings step down one at a time; a corner of a table is no header, a formula in a header has a name, a picture words."
    sys.path.insert(0, str(TOOL.parent))
    from build import readable, spoken_headers, steady_headings
    assert steady_headings("<h4>x</h4><main><h1>a</h1><h3 id='b'>b</h3><h4>c</h4><h2>d</h2></main>") == (
        "<h4>x</h4><main><h1>a</h1><h2 id='b'>b</h2><h3>c</h3><h2>d</h2></main>")
    assert readable('<th class="blank">&nbsp;</th><th>n</th><img src="x">') == (
        '<td class="blank"></td><th>n</th><img alt="A picture of the data" src="x">')
    formula = "<math><mi>X</mi><annotation encoding='application/x-tex'>X</annotation></math>"
    assert '<span class="unseen">X</span>' in spoken_headers(f"<th>{formula}</th>") and "unseen" not in spoken_headers(f"<th>size {formula}</th>")
    assert spoken_headers("<th></th><thead><th>a</th></thead>") == "<td></td><thead><th>a</th></thead>"
