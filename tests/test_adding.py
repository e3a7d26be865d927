"""How to add a null, a distance and an encoder: each is done here, in the place that CONTRIBUTING.md names, and used as one's own."""
from dataclasses import replace

import numpy as np
import pytest

import embgeo_nb as eg
from embgeo_nb import manifold
from embgeo_nb.comparison import QUESTIONS, VALID_WHEN
from embgeo_nb.corpora import Corpus
from embgeo_nb.encoders import embed
from embgeo_nb.manifold import DISTANCES, DistanceKind


def models(count=2, n=120, moved=12):
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(n, 10))
    found = {f"m{at}": Y + 0.2 * rng.normal(size=Y.shape) for at in range(count)}
    found["m1"][:moved] = np.roll(found["m1"][:moved], 1, axis=0)
    return found


def test_a_null(monkeypatch, tmp_path):
    "A question in QUESTIONS, a condition in VALID_WHEN, an array in `pvalues`: verdict, list, table, summary, page, figure and explorer take it from there."
    monkeypatch.setitem(QUESTIONS, "labels", "did it move more than the data of a label that cannot have moved?")
    monkeypatch.setitem(VALID_WHEN, "labels", "the data of one label are known to rest, and are like the others")
    C = eg.compare(eg.Embeddings(models(), labels=np.r_[["moved"] * 12, ["known to rest"] * 108]), "m0", "m1")
    rest = np.sort(C.score[C.labels == "known to rest"])
    pvalue = (1 + len(rest) - np.searchsorted(rest, C.score)) / (1 + len(rest))            # rank among data that are known not to have moved
    own = replace(C, pvalues={**C.pvalues, "labels": pvalue}, null="labels")
    assert own.pvalue is pvalue and own.rejected(0.1)[:12].all() and own.rejected(0.1)[12:].mean() < 0.05
    assert own.summary(0.1)["null"] == "labels" and own.summary(0.1)["question"].startswith("did it move more than the data of a label")
    assert f"{own.rejected().sum()} of 120" in own.verdict and own.to_frame()["p_labels"].tolist() == pvalue[own.order].tolist()
    page = own.report(tmp_path / "x.html").read_text(encoding="utf-8")
    assert "known to rest" in page and QUESTIONS["labels"] in page
    own.save(tmp_path / "x.npz")
    assert eg.Comparison.load(tmp_path / "x.npz").null == "labels"
    own.plot()
    pytest.importorskip("ipywidgets")
    from embgeo_nb.widgets import asked_in_words
    explorer = eg.DatumExplorer(own)
    assert explorer.result.pvalue is pvalue and asked_in_words(own)[0] == (QUESTIONS["labels"] + " (recommended)", "labels")
    assert "p = 0.0092" in explorer.static().to_html()


def test_a_distance(monkeypatch):
    "A line in DISTANCES, which says what it claims to be, and one in the table of what is made of each model and of two."
    unit = lambda Y: (Y - Y.mean(0)) / np.linalg.norm(Y - Y.mean(0))
    gram = lambda Y: np.sort(np.linalg.svd(unit(Y), compute_uv=False))[::-1][:8]
    monkeypatch.setitem(DISTANCES, ("spectrum", False), DistanceKind("chord of the singular values", metric=True, euclidean=True, upper_bound=2 ** 0.5, compares="embeddings"))
    monkeypatch.setitem(manifold._OF_EMBEDDINGS, "spectrum", (gram, lambda x, y: float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))))
    monkeypatch.setattr(manifold, "KINDS", (*manifold.KINDS, "spectrum"))                     # made of DISTANCES when the chapter is imported
    D = eg.model_distance(models(5), "spectrum", n_resamples=6)
    assert D.kind == "spectrum" and (np.asarray(D) >= 0).all() and (D.interval()[0] <= D.interval()[1]).all()
    M = eg.model_manifold(D)
    assert M.models == tuple(models(5)) and eg.associate({"mine": D}, np.arange(5.0), n_permutations=19)["mantel"].between(-1, 1).all()
    stretched = models(5)
    stretched["m4"] = stretched["m4"] * np.r_[20.0, np.ones(9)]
    far = np.asarray(eg.model_distance(stretched, "spectrum"))
    assert far[4, :4].min() > 5 * far[:4, :4].max()


def test_an_encoder():
    "Any function from n texts to an array of shape (n, p)."
    letters = lambda texts: np.array([[text.count(letter) for letter in "abcdefghij"] for text in texts], float) + 0.1
    texts = [" ".join(np.random.default_rng(row).choice(list("abcdefghij"), 30)) for row in range(60)]
    corpus = Corpus([f"t{row}" for row in range(60)], texts, np.array(["x", "y"] * 30))
    emb = embed({"letters": letters, "without a": lambda texts: letters([text.replace("a", "") for text in texts])}, corpus, progress=False)
    C = eg.compare(emb, "letters", "without a", n_neighbors=8)
    assert emb.models == ("letters", "without a") and C.n == 60 and C.data == texts
    many_a, few_a = np.array_split(np.argsort([-text.count("a") for text in texts]), 2)
    assert C.score[many_a].mean() > C.score[few_a].mean()
