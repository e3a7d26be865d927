"""The book hangs together: titles, links, citations, and outputs fit to be shown."""
import ast
import json
import re
import socket
from pathlib import Path

import pytest
import yaml
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
PATHS = sorted(path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(NBS).as_posix())


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def prose(path):
    "The markdown of a notebook without its code, in which @ and []() mean something else."
    text = "\n\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    return re.sub(r"(`{3,}).*?\1|(`+)[^`].*?\2", "", text, flags=re.S)


def outputs(path):
    for number, cell in enumerate(cells(path, "code")):
        for output in cell["outputs"]:
            yield number, output


def strings(value):
    "All text inside an output; pictures are left out."
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("image/") or "svg" in key:
                yield from strings(inner)
    elif isinstance(value, list):
        if all(isinstance(inner, str) for inner in value):
            yield re.sub(r"base64,[\w+/=\s]+", "", "".join(value))
        else:
            for inner in value:
                yield from strings(inner)
    elif isinstance(value, str):
        yield re.sub(r"base64,[\w+/=\s]+", "", value)


@each_notebook
def test_title_and_module(path):
    front = getattr(NBProcessor(path, procs=FrontmatterProc, process=True).nb, "frontmatter_", {})
    assert front.get("title"), "no '# Title' cell"
    assert front.get("description"), "no '> description' below the title"
    code = "\n".join("".join(cell["source"]) for cell in cells(path, "code"))
    if re.search(r"^#\| *exports?i?\b", code, re.M):
        assert re.search(r"^#\| *default_exp +\w+", code, re.M), "exports without default_exp"


@each_notebook
def test_imports_stand_alone(path):
    "nbdev runs the exported cells and those with imports, and no others, to document a module."
    code = [("".join(cell["source"])) for cell in cells(path, "code")]
    if not any(re.search(r"^#\| *exports?i?\b", source, re.M) for source in code):
        return
    for number, source in enumerate(code):
        if re.search(r"^#\| *(exports?i?\b|eval: *false)|^%", source, re.M):
            continue
        tree = ast.parse(source)
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not imports or len(imports) == len(tree.body), f"code cell {number} mixes imports with other code:\n{source}"


@each_notebook
def test_citations(path):
    known = set(re.findall(r"^@\w+\{([^,\s]+),", (NBS / "references.bib").read_text(encoding="utf-8"), re.M))
    mentioned = set(re.findall(r"(?<![\w.@])@([A-Za-z][\w-]*)", prose(path)))
    references = {key for key in mentioned if re.match(r"(fig|tbl|sec|eq|lst)-", key)}
    assert mentioned - references <= known
    whole = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"\{#([\w-]+)", whole)) | set(re.findall(r"#\| *label: *([\w-]+)", whole))
    assert references <= targets


@each_notebook
def test_relative_links(path):
    targets = re.findall(r"\]\(<?([^)\s>]+)", prose(path)) + re.findall(r"""(?:src|href)=["']([^"']+)""", prose(path))
    for target in targets:
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).is_file(), f"{target} is not there"


@each_notebook
def test_stored_outputs(path):
    private = r"(?<![\w/.:])/(?:work|root|tmp|home|opt|Users|mnt)/\w|[A-Z]:\\Users"
    host = socket.gethostname()
    if len(host) > 6 and host != "localhost":
        private += "|" + re.escape(host)
    stored = [(f"code cell {number}", output) for number, output in outputs(path)]
    for where, output in stored:
        assert output["output_type"] != "error", f"{where} stores {output['ename']}: {output['evalue']}"
    stored.append(("a widget", json.loads(path.read_text(encoding="utf-8"))["metadata"].get("widgets", {})))
    for where, output in stored:
        for text in strings(output):
            found = re.search(private, text)
            assert not found, f"{where} shows {text[max(found.start() - 30, 0):found.end() + 30]!r}"


def test_every_notebook_is_in_the_sidebar():
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    listed = [name for section in config["website"]["sidebar"]["contents"] for name in section["contents"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {path.relative_to(NBS).as_posix() for path in PATHS}


def test_bibliography():
    keys = re.findall(r"^@\w+\{([^,\s]+),", (NBS / "references.bib").read_text(encoding="utf-8"), re.M)
    assert keys and len(keys) == len(set(keys))
    for entry in re.split(r"\n(?=@)", (NBS / "references.bib").read_text(encoding="utf-8").strip()):
        assert entry.count("{") == entry.count("}") and entry.rstrip().endswith("}"), f"an entry does not end: {entry[:60]}"


def test_reference_is_of_this_code():
    "Every public name is on the reference page, as it is called today, with an example and its output."
    from importlib.util import module_from_spec, spec_from_file_location      # tests have a module of that name, too
    spec = spec_from_file_location("tools_reference", ROOT / "tools" / "reference.py")
    reference = module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = json.loads((NBS / "reference.ipynb").read_text(encoding="utf-8"))
    assert not reference.differences(page), "run `python tools/reference.py`"
    about = None
    for cell in page["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("### `eg."):
            about = source.split("`")[1]
        elif about and cell["cell_type"] == "code":
            assert cell["outputs"], f"the example of {about} shows nothing"
            about = None
    assert about is None


def test_slips_have_an_address():
    "A sentence of the ledger about published code names a file and a commit."
    source = "\n".join("".join(cell["source"]) for cell in cells(NBS / "related.ipynb", "markdown"))
    rows = re.search(r"\| what the paper says.*?\n\n", source, re.S)[0].strip().split("\n")[2:]
    assert len(rows) >= 8
    for number, row in enumerate(rows):
        assert re.search(r"https://github.com/[\w-]+/[\w-]+/blob/[0-9a-f]{40}/", row) or re.search(r"the same (file|function)", row), row


def test_every_figure_has_words():
    "Pictures among the outputs have a fig-alt, which is what a reader hears."
    lacking = []
    for path in PATHS:
        for number, cell in enumerate(cells(path, "code")):
            source, shown = "".join(cell["source"]), [output.get("data", {}) for output in cell["outputs"]]
            hidden = re.search(r"#\| *(hide|include: *false|output: *false)", source)
            if any("image/png" in data or "image/svg+xml" in data for data in shown if "text/html" not in data) and not hidden:
                if "fig-alt" not in source:
                    lacking.append(f"{path.relative_to(NBS)} cell {number}: {source[:50]!r}")
    assert not lacking
