"""Rows are matched by id or refused, and nothing that is not an embedding gets through."""
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import embgeo_nb as eg
from embgeo_nb.common import need
from embgeo_nb.embeddings import Embeddings, as_embeddings, as_matrix

FORMATS = ("npz", "safetensors", "parquet")


def arrays(n=6):
    rng = np.random.default_rng(0)
    return {"a": rng.normal(size=(n, 3)), "b / two": rng.normal(size=(n, 1)).astype(np.float32), "ç": rng.normal(size=(n, 2)).astype(np.float16)}


def same(one, other):
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(np.array_equal(x, y) for x, y in zip(one, other))


# What goes in ---------------------------------------------------------------------------------------------------------

class Arrayed:
    def __array__(self, dtype=None, copy=None):
        return np.ones((4, 2))


@pytest.mark.parametrize("values, dtype", [
    (np.ones((4, 2), np.float16), np.float16), (np.ones((4, 2), np.float32), np.float32), (np.ones((4, 2)), np.float64),
    (np.ones((4, 2), np.uint8), np.float32), (np.ones((4, 2), bool), np.float32), ([[1, 2]] * 4, None), ([[1., 2.]] * 4, np.float64),
    (torch.ones(4, 2), np.float32), (torch.ones(4, 2).bfloat16(), np.float32), (torch.ones(4, 2, requires_grad=True), np.float32), (torch.ones(4, 2).int(), None),
    (pd.DataFrame(np.ones((4, 2))), np.float64), (Arrayed(), np.float64),
])
def test_arrays_of_every_kind(values, dtype):
    Y = as_matrix(values)
    assert isinstance(Y, np.ndarray) and Y.shape == (4, 2) and Y.dtype.kind == "f" and (dtype is None or Y.dtype == dtype)


def test_no_copy():
    Y = np.ones((4, 2))
    assert as_matrix(Y) is Y and Embeddings({"a": Y})["a"] is Y


def test_nan_deep_in_a_large_array_is_found():
    Y = np.zeros((200_000, 1), np.float32)
    Y[[65_536, 199_999]] = np.nan
    with pytest.raises(ValueError, match=r"2 of 200000 rows \(first: \[65536, 199999\]\)"):
        as_matrix(Y)


@pytest.mark.parametrize("models, error, message", [
    ([np.ones((4, 2))], TypeError, "mapping"), (np.ones((4, 2)), TypeError, "mapping"), ({}, ValueError, "empty"), ({1: np.ones((4, 2))}, TypeError, "names"),
    ({"": np.ones((4, 2))}, TypeError, "names"), ({"a": np.ones((4, 2)), "b": np.ones((5, 2))}, ValueError, "a: 4, b: 5"), ({"a": np.ones(4)}, ValueError, r"models\['a'\]"),
    ({"a": sp.csr_array(np.eye(4))}, TypeError, "sparse"), ({"a": [["x"]]}, TypeError, "real"), ({"a": np.ones((4, 2), complex)}, TypeError, "real"),
    ({"a": np.ma.masked_equal([[1., 2.], [3., 4.]], 3)}, (TypeError, ValueError), "mask"),
])
def test_bad_models(models, error, message):
    with pytest.raises(error, match=message):
        Embeddings(models)


@pytest.mark.parametrize("options, message", [
    (dict(ids=[1, 2, 3]), "6 rows, but 3"), (dict(ids=[1, 2, 3, 4, 5, 5]), r"repeat \(first: \[5\]\)"), (dict(ids=np.ones((6, 2))), "one-dimensional"),
    (dict(data=["x"]), "data"), (dict(labels=[1]), "labels"), (dict(ids={"a": range(6)}), "one entry per model"),
    (dict(ids={"a": range(6), "b / two": range(1, 7), "ç": range(6)}), r"lacks 1 .*\[0\]"), (dict(ids={"a": range(6), "b / two": [0] * 6, "ç": range(6)}), "repeat"),
    (dict(ids={"a": range(6), "b / two": list("012345"), "ç": range(6)}), "lacks 6"),
])
def test_bad_ids_data_and_labels(options, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(arrays(), **options)


@pytest.mark.parametrize("column", ["id", "doc_id", "ID", "index", "key", "Unnamed: 0"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_ids_are_no_feature(library, column):
    made, kind = pytest.importorskip(library), {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[library]
    vectors = {"x0": [0.5, 1.0, 2.0], "width": [1, 2, 4]}
    assert Embeddings({"a": getattr(made, kind)(vectors)})["a"].shape == (3, 2)
    with pytest.raises(ValueError, match=rf"models\['a'\] has columns of whole numbers that are named like ids: {column}\. .* as `ids`"):
        Embeddings({"a": getattr(made, kind)({column: [7, 8, 9], **vectors})})


def test_unknown_model():
    with pytest.raises(ValueError, match="no model 'x'; the models are a, b / two, ç"):
        Embeddings(arrays())["x"]


# Which row is which ---------------------------------------------------------------------------------------------------

@settings(deadline=None, max_examples=30)
@given(st.permutations(range(6)), st.permutations(range(6)), st.sampled_from([list("uvwxyz"), [10, 20, 30, 40, 50, 60], [1.5, 2., 3., 4., 5., 6.]]))
def test_shuffled_rows_are_put_in_the_first_models_order(first, second, names):
    Y, names = arrays(), np.array(names)
    orders = dict(zip(Y, (np.array(first), np.array(second), np.arange(6))))
    emb = Embeddings({m: Y[m][orders[m]] for m in Y}, {m: names[orders[m]] for m in Y}, data=names[list(first)].tolist())
    assert emb.ids.tolist() == emb.data == names[list(first)].tolist()
    assert all((emb[m] == Y[m][list(first)]).all() for m in Y)


def test_shuffled_rows_give_the_same_tests():
    rng = np.random.default_rng(0)
    Y = {"a": rng.normal(size=(120, 4)), "b": rng.normal(size=(120, 4))}
    order = rng.permutation(120)
    shuffled = Embeddings({"a": Y["a"], "b": Y["b"][order]}, {"a": np.arange(120), "b": order})
    results = [eg.datum_test(emb, "a", "b", n_neighbors=8, n_resamples=199) for emb in (Y, shuffled)]
    assert (results[0].pvalue == results[1].pvalue).all() and (results[0].statistic == results[1].statistic).all()
    assert (eg.datum_test({"a": Y["a"], "b": Y["b"][order]}, "a", "b", n_neighbors=8, n_resamples=199).pvalue != results[0].pvalue).any()


# Parts ----------------------------------------------------------------------------------------------------------------

def full():
    return Embeddings(arrays(), list("uvwxyz"), [f"text {i}" for i in range(6)], np.arange(6) % 2)


def test_container():
    emb = full()
    assert emb.models == tuple(emb) == ("a", "b / two", "ç") and (emb.n, len(emb)) == (6, 3) and "a" in emb and "x" not in emb
    assert as_embeddings(emb) is emb and as_embeddings(arrays()).models == emb.models
    assert Embeddings(arrays()).ids.tolist() == list(range(6))
    with pytest.raises(AttributeError):
        emb.ids = None


@pytest.mark.parametrize("rows", [[4, 0, 2], np.array([4, 0, 2])])
def test_rows(rows):
    part = full().rows(rows)
    assert part.ids.tolist() == ["y", "u", "w"] and part.data == ["text 4", "text 0", "text 2"] and part.labels.tolist() == [0, 0, 0]
    assert all((part[m] == full()[m][[4, 0, 2]]).all() for m in part)


def test_rows_by_mask_and_models_by_name():
    emb = full()
    assert emb.rows(emb.labels == 1).ids.tolist() == ["v", "x", "z"]
    assert emb.select(["ç", "a"]).models == ("ç", "a") and emb.select(["ç"]).labels is emb.labels
    for bad in (lambda: emb.rows([True, False]), lambda: emb.select(["x"]), lambda: emb.select([])):
        with pytest.raises(ValueError):
            bad()


def test_repr_escapes():
    emb = Embeddings({"<script>": np.ones((2, 1))})
    assert "<script>" not in emb._repr_html_() and "&lt;script&gt;" in emb._repr_html_() and "<script>: 1" in repr(emb)


# Files ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("ids", [None, list("uvwxyz"), [10, 2, 3, 4, 5, 6], [0.5, 1, 2, 3, 4, 5], np.array(list("uvwxyz"), object)], ids=["rows", "str", "int", "float", "object"])
@pytest.mark.parametrize("data", [None, ["a", "", "é\n", "漢", "'\"", " b "], np.arange(24, dtype=np.uint8).reshape(6, 2, 2)], ids=["none", "texts", "images"])
@pytest.mark.parametrize("labels", [None, list("ppqqrr"), [True, False] * 3, [3, 1, 2, 3, 1, 2]], ids=["none", "str", "bool", "int"])
def test_round_trip(tmp_path, suffix, ids, data, labels):
    emb = Embeddings(arrays(), ids, data, labels)
    emb.save(tmp_path / f"x.{suffix}")
    back = Embeddings.load(str(tmp_path / f"x.{suffix}"))
    assert back.models == emb.models and all((back[m] == emb[m]).all() and back[m].dtype == emb[m].dtype for m in emb)
    assert same(back.ids, emb.ids) and same(back.labels, emb.labels) and same(back.data, emb.data)


@pytest.mark.parametrize("suffix", FORMATS)
def test_layout_and_order_survive(tmp_path, suffix):
    Y = np.asfortranarray(arrays()["a"])
    emb = Embeddings({"z": Y, "a": Y[:, ::-1]}, np.arange(6)[::-1])
    emb.save(tmp_path / f"x.{suffix}")
    back = Embeddings.load(tmp_path / f"x.{suffix}")
    assert back.models == ("z", "a") and (back["z"] == Y).all() and (back["a"] == Y[:, ::-1]).all() and back.ids[0] == 5


def test_no_pickle(tmp_path):
    emb = Embeddings(arrays(), data=[object()] * 6)
    for suffix in FORMATS:
        with pytest.raises(ValueError, match="data cannot be saved"):
            emb.save(tmp_path / f"x.{suffix}")
    np.savez(tmp_path / "evil.npz", models=np.array(["a"]), embedding_0=np.ones((2, 1)), ids=np.array([{}, {}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        Embeddings.load(tmp_path / "evil.npz")


@pytest.mark.parametrize("call", [full().save, Embeddings.load])
def test_unknown_format(tmp_path, call):
    with pytest.raises(ValueError, match=".npz, .safetensors or .parquet"):
        call(tmp_path / "x.csv")


def test_missing_library_says_what_to_install():
    with pytest.raises(ImportError, match=r'pip install "embgeo_nb\[io\]"'):
        need("no_such_library_anywhere")


# The package ----------------------------------------------------------------------------------------------------------

def test_public_names():
    promised = "Embeddings data_kernel DataKernel omnibus Omnibus datum_test DatumTest sample_rdpg spectral_embedding model_distance model_manifold"
    assert set(promised.split()) <= set(eg.__all__) <= set(dir(eg)) and all(getattr(eg, name) is not None for name in eg.__all__)
    assert callable(eg.datum_test) and callable(eg.omnibus)            # functions, though modules have the same names
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        eg.nothing
