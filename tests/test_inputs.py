"""Vectors and columns from every library, by position; what is not one kind, not there or not unique is named."""
import datetime
import decimal
import uuid
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import embgeo_nb as eg
from embgeo_nb.embeddings import Embeddings, as_matrix, collapse_of
from embgeo_nb.inputs import as_column, by_position, matching_keys

Y = np.array([[0.5, 1, 2], [3, 4, 5.25]])
ROWS = Y.tolist()


# Vectors --------------------------------------------------------------------------------------------------------------

class Arrayed:
    def __array__(self, dtype=None, copy=None):
        return Y


wide = pd.DataFrame(Y, columns=list("xyz"))
VECTORS = {
    "lists": ROWS, "tuples": tuple(map(tuple, ROWS)), "arrays in a list": list(Y), "object array of lists": np.array([*map(list, ROWS), None], object)[:2],
    "object array of arrays": eg.files.object_array(list(Y)), "tensor": torch.tensor(Y), "tensor with a gradient": torch.tensor(Y, requires_grad=True), "tensors": list(torch.tensor(Y)),
    "tensors with a gradient": list(torch.tensor(Y, requires_grad=True)), "__array__": Arrayed(), "big-endian": Y.astype(">f8"), "Fortran": np.asfortranarray(Y),
    "frame": wide, "frame of objects of one column": pd.DataFrame({"emb": ROWS}), "series of lists": pd.Series(ROWS), "series of arrays": pd.Series(list(Y)), "nullable": wide.convert_dtypes(),
    "frame of mixed numbers": wide.assign(x=wide.x.astype("f4")), "arrow-backed": wide.convert_dtypes(dtype_backend="pyarrow"), "arrow-backed lists": pd.Series(pa.array(ROWS), dtype=pd.ArrowDtype(pa.list_(pa.float64()))),
    "polars frame": pl.DataFrame(Y), "lazy frame": pl.DataFrame(Y).lazy(), "polars lists": pl.Series(ROWS), "polars arrays": pl.Series(Y), "polars frame of one column": pl.DataFrame({"emb": ROWS}),
    "table": pa.table({"x": Y[:, 0], "y": Y[:, 1], "z": Y[:, 2]}), "record batch": pa.RecordBatch.from_pydict({"x": Y[:, 0], "y": Y[:, 1], "z": Y[:, 2]}), "table of one column": pa.table({"emb": ROWS}), "arrow lists": pa.array(ROWS),
    "large lists": pa.array(ROWS, pa.large_list(pa.float64())), "fixed lists": pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), 3), "chunks": pa.chunked_array([ROWS[:1], ROWS[1:]]),
    "sliced lists": pa.array([[9., 9., 9.], *ROWS, [7., 7., 7.]])[1:3], "sliced fixed lists": pa.FixedSizeListArray.from_arrays(pa.array([9.] * 3 + Y.ravel().tolist()), 3)[1:], "memory view": memoryview(Y),
}


@pytest.mark.parametrize("kind", VECTORS)
def test_vectors_of_every_library(kind):
    found = as_matrix(VECTORS[kind])
    assert isinstance(found, np.ndarray) and found.dtype == np.float64 and found.tolist() == ROWS
    emb = Embeddings({"a": VECTORS[kind]})
    assert emb["a"].tolist() == ROWS and emb.ids.tolist() == [0, 1]


def test_types_that_numpy_does_not_know():
    assert as_matrix(torch.tensor(Y).bfloat16()).dtype == np.float32
    assert as_matrix(Y.astype(pytest.importorskip("ml_dtypes").bfloat16)).dtype == np.float32          # as jax has it


def test_nothing_is_copied_that_need_not_be(tmp_path):
    assert np.shares_memory(as_matrix(Y), Y) and np.shares_memory(as_matrix(torch.from_numpy(Y)), Y)
    column = pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), 3)
    assert as_matrix(column).ctypes.data == column.values.buffers()[1].address
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    assert np.shares_memory(Embeddings({"a": mapped})["a"], mapped)


@pytest.mark.parametrize("values, error, message", [
    ([[1, 2], [3]], ValueError, r"same length.*1 differ.*\[1\]"), (eg.files.object_array([[1., 2.], None]), ValueError, r"\[1\]"), (pd.Series([[1., 2.], [1.]]), ValueError, r"\[1\]"),
    (pa.array([[1., 2.], [3.], [4.], [5., 6.]]), ValueError, r"2 numbers: 2 differ \(first: \[1, 2\]\)"), (pa.array([[1., 2.], None]), ValueError, r"1 differ"), (pa.array([None, [1., 2.]]), ValueError, "differ"),
    (pa.array([[1., None], [3., 4.]]), ValueError, "1 numbers are missing"), (pa.array([[1., 2.], None], pa.list_(pa.float64(), 2)), ValueError, "differ"), (pl.Series([[1., 2.], [3.]]), ValueError, r"\[1\]"),
    (pl.Series([[1., 2.], None]), ValueError, r"\[1\]"), (pl.DataFrame({"x": [1.], "id": ["a"]}), TypeError, "no numbers: id"), (pd.DataFrame({"x": [1.], "id": ["a"]}), TypeError, "no numbers: id"),
    (pa.table({"x": [1.], "id": ["a"]}), TypeError, "no numbers: id"), (pd.DataFrame({"x": pd.array([1, None], "Int64")}), ValueError, r"NaN.*\[1\]"), (pl.DataFrame({"x": [1., None]}), ValueError, r"NaN.*\[1\]"),
    (pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}), (TypeError, ValueError), ""), (pd.DataFrame(), ValueError, "shape"), (pd.Series([1., 2.]), ValueError, "shape"), (pl.Series([1., 2.]), ValueError, "shape"),
    ([[decimal.Decimal(1)]], TypeError, "real"), ([["a"]], TypeError, "real"), (None, ValueError, "shape"), ("abc", (TypeError, ValueError), ""), ({"a": 1}, (TypeError, ValueError), ""), ([], ValueError, "shape"),
    (np.ones((2, 2), object), TypeError, "real"), (pd.DataFrame({"x": [1 + 2j]}), TypeError, "real"), (torch.ones(2, 2, dtype=torch.complex64), TypeError, "real"), (np.zeros(2, "f4,f4"), (TypeError, ValueError), ""),
])
def test_what_is_no_matrix_is_named(values, error, message):
    with pytest.raises(error, match=message) as found:
        as_matrix(values, "models['a']")
    assert "models['a']" in str(found.value)


# Columns --------------------------------------------------------------------------------------------------------------

def shuffled(values):
    "The same entries in a Series whose labels say another order."
    return pd.Series(values, index=range(len(values))[::-1])


@pytest.mark.parametrize("container", [list, tuple, np.array, pd.Series, pd.Index, pl.Series, pa.array, shuffled, lambda v: pa.chunked_array([v[:1], v[1:]]), lambda v: pd.Series(v).astype("category"),
                                       lambda v: pd.Series(["x", *v])[1:], lambda v: np.array(v, object), iter, lambda v: pl.Series(v).cast(pl.Categorical)],
                         ids=["list", "tuple", "array", "series", "index", "polars", "arrow", "shuffled", "chunks", "category", "filtered", "object", "iterator", "polars category"])
def test_entries_by_position(container):
    words = ["c", "a", "b"]
    emb = Embeddings({"a": np.eye(3)}, ids=container(words), data=container(words), labels=container(words))
    assert emb.ids.tolist() == list(emb.data) == emb.labels.tolist() == words
    assert [emb.data[row] for row in range(3)] == words


class Lazy:
    "A data set that reads an entry when it is asked for, and never says where it ends."
    def __init__(self):
        self.asked = []

    def __len__(self):
        return 3

    def __getitem__(self, at):
        self.asked.append(at)
        return f"text {at}"


class LazySequence(Lazy, Sequence):
    pass


def test_entries_that_are_read_when_asked():
    assert Embeddings({"a": np.eye(3)}, data=Lazy()).data == ["text 0", "text 1", "text 2"]
    emb = Embeddings({"a": np.eye(3)}, data=(lazy := LazySequence()))
    assert emb.data is lazy and not lazy.asked and emb.rows([2, 0]).data == ["text 2", "text 0"] and lazy.asked == [2, 0]


def test_a_filtered_frame_gives_the_right_texts():
    frame = pd.DataFrame({"id": [10, 11, 12, 13, 14], "text": list("abcde"), "topic": list("ppqqr")})
    part = frame[frame.id != 10].sort_values("id", ascending=False)
    emb = Embeddings({"a": np.eye(4), "b": np.eye(4)}, ids=part.id, data=part.text, labels=part.topic)
    assert emb.ids.tolist() == [14, 13, 12, 11] and [emb.data[row] for row in range(4)] == list("edcb") and emb.labels.tolist() == list("rqqp")
    assert emb.rows([0, 3]).data == ["e", "b"]


@pytest.mark.parametrize("values, dtype", [
    ([2 ** 64 - 1, 2 ** 63 + 1, 5], "u8"), ([2 ** 63 - 1, -2 ** 63, 2 ** 53 + 1], "i8"), ([np.uint64(2 ** 64 - 1), 3, 4], "u8"), ([2 ** 64, 1, 2], "O"), ([-1, 2 ** 63, 0], "O"), ([1, 2, 3], "i8"), ([0.5, 1, 2], "f8"),
    (pd.Series([2 ** 64 - 1, 1, 2], dtype="UInt64"), "u8"), (pd.Series([2 ** 64 - 1, 1, 2], dtype="uint64"), "u8"), (pl.Series([2 ** 64 - 1, 1, 2]), "u8"), (pa.array([2 ** 64 - 1, 1, 2], pa.uint64()), "u8"),
    (pd.Series(["x", "y", "z"], dtype="string"), "U1"), (np.array(["x", "y", "z"], getattr(np.dtypes, "StringDType", lambda: "U1")()), "U1"), ([b"a\0", b"a", b""], "O"), (["a\0", "a", ""], "O"), ([np.str_("a"), "b", "c"], "U1"),
    ([datetime.datetime(2020, 1, 1, 12), datetime.datetime(2021, 1, 1), datetime.datetime(1960, 1, 1)], "M8[us]"), (pd.to_datetime(["2020-01-01", "2021-01-01", "1960-01-01"]), None), ([datetime.date(2020, 1, d) for d in (1, 2, 3)], "M8[D]"),
    (pl.Series([datetime.datetime(2020, 1, d) for d in (1, 2, 3)]), "M8[us]"), (pa.array([1, 2, 3], pa.timestamp("ns")), "M8[ns]"), ([datetime.timedelta(seconds=s) for s in (1, 2, 3)], "m8[us]"), ([True, False], "?"),
    (pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]), "O"), ([("a", 1), ("a", 2), ("b", 1)], "O"), ([uuid.UUID(int=i) for i in (3, 1, 2)], "O"), (range(3), "i8"), (torch.arange(3), "i8"), (pd.interval_range(0, 3), "O"),
    (pd.period_range("2020-01", periods=3, freq="M"), "O"),
])
def test_columns_keep_their_values(values, dtype):
    column = as_column(values)
    assert dtype is None or column.dtype == np.dtype(dtype)
    expected = [value.to_datetime64() if hasattr(value, "to_datetime64") else value for value in (values.tolist() if hasattr(values, "tolist") and column.dtype.kind != "M" else by_position(values))]
    if column.dtype.kind not in "mM":
        assert column.tolist() == [int(value) if isinstance(value, np.integer) else value for value in expected]


def test_dates_keep_their_moment():
    for values in (pd.Series(pd.to_datetime(["2020-01-01T12:00"])), [pd.Timestamp("2020-01-01T12:00")], [datetime.datetime(2020, 1, 1, 12)], [np.datetime64("2020-01-01T12")], pa.array([datetime.datetime(2020, 1, 1, 12)])):
        column = as_column(values)
        assert column.dtype.kind == "M" and column[0] == np.datetime64("2020-01-01T12:00:00.000000000")
    assert as_column([pd.Timestamp(1, unit="ns")])[0] == np.datetime64(1, "ns")


@pytest.mark.parametrize("values, message", [
    ([1, "1", 2], r"mixes int \(1\) and str \('1'\)"), ([True, 2, 3], "mixes bool .* and int"), ([b"a", "a", "b"], "mixes bytes .* and str"), (["a", None, "b"], r"1 missing values \(rows 1\)"), ([1, float("nan"), 2], "rows 1"),
    ([float("nan")] * 3, "3 missing"), (pd.Series([1, None, 2]), "missing"), (pd.Series([1, None, 2], dtype="Int64"), "rows 1"), (pd.Series(["a", None, "b"]), "rows 1"), (pl.Series([1, None, 2]), "rows 1"), (pa.array(["a", None, "b"]), "rows 1"),
    ([2 ** 60, 0.5, 1], "mixes float .* and int"), ([[1], [2], [3]], "hashable"), ([("a", [1]), ("b", [1]), ("c", [1])], "hashable"), (np.ones((3, 2)), "one-dimensional"), (np.array(["NaT", "2020", "2021"], "M8[D]"), "rows 0"),
    ([pd.NaT, pd.Timestamp(1), pd.Timestamp(2)], "rows 0"), (pd.date_range("2020", periods=3, tz="UTC"), "time zone"), (pa.array([1, 2, 3], pa.timestamp("s", "UTC")), "time zone"), (np.ones(3, complex), "numbers, texts or dates"),
    (np.ma.masked_array([1, 2, 3], [False, True, False]), "rows 1"), ([1, 1, 2], r"repeat \(first: \[1\]\)"), ([("a", 1), ("a", 1), ("b", 1)], r"repeat \(first: \[\('a', 1\)\]\)"), ([1, 1.0, 2], "repeat"), ([0.0, -0.0, 1.0], "repeat"),
    (["a", "b"], "3 rows, but 2"), (iter("abcd"), "3 rows, but 4"),
], ids=lambda value: str(value).partition(" at 0x")[0])
def test_ids_that_are_none_are_named(values, message):
    with pytest.raises(ValueError, match=message) as found:
        Embeddings({"a": np.eye(3)}, ids=values)
    assert str(found.value).startswith("ids")


@pytest.mark.parametrize("values", ["abc", b"abc", 3, {"x", "y", "z"}, {0: "a", 1: "b", 2: "c"}, np.array("abc")])
def test_what_has_no_order_is_no_column(values):
    with pytest.raises(TypeError, match="data must be a sequence"):
        Embeddings({"a": np.eye(3)}, data=values)


def test_names_that_look_the_same():
    with pytest.warns(UserWarning, match="look the same.*'caf.xe9'"):
        Embeddings({"a": np.eye(3)}, ids=["caf\u00e9", "cafe\u0301", "b"])
    with pytest.raises(ValueError, match="lacks 1 of the ids of 'a'"):
        Embeddings({"a": np.eye(2), "b": np.eye(2)}, ids={"a": ["\u00e9", "b"], "b": ["e\u0301", "b"]})


@pytest.mark.parametrize("one, other", [([1, 2], ["1", "2"]), ([1, 2], [b"1", b"2"]), (np.array([1, 2], "M8[s]"), [1, 2]), ([True, False], [1, 0]), ([("a",), ("b",)], ["a", "b"]), (np.array([1, 2], "m8[s]"), np.array([1, 2], "M8[s]"))])
def test_ids_of_two_kinds_never_match(one, other):
    for ids in ({"a": one, "b": other}, {"a": other, "b": one}):
        with pytest.raises(ValueError, match=r"ids\['b'\] lacks 2 of the ids of 'a': they are of another kind"):
            Embeddings({"a": np.eye(2), "b": np.eye(2)}, ids=ids)


@pytest.mark.parametrize("one, other", [([1, 2], [2., 1.]), (np.array([1, 2], "u8"), np.array([2, 1], "i1")), (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), pd.to_datetime(["2020-01-02", "2020-01-01"])),
                                        (np.array(["a", "b"], "U9"), pd.Series(["b", "a"], dtype="string")), ([b"a", b"b\0"], [b"b\0", b"a"]), ([2 ** 64, 1], np.array([1, 2 ** 64], object)), ([("a", 1), ("b", 2)], pd.MultiIndex.from_tuples([("b", 2), ("a", 1)]))])
def test_ids_of_one_kind_match_in_every_container(one, other):
    emb = Embeddings({"a": np.eye(2), "b": np.eye(2)}, ids={"a": one, "b": other})
    assert emb["b"].tolist() == [[0, 1], [1, 0]]


def test_large_hashes_of_two_models_find_each_other():
    hashes = [2 ** 63 + 1, 2 ** 63, 5]
    emb = Embeddings({"a": np.eye(3), "b": np.eye(3)}, ids={"a": hashes, "b": hashes[::-1]})
    assert emb["b"].tolist() == np.eye(3)[::-1].tolist() and emb.ids.tolist() == hashes
    assert matching_keys({"a": np.array([2 ** 63], "u8"), "b": np.array([2 ** 63 + 1], "u8")})["a"] != [2 ** 63 + 1]


@pytest.mark.parametrize("labels, message", [([1, "a", 2], "labels mixes"), (["a", None, "b"], "labels has 1 missing"), (np.ones((3, 1)), "labels must be one-dimensional"), ([["a"], ["b"], ["c"]], "labels must be"), (["a"], "labels must have one entry")])
def test_labels_that_are_none_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        Embeddings({"a": np.eye(3)}, labels=labels)


# Frames ---------------------------------------------------------------------------------------------------------------

def framed(rows, index):
    return pd.DataFrame(np.asarray(rows, float), index=index)


def test_frames_find_each_other_by_their_index():
    a, b = framed([[1, 0], [2, 0], [3, 0]], ["x", "y", "z"]), framed([[3, 1], [1, 1], [2, 1]], ["z", "x", "y"])
    emb = Embeddings({"a": a, "b": b}, data=["first", "second", "third"])
    assert emb.ids.tolist() == ["x", "y", "z"] and emb["b"][:, 0].tolist() == [1, 2, 3]
    filtered = Embeddings({"a": a[a[0] > 1], "b": b[b[0] > 1]})
    assert filtered.ids.tolist() == ["y", "z"] and filtered["b"][:, 0].tolist() == [2, 3]
    ranged = a.reset_index(drop=True)
    assert Embeddings({"a": ranged[1:], "b": ranged[1:][::-1]}).ids.tolist() == [1, 2]
    assert (Embeddings({"a": ranged, "b": b.to_numpy()}).ids == np.arange(3)).all()
    vectors = pd.Series([[1., 0.], [0., 1.]], index=["p", "q"])
    assert Embeddings({"a": vectors, "b": vectors[::-1]})["b"].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("models, ids, message", [
    (lambda a: {"a": a, "b": a.to_numpy()}, None, r"models\['a'\] has an index.*models\['b'\] has none"), (lambda a: {"a": a, "b": a.reset_index(drop=True)}, None, "which row is which"),
    (lambda a: {"a": a, "b": a[::-1]}, list("uvw"), r"models\['b'\] is a frame whose index says another order than that of models\['a'\]"),
    (lambda a: {"x": a.to_numpy(), "b": a}, list("zyx"), r"models\['b'\] is a frame whose index says another order than ids"), (lambda a: {"a": a}, ["y", "x", "z"], "another order than ids"), (lambda a: {"a": a, "b": framed(a, ["x", "y", "w"])}, None, "lacks 1"), (lambda a: {"a": framed(a, ["x", "x", "y"])}, None, "repeat"),
    (lambda a: {"a": framed(a, [1, 2, None])}, None, "missing"), (lambda a: {"a": a, "b": framed(a, [1, 2, 3])}, None, "another kind"),
])
def test_an_index_is_never_ignored(models, ids, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(models(framed([[1, 0], [2, 0], [3, 0]], ["x", "y", "z"])), ids)


def test_ids_that_are_given_say_more_than_an_index():
    a = framed([[1, 0], [2, 0], [3, 0]], [7, 5, 6])
    assert Embeddings({"a": a, "b": a.copy()}, ids=list("uvw")).ids.tolist() == list("uvw")
    assert Embeddings({"a": a, "b": a[::-1]}, ids={"a": list("uvw"), "b": list("wvu")})["b"][:, 0].tolist() == [1, 2, 3]
    assert Embeddings({"a": a, "b": np.eye(3)}, ids=a.index).ids.tolist() == [7, 5, 6]


TABLE = {"doc": ["d1", "d2", "d3"], "title": ["x", "y", "z"], "topic": ["p", "p", "q"], "v1": [[1., 0.], [0., 1.], [1., 1.]], "v2": [[2., 0.], [0., 2.], [2., 2.]], "u": [1., 2., 3.], "w": [4., 5., 6.]}


@pytest.mark.parametrize("made", [pd.DataFrame, pl.DataFrame, pa.table, dict, lambda t: pl.DataFrame(t).lazy(), lambda t: pd.DataFrame(t, index=[5, 3, 9]), lambda t: pd.DataFrame(t).convert_dtypes(dtype_backend="pyarrow")])
def test_from_frame(made):
    emb = Embeddings.from_frame(made(TABLE), {"before": "v1", "after": "v2", "wide": ["u", "w"]}, id="doc", text="title", label="topic")
    assert emb.models == ("before", "after", "wide") and emb.ids.tolist() == TABLE["doc"] and list(emb.data) == TABLE["title"] and emb.labels.tolist() == TABLE["topic"]
    assert emb["after"].tolist() == TABLE["v2"] and emb["wide"].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_from_frame_names_what_is_wrong():
    frame = pd.DataFrame(TABLE, index=[5, 3, 9])
    assert Embeddings.from_frame(frame, {"a": "v1"}).ids.tolist() == [5, 3, 9]
    for options, message in ((dict(vectors={"a": "v3"}), r"vectors\['a'\]: there is no column 'v3'.*doc, title"), (dict(vectors={"a": "v1"}, id="no"), "id: there is no"), (dict(vectors={"a": ["u", "doc"]}), r"vectors\['a'\]"),
                             (dict(vectors={"a": []}), "one column of vectors"), (dict(vectors={"a": "v1"}, on_bad="maybe"), "on_bad"), (dict(vectors={}), "empty")):
        with pytest.raises(ValueError, match=message):
            Embeddings.from_frame(frame, **options)
    with pytest.raises(TypeError, match="mapping"):
        Embeddings.from_frame(frame, "v1")
    with pytest.raises(ValueError, match="more than one"):
        Embeddings.from_frame(pd.concat([frame, frame], axis=1), {"a": "v1"})


# Bad rows, and models that can hardly be meant ------------------------------------------------------------------------

def spoilt():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(8, 3)), rng.normal(size=(8, 2)).astype("f4")
    a[2, 1], a[5], b[5, 0], b[7] = np.nan, 0, np.inf, 0
    return {"a": a, "b": b}


def test_bad_rows_are_dropped_everywhere_and_said():
    models = spoilt()
    with pytest.warns(UserWarning, match="3 of 8 data are left out.*'id2', NaN or infinite in 'a'"):
        emb = Embeddings(models, [f"id{row}" for row in range(8)], np.arange(16).reshape(8, 2), list("abcdefgh"), on_bad="drop")
    kept = [0, 1, 3, 4, 6]
    assert emb.ids.tolist() == [f"id{row}" for row in kept] and emb.labels.tolist() == [*"abdeg"] and emb.data[:, 0].tolist() == [0, 2, 6, 8, 12]
    assert all((emb[name] == models[name][kept]).all() for name in emb)
    assert emb.dropped == {"id2": "NaN or infinite in 'a'", "id5": "all zero in 'a'", "id7": "all zero in 'b'"}
    assert emb.select(["b"]).dropped == emb.rows([0]).dropped == emb.dropped and not Embeddings({"a": np.eye(3)}).dropped


def test_bad_rows_are_dropped_after_the_rows_were_matched():
    models = {name: array[:8] for name, array in spoilt().items()}
    with pytest.warns(UserWarning, match="left out"):
        emb = Embeddings({"a": models["a"], "b": models["b"][::-1]}, {"a": range(8), "b": range(8)[::-1]}, on_bad="drop")
    assert emb.ids.tolist() == [0, 1, 3, 4, 6] and (emb["b"] == models["b"][[0, 1, 3, 4, 6]]).all() and set(emb.dropped) == {2, 5, 7}


def test_bad_rows_are_refused_by_default():
    with pytest.raises(ValueError, match=r"models\['a'\] has NaN or infinite values in 1 of 8 rows \(first: \[2\]\).*on_bad='drop'"):
        Embeddings(spoilt())
    with pytest.raises(ValueError, match="no datum is left"):
        Embeddings({"a": np.full((3, 2), np.nan)}, on_bad="drop")


def test_bits_in_bytes_are_said():
    rng = np.random.default_rng(0)
    full = rng.normal(size=(300, 256)).astype("f4")
    packed = np.packbits(full > 0, axis=1)
    for codes in (packed, packed.view(np.int8) , torch.from_numpy(packed)):
        with pytest.warns(UserWarning, match=r"models\['bits'\].*packed"):
            Embeddings({"full": full, "bits": codes})
        with pytest.warns(UserWarning, match="256 bits"):
            eg.data_kernel(codes, 5)
    with pytest.warns(UserWarning, match="an eighth of another"):
        Embeddings({"full": full[:, :64], "bits": np.clip(full[:, :8] * 40, -128, 127).astype(np.int8)})
    quantised = np.clip(np.round(full * 40), -128, 127).astype(np.int8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Embeddings({"full": full, "int8": quantised, "uint8": (quantised.view(np.uint8) ^ 128), "pixels": rng.integers(0, 60, (300, 256)).astype("u1"), "flags": full > 0})


@pytest.mark.parametrize("rows, why", [
    (np.ones((20, 4)), "one and the same"), (1 + 1e-9 * np.random.default_rng(0).normal(size=(20, 4)), "nearly the same"), (np.zeros((20, 4)), "zero"), (np.arange(1., 21)[:, None] * np.ones(4), "one direction|same direction"),
    (np.vstack([np.ones((15, 4)), np.eye(4)]), "79%"), (np.float16(5 + 1e-4 * np.random.default_rng(0).normal(size=(20, 4))), "same"), (1e300 * (1 + 1e-9 * np.random.default_rng(0).normal(size=(20, 4))), "nearly the same"),
])
def test_collapsed_models_are_said(rows, why):
    with pytest.warns(UserWarning, match=rf"models\['b'\] tells its data hardly apart: .*({why})"):
        Embeddings({"a": np.random.default_rng(1).normal(size=(len(rows), 3)), "b": rows})


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1, 1e30, 1e300])
@pytest.mark.parametrize("offset", [0, 1, 100])
def test_models_that_are_not_collapsed_are_not_said_to_be(scale, offset):
    assert collapse_of(scale * (np.random.default_rng(0).normal(size=(50, 6)) + offset)) is None
    assert collapse_of(np.arange(50.)[:, None] + 1) is None and collapse_of(np.ones((2, 3))) is None


# Rows -----------------------------------------------------------------------------------------------------------------

def full():
    return Embeddings({"a": np.arange(12.).reshape(6, 2)}, list("uvwxyz"), [f"text {i}" for i in range(6)], np.arange(6) % 2)


@pytest.mark.parametrize("rows, ids", [
    (slice(1, 3), "vw"), (slice(None, None, -2), "zxv"), ([-1, 0], "zu"), (np.array([5, -6]), "zu"), (range(2), "uv"), ((3, 1), "xv"), (np.array([True] + [False] * 5), "u"), ([True, False] * 3, "uwy"), (torch.tensor([2]), "w"),
    (pd.Series([True, False] * 3, index=range(6)[::-1]), "uwy"), (np.array([1, 2], np.uint8), "vw"), (pd.Index([4]), "y"), (pl.Series([4, 1]), "yv"), (slice(-2, None), "yz"), (pd.array([True, False] * 3, "boolean"), "uwy"),
])
def test_rows_of_every_kind(rows, ids):
    part, at = full().rows(rows), ["uvwxyz".index(name) for name in ids]
    assert "".join(part.ids) == ids and part["a"].tolist() == full()["a"][at].tolist() and part.data == [f"text {row}" for row in at] and part.labels.tolist() == [row % 2 for row in at]


@pytest.mark.parametrize("rows, error, message", [
    ([], ValueError, "selects no data"), (slice(3, 3), ValueError, "selects no data"), ([False] * 6, ValueError, "selects no data"), ([True, False], ValueError, "as a mask.*6 rows"), (np.ones((6, 1), bool), ValueError, "as a mask"),
    ([6], ValueError, "between -6 and 5; got 6"), ([-7], ValueError, "got -7"), ([0, 0], ValueError, "each datum once"), ([0, -6], ValueError, "each datum once"), ([0.0], TypeError, "row numbers"), (["u"], TypeError, "row numbers"),
    (3, TypeError, "sequence"), ([[0, 1]], TypeError, "row numbers"), (None, TypeError, "sequence"), ("u", TypeError, "sequence"),
])
def test_rows_that_are_none(rows, error, message):
    with pytest.raises(error, match="rows.*" + message if "rows" not in message else message):
        full().rows(rows)


def test_parts_do_not_look_at_everything_again(monkeypatch):
    emb = full()
    monkeypatch.setattr(Embeddings, "__init__", lambda *args, **options: pytest.fail("checked again"))
    assert emb.select(["a"]).rows([1]).ids.tolist() == ["v"]
    with pytest.raises(ValueError, match="models is empty; there are a"):
        emb.select([])


# Strict settings, read-only and memory-mapped input -------------------------------------------------------------------

def test_strict_numpy_and_warnings(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(60, 4)) * 1e-30, "b": (rng.normal(size=(60, 3)) * 1e4).astype("f2"), "c": rng.normal(size=(60, 2)) * 1e200}
    old = np.seterr(all="raise")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            emb = Embeddings(arrays, [f"é{row}" for row in range(60)], pd.Series(["x"] * 60), np.arange(60) % 3, on_bad="drop")
            for suffix in ("npz", "safetensors", "parquet"):
                emb.save(tmp_path / f"x.{suffix}")
                assert Embeddings.load(tmp_path / f"x.{suffix}").ids.tolist() == emb.ids.tolist()
            graphs = eg.save_graphs(emb.select(["b"]), tmp_path / "g", 5)
            eg.save_graphs(graphs, tmp_path / "g")
            assert eg.open_graphs(tmp_path / "g").n == 60
    finally:
        np.seterr(**old)


def test_read_only_and_memory_mapped_input(tmp_path):
    rng = np.random.default_rng(0)
    frozen = rng.normal(size=(60, 4))
    frozen.setflags(write=False)
    np.save(tmp_path / "Y.npy", rng.normal(size=(60, 5)).astype("f4"))
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    names = np.array([f"id{row}" for row in range(60)])
    names.setflags(write=False)
    before = (frozen.copy(), (tmp_path / "Y.npy").read_bytes())
    emb = Embeddings({"a": frozen, "b": mapped, "c": mapped[::-1]}, names, labels=names)
    assert np.shares_memory(emb["b"], mapped)
    for suffix in ("npz", "safetensors", "parquet"):
        emb.save(tmp_path / f"x.{suffix}")
        back = Embeddings.load(tmp_path / f"x.{suffix}")
        assert all(np.array_equal(back[name], emb[name]) for name in emb)
        eg.data_kernel(back["b"], 5)
    stored = eg.save_graphs(emb, tmp_path / "g", 5)
    assert all((stored[name] != eg.data_kernel(np.array(emb[name]), 5).graph).nnz == 0 for name in emb)
    assert (frozen == before[0]).all() and (tmp_path / "Y.npy").read_bytes() == before[1]
