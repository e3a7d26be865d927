"""Calibration, planted changes, and tests over several scales: what the chapters' lessons have no room for."""
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import embgeo_nb as eg
from embgeo_nb.calibration import SIMULATIONS, Calibration, Simulation, calibrate, false_discoveries
from embgeo_nb.multiscale import _flip_until, cauchy_combination, multiscale_test, neighbor_jaccard, ranking_auc, recommend


def reruns(m=4, n=150, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 5))
    return {f"run {t}": points + noise * rng.normal(size=points.shape) for t in range(m)}


@pytest.mark.parametrize("kind", [kind for kind in SIMULATIONS if kind != "knn"])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_simulated_graphs_have_the_density_and_correlation_they_claim(kind, correlation):
    drawn = [Simulation(kind, n=80, correlation=correlation).draw(seed)[0] for seed in range(60)]
    A, B = (np.stack([graphs[side].toarray()[np.triu_indices(80, 1)] for graphs in drawn]) for side in "ab")
    assert abs(A.mean() - 0.15) < 0.02 and abs(B.mean() - 0.15) < 0.02
    if kind in ("block", "indefinite"):                                    # one law in all draws: correlation edge by edge
        p = (A.mean(0) + B.mean(0)) / 2
        covariance = ((A - p) * (B - p)).mean(0).sum() / (p * (1 - p)).sum()
        assert abs(covariance - correlation) < 0.05
    for graph in drawn[0].values():
        assert not graph.diagonal().any() and (graph != graph.T).nnz == 0


def test_indefinite_graphs_have_negative_eigenvalues():
    graph = Simulation("indefinite", n=300).draw(0)[0]["a"]
    values = np.linalg.eigvalsh(graph.toarray())
    order = np.argsort(-abs(values))
    assert (values[order[:3]] < 0).sum() >= 1 and abs(values[order[1]]) > 1.5 * abs(values[order[5]])


def test_among_leaves_the_law_of_every_edge_of_the_unmoved_alone():
    simulation = Simulation("block", n=60, moved=0.3, planted="among")
    counts = {"inside": np.zeros(2), "outside": np.zeros(2)}
    for seed in range(150):
        graphs, moved = simulation.draw(seed)
        difference = (graphs["a"] - graphs["b"]).toarray()
        touch = moved[:, None] & moved
        for name, mask in (("inside", touch), ("outside", ~touch)):
            counts[name] += [(difference[mask] != 0).mean(), difference[mask].mean()]
    assert counts["inside"][0] > 1.5 * counts["outside"][0]                # the moved differ more among themselves
    assert abs(counts["outside"][1] / 150) < 0.01                          # and elsewhere neither model has more edges


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_strength_zero_moves_nothing(kind):
    still, moved = Simulation(kind, n=60, moved=0.2, strength=0.0).draw(1)
    free, _ = Simulation(kind, n=60, moved=0.2, strength=0.7).draw(1)
    assert moved.sum() == 12 and set(still) == {"a", "b"}
    same = still["a"] != free["a"]
    assert (same.nnz if sp.issparse(same) else same.sum()) == 0            # model a is the same whatever is planted in b


def test_power_grows_with_the_planted_displacement():
    power = [calibrate(Simulation("rdpg", n=200, moved=0.1, strength=strength, density=0.2), n_components=4, n_resamples=199, n_pairs=6)
             .rates("paired", 0.05, moved=True).mean() for strength in (0.0, 0.5, 1.0)]
    assert power[0] < 0.15 and power[0] < power[1] < power[2] and power[2] > 0.2


@pytest.mark.parametrize("null", ["paired", "independent", "bootstrap"])
def test_nulls_hold_on_their_own_ground(null):
    n, n_resamples, n_pairs = (100, 59, 5) if null == "bootstrap" else (150, 199, 16)
    C = calibrate(Simulation("block", n=n), null, n_components=3, n_resamples=n_resamples, n_pairs=n_pairs)
    assert abs(C.rates(null, 0.05).mean() - 0.05) < 0.03
    assert C.verdict(null, 0.05) != "rejects too often"


def test_the_published_null_is_caught():
    C = calibrate(Simulation("block", n=120), ("paired", "single-copy"), n_components=3, n_resamples=59, n_pairs=3)
    assert C.verdict("single-copy", 0.05) == "rejects too often" and "single-copy" in C.sentence
    low, _ = C.interval("single-copy", 0.05)
    assert low > 0.1 > C.rates("paired", 0.05).mean()


def test_reruns_paired_rejects_and_replicates_holds():
    C = calibrate(reruns(6), ("paired", "replicates"), n_resamples=199, n_neighbors=12)
    assert len(C.comparisons["paired"]) == 15 and len(C.comparisons["replicates"]) == 10
    assert C.verdict("paired", 0.05) == "rejects too often" and "use `replicates`" in C.sentence
    assert C.verdict("replicates", 0.05) == "exchangeable as far as 6 runs can tell" and "exchangeable as far as 6 runs can tell" in C.sentence
    assert C.check.verdict in C._repr_html_() and C.claims["replicates"].verdict == C.check.verdict
    table = C.to_frame()
    assert list(table["null"].unique()) == ["paired", "replicates"] and table["low"].isna().sum() == 3
    assert (table["least"] <= table["rejected"]).all() and (table["rejected"] <= table["most"]).all()


@pytest.mark.parametrize("null", ["replicates", "rotation"])
@pytest.mark.parametrize("n_runs", [6, 8])
def test_runs_of_two_kinds_do_not_mean_what_they_say(null, n_runs):
    "Half of the runs are of another kind. The mean over splits is the level all the same, which is no evidence of anything."
    rng = np.random.default_rng(5)
    points = rng.normal(size=(300, 8))
    other = np.r_[rng.permutation(points[:45]), points[45:]]
    models = {f"run {t}": (other if t % 2 else points) + 0.3 * rng.normal(size=points.shape) for t in range(n_runs)}
    C = calibrate(models, null, n_neighbors=16, n_resamples=199)
    if null == "replicates":
        assert abs(C.rates(null, 0.05).mean() - 0.05) < 0.003
    assert C.verdict(null, 0.05) == "of two kinds" and f"these {n_runs} runs are of two kinds" in C.sentence and "mean what they say" not in C.sentence
    assert set(C.check.kinds[0]) in ({f"run {t}" for t in range(side, n_runs, 2)} for side in (0, 1))
    assert f"{C.check.share:.1%}" in C.sentence and f"{C.check.rates['halves'].max():.1%}" in C.sentence
    assert C.claims[null].verdict == "of two kinds" and f"{C.check.bound:.1%}" in C.claims[null].threshold
    table = C.to_frame()
    assert (table["verdict"] == "of two kinds").all() and (table["sd"] > 0).all()
    worst = max(zip(C.rates(null, 0.05), C.comparisons[null]))[1]
    assert set(worst[0]) in map(set, C.check.kinds)


def test_an_odd_rerun_is_named():
    models = {**reruns(6, 200), "odd": np.random.default_rng(9).permutation(reruns(1, 200)["run 0"])}
    C = calibrate(models, "replicates", n_neighbors=12, n_resamples=99)
    assert C.verdict("replicates", 0.05) == "one run is of another kind" and "odd is of another kind" in C.sentence
    assert calibrate(reruns(4), "paired", n_neighbors=12, n_resamples=99).check is None


def test_rates_of_the_check_are_those_of_the_splits():
    C = calibrate(reruns(6), "replicates", n_resamples=999, n_neighbors=12)
    by_split = {frozenset(map(frozenset, pair)): rate for pair, rate in zip(C.comparisons["replicates"], C.rates("replicates", 0.05))}
    for pair, rate in zip(C.check.divisions["halves"], C.check.rates["halves"]):
        assert by_split[frozenset(map(frozenset, pair))] == rate


def test_splits_of_reruns_are_all_and_each_once():
    five = calibrate(reruns(5), "replicates", n_resamples=99, n_neighbors=10).comparisons["replicates"]
    assert len(five) == 10 and all(len(a) == 2 and len(b) == 3 and not set(a) & set(b) for a, b in five)
    four = calibrate(reruns(4), "replicates", n_resamples=99, n_neighbors=10).comparisons["replicates"]
    assert len({frozenset(map(frozenset, pair)) for pair in four}) == 3
    assert len(calibrate(reruns(5), "paired", n_resamples=99, n_neighbors=10, n_pairs=4).comparisons["paired"]) == 4


def test_pairs_are_those_of_datum_test_in_a_frame_of_their_own():
    models = reruns(3)
    C = calibrate(models, n_resamples=199, n_neighbors=10, seed=7)
    for (a, b), p in zip(C.comparisons["paired"], C.pvalue["paired"]):
        R = eg.datum_test({a: models[a], b: models[b]}, a, b, n_neighbors=10, n_resamples=199, seed=7)
        assert np.array_equal(R.pvalue, p)


def test_two_reruns_give_a_rate_without_an_interval():
    C = calibrate(reruns(2), n_resamples=199, n_neighbors=10)
    assert np.isnan(C.interval("paired", 0.05)).all() and C.verdict("paired", 0.05) == "rejects too often"
    assert "with two reruns or more of each model" in C.sentence and "–" in C._repr_html_()


def test_identical_reruns_reject_nothing():
    Y = reruns(1)["run 0"]
    C = calibrate({"a": Y, "b": Y, "c": Y}, n_resamples=99, n_neighbors=10)
    assert (C.pvalue["paired"] == 1).all() and C.verdict("paired", 0.05) == "conservative" and "gives away power" in C.sentence


def test_interval_is_over_pairs_not_over_pvalues():
    "Pairs that differ from each other more than their data do: the interval must be as wide as the pairs are apart."
    pvalue = np.repeat([[0.01], [0.9], [0.01], [0.9]], 500, axis=1)
    C = Calibration({"paired": pvalue}, {"paired": ("1", "2", "3", "4")}, np.zeros(pvalue.shape, bool), {"paired": np.ones(pvalue.shape)}, Simulation(), (0.05,), 0.2, {})
    low, high = C.interval("paired", 0.05)
    assert low == 0 and high == 1 and C.rates("paired", 0.05).tolist() == [1, 0, 1, 0]


def test_kernels_and_graphs_are_accepted():
    models = reruns(3)
    kernels = {name: eg.data_kernel(Y, 10) for name, Y in models.items()}
    by_kernel, by_graph = calibrate(kernels, n_resamples=99), calibrate({name: K.graph for name, K in kernels.items()}, n_resamples=99)
    by_array = calibrate(models, n_neighbors=10, n_resamples=99)
    for other in (by_kernel, by_graph):
        assert np.array_equal(other.pvalue["paired"], by_array.pvalue["paired"])
    assert by_array.settings["n_neighbors"] == 10 and "n_neighbors" not in by_graph.settings


def test_false_discoveries_counts_by_hand():
    pvalues = np.array([[0.001, 0.001, 0.001, 0.9, 0.8, 0.7], [0.9] * 6])
    moved = np.array([[True, True, False, False, False, False]] * 2)
    found = false_discoveries(pvalues, moved)
    assert np.isclose(found["fdr_bh"]["fdr"], (1 / 3 + 0) / 2) and found["fdr_bh"]["power"] == 0.5 and np.isclose(found["fdr_bh"]["bound"], 0.05 * 4 / 6)


def test_fdr_holds_under_shared_edges():
    C = calibrate(Simulation("block", 300, 0.5, moved=0.2, planted="among"), n_components=16, n_resamples=999, n_pairs=8)
    for row in false_discoveries(C.pvalue["paired"], C.moved).values():
        assert row["fdr"] < 0.1 and row["power"] > 0.2


# Several scales

def nested(n=60, seed=0):
    rng, scales = np.random.default_rng(seed), {k: {} for k in (1, 2, 3)}
    i, j = np.triu_indices(n, 1)
    for model in "ab":
        number = rng.random(len(i))
        for k in scales:
            edge = np.flatnonzero(number < 0.06 * k)
            scales[k][model] = sp.csr_array((np.ones(2 * len(edge), np.float32), (np.r_[i[edge], j[edge]], np.r_[j[edge], i[edge]])), shape=(n, n))
    return scales


def test_joint_flips_against_all_patterns():
    "p-values from flips agree with those of all sign patterns, for data with few differing edges."
    rng = np.random.default_rng(0)
    V = rng.normal(size=(5, 9, 3))
    K = torch.as_tensor(V @ V.transpose(0, 2, 1), dtype=torch.float32)
    K.diagonal(dim1=1, dim2=2).zero_()
    observed = torch.as_tensor(rng.choice([-1.0, 1.0], (5, 9)), dtype=torch.float32)
    patterns = torch.as_tensor(1 - 2 * ((np.arange(512)[:, None] >> np.arange(9)) & 1), dtype=torch.float32)
    values = ((patterns @ K) * patterns).sum(-1)
    reached = ((observed[:, None] @ K)[:, 0] * observed).sum(1, keepdim=True)
    exact = (values >= reached - 1e-4).double().mean(1).numpy()
    found = _flip_until(observed, K, np.arange(5), 9999, 0)
    assert np.abs(found - exact).max() < 0.06 and np.corrcoef(found, exact)[0, 1] > 0.98


def test_joint_test_does_not_depend_on_the_order_or_names_of_the_models():
    scales = nested()
    there, back = (multiscale_test(scales, *pair, n_components=8, n_resamples=199) for pair in (("a", "b"), ("b", "a")))
    assert np.allclose(there.pvalue, back.pvalue) and np.allclose(there.effect, back.effect)


@pytest.mark.parametrize("method", ["joint", "cauchy"])
def test_multiscale_finds_exchanged_rows(method):
    rng = np.random.default_rng(1)
    Y = rng.normal(size=(200, 6))
    Z = Y + 0.02 * rng.normal(size=Y.shape)
    Z[:10] = Z[rng.permutation(10) + 100]
    R = multiscale_test(eg.Embeddings({"a": Y, "b": Z}, labels=["x"] * 10 + ["y"] * 190), "a", "b", n_neighbors=(8, 16), method=method, n_resamples=999)
    assert R.rejected(correction=None)[:10].all() and ranking_auc(R.effect, np.arange(200) < 10) > 0.95
    table = R.to_frame()
    assert {"pvalue_k8", "pvalue_k16", "label"} <= set(table) and table["effect"].is_monotonic_decreasing and "16" in R._repr_html_()


def test_scales_are_the_kernels_of_their_k():
    Y = reruns(2)
    R = multiscale_test(Y, "run 0", "run 1", n_neighbors=(10, 5), n_resamples=19)
    assert R.n_neighbors == (5, 10)
    for k, test in R.tests.items():
        assert (test.graphs["run 0"] != eg.data_kernel(Y["run 0"], k).graph).nnz == 0 and test.n_neighbors == k


def test_cauchy_combination_of_one_scale_is_that_scale():
    p = np.array([[0.001, 0.2, 0.5, 1.0]])
    assert np.allclose(cauchy_combination(p), [0.001, 0.2, 0.5, 0.99])
    assert (cauchy_combination(np.array([[1e-4], [1.0]])) < 0.001).all()       # a 1 does not outvote a small one


def test_ranking_auc_and_jaccard():
    with pytest.raises(ValueError, match="changed"):
        ranking_auc(np.arange(3.0), np.zeros(3, bool))
    assert ranking_auc(np.zeros(4), np.array([True, False, False, True])) == 0.5
    empty = sp.csr_array((3, 3))
    assert (neighbor_jaccard(empty, empty) == 0).all()


def test_recommend_prefers_what_finds_the_planted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 6))
    models = {name: X + 0.1 * rng.normal(size=X.shape) for name in "ab"}
    found = recommend(models, "a", "b", n_neighbors=(4, 16, 32), n_components=(2, 16, 32, 500), n_repeats=2)
    table = found.to_frame()
    assert found.ds == (2, 16, 32) and table.shape == (3, 3) and 2 <= found.reach <= 15
    assert table.loc[found.n_neighbors, found.n_components] >= table.to_numpy().max() - 0.05 and (found.n_neighbors, found.n_components) != (4, 2)
    again = recommend(models, "a", "b", n_neighbors=(4, 16, 32), n_components=(2, 16, 32), n_repeats=2)
    assert np.array_equal(found.auc, again.auc) and "Recommended" in found._repr_html_()


def test_exchanged_data_keep_the_kernel_up_to_names():
    from embgeo_nb.multiscale import _exchanged
    Y = reruns(1, n=120)["run 0"]
    K = eg.data_kernel(Y, 20)
    _, other, changed = _exchanged(K, K, 0.2, 5, seed=0)
    assert 20 <= changed.sum() <= 24
    moved = np.flatnonzero(changed)
    for i in moved:                                                        # whose row is it now? of one of its own neighbours
        twin = [j for j in moved if j != i and np.array_equal(np.sort(K.neighbors[j]), np.sort(undo(other.neighbors[i], K, other, moved)))]
        assert len(twin) == 1 and twin[0] in set(K.neighbors[i][4:10]) | {j for j in moved if i in K.neighbors[j][4:10]}


def undo(names, K, other, moved):
    "Neighbours by their old names: the exchange is found from the rows of the data that stayed."
    still = [i for i in range(K.n) if i not in set(moved)]
    to = {}
    for i in still:
        to |= dict(zip(other.neighbors[i].tolist(), K.neighbors[i].tolist()))
    return np.array([to.get(name, name) for name in names.tolist()])


@pytest.mark.parametrize("options, name", [({"n_neighbors": (1000,)}, "n_neighbors"), ({"moved": 0.0}, "moved"), ({"n_components": (5.5,)}, "n_components")])
def test_recommend_refuses(options, name):
    with pytest.raises((ValueError, TypeError), match=name):
        recommend(reruns(2), "run 0", "run 1", **options)
