"""From two files to a verdict: a notebook, a script and a command line say the same, whatever the vectors are kept in."""
import json
import runpy

import pandas as pd
import pytest
import two_files

from embgeo_nb.cli import main

LIBRARIES = {".parquet": "pyarrow", ".arrow": "pyarrow", ".h5ad": "anndata", ".safetensors": "safetensors", ".zarr": "zarr", ".faiss": "faiss"}


@pytest.fixture(scope="module")
def models():
    return two_files.two_models()


@pytest.fixture(scope="module")
def expected(models):
    "What arrays in memory give."
    import embgeo_nb as eg
    return eg.compare(eg.Embeddings(models), "before", "after")


@pytest.mark.parametrize("kind", two_files.KINDS)
def test_script_and_command_line(tmp_path, models, expected, kind, monkeypatch, capsys):
    pytest.importorskip(LIBRARIES.get(kind, "numpy"))
    monkeypatch.chdir(tmp_path)
    two_files.write(tmp_path, kind, models)
    runpy.run_path(two_files.prepared(tmp_path, kind, "script")[0])
    assert main(two_files.prepared(tmp_path, kind, "command line")[2:]) == 0
    agree(tmp_path, kind, expected, ["script", "command_line"])


def test_three_forms_as_processes(tmp_path, models, expected):
    pytest.importorskip("nbconvert")
    pytest.importorskip("pyarrow")
    two_files.write(tmp_path, ".parquet", models)
    for form in two_files.FORMS:
        two_files.run(tmp_path, ".parquet", form)
    agree(tmp_path, ".parquet", expected, [form.replace(" ", "_") for form in two_files.FORMS])
    shown = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))["cells"][2]["outputs"][0]["data"]
    assert "documents" in shown["text/plain"][0] or "data moved" in "".join(shown["text/plain"])


def agree(folder, kind, expected, names):
    "All forms say the same of the data that the arrays themselves do."
    first, n_moved = json.loads((folder / f"{names[0]}.json").read_text()), expected.rejected().sum()
    for name in names:
        summary = json.loads((folder / f"{name}.json").read_text())
        assert summary == first and summary["n"] == expected.n and abs(summary["moved"] - n_moved) <= 1 and n_moved >= 9, name
        assert bool(summary["by_label"]) == ("label" in two_files.KINDS[kind])
        table = pd.read_csv(folder / f"{name}.csv").set_index("id")
        assert set(table.index[:9]) <= set(range(12))                                      # the ids went with the rows
        assert table["score"].sort_index().to_numpy() == pytest.approx(expected.score, abs=0.02), name
        page = (folder / f"{name}.html").read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and ("text of 3" in page) == ("text" in two_files.KINDS[kind])
