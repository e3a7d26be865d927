"""The front door: quiet where nothing happened, sharp where something did, the same whatever else is there."""
import json
import re

import numpy as np
import pytest
import torch

import embgeo_nb as eg
from embgeo_nb.multiplicity import benjamini_hochberg
from embgeo_nb.bulk import bulk_null, diagnosis
from embgeo_nb.comparison import QUESTIONS, representatives
from embgeo_nb.contrasts import graph_products, inner_products, moderated_ratio, moderation, pooled_pvalues, relabellings
from embgeo_nb.features import feature_test
from embgeo_nb.files import load_arrays
from embgeo_nb.linear import linear_frame
from embgeo_nb.multiscale import ranking_auc
from embgeo_nb.score import alignment_residual, precision_of

FAST = dict(n_rotations=1, n_resamples=199)


def world(n=400, p=(48, 48), noise=0.4, swapped=0, seed=0, classes=10):
    "Two noisy descriptions of clustered data; the first `swapped` data have changed places under the second."
    rng = np.random.default_rng(seed)
    member = rng.integers(classes, size=n)
    X = 2 * rng.normal(size=(classes, 16))[member] + rng.normal(size=(n, 16))
    order = np.arange(n)
    order[:swapped] = np.roll(order[:swapped], 1)
    see = lambda X, width: (X @ rng.normal(size=(16, width)) + 4 * noise * rng.normal(size=(n, width))).astype(np.float32)
    return {"a": see(X, p[0]), "b": see(X[order], p[1])}


def test_only_the_models_named_matter():
    emb = world(swapped=12)
    alone = eg.compare(emb, "a", "b", **FAST)
    among = eg.compare({"c": emb["a"][::-1].copy(), **emb, "d": emb["a"]}, "a", "b", **FAST)
    assert (alone.score == among.score).all()
    assert all((alone.pvalues[name] == among.pvalues[name]).all() for name in alone.pvalues)


def test_same_seed_same_result():
    emb = world(swapped=12)
    first, again, other = (eg.compare(emb, "a", "b", seed=seed, **FAST) for seed in (3, np.random.default_rng(3), 4))
    assert (first.score == eg.compare(emb, "a", "b", seed=3, **FAST).score).all() and (first.score != other.score).any()
    assert (again.score == eg.compare(emb, "a", "b", seed=np.random.default_rng(3), **FAST).score).all()


def test_the_order_of_rows_does_not_matter():
    emb, ids = world(swapped=12), [f"doc-{i}" for i in range(400)]
    order = np.random.default_rng(1).permutation(400)
    first = eg.compare(eg.Embeddings(emb, ids=ids), "a", "b", **FAST)
    shuffled = {name: Y[order] for name, Y in emb.items()}
    second = eg.compare(eg.Embeddings(shuffled, ids=[ids[i] for i in order]), "a", "b", **FAST)
    assert np.allclose(first.score[order], second.score, atol=1e-3)
    assert (first.pvalues["paired"][order] == second.pvalues["paired"]).mean() > 0.99       # float32 ties aside
    assert set(first.to_frame()["id"][:12]) == set(second.to_frame()["id"][:12])


@pytest.mark.parametrize("p", [(48, 48), (24, 80), (80, 24), (6, 40), (8, 8)])
def test_swapped_data_come_first(p):
    emb = world(n=600, p=p, noise=0.15, swapped=30)
    C = eg.compare(emb, "a", "b", **FAST)
    moved = np.arange(600) < 30
    assert ranking_auc(C.score, moved) > (0.95 if min(p) > 16 else 0.7)        # six features do not tell sixteen latent ones
    assert set(C.pvalues) == ({"bulk", "features", "paired"} if min(p) >= 8 else {"bulk", "paired"})
    assert (C.pvalues["bulk"][~moved] <= 0.05).mean() < 0.08


def test_nothing_changed_nothing_found():
    "Two equally noisy descriptions of one truth: `paired` rejects many, `bulk` does not."
    rates = {name: [] for name in ("bulk", "paired", "features")}
    for seed in range(6):
        C = eg.compare(world(n=500, noise=0.5, seed=seed), "a", "b", **FAST)
        for name in rates:
            rates[name].append((C.pvalues[name] <= 0.05).mean())
    assert max(rates["bulk"]) < 0.075 and np.mean(rates["bulk"]) < 0.06 and np.mean(rates["features"]) < 0.12
    assert np.mean(rates["paired"]) > 2 * np.mean(rates["bulk"])


def test_false_discoveries_of_bulk():
    shares, found = [], []
    for seed in range(10):
        C = eg.compare(world(n=500, noise=0.25, swapped=25, seed=seed), "a", "b", **FAST)
        rejected, moved = C.rejected(0.1), np.arange(500) < 25
        shares.append((rejected & ~moved).sum() / max(rejected.sum(), 1))
        found.append(rejected[moved].mean())
    assert np.mean(shares) < 0.12 and np.mean(found) > 0.8


@pytest.mark.parametrize("groups, copies", [(50, 6), (100, 3), (34, 10)])
@pytest.mark.parametrize("both", [False, True])
def test_copies_are_neither_found_nor_spread(groups, copies, both):
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(1000 - groups * (copies - 1), 24)).astype(np.float32)
    Y = np.concatenate([distinct, np.repeat(distinct[:groups], copies - 1, axis=0)])
    dust = lambda: (1e-7 * rng.normal(size=Y.shape)).astype(np.float32)
    emb = {"a": Y + dust() if both else Y, "b": Y + dust()}
    C = eg.compare(emb, "a", "b", **FAST)
    assert C.n_copies == groups * (copies - 1) and not C.rejected(0.05).any() and C.pvalue.min() == 1
    assert "alike" in C.verdict
    paired = eg.datum_test(emb, "a", "b", n_resamples=199)
    assert not paired.rejected(0.05).any()


def test_copies_with_real_noise_share_their_result():
    rng = np.random.default_rng(0)
    emb = world(n=300, noise=0.2, swapped=10)
    rows = np.r_[np.arange(300), np.repeat(np.arange(20, 40), 5)]
    C = eg.compare({name: Y[rows] + (1e-7 * rng.normal(size=(400, 48))).astype(np.float32) for name, Y in emb.items()}, "a", "b", **FAST)
    assert C.n_copies == 100 and (C.score[300:] == np.repeat(C.score[20:40], 5)).all()
    assert ranking_auc(C.score, np.arange(400) < 10) > 0.95
    assert C.explain(350).neighbors.max() < 300 and len(C.neighbors(350))


def test_copies_in_one_model_alone_are_data():
    emb = world(n=200)
    emb["a"][100:] = emb["a"][:100]
    assert eg.compare(emb, "a", "b", **FAST).n_copies == 0


def test_representatives_against_brute_force():
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(60, 3)).astype(np.float32)[rng.integers(25, size=60)]
    found = representatives([Y, Y @ rng.normal(size=(3, 5)).astype(np.float32)], 1e-5)
    assert (found == [np.flatnonzero((Y == row).all(1))[0] for row in Y]).all()


@pytest.mark.parametrize("convert", [lambda Y: Y.astype(np.float64), lambda Y: Y.astype(np.float16), torch.from_numpy,
                                     lambda Y: np.asfortranarray(Y), lambda Y: Y * 1e-20, lambda Y: Y.astype(float) * 1e20])
def test_kinds_of_input(convert):
    emb = world(swapped=20, noise=0.15)
    C = eg.compare({name: convert(Y) for name, Y in emb.items()}, "a", "b", **FAST)
    assert ranking_auc(C.score, np.arange(400) < 20) > 0.95


def test_input_is_left_alone():
    emb = world(n=100)
    for Y in emb.values():
        Y.flags.writeable = False
    kept = {name: Y.copy() for name, Y in emb.items()}
    with np.errstate(all="raise"):
        eg.compare(emb, "a", "b", **FAST)
    assert all((kept[name] == Y).all() for name, Y in emb.items())


def test_few_data_and_large_k():
    C = eg.compare(world(n=25), "a", "b", **FAST)
    assert C.settings["k"] == 24 and C.n == 25


def test_ids_labels_texts():
    emb = eg.Embeddings(world(n=200, swapped=8), ids=[f"<b>{i}</b>" for i in range(200)], data=[f"text <i>{i}" for i in range(200)],
                        labels=["x"] * 8 + ["y"] * 192)
    C = eg.compare(emb, "a", "b", **FAST)
    assert C.row("<b>7</b>") == 7 == C.row(7) and list(C.explain("<b>3</b>").ids) == list(C.explain(3).ids)
    assert "<b>0" not in C._repr_html_() and "text <i>" not in C._repr_html_() and "&lt;b&gt;" in C._repr_html_()
    assert "'x'" in C.verdict and C.summary()["by_label"]["x"]["n"] == 8
    table = C.to_frame()
    assert {"id", "score", "pvalue", "qvalue", "p_bulk", "p_features", "p_paired", "effect", "label", "text"} <= set(table)
    with pytest.raises(ValueError, match="not among the ids"):
        C.explain("7")
    assert json.loads(json.dumps(C.summary())) == C.summary() and set(C.pvalues) <= set(QUESTIONS)


@pytest.mark.parametrize("ids", [np.arange(1, 2000, 10), np.arange(200)[::-1], 10 ** 12 + np.arange(200)])
def test_integer_ids_are_ids(ids):
    emb = world(n=200, swapped=8)
    plain, named = eg.compare(emb, "a", "b", **FAST), eg.compare(eg.Embeddings(emb, ids=ids), "a", "b", **FAST)
    for row in (3, 100):
        assert (named.explain(int(ids[row])).neighbors == plain.explain(row).neighbors).all()
        assert set(named.neighbors(int(ids[row]))["id"]) == set(ids[plain.neighbors(row)["neighbor"]].tolist())


def test_rejections_and_levels():
    C = eg.compare(world(swapped=20, noise=0.15), "a", "b", **FAST)
    by = {name: C.rejected(0.05, name).sum() for name in ("fdr_bh", "storey", "bonferroni", None)}
    assert by["bonferroni"] <= by["fdr_bh"] <= by["storey"] <= 400 and by[None] == (C.pvalue <= 0.05).sum()
    with pytest.raises(ValueError, match="alpha must be between 0 and 1; got 5"):
        C.rejected(5)
    with pytest.raises(ValueError, match="correction must be one of"):
        C.rejected(correction="fdr")


def test_saved_and_loaded(tmp_path):
    emb = eg.Embeddings(world(n=200, swapped=8), labels=list("ab") * 100, data=[f"text {i}" for i in range(200)])
    C = eg.compare(emb, "a", "b", **FAST)
    D = eg.Comparison.load(C.save(tmp_path / "c.npz"))
    assert D.to_frame().equals(C.to_frame()) and D.summary() == C.summary() and D.verdict == C.verdict
    assert D.neighbors(3)["change"].tolist() == C.neighbors(3)["change"].tolist() or set(D.neighbors(3)["id"]) == set(C.neighbors(3)["id"])
    assert (D.displacement == C.displacement).all() and (D.explain(3).share == C.explain(3).share).all()
    raw = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "broken.npz").write_bytes(raw[:len(raw) // 2])
    with pytest.raises(ValueError, match="broken.npz"):
        eg.Comparison.load(tmp_path / "broken.npz")
    with pytest.raises(ValueError, match="must end in .npz"):
        C.save(tmp_path / "c.pkl")


@pytest.mark.parametrize("labels", [np.arange(200) % 7, np.arange(200) % 5 / 4, np.arange(200) % 2 == 0, list("ab") * 100, ["a\0", "a"] * 100,
                                    np.arange(200).astype("datetime64[D]")], ids=["int", "float", "bool", "str", "nul", "date"])
def test_columns_come_back_as_they_were(tmp_path, labels):
    ids, texts = [f"{i}\0" for i in range(200)], ["x" * 200_000, "ends in nul\0", "", *(f"text {i}" for i in range(197))]
    C = eg.compare(eg.Embeddings(world(n=200, swapped=8), ids=ids, labels=labels, data=texts), "a", "b", **FAST)
    D = eg.Comparison.load(C.save(tmp_path / "c.npz"))
    assert D.to_frame().equals(C.to_frame()) and D.labels.dtype == C.labels.dtype and D.data == texts and D.ids.tolist() == ids
    assert (tmp_path / "c.npz").stat().st_size < 2e6                 # the long text once, and not two hundred times


def test_other_labels_come_back_as_text(tmp_path):
    labels = [frozenset("a"), frozenset("b")] * 100
    C = eg.compare(eg.Embeddings(world(n=200), labels=labels), "a", "b", **FAST)
    assert eg.Comparison.load(C.save(tmp_path / "c.npz")).labels.tolist() == [str(label) for label in labels]


def test_early_files_are_still_read(tmp_path):
    "The form before columns were packed: strings of fixed width, and what is said of them in an array."
    emb = eg.Embeddings(world(n=200, swapped=8), labels=list("ab") * 100, data=[f"text {i}" for i in range(200)])
    C = eg.compare(emb, "a", "b", **FAST)
    stored, about = load_arrays(C.save(tmp_path / "c.npz"))
    early = {name: values for name, values in stored.items() if not name.startswith("column_")}
    del about["columns"]
    np.savez_compressed(tmp_path / "early.npz", about=np.array(json.dumps(about)), ids=C.ids, labels=C.labels.astype(str), data=np.array(C.data), **early)
    D = eg.Comparison.load(tmp_path / "early.npz")
    assert D.to_frame().equals(C.to_frame()) and D.summary() == C.summary()


def test_what_is_no_comparison(tmp_path):
    (tmp_path / "noise.npz").write_bytes(b"garbage")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.savez(tmp_path / "objects.npz", about=np.array({}, object))
    for name in ("noise", "other", "objects"):
        with pytest.raises(ValueError, match=f"{name}.npz is not a comparison saved by embgeo_nb") as found:
            eg.Comparison.load(tmp_path / f"{name}.npz")
        assert "allow_pickle=" not in str(found.value).replace("allow_pickle=False", "")
    C = eg.compare(world(n=60), "a", "b", **FAST)
    for write, name in ((C.save, "c.npz"), (C.report, "c.html")):
        with pytest.raises(OSError, match=f"'{name}' cannot be written: its folder is not there: .*nowhere"):
            write(tmp_path / "nowhere" / name)


def rerun(X, seed, p=24):
    rng = np.random.default_rng(seed)
    read = X + 0.5 * rng.normal(size=X.shape)
    return (read @ rng.normal(size=(X.shape[1], p)) + rng.normal(size=(len(X), p))).astype(np.float32)


@pytest.mark.parametrize("g_a, g_b", [(2, 2), (3, 3), (1, 4), (4, 4)])
def test_groups_of_reruns(g_a, g_b):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(8, 12))[rng.integers(8, size=300)] + rng.normal(size=(300, 12))
    moved = np.arange(300) < 15
    elsewhere = np.where(moved[:, None], 1.4 * rng.normal(size=X.shape), X)
    runs = {f"a{t}": rerun(X, t) for t in range(g_a)} | {f"b{t}": rerun(elsewhere, 10 + t) for t in range(g_b)}
    sides = [[name for name in runs if name[0] == side] for side in "ab"]
    C = eg.compare(runs, *sides)
    ways = {(2, 2): 3, (3, 3): 10, (1, 4): 5, (4, 4): 35}[g_a, g_b]
    assert C.null == ("replicates" if ways >= 20 else "bulk") and ("relabellings" in C.verdict) == (ways < 20)
    assert set(C.pvalues) == {"replicates", "bulk"} and ranking_auc(C.score, moved) > 0.9
    assert benjamini_hochberg(C.pvalues["replicates"]).min() >= 1 / ways - 1e-12         # why
    if ways >= 20:
        assert "nothing can be found" in C.summary(0.01)["verdict"] and "nothing can be" not in C.verdict
    assert np.allclose(C.explain(0).contributions.sum(0), C.displacement[0], atol=1e-8)
    assert C.groups == tuple(map(tuple, sides))


@pytest.mark.parametrize("noise, share", [(0, 0.6), (0.3, 0.6), (0.3, 0.75)])
def test_most_data_moved(noise, share):
    "The bulk is no yardstick then, which the verdict begins with; the rigid alignment still ranks."
    rng = np.random.default_rng(0)
    A = rng.normal(size=(8, 32))[rng.integers(8, size=400)] + 0.7 * rng.normal(size=(400, 32))
    B, moved = A + noise * rng.normal(size=A.shape), np.arange(400) < 400 * share
    B[moved] = np.roll(B[moved], 1, axis=0)
    C = eg.compare({"a": A, "b": B}, "a", "b", n_resamples=99)
    assert C.fit.most_moved and not C.trusted and "More than half of the data" in C.verdict
    assert ranking_auc(C.views["alignment"], moved) > 0.85
    assert not eg.compare({"a": A, "b": A + 0.3 * rng.normal(size=A.shape)}, "a", "b", n_resamples=99).fit.most_moved


def test_rows_in_another_order():
    emb = world(n=300)
    C = eg.compare({"a": emb["a"], "b": np.random.default_rng(0).permutation(emb["b"])}, "a", "b", n_resamples=99)
    assert not C.corresponds and not C.trusted and "same data in the same order?" in C.verdict
    whole = eg.compare(emb, "a", "b", n_resamples=99)
    assert whole.corresponds and whole.shared_neighbors[0] > 2 * whole.shared_neighbors[1]
    assert whole.summary()["shared_neighbors"]["share"] == whole.shared_neighbors[0]


def test_copies_count_once():
    "Three hundred copies of one moved datum make no other significant."
    emb = world(n=300)
    once = eg.compare(emb, "a", "b", n_resamples=99)
    top = int(once.order[0])
    many = eg.compare({name: np.concatenate([Y, np.repeat(Y[top:top + 1], 300, axis=0)]) for name, Y in emb.items()}, "a", "b", n_resamples=99)
    own = many.rows
    assert many.n_copies == 300 and np.array_equal(many.qvalue[own], benjamini_hochberg(many.pvalue[own]))
    assert (many.qvalue[300:] == many.qvalue[top]).all()
    assert np.array_equal(many.rejected(correction="bonferroni")[own], many.pvalue[own] * len(own) <= 0.05)


def test_reruns_of_one_kind_are_quiet():
    rates = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(8, 12))[rng.integers(8, size=200)] + rng.normal(size=(200, 12))
        runs = {f"r{t}": rerun(X, 100 * seed + t) for t in range(6)}
        rates.append((eg.compare(runs, ["r0", "r1", "r2"], ["r3", "r4", "r5"]).pvalues["replicates"] <= 0.05).mean())
    assert np.mean(rates) < 0.05 + 3 * np.std(rates) / 8 ** 0.5 + 0.01


def test_messages():
    emb = world(n=60)
    with pytest.raises(TypeError, match="model names"):
        eg.compare(emb, 1, "b")
    with pytest.raises(ValueError, match="each once"):
        eg.compare(emb, ["a"], ["a"])
    with pytest.raises(ValueError, match="each once"):
        eg.compare(emb, [], ["a"])
    with pytest.raises(ValueError, match="seed must be at least 0"):
        eg.compare(emb, "a", "b", seed=-1)
    with pytest.raises(ValueError, match="NaN"):
        eg.compare({"a": emb["a"], "b": np.where(np.arange(60)[:, None] == 3, np.nan, emb["b"])}, "a", "b")
    with pytest.raises(ValueError, match="n_resamples must be at least 19; got 0"):
        eg.compare(emb, "a", "b", n_resamples=0)
    zero, one = np.where(np.arange(60)[:, None] == 3, 0, emb["b"]), np.outer(np.arange(1, 61), emb["b"][0])
    for Y, words in ((zero, r"Model 'new' is zero throughout in 1 of 60 rows \(ids of the first: \[3\]\).*on_bad='drop'"), (one, "Model 'new' has the same row")):
        for models in ({"old": emb["a"], "new": Y}, {"new": Y, "old": emb["a"]}):
            with pytest.raises(ValueError, match=words):
                eg.compare(models, *models)
    with pytest.raises(TypeError, match="datum_test"):
        eg.compare({name: eg.data_kernel(Y) for name, Y in emb.items()}, "a", "b")


@pytest.mark.parametrize("moved, words", [(1, "1 of 600 data moved .*; it is 'x', 100% of that label"), (2, "; 1 of them \\(50%\\) is 'x', 100% of that"), (3, "; 2 of them \\(67%\\) are 'x'")])
def test_the_verdict_counts_in_words(moved, words):
    emb = eg.Embeddings(world(n=600), labels=["y", "x", "x"] + ["z"] * 597 if moved == 3 else ["x", *"y" * 599])
    C = eg.compare(emb, "a", "b", **FAST)
    C.__dict__["qvalue"] = np.where(np.arange(600) < moved, 0.01, 1.0)
    assert re.search(words, C.verdict)


def test_what_narrow_models_lack_is_said():
    wide, narrow = (eg.compare(world(n=60, p=p), "a", "b", **FAST) for p in ((8, 8), (8, 7)))
    assert "features" in wide.pvalues and "`features`" not in wide.verdict
    assert set(narrow.pvalues) == {"bulk", "paired"} and "`features` was left out: it needs models of at least 8 features." in narrow.verdict


# The parts

def test_linear_frame_against_dense():
    rng = np.random.default_rng(0)
    Y_a, Y_b = rng.normal(size=(80, 7)), rng.normal(size=(80, 11))
    found = linear_frame(Y_a, Y_b, 5)
    kernels = []
    for Y in (Y_a, Y_b):
        A = Y - Y.mean(0)
        A /= np.linalg.norm(A, axis=1, keepdims=True)
        kernels.append(A @ A.T / np.linalg.norm(A @ A.T))
    values, U = np.linalg.eigh(sum(kernels) / 2)
    values, U = values[::-1][:5], U[:, ::-1][:, :5]
    U *= np.sign((U * found.center).sum(0))
    assert np.allclose(found.center, U * values ** 0.5, atol=1e-5)
    assert np.allclose(found.displacement, (kernels[1] - kernels[0]) @ U / values ** 0.5 / 2, atol=1e-5)


def test_linear_frame_does_not_depend_on_blocks(monkeypatch):
    import embgeo_nb.linear as linear
    emb = world(n=300)
    whole = linear_frame(emb["a"], emb["b"])
    rows = linear.row_blocks
    monkeypatch.setattr(linear, "row_blocks", lambda n, block=37: rows(n, 37))
    assert np.allclose(linear_frame(emb["a"], emb["b"]).displacement, whole.displacement, atol=1e-6)


def test_invariances():
    "Rotations, scales and shifts of either model change no view but for rounding."
    rng, emb = np.random.default_rng(0), world(n=200, swapped=10)
    turned = (3 * emb["b"] @ np.linalg.qr(rng.normal(size=(48, 48)))[0]).astype(np.float32)
    assert np.allclose(linear_frame(emb["a"], emb["b"]).effect, linear_frame(emb["a"], turned).effect, atol=1e-4)
    assert np.allclose(alignment_residual(emb["a"], emb["b"]), alignment_residual(emb["a"], turned), atol=1e-4)
    assert precision_of(emb["a"]) == 1e-5 and precision_of(emb["a"].astype(np.float16)) > 9e-4


def test_features_are_exact_for_a_single_datum():
    "With 8 + 8 groups every datum has its own reference; exchangeable features give uniform p-values."
    pvalues = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        latent = rng.normal(size=(150, 20))
        see = lambda: (latent @ rng.normal(size=(20, 64)) + rng.normal(size=(150, 64))).astype(np.float32)
        pvalues.append(feature_test({"a": see(), "b": see()}, "a", "b", n_groups=8, n_rotations=1).pvalue)
    rates = np.array([[(p <= level).mean() for level in (0.05, 0.1, 0.5)] for p in pvalues])
    assert (np.abs(rates.mean(0) - [0.05, 0.1, 0.5]) < 3.5 * rates.std(0) / 12 ** 0.5 + 0.01).all()


def test_contrasts_by_hand():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6, 3))
    G, contrasts = inner_products(X), relabellings(3, 3, 100, 0)
    nu, prior, common = moderation(G)
    between = 1.5 * ((X[:, :3].mean(1) - X[:, 3:].mean(1)) ** 2).sum(1)
    within = (((X - X.mean(1, keepdims=True)) ** 2).sum((1, 2)) - between) / 4
    shrunken = np.full(40, common) if np.isinf(prior) else (prior * common + 4 * nu * within) / (prior + 4 * nu)
    assert np.allclose(moderated_ratio(G, contrasts)[:, 0], between / shrunken)
    F = moderated_ratio(G, contrasts)
    assert np.allclose(pooled_pvalues(F)[:, 0], [(F >= f * (1 - 1e-9)).mean() for f in F[:, 0]])
    graphs = [eg.data_kernel(X[:, t]).graph for t in range(6)]
    loadings = rng.normal(size=(40, 4))
    assert np.allclose(graph_products(graphs, loadings, block=7), inner_products(np.stack([g @ loadings for g in graphs], 1) / 2))


def test_bulk_has_no_unit_and_survives_anything():
    rng = np.random.default_rng(0)
    score = rng.normal(size=500)
    for values in (score, np.zeros(500), np.r_[np.zeros(400), np.ones(100)], 1e6 * score, score ** 3, rng.integers(3, size=500) * 1.0):
        null = bulk_null(values)
        assert np.isfinite(null.pvalue).all() and ((0 <= null.pvalue) & (null.pvalue <= 1)).all() and diagnosis(null)
    assert np.allclose(bulk_null(5 * score - 2).pvalue, bulk_null(score).pvalue)
    assert (np.diff(bulk_null(score).pvalue[np.argsort(score)]) <= 0).all()
