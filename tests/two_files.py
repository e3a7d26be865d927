"""One job, two files to a verdict, in three forms: a notebook, a script and a command line; from every kind of file.

`tests/test_two_files.py` holds the answers against each other, and `tools/bench.py` takes the time.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FORMS = ["notebook", "script", "command line"]
# What the reader has to say about each kind of file, beside its name.
TABLE = {"id": "doc_id", "text": "body", "label": "topic"}
KINDS = {".parquet": TABLE, ".arrow": TABLE, ".jsonl": TABLE, ".npz": TABLE, ".h5ad": TABLE, ".npy": {"ids": "ids.txt"},
         ".safetensors": {"id": "doc_id"}, ".zarr": {"id": "doc_id"}, ".faiss": {"ids": "ids.txt"}}


def two_models(n=240, p=24, moved=12):
    "Two views of clustered points; in the second, the first few are somebody else."
    rng = np.random.default_rng(0)
    X = 2 * rng.normal(size=(6, 12))[np.arange(n) % 6] + rng.normal(size=(n, 12))
    places = np.r_[np.roll(np.arange(moved), 1), np.arange(moved, n)]
    shown = rng.normal(size=(12, p))
    return {"before": (X @ shown + rng.normal(size=(n, p))).astype("f4"), "after": (X[places] @ shown + rng.normal(size=(n, p))).astype("f4")}


def write(folder, kind, arrays):
    "Both models in one kind of file; rows in another order where the file holds ids."
    n, tell = len(arrays["before"]), KINDS[kind]
    (folder / "ids.txt").write_text("\n".join(map(str, range(n))))
    for name, Y in arrays.items():
        order = np.random.default_rng(len(name)).permutation(n) if "id" in tell else np.arange(n)
        _write_one(folder / f"{name}{kind}", Y[order], order)


def _write_one(path, Y, order):
    columns = {"doc_id": order, "body": np.array([f"text of {i}" for i in order]), "topic": np.array([f"t{i % 6}" for i in order])}
    if path.suffix in (".parquet", ".arrow"):
        import pyarrow as pa
        table = pa.table(columns | {"embedding": pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), Y.shape[1])})
        if path.suffix == ".parquet":
            import pyarrow.parquet
            pyarrow.parquet.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
    elif path.suffix == ".jsonl":
        rows = ({name: value[row].item() for name, value in columns.items()} | {"embedding": Y[row].tolist()} for row in range(len(Y)))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix in (".npz", ".h5ad"):
        write_arrays(path, Y, order, columns)
    elif path.suffix in (".npy", ".safetensors", ".zarr"):
        write_arrays(path, Y, order, {"doc_id": order})
    else:
        import faiss
        index = faiss.IndexFlatIP(Y.shape[1])
        index.add(np.ascontiguousarray(Y))
        faiss.write_index(index, str(path))


def write_arrays(path, Y, order, columns, vector="embedding"):
    "Vectors, and columns beside them where the format has room."
    if path.suffix == ".npy":
        np.save(path, Y)
    elif path.suffix == ".npz":
        np.savez(path, **{vector: Y}, **columns)
    elif path.suffix == ".safetensors":
        import safetensors.numpy
        safetensors.numpy.save_file({vector: np.ascontiguousarray(Y), **columns}, path)
    elif path.suffix == ".zarr":
        import zarr
        group = zarr.open_group(str(path), mode="w")
        for name, array in {vector: Y, **columns}.items():
            group.create_array(name, data=array) if hasattr(group, "create_array") else group.create_dataset(name, data=array)
    else:
        import anndata
        import pandas as pd
        with pd.option_context("future.infer_string", False):               # anndata 0.12 writes no strings of pandas 3
            obs, var = pd.DataFrame(columns, index=[f"cell {row}" for row in order]), pd.DataFrame(index=["feature"])
        anndata.AnnData(np.zeros((len(Y), 1), "f4"), obs=obs, var=var, obsm={vector: Y}).write_h5ad(path)


def lines(kind):
    "The job as a reader would write it in Python."
    tell = dict(KINDS[kind])
    ids = tell.pop("ids", None)
    options = "".join(f", {name}={value!r}" for name, value in tell.items()) + (f", ids=dict.fromkeys(files, {ids!r})" if ids else "")
    return [f"import json\nimport embgeo_nb as eg\nfiles = {{'before': 'before{kind}', 'after': 'after{kind}'}}", f"emb = eg.Embeddings.from_files(files{options})",
            "C = eg.compare(emb, 'before', 'after')\nC", "C.report('{form}.html')", "with open('{form}.json', 'w') as file:\n    json.dump(C.summary(), file)",
            "C.to_frame().to_csv('{form}.csv', index=False)"]


def run(folder, kind, form):
    "One form of the job, as a process of its own in a folder; it leaves a page, a summary and a table."
    command = prepared(folder, kind, form)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    if done.returncode:
        raise RuntimeError(f"{form} with {kind}: {done.stdout}{done.stderr}")


def prepared(folder, kind, form):
    "Writes what the form needs; the arguments for Python that run it."
    name = form.replace(" ", "_")
    cells = [cell.replace("{form}", name) for cell in lines(kind)]
    if form == "notebook":
        import nbformat
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbformat.write(made, folder / "job.ipynb")
        return ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done.ipynb", "job.ipynb"]
    if form == "script":
        (folder / "job.py").write_text("\n".join(cells) + "\n")
        return ["job.py"]
    options = [text for option, value in KINDS[kind].items() for text in (f"--{option}", value)]
    return ["-m", "embgeo_nb.cli", "compare", f"before{kind}", f"after{kind}", *options, "--report", f"{name}.html", "--json", f"{name}.json", "--csv", f"{name}.csv"]
