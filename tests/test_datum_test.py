"""The p-values are exact, reproducible, and blind to everything that should not matter."""
import importlib
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import brentq
from scipy.stats import false_discovery_control, kstest, norm, poisson

import embgeo_nb as eg
from embgeo_nb.coins import HITS
from embgeo_nb.datum_test import NULLS
from embgeo_nb.multiplicity import storey_qvalues, unmoved_share
from embgeo_nb.omnibus import as_graphs
from embgeo_nb.tail import pearson_tail
from reference import PAIR as OPTIONS, agree, assert_a_result, defaults, each_device, enumerated_pvalue, random_graph, result, sizes, views
from surroundings import default_dtype

core = importlib.import_module("embgeo_nb.datum_test")


def few_differences(n=40, edges=60, seed=0, weights=None):
    "Two graphs that differ at some edges: a handful per datum, none for a few."
    A, changes = random_graph(n, 0.3, seed, weights), random_graph(n, edges / (n * n / 2), seed + 1)
    B = A.toarray().astype(float)
    if weights is None:
        B = np.where(changes.toarray() > 0, 1 - B, B)
    else:
        B = B + (changes * random_graph(n, 1, seed + 2, weights)).toarray()
    return {"a": A, "b": sp.csr_array(B)}


# Exactness ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weights", [None, lambda rng, size: rng.uniform(0.5, 2, size)], ids=["binary", "weighted"])
@pytest.mark.parametrize("d", [1, 3, 20])
@each_device
def test_few_edges_are_enumerated(seed, weights, d, device):
    graphs = few_differences(seed=seed, weights=weights)
    R = eg.datum_test(graphs, "a", "b", n_components=d, device=device)
    assert 0 == R.n_differing.min() < 4 <= R.n_differing.max() < 14
    difference = (graphs["a"] - graphs["b"]).toarray()
    wanted = [enumerated_pvalue(row[row != 0], R.frame.loadings[row != 0]) for row in difference]
    assert np.abs(R.pvalue - wanted).max() < 1e-12
    assert (R.pvalue[R.n_differing <= 1] == 1).all()


def test_sequential_pvalues_against_long_runs():
    R = result()
    rng, rows = np.random.default_rng(1), np.flatnonzero(R.n_differing > 14)[::4]
    assert len(rows) > 10
    for i in rows:
        change = R.difference[[i]]
        vectors = np.abs(change.data)[:, None] * R.frame.loadings[change.indices] / 2
        T = ((rng.choice([-1.0, 1.0], size=(40_000, len(vectors))) @ vectors) ** 2).sum(1)
        long_run = (1 + (T >= R.statistic[i]).sum()) / 40_001
        assert abs(R.pvalue[i] - long_run) < 5 * long_run / np.sqrt(min(HITS, 9999 * long_run)) + 1e-3


@pytest.mark.parametrize("d, correlation", [(4, 0), (80, 0.5)])
def test_size_of_the_paired_test(d, correlation):
    found = sizes(300, d, correlation, 20, n_resamples=399)
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert error < 0.005 and abs(found.mean() - 0.05) < 4 * error


def test_pvalues_are_uniform_under_exchangeability():
    "Swap two real graphs at random edges: whatever they were, the test must not notice."
    A, B = (eg.data_kernel(Y, 20).graph for Y in views(n=400, noise=1.5).values())
    pvalues = []
    for seed in range(6):
        swap = random_graph(400, 0.5, seed)
        C, E = sp.csr_array(A + (B - A).multiply(swap)), sp.csr_array(B + (A - B).multiply(swap))
        pvalues.append(eg.datum_test({"a": C, "b": E}, "a", "b", n_components=10, n_resamples=999, seed=seed).pvalue[::4])
    assert kstest(np.concatenate(pvalues), "uniform").pvalue > 1e-4


# What must not matter -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("floats", [1, 2 ** 12, 2 ** 19])
def test_batches(floats, monkeypatch):
    emb = {name: np.vstack([Y, views("x", 100)["x"]]) for name, Y in views().items()}       # many edges differ, few, none
    wanted = eg.datum_test(emb, "a", "b", **OPTIONS, n_resamples=999)
    assert len(np.unique(wanted.n_differing)) > 10
    monkeypatch.setattr(importlib.import_module("embgeo_nb.coins"), "FLOATS", floats)
    assert agree(eg.datum_test(emb, "a", "b", **OPTIONS, n_resamples=999), wanted)


def test_swapping_the_models():
    swapped = eg.datum_test(views(), "b", "a", **OPTIONS)
    assert agree(swapped, result()) and (swapped.displacement == -result().displacement).all() and (swapped.statistic == result().statistic).all()


def test_order_of_the_models():
    Y, first = views("abcd"), result("abcd", frame_models=("c", "d"))
    for names in ("badc", "dcba", "cdab"):
        assert agree(eg.datum_test({name: Y[name] for name in names}, "a", "b", **OPTIONS, frame_models=[name for name in names if name in "cd"]), first)
    renamed = eg.datum_test({"x" + name: Y[name] for name in Y}, "xa", "xb", **OPTIONS, frame_models=["xc", "xd"])
    assert agree(renamed, first)


ARRAYS = ("statistic", "pvalue", "qvalue", "effect", "local_effect", "displacement", "n_differing")


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.filterwarnings("ignore:null='single-copy'")
@pytest.mark.parametrize("kind", ["arrays", "embeddings", "graphs", "omnibus"])
def test_the_frame_is_made_of_the_pair(null, kind, monkeypatch):
    "What else an analysis holds changes nothing, and is not even looked at."
    def given(names):
        Y = views("abcd")
        made = {"arrays": lambda: Y, "embeddings": lambda: eg.Embeddings(Y), "graphs": lambda: {name: eg.data_kernel(Y[name], 10).graph for name in Y},
                "omnibus": lambda: eg.omnibus({name: Y[name] for name in names}, 6, n_neighbors=10)}[kind]()
        return made if kind == "omnibus" else made.select(list(names)) if kind == "embeddings" else {name: made[name] for name in names}

    pair, many = given("ab"), given("cadb")
    options = dict(OPTIONS, n_resamples=19, seed=3)
    wanted = eg.datum_test(pair, "a", "b", null, **options)
    kernels, made = importlib.import_module("embgeo_nb.omnibus"), []
    original = kernels.data_kernel
    monkeypatch.setattr(kernels, "data_kernel", lambda *args: made.append(1) or original(*args))
    found = eg.datum_test(many, "a", "b", null, **options)
    for name in ARRAYS:
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    assert len(made) == (2 if kind in ("arrays", "embeddings") else 0) and found.graphs.models == ("a", "b") and found.frame_models == ()


def test_models_nobody_asked_for_may_be_anything():
    Y = views()
    assert agree(eg.datum_test({**Y, "broken": np.full((3, 2), np.nan)}, "a", "b", **OPTIONS), result())


def test_further_models_join_the_frame_by_name():
    Y = views("abcd")
    joined = eg.datum_test(Y, "a", "b", **OPTIONS, frame_models=["c"])
    assert joined.frame_models == ("c",) and joined.graphs.models == ("a", "b", "c") and not agree(joined, result())
    assert np.allclose(joined.frame.center, eg.frame(as_graphs({name: Y[name] for name in "abc"}, 10).mean, 6).center)
    assert agree(eg.datum_test({name: Y[name] for name in "dcba"}, "a", "b", **OPTIONS, frame_models=("c",)), joined)
    assert agree(eg.datum_test(Y, "a", "b", **OPTIONS, frame_models=()), result())


@pytest.mark.parametrize("bad, error", [("c", TypeError), (["a"], ValueError), (["c", "c"], ValueError), (["x"], ValueError)])
def test_bad_frame_models(bad, error):
    with pytest.raises(error, match="frame_models|no model 'x'"):
        eg.datum_test(views("abc"), "a", "b", **OPTIONS, frame_models=bad)


IDS = {"texts": np.array([f"doc-{i}" for i in range(200)]), "objects": np.array([f"doc-{i}" for i in range(200)], object),
       "integers": np.random.default_rng(5).choice(10 ** 6, 200, replace=False) - 5 * 10 ** 5, "rows": np.arange(200), "bytes": np.array([f"d{i}".encode() for i in range(200)]),
       "large": np.arange(200, dtype=np.uint64) + 2 ** 63, "floats": np.arange(200) / 7}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@pytest.mark.parametrize("options", [{}, dict(n_resamples=99), dict(method="tail"), dict(null="independent"), dict(null="bootstrap", n_resamples=19), dict(n_components="profile")], ids=str)
def test_the_order_of_the_rows_is_nothing_to_a_pvalue(ids, options):
    "Every number goes with its id: enumerated, flipped to the end, stopped on the way, tails, draws."
    Y, order = views(), np.random.default_rng(0).permutation(200)
    first, permuted = (eg.datum_test(eg.Embeddings({name: Y[name][rows] for name in Y}, ids[rows]), "a", "b", **{**OPTIONS, **options}) for rows in (np.arange(200), order))
    for name in ARRAYS[:4] + ("n_differing", "displacement"):
        assert np.array_equal(getattr(first, name)[order], getattr(permuted, name)), name
    assert np.allclose(first.local_effect[order], permuted.local_effect) and np.array_equal(first.frame.loadings[order], permuted.frame.loadings)
    if first.null != "independent":
        assert np.array_equal(first.null_distribution[order], permuted.null_distribution)
    if first.null == "paired":
        assert np.array_equal(first.detectable()[order], permuted.detectable()) and np.array_equal(first.cumulants[order], permuted.cumulants)
        one, other = (R.global_test(19, seed=2) for R in (first, permuted))
        assert (one.pvalue, one.n_moved) == (other.pvalue, other.n_moved) and (one.null_distribution == other.null_distribution).all()


def test_every_way_to_a_pvalue_was_taken_above():
    R = result()
    enumerated = R.n_differing <= 14
    to_the_end = ~enumerated & (R.pvalue < HITS / 10_000)
    assert enumerated.any() and to_the_end.any() and (~enumerated & ~to_the_end).any()


def test_coins_are_those_of_the_id():
    "Equal ids get equal coins, other ids other coins, and rows without ids are their numbers."
    Y = views()
    text = eg.datum_test(eg.Embeddings(Y, IDS["texts"]), "a", "b", **OPTIONS)
    assert agree(eg.datum_test(eg.Embeddings(Y, np.arange(200)), "a", "b", **OPTIONS), result()) and not agree(text, result())
    assert np.allclose(text.statistic, result().statistic, rtol=1e-3) and np.abs(text.pvalue - result().pvalue).max() < 0.2
    sampled = np.flatnonzero(text.n_differing > 14)[:5]
    for i in sampled:
        assert np.array_equal(text.flips(IDS["texts"][i]), text.flips(i)) and np.allclose(text.flips(i), text.null_distribution[i], rtol=1e-5)
    assert len(sampled) == 5


def test_flips_of_a_datum_that_does_not_differ():
    same = eg.datum_test({"a": views()["a"], "b": views()["a"]}, "a", "b", **OPTIONS)
    assert same.flips(7, 9).tolist() == [0.0] * 9


def relative(A, P, kept, rng):
    "A graph that has most of the edges of A, and for the rest those of a fresh draw from P."
    n = len(P)
    keep, fresh = np.triu(rng.random((n, n)) < kept, 1), np.triu(rng.random((n, n)) < P, 1)
    upper = np.where(keep, A.toarray(), fresh) * np.triu(np.ones((n, n)), 1)
    return sp.csr_array(upper + upper.T)


@pytest.mark.parametrize("kin", ["copy of a", "four relatives of a"])
def test_relatives_of_a_model_do_not_change_the_size(kin):
    "Both models are drawn from one P, so the null holds; what resembles one of them is in emb, but not in the frame."
    Z, own, joined = np.random.default_rng(0).uniform(0.1, 0.9, size=(500, 4)) / 2, [], []
    for seed in range(8):
        A, B = eg.sample_rdpg(Z, n_graphs=2, correlation=0.5, seed=seed)
        rng = np.random.default_rng(seed)
        family = {"c": A} if kin == "copy of a" else {name: relative(A, Z @ Z.T, 0.9, rng) for name in "cdef"}
        graphs, options = {"a": A, "b": B, **family}, dict(n_components=50, n_resamples=399, seed=seed)
        own.append((eg.datum_test(graphs, "a", "b", **options).pvalue <= 0.05).mean())
        joined.append((eg.datum_test(graphs, "a", "b", **options, frame_models=list(family)).pvalue <= 0.05).mean())
    assert 0.035 < np.mean(own) < 0.065 and np.mean(joined) > 0.08           # by name they may join, and then the null is another


@pytest.mark.parametrize("seed", [0, 12, 2 ** 62, 2 ** 64])
def test_seeds(seed):
    R = result(seed=seed)
    assert R.seed == seed and agree(eg.datum_test(views(), "a", "b", **OPTIONS, seed=seed), R)
    assert seed == 0 or not agree(R, result(seed=1))
    assert seed >= 2 ** 62 or agree(eg.datum_test(views(), "a", "b", **OPTIONS, seed=np.int64(seed)), R)


def test_generators_as_seeds():
    rng = np.random.default_rng(3)
    first, second = (eg.datum_test(views(), "a", "b", **OPTIONS, seed=rng) for _ in range(2))
    assert not agree(first, second)
    assert agree(eg.datum_test(views(), "a", "b", **OPTIONS, seed=np.random.default_rng(3)), first) and agree(result(seed=first.seed), first)


def test_threads_and_global_state():
    before, state, torch_state = torch.get_num_threads(), np.random.get_state()[1].copy(), torch.get_rng_state()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(eg.datum_test(views(), "a", "b", **OPTIONS, tol=1e-10))
    finally:
        torch.set_num_threads(before)
    assert np.abs(found[0].pvalue - found[1].pvalue).max() < 1e-9 and np.allclose(found[0].statistic, found[1].statistic, atol=1e-9)
    assert (np.random.get_state()[1] == state).all() and (torch.get_rng_state() == torch_state).all()


def test_default_dtype():
    with default_dtype(torch.float64):
        found = eg.datum_test(views(), "a", "b", **OPTIONS)
    assert agree(found, result())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("null", ["paired", "independent"])
def test_devices_agree(null):
    found = eg.datum_test(views(), "a", "b", null, **OPTIONS, tol=1e-10, device="cuda")
    wanted = eg.datum_test(views(), "a", "b", null, **OPTIONS, tol=1e-10)
    assert np.allclose(found.statistic, wanted.statistic, atol=1e-8) and np.allclose(found.pvalue, wanted.pvalue, atol=1e-6)


def test_every_kind_of_input_is_one_analysis():
    Y = views()
    kernels = {name: eg.data_kernel(Y[name], 10) for name in Y}
    graphs = {name: sp.csr_matrix(K.graph) for name, K in kernels.items()}
    for emb in (eg.Embeddings(Y), kernels, graphs, {name: torch.as_tensor(Y[name]) for name in Y}, eg.omnibus(Y, 6, n_neighbors=10)):
        R = eg.datum_test(emb, "a", "b", **OPTIONS)
        assert agree(R, result()) and R.n_neighbors == (None if emb is graphs else 10)
    assert eg.datum_test(eg.omnibus(Y, 6, n_neighbors=10), "a", "b").n_components == 6
    assert eg.datum_test(eg.omnibus(Y, 6, n_neighbors=10), "a", "b", n_components=4).n_components == 4


# What must matter -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("null", NULLS)
@pytest.mark.filterwarnings("ignore:null='single-copy'")
def test_identical_models(null):
    Y = views()["a"]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    R = eg.datum_test({"a": Y, "b": 3 * Y @ rotation}, "a", "b", null, **OPTIONS, n_resamples=19)
    assert not R.statistic.any() and not R.effect.any() and not R.displacement.any() and not R.n_differing.any() and not R.rejected(0.2, None).any()
    assert (R.pvalue == 1).all() and (R.qvalue == 1).all()


@pytest.mark.parametrize("null, power", [("paired", 0.8), ("independent", 0.5), ("bootstrap", 0.5)])
def test_a_planted_change_is_found(null, power):
    rng = np.random.default_rng(2)
    groups = rng.normal(size=(5, 8))
    kind = rng.integers(0, 5, 400)
    shared = groups[kind] + 0.5 * rng.normal(size=(400, 8))
    Y = {name: shared + 0.02 * rng.normal(size=(400, 8)) for name in "ab"}
    moved = np.arange(400) < 20
    Y["b"][moved] = groups[(kind[moved] + 1) % 5] + 0.5 * rng.normal(size=(20, 8))
    R = eg.datum_test(Y, "a", "b", null, n_components=8, n_neighbors=20, n_resamples=39 if null == "bootstrap" else None)
    order = R.to_frame().datum.to_numpy()
    assert R.rejected(0.05, None)[moved].mean() >= power and moved[order[:20]].mean() > 0.8
    assert R.rejected(0.05, None)[~moved].mean() < 0.25


# Other nulls ----------------------------------------------------------------------------------------------------------

def test_paired_null_distribution_is_what_the_pvalues_count():
    R = result()
    flips = R.null_distribution
    assert flips.shape == (200, 999) and (flips[R.n_differing == 0] == 0).all()
    hits = (flips >= R.statistic[:, None] * (1 - 1e-5)).cumsum(1)
    sampled = np.flatnonzero((R.n_differing > 14) & (hits[:, -1] >= HITS))
    assert len(sampled) > 20
    assert np.allclose(R.pvalue[sampled], HITS / (1 + (hits[sampled] < HITS).sum(1)))


@pytest.mark.parametrize("n_resamples", [19, 99, 400])
def test_smallest_pvalue(n_resamples):
    assert result(n_resamples=n_resamples).pvalue.min() >= 1 / (n_resamples + 1)


# The tail of the flips -------------------------------------------------------------------------------------------------

def test_tail_agrees_with_the_flips_and_resolves_more():
    flips, tail = result(), result(method="tail")
    few = flips.n_differing <= 14
    assert few.any() and not few.all() and (flips.pvalue[few] == tail.pvalue[few]).all()
    assert np.abs(flips.pvalue - tail.pvalue).max() < 0.2 and np.corrcoef(flips.pvalue, tail.pvalue)[0, 1] > 0.99
    assert (tail.pvalue >= tail.smallest_pvalue * (1 - 1e-12)).all() and np.allclose(tail.statistic, flips.statistic)
    far = eg.datum_test({"a": views(noise=0)["a"], "b": views(noise=3, seed=1)["b"]}, "a", "b", n_neighbors=40, n_components=25, method="tail")
    assert far.pvalue.min() < 1e-6 < 1e-5 < eg.datum_test(far.graphs, "a", "b", n_components=25).pvalue.min()
    assert agree(result(method="tail", seed=9), tail)                       # nothing random in it


@pytest.mark.parametrize("n_resamples", [19, 99])
def test_tail_on_graphs_with_few_resamples(n_resamples):
    graphs = few_differences()
    R = eg.datum_test(graphs, "a", "b", n_components=3, method="tail", n_resamples=n_resamples)
    assert 5 < R.n_differing.max() and ((R.pvalue > 0) & (R.pvalue <= 1)).all() and (R.pvalue >= R.smallest_pvalue * (1 - 1e-12)).all()
    exact, few = eg.datum_test(graphs, "a", "b", n_components=3), R.n_differing <= 11
    assert few.sum() > 30 and np.array_equal(R.pvalue[few], exact.pvalue[few])


def test_size_of_the_tail():
    found = sizes(300, 80, 0.5, 20, method="tail")
    assert abs(found.mean() - 0.05) < 4 * found.std(ddof=1) / np.sqrt(len(found)) + 0.002


def test_a_frame_of_more_models_keeps_the_size():
    "The frame may look at all graphs, the two tested among them, because it cannot tell them apart."
    Z, rejected = np.random.default_rng(0).uniform(0.1, 0.9, size=(300, 4)) / 2, []
    for seed in range(20):
        A, B, C = eg.sample_rdpg(Z, n_graphs=3, correlation=0.5, seed=seed)
        graphs = {"a": A, "b": B, "c": C}
        R = eg.datum_test(graphs, "a", "b", n_components=60, n_resamples=399, seed=seed)
        rejected.append((R.pvalue <= 0.05).mean())
        if seed == 0:
            swapped = eg.datum_test({"a": B, "b": A, "c": C}, "a", "b", n_components=60, n_resamples=399, seed=seed)
            assert agree(swapped, R) and np.allclose(swapped.displacement, -R.displacement)
    assert abs(np.mean(rejected) - 0.05) < 4 * np.std(rejected, ddof=1) / np.sqrt(20)


# Around the p-values ----------------------------------------------------------------------------------------------------

def test_storey():
    p = np.r_[np.full(60, 0.001), np.linspace(0.01, 0.99, 40)]
    share = (1 + (p > 0.5).sum()) / 50
    assert unmoved_share(p) == pytest.approx(share) and np.allclose(storey_qvalues(p), false_discovery_control(p) * share)
    assert unmoved_share(np.full(10, 0.9)) == 1
    R = result()
    assert (R.rejected(0.2, "storey") == (storey_qvalues(R.pvalue) <= 0.2)).all() and (R.rejected(0.2, "storey") >= R.rejected(0.2)).all()


def test_local_effect():
    R = result()
    either = (R.graphs["a"] + R.graphs["b"]).toarray()
    nearby = either @ R.displacement / either.sum(1, keepdims=True)
    assert np.allclose(R.local_effect, np.linalg.norm(R.displacement - nearby, axis=1) / np.linalg.norm(R.frame.center, axis=1))


def test_detectable_displacements():
    R = result()
    default = R.detectable()
    finite = np.isfinite(default)
    assert finite.any() and (~finite == (2.0 ** (1 - np.maximum(R.n_differing, 1)) > 0.05)).all()
    assert (R.detectable(power=0.9)[finite] > default[finite]).all() and (R.detectable(alpha=0.2)[finite] < default[finite]).all()
    by_power = np.array([R.detectable(power=power)[finite] for power in (0.05, 0.1, 0.2, 0.3, 0.4, 0.49, 0.51, 0.6, 0.8, 0.95)])
    assert (by_power[0] == 0).all() and (np.diff(by_power, axis=0) >= 0).all() and (np.diff(by_power, axis=0)[2:] > 0).all()
    assert (by_power[6] / by_power[5] < 1.1).all()                       # no jump where the root changes
    for bad in (dict(alpha=0), dict(power=1)):
        with pytest.raises(ValueError, match=next(iter(bad))):
            R.detectable(**bad)
    with pytest.raises(ValueError, match="paired"):
        result(null="independent").detectable()


def test_two_precisions_of_a_weight_are_no_difference():
    "1e-3 in single precision is another number than in double, and was taken for another edge."
    A, B = (graph * 1e-3 for graph in few_differences(weights=lambda rng, size: rng.uniform(0.5, 2, size)).values())
    wide, mixed = (eg.datum_test({"a": A.astype(dtype), "b": B.astype(np.float64)}, "a", "b", n_components=5) for dtype in (np.float64, np.float32))
    assert np.array_equal(wide.n_differing, mixed.n_differing) and np.allclose(wide.pvalue, mixed.pvalue, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_detectable_in_other_units(unit):
    graphs = few_differences(n=60, edges=140, seed=1)
    own, other = (eg.datum_test({name: A * c for name, A in graphs.items()}, "a", "b", n_components=3) for c in (1.0, unit))
    assert own.n_differing.min() == 0 and np.isfinite(own.detectable()).sum() > 10
    with np.errstate(divide="raise", invalid="raise"):                                                  # nor a division by the nothing of unmoved data
        assert np.allclose(own.detectable(), other.detectable(), rtol=1e-3)


@pytest.mark.parametrize("power", [0.2, 0.35, 0.5, 0.8])
def test_the_detectable_displacement_has_the_power(power):
    "Coins biased until the mean displacement has just that length."
    R, rng, found = result(), np.random.default_rng(0), []
    wanted = R.detectable(power=power) * np.linalg.norm(R.frame.center, axis=1)
    for i in np.flatnonzero(R.n_differing > 14)[:25]:
        change = R.difference[[i]]
        vectors = np.abs(change.data)[:, None] * R.frame.loadings[change.indices] / 2
        direction = rng.choice([-1, 1], len(vectors)) @ vectors
        bias = lambda strength: np.tanh(strength * vectors @ direction)
        low, high = 0.0, 1e4
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if np.linalg.norm(bias(middle) @ vectors) < wanted[i] else (low, middle)
        signs = np.where(rng.random((1000, len(vectors))) < (1 + bias(low)) / 2, 1, -1)
        found.append((pearson_tail(((signs @ vectors) ** 2).sum(1), np.tile(R.cumulants[i], (1000, 1))) <= 0.05).mean())
    assert np.mean(found) == pytest.approx(power, abs=0.17)       # a normal approximation to few coins


def test_global_test_keeps_its_level():
    Z, found = np.random.default_rng(0).uniform(0.1, 0.9, size=(60, 4)) / 2, []
    for seed in range(120):
        A, B = eg.sample_rdpg(Z, n_graphs=2, correlation=0.3, seed=seed)
        G = eg.datum_test({"a": A, "b": B}, "a", "b", n_components=8, n_resamples=19).global_test(39, seed)
        found.append(G.pvalue)
        assert (G.n_moved > 0) == (G.pvalue <= 0.05)
    assert kstest(np.array(found) - np.random.default_rng(0).random(120) / 40, "uniform").pvalue > 1e-3


def test_the_number_of_moved_data_is_bounded_from_below():
    "Edges among the first data all pull one way, the others are coins: only the first have moved, and the bound says so."
    side, found = np.arange(200) // 40, []
    first, P = np.logical_and.outer(side == 0, side == 0), np.where(np.equal.outer(side, side), 0.4, 0.05)
    for seed in range(30):
        A, B = eg.sample_rdpg(P, n_graphs=2, seed=seed)
        difference, common = np.triu((B - A).toarray(), 1), np.triu(A.minimum(B).toarray(), 1)
        difference = np.where(first, np.abs(difference), difference)          # gained, all of them
        graphs = {"a": common + (difference < 0), "b": common + (difference > 0)}
        R = eg.datum_test({name: sp.csr_array(G + G.T) for name, G in graphs.items()}, "a", "b", n_components=5, n_resamples=99, seed=seed)
        found.append(R.global_test(99, seed).n_moved)
    assert np.mean(np.array(found) > 40) <= 0.15 and np.mean(found) > 20


def test_global_test_and_single_data_agree():
    "Many p-values of 1, many small ones: what is rejected datum by datum is not denied by the pair."
    rng = np.random.default_rng(0)
    points = rng.normal(size=(600, 6))
    emb = {"a": points, "b": points + np.where(np.arange(600)[:, None] < 100, 0.5, 1e-4) * rng.normal(size=points.shape)}
    R = eg.datum_test(emb, "a", "b", n_neighbors=10)
    G = R.global_test()
    assert unmoved_share(R.pvalue) == 1 and R.rejected().sum() > 30      # Storey's estimate of the share of true nulls is 1
    assert G.pvalue == 1 / 200 and R.rejected().sum() <= G.n_moved <= (R.pvalue <= 0.2).sum()
    with pytest.raises(ValueError, match="n_resamples must be at least 99 for alpha=0.01"):
        R.global_test(19, alpha=0.01)


def test_global_test_finds_a_difference():
    R = result()
    G = R.global_test(49, seed=1)
    assert G.pvalue == 1 / 50 and 0 < G.n_moved <= R.n and G.null_distribution.shape == (49,) and G.statistic > G.null_distribution.max()
    assert R.global_test(49, seed=1).null_distribution.tolist() == G.null_distribution.tolist()
    assert G.alpha == 0.05 and R.global_test(99, seed=1, alpha=0.01).n_moved <= R.global_test(99, seed=1, alpha=0.2).n_moved
    with pytest.raises(ValueError, match="paired"):
        result(null="independent").global_test()


def test_neighborhoods():
    R = eg.datum_test(eg.Embeddings(views(), data=[f"text {i}" for i in range(200)]), "a", "b", **OPTIONS)
    table = R.neighbors(5)
    A, B = (R.graphs[name].toarray()[5] for name in "ab")
    sides = {"kept": A * B, "gained": B * (1 - A), "lost": A * (1 - B)}
    assert {name: sorted(group.neighbor) for name, group in table.groupby("change")} == {name: np.flatnonzero(side).tolist() for name, side in sides.items()}
    assert table.share.sum() == pytest.approx(1) and (table.text == [f"text {j}" for j in table.neighbor]).all()
    Y = views()["b"]
    cosine = Y @ Y[5] / np.linalg.norm(Y, axis=1) / np.linalg.norm(Y[5])
    assert np.allclose(table["similarity in b"], cosine[table.neighbor])
    assert "similarity in a" not in eg.datum_test({name: R.graphs[name] for name in "ab"}, "a", "b", n_components=6).neighbors(5)


# The result -----------------------------------------------------------------------------------------------------------

def test_fields_fit_together():
    R, O = result(), joint()
    D = R.difference @ R.frame.loadings / 2
    assert np.abs(R.displacement - D).max() < 1e-12 and np.allclose(R.statistic, (D ** 2).sum(1))
    assert np.allclose(R.effect, np.linalg.norm(D, axis=1) / np.linalg.norm(R.frame.center, axis=1))
    assert np.corrcoef(np.linalg.norm(D, axis=1), np.linalg.norm(O.displacement("a", "b"), axis=1))[0, 1] > 0.9
    assert (R.n_differing == np.diff(R.difference.indptr)).all() and R.models == ("a", "b") and R.null == "paired"
    assert (R.n, R.n_components, R.n_resamples, R.seed, R.n_neighbors) == (200, 6, 9999, 0, 10)
    assert R.settings == dict(n_neighbors=10, metric="cosine", symmetrize="union") and set(R.versions) == {"embgeo_nb", "numpy", "torch"}
    assert ((R.pvalue > 0) & (R.pvalue <= 1)).all()
    with pytest.raises(AttributeError):
        R.pvalue = None


def joint():
    return eg.omnibus(views(), 6, n_neighbors=10)


def test_benjamini_hochberg():
    R = result()
    n, order = R.n, np.argsort(R.pvalue)
    by_hand = np.empty(n)
    by_hand[order] = np.minimum.accumulate((R.pvalue[order] * n / np.arange(1, n + 1))[::-1])[::-1]
    assert np.allclose(R.qvalue, by_hand) and np.allclose(R.qvalue, false_discovery_control(R.pvalue)) and (R.qvalue >= R.pvalue).all()


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_rejections(alpha):
    R = result()
    assert (R.rejected(alpha) == (R.qvalue <= alpha)).all() and (R.rejected(alpha, None) == (R.pvalue <= alpha)).all()
    assert (R.rejected(alpha, "bonferroni") == (R.pvalue <= alpha / 200)).all()
    assert R.rejected(alpha, "bonferroni").sum() <= R.rejected(alpha).sum() <= R.rejected(alpha, None).sum() and R.rejected(0.3, None).any()


@pytest.mark.parametrize("bad", [dict(alpha=0), dict(alpha=1), dict(alpha=5), dict(alpha=float("nan")), dict(correction="holm")])
def test_bad_rejections(bad):
    with pytest.raises(ValueError):
        result().rejected(**bad)


def test_explanations_sum_to_the_displacement():
    R = result("abc", frame_models=("c",))
    for i in range(0, 200, 9):
        why = R.explain(i)
        assert np.abs(why.contributions.sum(0) - R.displacement[i]).max() < 1e-12 and len(why.neighbors) == R.n_differing[i]
    for i in (200, -1, 1.5, "1", True):
        for ask in (R.explain, R.neighbors, R.flips):
            with pytest.raises(ValueError, match="row number"):
                ask(i)


@pytest.mark.parametrize("ids", [IDS["texts"], IDS["objects"], IDS["integers"], IDS["bytes"]], ids=["texts", "objects", "integers", "bytes"])
def test_data_are_asked_for_by_id(ids):
    R, plain = eg.datum_test(eg.Embeddings(views(), ids), "a", "b", **OPTIONS), result()
    for i in (0, 7, 199):
        why, wanted = R.explain(ids[i]), plain.explain(i)
        assert why.neighbors.tolist() == wanted.neighbors.tolist() and np.allclose(why.share, wanted.share, atol=1e-6) and (why.ids == ids[why.neighbors]).all()
        assert R.neighbors(ids[i]).neighbor.tolist() == R.neighbors(ids.tolist()[i]).neighbor.tolist()
    if ids.dtype.kind == "i":
        with pytest.raises(ValueError, match=r"ids\[row\]"):
            R.explain(next(i for i in range(200) if i not in ids))
    else:
        assert R.explain(7).neighbors.tolist() == R.explain(ids[7]).neighbors.tolist()


# Before and after -----------------------------------------------------------------------------------------------------

def test_from_a_to_b():
    "By hand: datum 0 exchanges its neighbour 1 (only in a) for datum 2 (only in b)."
    graph = lambda *pairs: sp.csr_array(sp.coo_array((np.ones(2 * len(pairs)), tuple(np.array([*pairs, *(p[::-1] for p in pairs)]).T)), shape=(5, 5)))
    models = {"a": graph((0, 1), (1, 3), (2, 4), (3, 4)), "b": graph((0, 2), (1, 3), (2, 4), (3, 4))}
    for pair, gained, lost in ((("a", "b"), 2, 1), (("b", "a"), 1, 2)):
        R = eg.datum_test(models, *pair, n_components=2)
        why, table = R.explain(0), R.neighbors(0)
        assert dict(zip(why.neighbors.tolist(), why.change)) == {gained: 1, lost: -1} and dict(zip(why.neighbors.tolist(), why.to_frame().change)) == {gained: "gained", lost: "lost"}
        assert dict(zip(table.neighbor.tolist(), table.change)) == {gained: "gained", lost: "lost"}
        assert np.allclose(R.displacement[0], (R.frame.loadings[gained] - R.frame.loadings[lost]) / 2)
        assert (R.difference != models[pair[1]] - models[pair[0]]).nnz == 0
        assert R.neighbors(3).change.tolist() == ["kept", "kept"]


def test_the_test_moves_data_the_way_the_omnibus_does():
    O = joint()
    R, D = eg.datum_test(O, "a", "b"), O.displacement("a", "b")
    u, s, v = np.linalg.svd(R.displacement.T @ D)
    assert np.allclose(D, O["b"] - O["a"]) and np.abs(R.displacement @ u @ v - D).max() < 0.2 * np.abs(D).max()
    assert ((R.frame.center * R.displacement).sum(1) * ((O["a"] + O["b"]) / 2 * D).sum(1) > 0).mean() > 0.9         # and not the opposite way


def test_table():
    emb = eg.Embeddings(views(), [f"id{i}" for i in range(200)], [f"text {i}" for i in range(200)], np.arange(200) % 3)
    R = eg.datum_test(emb, "a", "b", **OPTIONS)
    table = R.to_frame()
    assert isinstance(table, pd.DataFrame) and list(table.columns) == ["datum", "id", "effect", "local_effect", "statistic", "pvalue", "qvalue", "n_differing", "label", "text"]
    assert sorted(table.datum) == list(range(200)) and (np.diff(table.effect) <= 0).all() and list(table.index) == list(range(200))
    rows = table.datum.to_numpy()
    for name, values in {"effect": R.effect, "local_effect": R.local_effect, "statistic": R.statistic, "pvalue": R.pvalue, "qvalue": R.qvalue, "n_differing": R.n_differing, "label": R.labels, "id": R.ids}.items():
        assert (table[name].to_numpy() == np.asarray(values)[rows]).all()
    assert (table.text == [f"text {i}" for i in rows]).all()
    assert list(result().to_frame().columns)[-1] == "n_differing"


# Options --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("option", [dict(n_components="profile"), dict(n_components=1), dict(n_neighbors=25), dict(metric="euclidean"), dict(metric="inner_product"),
                                    dict(symmetrize="intersection"), dict(symmetrize="mean"), dict(n_resamples=99), dict(seed=4)])


def test_every_option_has_an_effect(option):
    assert not agree(eg.datum_test(views(), "a", "b", **{**OPTIONS, **option}), result())


def test_default_dimension():
    assert eg.datum_test(views(), "a", "b", n_neighbors=10).n_components == 25


def test_tolerance():
    exact = eg.datum_test(views(n=500), "a", "b", **OPTIONS, tol=1e-10)
    loose, default = (eg.datum_test(views(n=500), "a", "b", **OPTIONS, **tol).statistic for tol in (dict(tol=0.1), {}))
    assert 0 < np.abs(default - exact.statistic).max() < 1e-3 * exact.statistic.max() and np.abs(loose - exact.statistic).max() > np.abs(default - exact.statistic).max()


def test_isolated_data():
    "A datum without neighbours in one model: it moved, but is nowhere in particular."
    A = random_graph(100, 0.1).toarray()
    A[0] = A[:, 0] = 0
    B = A.copy()
    B[0, 1:40] = B[1:40, 0] = 1
    R = eg.datum_test({"a": sp.csr_array(A), "b": sp.csr_array(B)}, "a", "b", n_components=3)
    assert R.pvalue[0] < 0.01 and R.effect.argmax() == 0 and np.isfinite(R.effect).all()


@pytest.mark.parametrize("options, error, message", [
    (dict(null="none"), ValueError, "paired"), (dict(n_components=201), ValueError, "n_components"), (dict(n_components=0), ValueError, "n_components"),
    (dict(n_components=2.0), TypeError, "n_components"), (dict(n_components="elbow"), ValueError, "profile"), (dict(n_neighbors=200), ValueError, "n_neighbors"),
    (dict(metric="l2"), ValueError, "metric"), (dict(symmetrize="xor"), ValueError, "symmetrize"), (dict(n_resamples=18), ValueError, "n_resamples"),
    (dict(n_resamples=99.5), TypeError, "n_resamples"), (dict(n_resamples=True), TypeError, "n_resamples"), (dict(seed=-1), ValueError, "seed"),
    (dict(seed=1.5), TypeError, "seed"), (dict(seed=None), TypeError, "seed"), (dict(a="x"), ValueError, "no model 'x'; the models are a, b"), (dict(b="a"), ValueError, "must differ"),
    (dict(n_resamples=0), ValueError, "n_resamples"), (dict(method="exact"), ValueError, "'flips' or 'tail'"), (dict(method="sparse"), ValueError, "'flips' or 'tail'"),
    (dict(null="independent", method="tail"), ValueError, "'full' or 'sparse'"), (dict(null="bootstrap", method="flips"), ValueError, "None for null='bootstrap'"),
])


def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        eg.datum_test(views(), **{"a": "a", "b": "b", **OPTIONS, **options})


def test_no_dimensions_of_an_omnibus():
    with pytest.raises(ValueError, match="n_components"):
        eg.datum_test(joint(), "a", "b", n_components=0)


@pytest.mark.filterwarnings("error")
def test_no_edges_is_refused_or_means_no_difference():
    empty = {name: sp.csr_array((50, 50)) for name in "ab"}
    try:
        R = eg.datum_test(empty, "a", "b", n_components=3)
    except ValueError as error:
        assert "eigenvalues" in str(error)
    else:
        assert (R.pvalue == 1).all() and np.isfinite(R.frame.loadings).all()


# By hand, number by number ----------------------------------------------------------------------------------------------

def test_results():
    assert_a_result(result(), "models", "null", "method", "n_components", "n_resamples", "seed", "settings", "outside", "groups", "frame_models")
    assert_a_result(result().global_test(19), "statistic", "pvalue", "n_moved", "alpha")
    assert defaults(eg.datum_test) == dict(null="paired", n_components=None, n_neighbors=32, metric="cosine", symmetrize="union", n_resamples=None, seed=0, device=None,
                                          tol=1e-4, method=None, frame_models=None, resume=None)
    T = type(result())
    assert [defaults(call) for call in (T.flips, T.rejected, T.detectable, T.global_test)] == [
        dict(count=999), dict(alpha=0.05, correction="fdr_bh"), dict(alpha=0.05, power=0.8), dict(n_resamples=199, seed=0, alpha=0.05)]
    assert result().resampled is None and result(null="bootstrap", n_resamples=19).method is None and result().groups is None
    R = eg.datum_test(views(), "a", "b", "bootstrap", **OPTIONS)
    assert R.n_resamples == 199 and R.null_distribution is R.resampled and R.resampled.shape == (200, 199)


def test_the_smallest_pvalue_that_was_attainable():
    m = result().n_differing
    for count in (19, 99, 9999):
        wanted = [0.5 ** (max(k, 1) - 1) if 0.5 ** (max(k, 1) - 1) * (count + 1) >= 1 else 1 / (count + 1) for k in m]
        assert np.allclose(result(n_resamples=count).smallest_pvalue, wanted)
    assert np.allclose(result(method="tail").smallest_pvalue, [0.5 ** (max(k, 1) - 1) for k in m])
    assert result(null="bootstrap", n_resamples=39).smallest_pvalue == 1 / 40 and result(null="independent").smallest_pvalue is None


def test_cumulants_by_enumeration():
    R = eg.datum_test(few_differences(), "a", "b", n_components=3)
    for i in np.flatnonzero((R.n_differing > 0) & (R.n_differing < 9)):
        change = R.difference[[i]]
        vectors = np.abs(change.data)[:, None] * R.frame.loadings[change.indices] / 2
        T = ((np.array(list(product((1, -1), repeat=len(vectors)))) @ vectors) ** 2).sum(1)
        mean, centred = T.mean(), T - T.mean()
        size = ((vectors @ vectors.T) ** 2).sum()
        wanted = [mean, (centred ** 2).mean(), (centred ** 3).mean(), (centred ** 4).mean() - 3 * (centred ** 2).mean() ** 2, size]
        assert np.allclose(R.cumulants[i], wanted, rtol=1e-4, atol=1e-6 * mean ** np.array([1, 2, 3, 4, 2]))
    assert (R.cumulants[R.n_differing == 0] == 0).all() and R.cumulants.shape == (40, 5)


@pytest.mark.parametrize("alpha, power", [(0.05, 0.8), (0.1, 0.3), (0.05, 0.5), (0.2, 0.95)])
def test_the_detectable_displacement_by_its_equation(alpha, power):
    "Of length s: s less what is significant is z standard deviations, of the flips and of s along them."
    R = result()
    effect, z = R.detectable(alpha, power), norm.ppf(power)
    for i in np.flatnonzero(np.isfinite(effect) & (effect > 0))[::9]:
        mean, variance, *_, size = R.cumulants[i]
        critical = brentq(lambda t: pearson_tail(np.array([t]), R.cumulants[[i]])[0] - alpha, mean, mean + 40 * variance ** 0.5)
        s = (effect[i] * np.linalg.norm(R.frame.center[i])) ** 2
        assert s - (critical - mean) == pytest.approx(z * np.sqrt(variance + 4 * s * size / mean), rel=1e-5, abs=1e-6 * mean)


def test_the_global_test_by_hand():
    "Every flip counted datum by datum, every tail by scipy."
    R = eg.datum_test(few_differences(n=60, edges=200), "a", "b", n_components=4)
    B, alpha, rng = 39, 0.1, np.random.default_rng(5)
    D = R.difference.toarray()
    rows, columns = np.nonzero(np.triu(D))
    levels = np.r_[np.arange(0.5, 4, 0.5), np.arange(4, 10), np.arange(10, 32, 3)]
    assert (core._LEVELS == levels).all()
    counts = []
    for at in range(B + 1):
        signs = np.ones(len(rows)) if at == 0 else rng.choice([-1.0, 1.0], len(rows))
        flipped = np.zeros_like(D)
        flipped[rows, columns] = flipped[columns, rows] = D[rows, columns] * signs
        T = ((flipped @ R.frame.loadings / 2) ** 2).sum(1)
        mean, variance = R.cumulants.T[:2]
        z = np.divide(T - mean, np.sqrt(variance), out=np.zeros_like(T), where=variance > 1e-12 * mean ** 2)
        counts.append([(z >= level - 1e-9).sum() for level in levels])
    counts = np.array(counts)
    tail = lambda r, x: 1.0 if r == 0 else poisson.sf(r - 1, counts[:, x].mean())
    surprise = np.array([min(tail(r, x) for x, r in enumerate(row)) for row in counts])
    critical = np.sort(surprise[1:])[int(alpha * (B + 1)) - 1]                     # the fourth smallest of 39
    bound = max(counts[0, x] - max(r for r in range(counts.max() + 1) if tail(r, x) >= critical) for x in range(len(levels)))
    G = R.global_test(B, seed=5, alpha=alpha)
    assert np.allclose(G.null_distribution, -np.log10(surprise[1:]), atol=1e-6) and G.statistic == pytest.approx(-np.log10(surprise[0]), abs=1e-6)
    assert G.pvalue == pytest.approx((surprise <= surprise[0] * (1 + 1e-9)).mean()) and G.n_moved == max(bound, 0)
    for alpha, fewest in ((0.05, 19), (0.01, 99), (0.2, 19)):
        assert R.global_test(fewest, alpha=alpha).null_distribution.shape == (fewest,)
    with pytest.raises(ValueError, match="n_resamples must be at least 99 for alpha=0.01; got 98"):
        R.global_test(98, alpha=0.01)
    for bad in (dict(n_resamples=18), dict(alpha=1.0), dict(alpha=0.0)):
        with pytest.raises(ValueError, match=next(iter(bad))):
            R.global_test(**bad)


def test_the_global_test_of_models_that_are_equal():
    G = eg.datum_test({"a": views()["a"], "b": views()["a"]}, "a", "b", **OPTIONS).global_test(19)
    assert (G.statistic, G.pvalue, G.n_moved) == (0, 1, 0) and not G.null_distribution.any()


def test_order_of_neighbours():
    "Gained and lost by their share, then the kept by similarity in the first model."
    R = eg.datum_test(eg.Embeddings(views(), data=list(range(200))), "a", "b", **OPTIONS)
    for i in (5, 77):
        table = R.neighbors(i)
        moved, kept = table[table.change != "kept"], table[table.change == "kept"]
        assert len(moved) and len(kept) and list(table.index) == list(range(len(table))) and set(table.index[:len(moved)]) == set(moved.index)
        assert (np.diff(moved.share) <= 0).all() and (np.diff(kept["similarity in a"]) <= 0).all() and (kept.share == 0).all()
        assert list(table) == ["neighbor", "id", "change", "share", "similarity in a", "similarity in b"]              # these data are no texts
        why = R.explain(i)
        assert np.allclose(moved.share, why.share) and moved.neighbor.tolist() == why.neighbors.tolist() and why.data == list(why.neighbors)


def test_local_effect_of_a_datum_without_neighbours():
    A = random_graph(40, 0.3).toarray()
    A[0] = A[:, 0] = 0
    B = A.copy()
    B[1, 2] = B[2, 1] = 1 - A[1, 2]
    R = eg.datum_test({"a": sp.csr_array(A), "b": sp.csr_array(B)}, "a", "b", n_components=3)
    assert R.local_effect[0] == 0 and np.isfinite(R.local_effect).all() and R.local_effect[1] > 0


def test_the_page_of_a_result():
    emb = eg.Embeddings({"<a>": views()["a"], "b": views()["b"]}, [f"id{i}" for i in range(200)])
    R = eg.datum_test(emb, "<a>", "b", **OPTIONS, seed=4)
    page, first = R._repr_html_(), R.to_frame().iloc[:5]
    assert "&lt;a&gt; against b" in page and "<a>" not in page
    assert "200 data, null: paired (n_neighbors 10, metric cosine, symmetrize union, n_components 6, seed 4)." in page
    assert f"At 5 %: {np.mean(R.pvalue <= 0.05):.1%} of the data rejected, {(R.qvalue <= 0.05).sum():,} at a false discovery rate of 0.05." in page
    rows = [re.findall("<td>(.*?)</td>", row) for row in page.split("<tr>")[2:]]
    assert rows == [[row.id, f"{row.effect:.3g}", f"{row.pvalue:.2g}", f"{row.qvalue:.2g}"] for row in first.itertuples()] and len(rows) == 5


def test_ties_are_sorted_by_pvalue_and_number():
    table = pd.DataFrame({"datum": [0, 1, 2, 3], "effect": [1.0, 2.0, 2.0, 2.0], "pvalue": [0.1, 0.5, 0.2, 0.2]}).iloc[[3, 0, 1, 2]]
    assert core.moved_most_first(table).datum.tolist() == [2, 3, 1, 0]


def test_copies_are_named_by_their_first():
    Y = {name: np.vstack([Y, Y[:3], Y[:2]]) for name, Y in views(n=60).items()}
    graphs = as_graphs({name: eg.data_kernel(own, 10) for name, own in Y.items()})
    wanted = np.r_[np.arange(60), [0, 1, 2], [0, 1]]
    assert core.copies_of(graphs, "a", "b", None).tolist() == wanted.tolist()
    order = np.random.default_rng(0).permutation(65)
    found = core.copies_of(graphs, "a", "b", order)
    assert (np.equal.outer(found, found) == np.equal.outer(wanted[order], wanted[order])).all() and (found <= np.arange(65)).all()
    plain = as_graphs({name: eg.data_kernel(own, 10) for name, own in views(n=60).items()})
    assert core.copies_of(plain, "a", "b", None) is None
    assert core.copies_of(as_graphs({name: eg.data_kernel(own, 10).graph for name, own in Y.items()}), "a", "b", None) is None


def test_what_resume_keeps(tmp_path):
    for null in ("paired", "independent"):
        with pytest.raises(ValueError, match=f"resume keeps the draws.*null='{null}' makes none"):
            eg.datum_test(views(), "a", "b", null, **OPTIONS, resume=tmp_path)
    R = eg.datum_test(views(), "a", "b", "bootstrap", **OPTIONS, n_resamples=19, resume=tmp_path)
    assert agree(R, result(null="bootstrap", n_resamples=19))


def test_whose_line_warns_of_the_published_null():
    with pytest.warns(UserWarning, match="not valid") as caught:
        core.datum_test(views(), "a", "b", "single-copy", **OPTIONS, n_resamples=19)
    assert caught[0].filename == __file__
