"""Every kind of file, by its own library; rows are matched by id, and what does not fit is named."""
import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from embgeo_nb.embeddings import Embeddings
from embgeo_nb.readers import read_vectors
from two_files import write_arrays

N = 6
Y = np.arange(2. * N).reshape(N, 2).astype("f4")
DOCS, TITLES, TOPICS = [f"d{row}" for row in range(N)], [f"title {row}" for row in range(N)], ["p", "q"] * 3


def table(order=None, vector="embedding"):
    import pyarrow as pa
    order = np.arange(N) if order is None else np.asarray(order)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(Y[order].ravel()), 2)
    return pa.table({"doc_id": pa.array([DOCS[row] for row in order]), vector: lists, "title": [TITLES[row] for row in order], "topic": pa.array([TOPICS[row] for row in order]).dictionary_encode()})


def write(path, order=None, vector="embedding"):
    "The same data in any format."
    order = np.arange(N) if order is None else np.asarray(order)
    docs, kind = [DOCS[row] for row in order], path.suffix
    if kind == ".parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table(order, vector), path, row_group_size=4)
    elif kind == ".feather":
        pytest.importorskip("pyarrow.feather").write_feather(table(order, vector), path)
    elif kind == ".arrow":
        ipc, made = pytest.importorskip("pyarrow.ipc"), table(order, vector)
        with (ipc.new_stream if "stream" in path.stem else ipc.new_file)(path, made.schema) as sink:
            sink.write_table(made, max_chunksize=4)
    elif kind == ".jsonl":
        rows = [{"doc_id": DOCS[row], vector: Y[row].tolist(), "title": TITLES[row], "topic": TOPICS[row], "more": None} for row in order]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif kind in (".npz", ".h5ad"):
        pytest.importorskip({".npz": "numpy", ".h5ad": "anndata"}[kind])
        write_arrays(path, Y[order], order, {"doc_id": docs, "title": np.array(TITLES)[order], "topic": np.array(TOPICS)[order]}, vector)
    elif kind in (".npy", ".zarr", ".safetensors"):
        pytest.importorskip({".npy": "numpy", ".zarr": "zarr", ".safetensors": "safetensors.numpy"}[kind])
        write_arrays(path, Y[order], order, {"doc_id": order}, vector)
    elif kind == ".faiss":
        faiss = pytest.importorskip("faiss")
        index = faiss.IndexIDMap(faiss.IndexFlatL2(2))
        index.add_with_ids(Y[order], order)
        faiss.write_index(index, str(path))
    return path


TABLES = ["x.parquet", "x.feather", "x.arrow", "stream.arrow", "x.jsonl", "x.npz", "x.h5ad"]
ARRAYS = ["x.zarr", "x.safetensors"]


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path, name):
    found = read_vectors(write(tmp_path / name), id="doc_id", text="title", label="topic")
    assert np.array_equal(found["vectors"], Y) and (found["vectors"].dtype == np.float32) == (name != "x.jsonl")
    assert list(found["ids"]) == DOCS and list(found["text"]) == TITLES and list(found["label"]) == TOPICS


@pytest.mark.parametrize("name", [*ARRAYS, "x.faiss"])
def test_arrays(tmp_path, name):
    found = read_vectors(write(tmp_path / name, range(N)[::-1]), id=None if name == "x.faiss" else "doc_id")
    assert np.array_equal(found["vectors"], Y[::-1]) and found["ids"].tolist() == [*range(N)[::-1]]


def test_a_zarr_that_is_one_array(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save(str(tmp_path / "x.zarr"), Y)
    assert np.array_equal(read_vectors(tmp_path / "x.zarr")["vectors"], Y)


def test_rows_of_an_h5ad_have_names(tmp_path):
    path = write(tmp_path / "x.h5ad")
    assert list(read_vectors(path)["ids"]) == [f"cell {row}" for row in range(N)]
    assert read_vectors(path, "X")["vectors"].shape == (N, 1)


@pytest.mark.parametrize("factory", ["Flat", "IVF2,Flat", "HNSW8", "PCA2,Flat"])
def test_indices_of_faiss(tmp_path, factory):
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 4)).astype("f4")
    index = faiss.index_factory(4, factory)
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    found = read_vectors(tmp_path / "x.faiss")
    assert found["ids"] is None and found["vectors"].shape[0] == 200
    if "PCA" not in factory:
        assert np.array_equal(found["vectors"], rows)


@pytest.mark.parametrize("name", ["x.npy", "x.arrow"])
def test_vectors_stay_on_disk_where_they_can(tmp_path, name):
    vectors = read_vectors(write(tmp_path / name))["vectors"]
    if name == "x.npy":
        assert isinstance(vectors.base, np.memmap)
    else:
        assert not vectors.flags.owndata


def test_ids_from_elsewhere(tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(DOCS) + "\n")
    (tmp_path / "ids.json").write_text(json.dumps([2 ** 63 + row for row in range(N)]))
    np.save(tmp_path / "ids.npy", np.arange(N))
    path = write(tmp_path / "x.npy")
    assert read_vectors(path)["ids"] is None
    for ids, first in ((tmp_path / "ids.txt", "d0"), (tmp_path / "ids.json", 2 ** 63), (str(tmp_path / "ids.npy"), 0), (DOCS, "d0")):
        assert read_vectors(path, ids=ids)["ids"][0] == first
    with pytest.raises(ValueError, match="ids.csv.*npy, .txt or .json"):
        read_vectors(path, ids=tmp_path / "ids.csv")


# From files to embeddings ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", TABLES + ARRAYS)
def test_rows_find_each_other_across_formats(tmp_path, name):
    order = [3, 5, 0, 1, 4, 2]
    first = write(tmp_path / "first.npz")
    if name in ARRAYS:
        np.savez(tmp_path / "first.npz", embedding=Y, doc_id=np.arange(N), title=TITLES, topic=TOPICS)
    emb = Embeddings.from_files({"before": first, "after": write(tmp_path / name, order)}, id="doc_id", text="title", label="topic")
    assert emb.ids.tolist() == (list(range(N)) if name in ARRAYS else DOCS) and list(emb.data) == TITLES and emb.labels.tolist() == TOPICS
    assert np.array_equal(emb["before"], Y) and np.array_equal(emb["after"], Y) and not emb.dropped


def test_texts_and_labels_follow_the_first_file(tmp_path):
    paths = {"a": write(tmp_path / "a.parquet", [4, 1, 3]), "b": write(tmp_path / "b.jsonl", [0, 3, 4, 5])}
    with pytest.warns(UserWarning, match="keeps 2 data; left out are 1 of the 3 of 'a', 2 of the 4 of 'b'"):
        emb = Embeddings.from_files(paths, id="doc_id", text="title", label="topic", join="inner")
    assert emb.ids.tolist() == ["d4", "d3"] and list(emb.data) == ["title 4", "title 3"] and emb.labels.tolist() == ["p", "q"]
    assert np.array_equal(emb["a"], Y[[4, 3]]) and np.array_equal(emb["b"], Y[[4, 3]])
    assert emb.dropped == {"d1": "not in 'b'", "d0": "not in 'a'", "d5": "not in 'a'"}


def test_a_join_of_three_and_bad_rows(tmp_path):
    paths = {"a": write(tmp_path / "a.parquet"), "b": write(tmp_path / "b.jsonl", [0, 3, 4, 5]), "c": tmp_path / "c.npz"}
    holes = Y.copy()
    holes[3] = np.nan
    np.savez(paths["c"], embedding=holes, doc_id=DOCS)
    with pytest.warns(UserWarning):
        emb = Embeddings.from_files(paths, id="doc_id", join="inner", on_bad="drop")
    assert emb.ids.tolist() == ["d0", "d4", "d5"] and emb.dropped == {"d1": "not in 'b'", "d2": "not in 'b'", "d3": "NaN or infinite in 'c'"}
    with pytest.raises(ValueError, match=r"models\['c'\].*NaN"):
        Embeddings.from_files({"a": paths["a"], "c": paths["c"]}, id="doc_id")


@pytest.mark.parametrize("options, error, message", [
    (dict(), ValueError, r"ids\['b'\] lacks 2 of the ids of 'a' \(first: \['d1', 'd2'\]\)"), (dict(join="outer"), ValueError, "join must be one of 'exact', 'inner'"), (dict(ids={"x": [1]}), ValueError, "ids must be a mapping"),
    (dict(ids=[1, 2]), ValueError, "ids must be a mapping"), (dict(id="no"), ValueError, "a.parquet.*no column 'no'; the columns are embedding, no|a.parquet.*no column 'no'.*doc_id"), (dict(vector="no"), ValueError, "a.parquet.*no column 'no'"),
])
def test_what_does_not_fit(tmp_path, options, error, message):
    paths = {"a": write(tmp_path / "a.parquet"), "b": write(tmp_path / "b.jsonl", [0, 3, 4, 5])}
    with pytest.raises(error, match=message):
        Embeddings.from_files(paths, **{"id": "doc_id", **options})


def test_without_ids_rows_are_matched_by_number(tmp_path):
    paths = {"a": write(tmp_path / "a.npy"), "b": write(tmp_path / "b.npy", range(N)[::-1])}
    assert Embeddings.from_files(paths).ids.tolist() == list(range(N))
    with pytest.raises(ValueError, match="ids are known of a but not of b"):
        Embeddings.from_files(paths, ids={"a": DOCS})
    emb = Embeddings.from_files(paths, ids={"a": DOCS, "b": DOCS[::-1]})
    assert np.array_equal(emb["b"], Y)
    with pytest.raises(ValueError, match="numbers of rows differ"):
        Embeddings.from_files({"a": paths["a"], "b": write(tmp_path / "c.npy", [0, 1])})
    with pytest.raises(ValueError, match="6 rows, but 2"):
        Embeddings.from_files({"a": paths["a"]}, ids={"a": ["x", "y"]})
    with pytest.raises(TypeError, match="mapping"):
        Embeddings.from_files([paths["a"]])


NAMED = [name for name in TABLES + ARRAYS if name != "x.h5ad"]           # whose rows have names anyway


@pytest.mark.parametrize("name", NAMED)
def test_another_order_is_not_compared_in_silence(tmp_path, name):
    order, column = [2, 0, 1, *range(3, N)], "doc_id"
    one, same, other = (write(tmp_path / f"{which}{name}", rows) for which, rows in (("one", None), ("same", None), ("other", order)))
    assert np.array_equal(Embeddings.from_files({"a": one, "b": same})["b"], Y)
    with pytest.raises(ValueError, match=f"column '{column}' says another order .row 0 is .* in 'a' and .* in 'b'.*id='{column}' .--id {column}.*join='position'"):
        Embeddings.from_files({"a": one, "b": other})
    with pytest.raises(ValueError, match="'c'"):
        Embeddings.from_files({"a": one, "b": same, "c": other})
    assert np.array_equal(Embeddings.from_files({"a": one, "b": other}, id=column)["b"], Y)
    stated = Embeddings.from_files({"a": one, "b": other}, join="position")
    assert np.array_equal(stated["b"], Y[order]) and stated.ids.tolist() == list(range(N))
    with pytest.raises(ValueError, match="leave `id` and `ids` away"):
        Embeddings.from_files({"a": one, "b": other}, id=column, join="position")


def lines(path, **columns):
    rows = [dict(zip(columns, row), embedding=y.tolist()) for *row, y in zip(*columns.values(), np.random.default_rng(0).normal(size=(10, 3)))]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("one, other, named", [
    (dict(doc=list("abcdefghij")), dict(doc=list("abcdefghix")), "doc"),                                  # a datum replaced
    (dict(doc=list("abcdefghij")), dict(doc=list("abcdrstuvw")), None),                                   # hardly the same data
    (dict(doc=list("aacdefghij")), dict(doc=list("aadcefghij")), None),                                   # no name: two alike
    (dict(text=list("abcdefghij"), rank=list(range(10))), dict(text=list("abcdefghij"), rank=[*range(10)][::-1]), None),
    (dict(row=list(range(10)), text=list("abcdefghij")), dict(row=list(range(10)), text=list("bacdefghij")), "text"),     # a count agrees with anything
    (dict(text=list("abcdefghij"), doc_id=list("klmnopqrst")), dict(text=list("bacdefghij"), doc_id=list("lkmnopqrst")), "doc_id"),
    (dict(score=[i / 7 for i in range(10)]), dict(score=[i / 7 for i in range(10)][::-1]), None),
    (dict(doc=[*"abcdefghi", None]), dict(doc=[*"bacdefghi", None]), None)])
def test_which_columns_can_tell(tmp_path, one, other, named):
    paths = {"a": lines(tmp_path / "a.jsonl", **one), "b": lines(tmp_path / "b.jsonl", **other)}
    if named is None:
        assert Embeddings.from_files(paths).n == 10
    else:
        with pytest.raises(ValueError, match=f"column '{named}' says another order"):
            Embeddings.from_files(paths)


def test_nothing_in_common(tmp_path):
    paths = {"a": write(tmp_path / "a.npy"), "b": write(tmp_path / "b.npy")}
    with pytest.raises(ValueError, match="no id is in all of a, b .*'d0' of 'a', 'e' of 'b'"):
        Embeddings.from_files(paths, ids={"a": DOCS, "b": list("efghij")}, join="inner")


@pytest.mark.parametrize("name", [name for name in TABLES + ARRAYS + ["x.npy"] if name != "x.zarr"])
def test_damaged_files_are_named(tmp_path, name):
    path = write(tmp_path / name)
    whole = path.read_bytes()
    for content in (whole[:len(whole) // 2], b"", b"something else altogether"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.name):
            read_vectors(path, id="doc_id" if name != "x.npy" else None)


def test_lists_of_different_lengths_never_move(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for rows in ([[1., 2.], [3.], [4., 5., 6.]], [[1., 2.], None, [3., 4.]], [[1., None], [3., 4.], [5., 6.]]):
        parquet.write_table(pa.table({"embedding": rows}), tmp_path / "x.parquet")
        with pytest.raises(ValueError, match="x.parquet.*differ|x.parquet.*missing"):
            read_vectors(tmp_path / "x.parquet")


def test_lines_that_lack_something(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"embedding": [1, 2]}\n[1]\n')
    with pytest.raises(ValueError, match="x.jsonl.*line 2 has no 'embedding'"):
        read_vectors(tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").write_text('{"embedding": [1, 2], "id": 18446744073709551615}\n{"embedding": [1, 3], "id": 9223372036854775809}')
    assert Embeddings.from_files({"a": tmp_path / "x.jsonl"}, id="id").ids.tolist() == [2 ** 64 - 1, 2 ** 63 + 1]


def test_half_precision_of_torch(tmp_path):
    torch, save = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch").save_file
    save({"embedding": torch.tensor(Y).bfloat16(), "id": torch.tensor([2 ** 63 + row for row in range(N)], dtype=torch.uint64)}, tmp_path / "x.safetensors")
    found = read_vectors(tmp_path / "x.safetensors", id="id")
    assert found["vectors"].dtype == np.float32 and np.array_equal(found["vectors"], Y) and found["ids"].tolist()[1] == 2 ** 63 + 1


def test_small_files_that_would_grow(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 ** 26, "f4")), 2 ** 10)
    parquet.write_table(pa.table({"embedding": zeros}), tmp_path / "x.parquet")
    np.savez_compressed(tmp_path / "x.npz", embedding=np.zeros((2 ** 16, 2 ** 10), "f4"))
    for name in ("x.parquet", "x.npz"):
        assert (tmp_path / name).stat().st_size < 2e6
        with pytest.raises(ValueError, match=f"{name}.*would take"):
            read_vectors(tmp_path / name)


def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch):
    import sys
    path = write(tmp_path / "x.h5ad")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ImportError, match=r'pip install "embgeo_nb\[readers\]"'):
        read_vectors(path)


MUTATE = """
    import random, sys, warnings
    from pathlib import Path
    import numpy as np
    from embgeo_nb.readers import read_vectors
    warnings.simplefilter("ignore")
    path, draw, refused = Path(sys.argv[1]), random.Random(0), 0
    options = dict(id="doc_id", text="title") if sys.argv[2] == "table" else {}
    whole = path.read_bytes()
    for at in range(250):
        content = bytearray(whole)
        where = draw.choice([draw.randrange(len(whole)), draw.randrange(min(300, len(whole))), len(whole) - 1 - draw.randrange(min(800, len(whole)))])
        content[where] = draw.choice([content[where] ^ (1 << draw.randrange(8)), draw.randrange(256), 0, 255])
        path.with_name("at.txt").write_text(str(at))
        path.write_bytes(content[:draw.randrange(len(whole))] if at % 5 == 4 else content)
        try:
            found = read_vectors(path, **options)
            float(np.nansum(np.asarray(found["vectors"], float))), [str(row) for row in found["ids"] if row is not None] if found["ids"] is not None else None
        except (ValueError, TypeError) as error:
            refused += path.name in str(error)
    print(refused)
"""


@pytest.mark.parametrize("name", [name for name in TABLES + ["x.safetensors", "x.npy", "x.faiss"]])
def test_damage_never_ends_the_program(tmp_path, name):
    "Files of others have no checksum, so that changed numbers pass; but nothing dies, hangs, or takes all memory."
    path = write(tmp_path / name)
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(MUTATE), str(path), "table" if name in TABLES else "array"], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, f"mutation {(tmp_path / 'at.txt').read_text()}: {process.returncode} {process.stderr[-1500:]}"
    assert int(process.stdout) > 20
