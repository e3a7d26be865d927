"""What people handed to tools like this one and then reported: each input, with the right value or the right words.

The id of a case names the public report on GitHub, owner/repository#number, and the input. None of the reports is about
this package; what was wrong there must be right here.
"""
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse as sp

import embgeo_nb as eg
from embgeo_nb.embeddings import Embeddings, as_bits, as_matrix, collapse_of
from embgeo_nb.readers import read_vectors

ROWS = [[0.5, 1.0], [3.0, 4.0], [-2.0, 5.25]]
Y = np.array(ROWS)
EYE = np.eye(3)


def views(n=300, seed=0, moved=0):
    "Two widths of one geometry, with as many data moved."
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 12)) + 3 * rng.normal(size=(6, 12))[np.arange(n) % 6]
    order = np.r_[np.roll(np.arange(moved), 1), np.arange(moved, n)]
    return X @ rng.normal(size=(12, 24)), (X[order] @ rng.normal(size=(12, 32)))


def found_by(before, after, **options):
    "How many data a comparison of two views finds at 5 % false discoveries."
    C = eg.compare({"before": before, "after": after}, "before", "after", n_rotations=1, **options)
    return int(C.rejected(0.05).sum())


def nearest(vectors, metric="cosine", k=1):
    return eg.data_kernel(vectors, k, metric).neighbors.tolist()


def written(table, folder):
    "A parquet file of it, read back."
    import pyarrow.parquet as pq
    pq.write_table(table, folder / "x.parquet")
    return read_vectors(folder / "x.parquet", vector="e")["vectors"].tolist()


def padding_noise(_):
    before, _ = (part.astype("f4") for part in views())
    return found_by(before, before + (1e-7 * np.abs(before).max() * np.random.default_rng(1).normal(size=before.shape)).astype("f4"))


def pruned_words(_):
    "Six data share the vector of one."
    before, after = views()
    stacked = [np.concatenate([part, np.repeat(part[:1], 6, axis=0)]) for part in (before, after)]
    C = eg.compare(dict(zip("ab", stacked)), "a", "b", n_rotations=1)
    return C.n_copies, len(set(C.score[[0, *range(300, 306)]]))


def a_joined_pair(join):
    def given(folder):
        for name, ids in (("a", ["d1", "d2", "d3"]), ("b", ["d3", "d1", "d9"])):
            np.savez(folder / f"{name}.npz", embedding=Y, id=ids)
        emb = Embeddings.from_files({name: folder / f"{name}.npz" for name in "ab"}, id="id", join=join)
        return emb.ids.tolist(), emb["b"].tolist(), emb.dropped
    return given


def hamming(_):
    "The one bit that differs is the highest of its byte: a distance of 1, and so nearer than two low bits."
    codes = np.array([[0, 0], [128, 0], [3, 0], [255, 255]], np.uint8)
    return nearest(codes, "hamming"), nearest(codes.view(np.int8), "hamming")


def graphs(kind):
    A = sp.random(40, 40, 0.2, random_state=0)
    A = kind(((A + A.T) > 0).astype(float).toarray() * (1 - np.eye(40)))
    return np.abs(eg.omnibus({"a": A, "b": A}, n_components=3, seed=0).positions)


def frames():
    return pd.DataFrame(Y, index=["x", "y", "z"]), pd.DataFrame(Y[[2, 0, 1]], index=["z", "x", "y"])


def scaled(factor, dtype):
    rows = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float16)
    return nearest((rows.astype(float) * factor).astype(dtype), k=3) == nearest(rows.astype(float), k=3)


F8 = getattr(torch, "float8_e4m3fn")
SHARED = pl.Series([[0, 0], [1, 2], [3, 4], None, [7, 8]], dtype=pl.Array(pl.Int64, 2))

#   report and input: (what is given, the value or error, what is said: a pattern, or None for not a word)
CASES = {
    # which row is which
    "MaartenGr/BERTopic#834 texts of a filtered Series":
        (lambda _: list(Embeddings({"a": EYE}, data=pd.Series(list("xyz"), index=[699, 4, 0])).data), list("xyz"), None),
    "MaartenGr/BERTopic#526 labels of a shuffled Series":
        (lambda _: Embeddings({"a": EYE}, labels=pd.Series(list("xyz"), index=[2, 0, 1])).labels.tolist(), list("xyz"), None),
    "pykale/pykale#553 two frames of independent order":
        (lambda _: Embeddings(dict(zip("ab", frames())))["b"].tolist(), ROWS, None),
    "scverse/anndata#954 a subset of a frame beside an array":
        (lambda _: Embeddings({"a": frames()[0].iloc[1:], "b": Y[1:]}), ValueError, "which row is which"),
    "activetigger/activetigger#826 more texts than vectors":
        (lambda _: Embeddings({"a": EYE}, data=list("wxyz")), ValueError, "3 rows, but 4 entries"),
    "langchain-ai/langchain#6168 some documents are missing, all wanted":
        (a_joined_pair("exact"), ValueError, r"ids\['b'\] lacks 1 of the ids of 'a' \(first: \['d2'\]\)"),
    "langchain-ai/langchain#6168 some documents are missing, the common ones wanted":
        (a_joined_pair("inner"), (["d1", "d3"], Y[[1, 0]].tolist(), {"d2": "not in 'b'", "d9": "not in 'a'"}), "keeps 2 data; left out are 1 of the 3 of 'a', 1 of the 3 of 'b'"),
    "Renumics/renumics-rag#11 an id that occurs twice":
        (lambda _: Embeddings({"a": EYE}, ids=["p", "q", "p"]), ValueError, r"1 of them repeat \(first: \['p'\]\)"),
    "scverse/anndata#35 row names that became texts, and numbers":
        (lambda _: Embeddings({"a": EYE, "b": EYE}, ids={"a": [0, 1, 2], "b": ["0", "1", "2"]}), ValueError, "of another kind, and '0' never matches 0"),
    "scverse/anndata#31 names that mix numbers and texts":
        (lambda _: Embeddings({"a": EYE}, ids=[0, "batch", 1]), ValueError, r"mixes int \(0\) and str \('batch'\)"),
    "srid/neuron#611 one name in two normal forms":
        (lambda _: Embeddings({"a": EYE}, ids=["caf\u00e9", "cafe\u0301", "b"]).n, 3, "look the same.*NFC"),
    "unmade/shelf-back#50 composed and decomposed names":
        (lambda _: Embeddings({"a": Y[:2], "b": Y[:2]}, ids={"a": ["\u0439", "b"], "b": ["\u0438\u0306", "b"]}), ValueError, r"lacks 1 of the ids of 'a'"),
    "digicatapult/fornax#14 ids beyond 2^53":
        (lambda _: Embeddings({"a": EYE, "b": EYE}, ids={"a": [2 ** 63 + 1, 2 ** 63, 7], "b": np.array([7, 2 ** 63, 2 ** 63 + 1], "u8")})["b"].tolist(), EYE[::-1].tolist(), None),
    "numpy/numpy#25268 hashes that end in a zero byte":
        (lambda _: Embeddings({"a": EYE[:2]}, ids=[b"\x99", b"\x99\x00"]).ids.tolist(), [b"\x99", b"\x99\x00"], None),
    # how the numbers are kept
    "scikit-learn/scikit-learn#27482 nullable columns, nothing missing":
        (lambda _: as_matrix(pd.DataFrame(Y).convert_dtypes()).tolist(), ROWS, None),
    "scikit-learn/scikit-learn#34538 nullable columns with pd.NA":
        (lambda _: as_matrix(pd.DataFrame({"x": pd.array([1, None, 3], "Int64")})), ValueError, r"NaN or infinite values in 1 of 3 rows \(first: \[1\]\)"),
    "NVIDIA/cudf#19497 a parquet column of lists":
        (lambda folder: written(pa.table({"e": pa.array(ROWS, pa.list_(pa.float32()))}), folder), ROWS, None),
    "Eventual-Inc/Daft#4732 a parquet column of fixed-size lists":
        (lambda folder: written(pa.table({"e": pa.array(ROWS, pa.list_(pa.float32(), 2))}), folder), ROWS, None),
    "apache/arrow#37733 a slice of a column of lists":
        (lambda _: as_matrix(pa.array([[9., 9.], *ROWS, [7., 7.]])[1:4]).tolist(), ROWS, None),
    "apache/arrow#14000 a slice of a column of fixed-size lists":
        (lambda _: as_matrix(pa.array([[9., 9.], *ROWS], pa.list_(pa.float64(), 2))[1:]).tolist(), ROWS, None),
    "pola-rs/polars#15637 an Array column of polars":
        (lambda _: as_matrix(pl.DataFrame({"e": ROWS}, schema={"e": pl.Array(pl.Float64, 2)})).tolist(), ROWS, None),
    "pola-rs/polars#28583 a slice of an Array column with a gap":
        (lambda _: as_matrix(SHARED.slice(1, 3)), ValueError, r"1 differ \(first: \[2\]\)"),
    "facebookresearch/faiss#1705 vectors of different lengths":
        (lambda _: as_matrix([[1., 2.], [3.], [4., 5.]], "models['a']"), ValueError, r"models\['a'\].*most rows have 2 numbers, 1 differ \(first: \[1\]\)"),
    "tkalayci71/embedding-inspector#22 a tensor that wants a gradient":
        (lambda _: as_matrix(torch.tensor(ROWS, requires_grad=True)).tolist(), ROWS, None),
    "xwying/torchshow#23 bfloat16":
        (lambda _: as_matrix(torch.tensor(ROWS).bfloat16()).tolist(), ROWS, None),
    "ModelCloud/GPTQModel#2863 eight-bit floats":
        (lambda _: as_matrix(torch.tensor(ROWS).to(F8)).tolist(), torch.tensor(ROWS).to(F8).float().tolist(), None),
    "pydata/bottleneck#104 big-endian numbers":
        (lambda _: as_matrix(Y.astype(">f4")).sum(), Y.sum(), None),
    "numpy/numpy#26669 a masked array":
        (lambda _: as_matrix(np.ma.masked_array(Y, [[0, 1], [0, 0], [0, 0]])), TypeError, "masked array"),
    "huggingface/sentence-transformers#3825 packed bits, taken for numbers":
        (lambda _: as_matrix(np.packbits(np.random.default_rng(0).normal(size=(200, 64)) > 0, axis=-1)).shape, (200, 8), "64 bits packed into bytes.*hamming"),
    "lmcinnes/pynndescent#238 packed bits, taken for bits":
        (lambda _: as_bits(np.packbits(np.tri(3, 16, dtype=np.uint8), axis=-1)).tolist(), np.tri(3, 16).tolist(), None),
    "ArcadeData/arcadedb#6386 packed bits, the highest bit":
        (hamming, ([[1], [0], [0], [2]],) * 2, None),
    "RedisAI/VectorSimilarity#1014 sums of large bytes":
        (lambda _: nearest(np.repeat(np.array([[255], [254], [3], [0]], np.uint8), 40_000, axis=1), "euclidean"), [[1], [0], [3], [2]], None),
    "scikit-sparse/scikit-sparse#102 a sparse matrix and a sparse array":
        (lambda _: bool((graphs(sp.csr_matrix) == graphs(sp.csr_array)).all()), True, None),
    "Future-House/paper-qa#609 a model of another width":
        (lambda _: {name: array.shape for name, array in Embeddings({"a": np.eye(3), "b": np.tri(3, 5)}).arrays.items()}, {"a": (3, 3), "b": (3, 5)}, None),
    # what the numbers are
    "koaning/whatlies#290 NaN for an empty text":
        (lambda _: Embeddings({"a": [[1., 2.], [np.nan] * 2, [3., 4.]]}), ValueError, r"models\['a'\].*1 of 3 rows \(first: \[1\]\)"),
    "MinishLab/model2vec#114 NaN for an empty text, dropped":
        (lambda _: (lambda emb: (emb.ids.tolist(), emb.dropped))(Embeddings({"a": [[1., 2.], [np.nan] * 2, [3., 5.]]}, ids=list("xyz"), on_bad="drop")), (["x", "z"], {"y": "NaN or infinite in 'a'"}), "1 of 3"),
    "vlasky/sqlite-vec#8 a row of zeros under cosine":
        (lambda _: nearest([[1., 0.], [0., 0.], [.9, .1]]), ValueError, r"1 zero rows \(first: \[1\]\).*no cosine"),
    "ollama/ollama#17691 one vector for most data":
        (lambda _: collapse_of(np.concatenate([np.ones((8, 4)), np.eye(4)])), "67% of its rows are one and the same vector", None),
    "JohnSnowLabs/spark-nlp#539 one vector for all data":
        (lambda _: Embeddings({"good": np.eye(20), "bad": np.ones((20, 4)) + 1e-7 * np.eye(20, 4)}).models, ("good", "bad"), r"models\['bad'\] tells its data hardly apart"),
    "explosion/spaCy#10985 several words with the vector of one":
        (pruned_words, (6, 1), None),
    "huggingface/sentence-transformers#2312 the noise of another batch size":
        (padding_noise, 0, None),
    "MinishLab/model2vec#368 half precision, lengths beyond its range":
        (lambda _: (scaled(2.0 ** 12, np.float16), scaled(2.0 ** -10, np.float16)), (True, True), None),
    "pytorch/pytorch#51912 cosines of numbers near the largest":
        (lambda _: nearest(np.array([[2.0775e38, 3.0262e38], [1.0, 1.5], [1.0, -1.0]], np.float32)), [[1], [0], [0]], None),
    "mem0ai/mem0#5959 cosine of rows that are not of unit length":
        (lambda _: nearest([[1.0, 0.0], [0.1, 0.0], [5.0, 5.0]])[0], [1], None),
    "facebookresearch/faiss#1015 most similar is not most distant":
        (lambda _: (nearest(Y, "cosine")[0], nearest(Y, "inner_product")[0], nearest(Y, "euclidean")[0]), ([1], [1], [1]), None),
    "TorchDR/TorchDR#295 a copy is nearer than the datum itself":
        (lambda _: [row in near for row, near in enumerate(nearest(np.repeat(Y, 2, axis=0), k=3))], [False] * 6, None),
    "ollama/ollama#3777 other vectors after an update":
        (lambda _: (found_by(*views(moved=12)) >= 10, found_by(*views(moved=0))), (True, 0), None),
}


@pytest.mark.parametrize("given, value, said", [pytest.param(*case, id=name) for name, case in CASES.items()])
def test_inputs_of_public_reports(given, value, said, tmp_path):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            found, words = given(tmp_path), " ".join(str(warning.message) for warning in heard)
        except (TypeError, ValueError) as error:
            found, words = type(error), str(error)
    assert found == value
    assert re.search(said, words, re.S) if said else words == ""


def test_thirty_reports_are_named():
    assert len(CASES) >= 30 and all(re.match(r"[\w.-]+/[\w.-]+#\d+ \w", name) for name in CASES)
