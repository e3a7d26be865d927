"""What tools see of the package: types, names, words; and what a module with a function's name is."""
import ast
import importlib
import inspect
import json
import os
import pickle
import pydoc
import re
import shutil
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import embgeo_nb as eg

ROOT = Path(__file__).resolve().parents[1]
TREE = ast.parse((ROOT / "embgeo_nb" / "__init__.py").read_text(encoding="utf-8"))


def test_client_runs():
    done = subprocess.run([sys.executable, "-W", "ignore", str(ROOT / "tests" / "client.py")], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


WRONG = """import embgeo_nb as eg
R = eg.datum_test({}, "a", "b")
R.pvalues
eg.compair
eg.compare({}, "a", "b", n_neighbours=3)
"""


def test_client_is_typed(tmp_path):
    "Strictly so: names, members and what they return are known to tools, which find what is wrong."
    mypy = shutil.which("mypy")
    if mypy is None:
        pytest.skip("no mypy here")
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run([mypy, "--strict", "--follow-imports=silent", "--python-executable", sys.executable, "--cache-dir", str(tmp_path / "cache"), "tests/client.py", str(tmp_path / "wrong.py")],
                          capture_output=True, text=True, cwd=ROOT)
    errors = re.findall(r"^(.*?):(\d+): error", done.stdout, re.M)
    assert {(Path(file).name, int(line)) for file, line in errors} == {("wrong.py", 3), ("wrong.py", 4), ("wrong.py", 5)}, done.stdout + done.stderr


def pinned(name):
    return re.search(rf"^{name}==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(), re.M)[1]


def test_the_package_is_typed():
    "pyright finds nothing in it: no value that may be None taken for one that is there, no argument of another kind."
    pytest.importorskip("pyright")
    for name in ("numpy", "torch", "pandas"):
        if not version(name).startswith(f"{pinned(name)}."):
            pytest.skip(f"{name} {version(name)} has other types than the {pinned(name)} of constraints.txt, which this is checked with")
    done = subprocess.run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"],
                          capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == len([*(ROOT / "embgeo_nb").glob("*.py")])      # the client, but not _modidx
    assert [(Path(row["file"]).name, row["range"]["start"]["line"] + 1, row["message"]) for row in found["generalDiagnostics"]] == []


def test_lazy_names_are_told_to_tools():
    "The names imported under TYPE_CHECKING, those in _LATER and those in __all__ are the same."
    shown = set()
    for node in (node for part in TREE.body if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING" for node in part.body):
        shown |= {alias.name for alias in node.names}
        if node.module != "embgeo_nb":
            home = node.module.rpartition(".")[2]
            assert {alias.name for alias in node.names} == set(eg._LATER[home])
    assert shown == {*eg._HOME, *eg._LATER}
    eager = {alias.asname or alias.name for node in TREE.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("embgeo_nb.") for alias in node.names}
    assert set(eg.__all__) == shown | eager and len(eg.__all__) == len(set(eg.__all__))
    assert all(getattr(eg, name) is not None for name in eg.__all__ if name != "widgets")


@pytest.mark.parametrize("name", ["datum_test", "frame", "omnibus"])
def test_a_module_with_the_name_of_its_function_is_both(name):
    scope = {}
    exec(f"import embgeo_nb.{name} as m", scope)
    module, function = scope["m"], getattr(importlib.import_module(f"embgeo_nb.{name}"), name)
    assert isinstance(module, types.ModuleType) and inspect.isfunction(function) and getattr(eg, name) is module
    assert inspect.getdoc(module) == inspect.getdoc(function) and function.__doc__
    assert f"{module.__name__} - {function.__doc__.splitlines()[0]}" in pydoc.plain(pydoc.render_doc(module)).split("DESCRIPTION")[0]
    assert inspect.signature(getattr(eg, name)) == inspect.signature(function) and pickle.loads(pickle.dumps(module)) is module
    assert Path(module.__file__).name == f"{name}.py"


def test_called_as_a_function():
    emb = {name: np.random.default_rng(at).normal(size=(40, 5)) for at, name in enumerate("ab")}
    direct = importlib.import_module("embgeo_nb.omnibus").omnibus(emb, n_components=2, n_neighbors=4)
    assert np.array_equal(eg.omnibus(emb, n_components=2, n_neighbors=4).positions, direct.positions)


def test_the_marker_is_there():
    assert (ROOT / "embgeo_nb" / "py.typed").exists()


def public():
    "Functions and classes that a user can reach as `eg.name`."
    for name in eg.__all__:
        if name in eg._LATER:
            continue
        value = getattr(eg, name)
        yield name, getattr(value, name) if isinstance(value, types.ModuleType) else value


@pytest.mark.parametrize("name, value", [pytest.param(*case, id=case[0]) for case in public()])
def test_help_is_complete(name, value):
    "Every parameter is named and every return described; a class says what it is made of or what it holds."
    text = inspect.getdoc(value) or ""
    assert len(text.splitlines()[0]) > 15 and "The code of" not in text
    if inspect.isclass(value):
        assert "Parameters\n---" in text or "Attributes\n---" in text
        for method, member in inspect.getmembers(value):
            if not method.startswith("_") and (inspect.isfunction(member) or inspect.ismethod(member)) and (member.__module__ or "").startswith("embgeo_nb"):
                assert inspect.getdoc(member), f"{name}.{method} has no words"
        return
    assert "Parameters\n---" in text and "Returns\n---" in text
    entries = {part.strip().lstrip("*") for line in re.findall(r"^(\*{0,2}\w[\w, *]*)(?: : .*)?$", text, re.M) for part in line.split(",")}
    missing = [parameter for parameter in inspect.signature(value).parameters if parameter not in entries]
    assert not missing, f"help({name}) does not tell of {', '.join(missing)}"
