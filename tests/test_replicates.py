"""Groups of reruns: exact under relabelling, exact under rotation, and honest about how few they are."""
import importlib
import re
import warnings
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import null_space
from scipy.stats import f as f_distribution, ks_2samp, kstest, ortho_group, ttest_ind

import embgeo_nb as eg
from embgeo_nb.contrasts import between_groups, graph_products, moderated_ratio, moderation, pooled_pvalues, relabellings
from embgeo_nb.frame import frame
from embgeo_nb.omnibus import as_graphs
from reference import assert_a_result, defaults, each_device, views

core = importlib.import_module("embgeo_nb.replicates")
OPTIONS = dict(n_neighbors=10, n_components=6)
pytestmark = pytest.mark.filterwarnings("ignore:With .* relabellings")


def runs(n_runs, n=150, noise=0.4, moved=0, seed=0):
    "Noisy views of one set of points; the last half of the runs has the first `moved` points elsewhere."
    points = np.random.default_rng(100).normal(size=(n, 5))
    other = np.r_[np.random.default_rng(101).permutation(points[:moved]), points[moved:]]
    rng = np.random.default_rng(seed)
    return {f"r{t}": (points if t < n_runs // 2 else other) + noise * rng.normal(size=points.shape) for t in range(n_runs)}


def halves(emb):
    names = list(emb)
    return names[:len(names) // 2], names[len(names) // 2:]


def test(emb, **options):
    return eg.replicate_test(emb, *halves(emb), **{**OPTIONS, **options})


test.__test__ = False


def normal_gram(n, g, d, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, g, d)) * np.random.default_rng(seed + 1).uniform(0.2, 2, (n, 1, d))
    X -= X.mean(1, keepdims=True)
    return X @ X.transpose(0, 2, 1)


# Against the definitions ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("g_a, g_b", [(2, 2), (2, 3), (3, 3), (4, 2)])
def test_pvalues_by_brute_force(g_a, g_b):
    emb = runs(g_a + g_b, moved=20)
    names = list(emb)
    R = eg.replicate_test(emb, names[:g_a], names[g_a:], **OPTIONS, method="single")
    graphs = as_graphs(emb, 10)
    coordinates = frame(graphs.mean, 6)
    X = np.stack([graphs[name] @ coordinates.loadings / 2 for name in names])                     # (g, n, d)
    between = []
    for members in combinations(range(g_a + g_b), g_a):
        rest = [t for t in range(g_a + g_b) if t not in members]
        between.append(((X[list(members)].mean(0) - X[rest].mean(0)) ** 2).sum(1) / (1 / g_a + 1 / g_b))
    between = np.array(between)
    assert np.allclose(R.pvalue, (between >= between[0] * (1 - 1e-9)).mean(0))
    assert np.allclose(R.displacement, X[g_a:].mean(0) - X[:g_a].mean(0))                            # from a to b
    centred = ((X - X.mean(0)) ** 2).sum((0, 2)) - between[0]
    nu, prior, common = moderation(graph_products(list(graphs.graphs.values()), coordinates.loadings))
    df = (g_a + g_b - 2) * nu
    variance = np.full(150, common) if np.isinf(prior) else (prior * common + df * centred / (g_a + g_b - 2)) / (prior + df)
    assert np.allclose(R.statistic, between[0] / variance)
    pooled = eg.replicate_test(emb, names[:g_a], names[g_a:], **OPTIONS, method="pooled")
    F = pooled.null_distribution
    assert F.shape == (150, core.n_relabellings(g_a, g_b)) and np.allclose(F[:, 0], pooled.statistic)
    assert np.allclose(pooled.pvalue, [(F >= own * (1 - 1e-9)).mean() for own in pooled.statistic])


def test_in_one_dimension_the_rotation_test_is_the_t_test():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 7)) + np.r_[np.zeros(4), np.full(3, 1.0)]
    centred = x - x.mean(1, keepdims=True)
    contrast = np.r_[np.full(4, 1 / 4), np.full(3, -1 / 3)]
    found = core._rotation_pvalues(centred[:, :, None] * centred[:, None], contrast, 100_000, seed=0)
    wanted = ttest_ind(x[:, :4], x[:, 4:], axis=1).pvalue
    assert np.abs(found - wanted).max() < 5 * 0.5 / np.sqrt(100_000)


@pytest.mark.parametrize("g_a, g_b, d", [(2, 2, 1), (2, 2, 30), (2, 3, 5), (4, 4, 30)])
def test_rotation_is_exact_for_normal_positions(g_a, g_b, d):
    "Any covariance, a different one for every datum."
    contrast = np.r_[np.full(g_a, 1 / g_a), np.full(g_b, -1 / g_b)]
    p = core._rotation_pvalues(normal_gram(4000, g_a + g_b, d), contrast, 999, seed=5)
    assert kstest(p, "uniform").pvalue > 1e-4 and abs((p <= 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000) + 0.002


def test_equal_covariances_give_an_f_distribution():
    "Without moderation, and with nu effective dimensions, between / within is F(nu, nu (g - 2))."
    X = np.random.default_rng(0).normal(size=(5000, 6, 8))
    X -= X.mean(1, keepdims=True)
    G = X @ X.transpose(0, 2, 1)
    between = between_groups(G, np.repeat([[1.0, -1.0]], 3, axis=1) / 3)[:, 0]
    within = (np.trace(G, axis1=1, axis2=2) - between) / 4
    assert kstest(between / within, f_distribution(8, 32).cdf).pvalue > 1e-4
    nu, prior, common = moderation(G)
    assert abs(nu - 8) < 0.5 and prior > 200 and abs(common - 8) < 0.2


# Invariance -------------------------------------------------------------------------------------------------------------

def test_moderation_is_blind_to_groups():
    "It uses what no rotation of the contrasts changes, so a relabelling cannot change it either."
    G = normal_gram(300, 6, 5)
    order = np.random.default_rng(0).permutation(6)
    assert np.allclose(moderation(G), moderation(G[:, order][:, :, order]))


@pytest.mark.parametrize("method", ["single", "pooled", "rotation"])
@each_device
def test_names_and_order_do_not_matter(method, device):
    emb = runs(6, moved=20)
    R = test(emb, method=method, device=device)
    a, b = halves(emb)
    for again in (eg.replicate_test(emb, b, a, **OPTIONS, method=method), eg.replicate_test(emb, a[::-1], b, **OPTIONS, method=method)):
        assert np.allclose(again.statistic, R.statistic, rtol=1e-3) and np.abs(again.pvalue - R.pvalue).max() < 0.05
    assert np.array_equal(test(emb, method=method, device=device).pvalue, R.pvalue)


@pytest.mark.parametrize("kind", ["arrays", "embeddings", "kernels", "graphs", "omnibus"])
def test_the_frame_is_made_of_the_groups(kind):
    "Whatever else there is, unless it is asked for; and nothing is computed of it."
    def make(emb):
        if kind in ("kernels", "graphs"):
            kernels = {name: eg.data_kernel(Y, 10) for name, Y in emb.items()}
            return kernels if kind == "kernels" else {name: kernel.graph for name, kernel in kernels.items()}
        return {"arrays": lambda: emb, "embeddings": lambda: eg.Embeddings(emb), "omnibus": lambda: eg.omnibus(emb, n_components=6, n_neighbors=10)}[kind]()

    alone, other = runs(6), {"other": views("a", n=150)["a"]}
    R = eg.replicate_test(make(other | alone), *halves(alone), **OPTIONS)
    wanted = test(alone)
    assert np.array_equal(R.pvalue, wanted.pvalue) and np.allclose(R.statistic, wanted.statistic) and np.allclose(R.displacement, wanted.displacement)
    more = eg.replicate_test(make(other | alone), *halves(alone), **OPTIONS, frame_models=["other", "r0"])
    joint = as_graphs(alone | other, 10)
    assert np.allclose(np.abs(more.frame.eigenvalues), np.abs(frame(joint.mean, 6).eigenvalues)) and not np.allclose(more.statistic, R.statistic)
    with pytest.raises(ValueError, match="'nobody'"):
        eg.replicate_test(make(alone), *halves(alone), **OPTIONS, frame_models=["nobody"])
    with pytest.raises(TypeError, match="frame_models"):
        eg.replicate_test(make(alone), *halves(alone), **OPTIONS, frame_models="r0")


def test_no_kernel_of_a_model_that_is_not_asked_for(monkeypatch):
    below = importlib.import_module("embgeo_nb.omnibus")
    seen, kernel = [], below.data_kernel
    monkeypatch.setattr(below, "data_kernel", lambda Y, *rest, **options: seen.append(Y.shape[1]) or kernel(Y, *rest, **options))
    eg.replicate_test(runs(6) | {"wide": np.random.default_rng(0).normal(size=(150, 99))}, *halves(runs(6)), **OPTIONS)
    assert seen == [5] * 6


def test_from_a_to_b():
    "Displacement is b minus a; gained is what only b has: against the graphs themselves."
    emb = runs(8, moved=20)
    R, graphs = test(emb), as_graphs(emb, 10)
    a, b = (sum(graphs[name].toarray() for name in group) / 4 for group in halves(emb))
    assert np.allclose(R.displacement, (b - a) @ R.frame.loadings / 2) and np.allclose(R.difference.toarray(), b - a)
    for i in (0, 5, 80):
        table = R.explain(i).to_frame()
        assert set(table.neighbor[table.change == "gained"]) == set(np.flatnonzero((b - a)[i] > 1e-9))
        assert set(table.neighbor[table.change == "lost"]) == set(np.flatnonzero((a - b)[i] > 1e-9))


# Level and power --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n_runs, method", [(4, "rotation"), (4, "pooled"), (8, "rotation"), (8, "pooled"), (8, "single")])
def test_level(n_runs, method):
    "Coherent noise: a datum moves with all its edges, which the paired test would reject a third of the time."
    found = np.array([(test(runs(n_runs, seed=seed), method=method, n_resamples=499).pvalue <= 0.05).mean() for seed in range(12)])
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert found.mean() < 0.05 + 4 * error + 0.005 and (method == "single" or found.mean() > 0.05 - 4 * error - 0.01)


@pytest.mark.parametrize("n_runs, method, least", [(4, "rotation", 0.6), (6, "rotation", 0.8), (8, "pooled", 0.8), (8, "single", 0.8)])
def test_power(n_runs, method, least):
    R = test(runs(n_runs, noise=0.2, moved=20), method=method)
    assert (R.pvalue[:20] <= 0.05).mean() > least and (R.to_frame().datum[:20] < 20).mean() > 0.7


# The result -------------------------------------------------------------------------------------------------------------

def test_result():
    emb = runs(8, moved=20)
    R = test(eg.Embeddings(emb, labels=np.arange(150) % 3, data=[f"text {i}" for i in range(150)]))
    assert R.null == "replicates" and R.method == "pooled" and R.groups == tuple(map(tuple, halves(emb))) and R.n_resamples == 35
    assert R.smallest_pvalue == 1 / (150 * 35) == pytest.approx(R.pvalue.min(), rel=20) and R.labels is not None and R.settings["n_neighbors"] == 10
    why = R.explain(3)
    assert np.abs(why.contributions.sum(0) - R.displacement[3]).max() < 1e-12 and np.abs(R.displacement - R.difference @ R.frame.loadings / 2).max() < 1e-12
    assert set(np.round(np.abs(why.change) * 4, 9)) <= {1, 2, 3, 4}                                # shares of four runs
    table = R.neighbors(3)
    assert table.share.sum() == pytest.approx(1) and f"similarity in {R.models[0]}" in table and R.local_effect.shape == (150,)
    for call in (R.detectable, R.global_test):
        with pytest.raises(ValueError, match="paired"):
            call()
    assert "replicates" in R._repr_html_() and len(R.plot()) == 2


def test_smallest_pvalues_are_reached_and_not_passed():
    emb = runs(8, noise=0.05, moved=20)
    for method, least in (("single", 1 / 35), ("rotation", 1 / 100)):
        R = test(emb, method=method, n_resamples=99)
        assert R.smallest_pvalue == pytest.approx(least) and R.pvalue.min() >= least * (1 - 1e-12)
    assert test(emb, method="single").pvalue.min() == pytest.approx(1 / 35)


def test_one_against_the_rest():
    emb = runs(8, noise=0.2, moved=20)
    names = list(emb)
    R = eg.replicate_test(emb, names[-1:], names[:4], **OPTIONS)                   # four of the old kind, one of the new
    assert R.n_resamples == 5 and (R.pvalue[:20] <= 0.05).mean() > 0.7 > 0.15 > (R.pvalue[20:] <= 0.05).mean() and R.models[0] == names[-1]
    same = eg.replicate_test(emb, names[:1], names[1:4], **OPTIONS, method="rotation", n_resamples=999)
    assert (same.pvalue <= 0.05).mean() < 0.12


def test_many_runs_are_relabelled_at_random():
    emb = runs(14, n=60)
    R = test(emb, n_resamples=199)
    assert R.method == "single" and R.n_resamples == 199 and R.pvalue.min() >= 1 / 199
    assert np.array_equal(test(emb, n_resamples=199).pvalue, R.pvalue) and not np.array_equal(test(emb, n_resamples=199, seed=1).pvalue, R.pvalue)


def test_equal_runs_have_not_moved():
    one = runs(2)["r0"]
    for method in ("single", "pooled", "rotation"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            R = test({name: one for name in ("a", "b", "c", "d")}, method=method)
        assert (R.pvalue == 1).all() and (R.effect == 0).all() and (R.statistic == 0).all()


@pytest.mark.parametrize("g_a, g_b", [(2, 2), (2, 3), (3, 3), (3, 4)])
@pytest.mark.parametrize("method", ["single", "pooled", "rotation"])
def test_rounding_is_no_difference(g_a, g_b, method):
    "Means of three or seven equal numbers are not quite that number. And nothing is there to be warned of."
    kernel = eg.data_kernel(runs(2)["r0"], 10)
    weighted, double = kernel.graph * np.float32(0.1), kernel.graph.astype(float) * 0.3
    for graph in (kernel.graph, weighted, double):
        names = [f"m{t}" for t in range(g_a + g_b)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            R = eg.replicate_test({name: graph for name in names}, names[:g_a], names[g_a:], n_components=6, method=method, n_resamples=99)
        assert (R.pvalue == 1).all() and (R.statistic == 0).all() and (R.effect == 0).all() and (R.n_differing == 0).all()
        assert not graph_products([graph] * (g_a + g_b), R.frame.loadings).any()


def test_stable_rows_do_not_drag_the_moderation():
    "Data that are the same in all runs: not a word about how much variances scatter, and no weight in the reference."
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6, 5)) * np.sqrt(2 * 6 / rng.chisquare(6, 600) / 5)[:, None, None]
    X -= X.mean(1, keepdims=True)
    G, contrasts = X @ X.transpose(0, 2, 1), relabellings(3, 3, 100, 0)
    padded = np.concatenate([G, np.zeros((2400, 6, 6))])
    assert np.allclose(moderation(padded), moderation(G))
    F, found = (moderated_ratio(gram, contrasts) for gram in (G, padded))
    assert np.allclose(found[:600], F) and not found[600:].any()
    assert np.allclose(pooled_pvalues(found)[:600], pooled_pvalues(F)) and (pooled_pvalues(found)[600:] == 1).all()
    assert abs((pooled_pvalues(found)[:600] <= 0.05).mean() - 0.05) < 1e-3


def test_half_of_the_data_frozen():
    "The level holds among the data that vary; with the frozen ones in the reference it would be twice as high."
    still, zero = np.random.default_rng(1).normal(size=(100, 5)), np.zeros((100, 5))
    frozen = {name: np.block([[Y, zero], [zero, still]]) for name, Y in runs(8, n=100).items()}          # no edges between the two
    rates = []
    for a in list(combinations(list(frozen), 4))[:35:4]:
        R = eg.replicate_test(frozen, list(a), [name for name in frozen if name not in a], n_neighbors=8, n_components=20)
        rates.append((R.pvalue[R.statistic > 0] <= 0.05).mean())
        assert (R.statistic == 0).sum() == 100 and (R.pvalue[R.statistic == 0] == 1).all()
    assert 0.03 < np.mean(rates) < 0.075


def test_few_relabellings_warn():
    with pytest.warns(UserWarning, match="With 2 \\+ 2 runs there are 3 relabellings"):
        warnings.simplefilter("always")
        test(runs(4))


@pytest.mark.parametrize("a, b, error, message", [
    (["r0"], ["r1", "r2"], ValueError, "at least four runs together"), (["r0", "r1"], ["r2", "r2"], ValueError, "group_b"), ([], ["r0", "r1", "r2", "r3"], ValueError, "group_a"),
    (["r0", "r1"], ["r1", "r2"], ValueError, "r1 in both"), ("r0", ["r1", "r2"], TypeError, "group_a must be a list"),
    (["r0", "r1"], ["r2", "x"], ValueError, "no model 'x'"), (["r0", 1], ["r2", "r3"], TypeError, "group_a"),
])
def test_bad_groups(a, b, error, message):
    with pytest.raises(error, match=message):
        eg.replicate_test(runs(4), a, b, **OPTIONS)


@pytest.mark.parametrize("option, error", [(dict(method="exact"), ValueError), (dict(n_resamples=3), ValueError), (dict(seed=None), TypeError), (dict(n_components=0), ValueError)])
def test_bad_options(option, error):
    with pytest.raises(error, match=next(iter(option))):
        test(runs(4), **option)


# Of one kind? -----------------------------------------------------------------------------------------------------------

def kinds(pattern, n=300, moved=45, noise=0.3, seed=0):
    "Noisy views, of which those marked 1 have the first `moved` points elsewhere."
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 8))
    other = np.r_[rng.permutation(points[:moved]), points[moved:]]
    return {f"run {t}": (other if mark == "1" else points) + noise * rng.normal(size=points.shape) for t, mark in enumerate(pattern)}


@pytest.mark.parametrize("pattern", ["010101", "000111", "01010101", "00001111", "0010111", "110000", "00000011"])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_kinds_are_told_apart(pattern, seed):
    check = eg.rerun_check(kinds(pattern, seed=seed), n_neighbors=16)
    assert check.verdict == "of two kinds" and "of two kinds" in check.sentence and check.share > check.bound > check.expected
    marked = {f"run {t}" for t, mark in enumerate(pattern) if mark == "1"}
    assert marked in map(set, check.kinds)
    if pattern.count("1") * 2 in (len(pattern), len(pattern) + 1):
        assert check.rates["halves"].max() > check.by_chance["halves"][1] and f"{check.rates['halves'].max():.1%}" in check.sentence
        assert abs(check.rates["halves"].mean() - 0.05) < 0.003                 # which is why the mean over splits can tell nothing


@pytest.mark.parametrize("g", [5, 6, 8])
def test_an_odd_run_is_named(g):
    check = eg.rerun_check(kinds("0" * (g - 2) + "10", seed=3), n_neighbors=16)
    assert check.verdict == "one run is of another kind" and check.kinds[0] == (f"run {g - 2}",) and f"run {g - 2} is of another kind" in check.sentence
    alone = check.rates["one against the rest"]
    assert alone.argmax() == g - 2 and alone.max() > check.by_chance["one against the rest"][1]
    assert check.divisions["one against the rest"][g - 2][0] == (f"run {g - 2}",)
    assert check.to_frame().loc["one against the rest", "which"] == f"run {g - 2}" and f"run {g - 2}" in check._repr_html_()


@pytest.mark.parametrize("g", [4, 6, 8])
def test_real_reruns_pass(g):
    checks = [eg.rerun_check(kinds("0" * g, n=200, noise=noise, seed=seed), n_neighbors=16) for seed in range(15) for noise in (0.1, 0.5)]
    assert np.mean([check.one_kind for check in checks]) > 0.85
    good = next(check for check in checks if check.one_kind)
    assert good.verdict == f"exchangeable as far as {g} runs can tell" and good.verdict in good.sentence
    # and what chance is said to give is what it gives
    for name in ("halves", "one against the rest"):
        worst, high, scatter = np.mean([check.by_chance[name] for check in checks], 0)
        assert abs(np.mean([check.rates[name].max() for check in checks]) - worst) < 0.01 and worst < high
        assert abs(np.mean([check.rates[name].std() for check in checks]) - scatter) < 0.005


def test_shares_sum_to_one_and_know_the_contrast():
    G = graph_products(list(as_graphs(kinds("0101010"), 16).graphs.values()), frame(as_graphs(kinds("0101010"), 16).mean, 6).loadings)
    M = core._shares(G)
    assert np.trace(M) == pytest.approx(1) and np.allclose(M.sum(0), 0)
    part, share, spread = core._division(M)
    c = np.where(part, -1 / part.sum(), 1 / (~part).sum())
    assert share == pytest.approx(c @ M @ c / (c @ c)) and spread > 0
    assert core._division(M * 3)[1:] == pytest.approx((3 * share, 3 * spread))


def test_the_noise_of_shares_has_no_preferred_direction():
    "Rotating the runs changes nothing about the reference: 5 % of normal sets exceed its 95 % quantile."
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        X = rng.normal(size=(200, 6, 4))
        X -= X.mean(1, keepdims=True)
        _, share, spread = core._division(core._shares(X @ X.transpose(0, 2, 1)))
        found.append((share - 0.2) / spread)
    for level in (0.05, 0.2):
        assert abs((np.array(found) > np.quantile(core._shares_by_chance(6), 1 - level)).mean() - level) < 4 * np.sqrt(level * (1 - level) / 300)


def test_check_of_equal_runs_and_refusals():
    one = runs(2)["r0"]
    check = eg.rerun_check({name: one for name in "abcde"}, n_neighbors=10)
    assert check.pvalue == 1 and check.one_kind and not check.rates["halves"].any()
    for wrong, word in ((dict(emb=runs(2)), "at least four runs"), (dict(emb=runs(4), alpha=2), "alpha"), (dict(emb=runs(4), level=0), "level")):
        with pytest.raises(ValueError, match=word):
            eg.rerun_check(**wrong, n_neighbors=10)
    escaped = eg.rerun_check({f"<b>{t}": Y for t, Y in enumerate(runs(4).values())}, n_neighbors=10)
    assert "<b>0" not in escaped._repr_html_() and "&lt;b&gt;" in escaped._repr_html_()


# Piece by piece ---------------------------------------------------------------------------------------------------------

def some_shares(g, seed=0):
    return core._shares(normal_gram(60, g, 4, seed))


def test_shares_leave_out_what_never_varies():
    G = normal_gram(20, 5, 3)
    G[7] = 0
    wanted = np.mean([gram / np.trace(gram) for at, gram in enumerate(G) if at != 7], axis=0)
    assert np.allclose(core._shares(G), wanted) and not core._shares(0 * G).any() and core._shares(0 * G).shape == (5, 5)


@pytest.mark.parametrize("g", [4, 5, 7])
def test_the_division_by_hand(g):
    "The best cut of the runs in the order of the leading direction; what scatters are the eigenvalues behind the first."
    for seed in range(5):
        M = some_shares(g, seed)
        values, vectors = np.linalg.eigh(M)
        order, cuts = np.argsort(vectors[:, -1]), []
        for size in range(1, g):
            one, other = M[np.ix_(order[:size], order[:size])], M[np.ix_(order[size:], order[size:])]
            across = M[np.ix_(order[:size], order[size:])]
            between = one.mean() + other.mean() - 2 * across.mean()                   # squared distance of the two means
            cuts.append((between / (1 / size + 1 / (g - size)), set(order[:size])))
        best, members = max(cuts, key=lambda cut: cut[0])
        part, share, spread = core._division(M)
        rest = values[1:-1]                                                           # values[0] is 0: the mean
        assert share == pytest.approx(best) and set(np.flatnonzero(part)) in (members, set(range(g)) - members)
        assert spread == pytest.approx(np.sqrt(((rest - rest.mean()) ** 2).sum()))


@pytest.mark.parametrize("g", [4, 6])
def test_shares_by_chance_are_those_of_symmetric_noise(g):
    rng, found = np.random.default_rng(1), []
    centre = np.eye(g) - 1 / g
    for _ in range(2000):
        noise = rng.normal(size=(g, g))
        noise = centre @ (noise + noise.T) @ centre
        noise -= centre * np.trace(noise) / (g - 1)
        _, share, spread = core._division(noise)
        found.append(share / spread)
    drawn = core._shares_by_chance(g)
    assert drawn.shape == (1999,) and (np.diff(drawn) >= 0).all() and ks_2samp(found, drawn).pvalue > 1e-3


def test_divisions_that_are_looked_at():
    for g, count in ((4, 3), (5, 10), (6, 10), (7, 35)):
        found = core._contrasts_of_runs(g)
        assert list(found) == ["halves", "one against the rest"] and len(found["halves"]) == count and found["one against the rest"].shape == (g, g)
        sides = {frozenset(np.flatnonzero(c < 0)) for c in found["halves"]}
        assert len(sides) == count and {len(side) for side in sides} == {g // 2} and np.allclose(found["halves"].sum(1), 0)
        for own, c in enumerate(found["one against the rest"]):
            assert np.allclose(c, np.where(np.arange(g) == own, -1, 1 / (g - 1)))
    assert len(core._contrasts_of_runs(13)["halves"]) == 500


def test_rates_and_their_scatter():
    G = normal_gram(400, 6, 3)
    contrasts = core._contrasts_of_runs(6)["halves"]
    p = pooled_pvalues(moderated_ratio(G, contrasts))
    assert np.allclose(core._rates(G, contrasts, 0.1), [(column <= 0.1).mean() for column in p.T])
    assert np.allclose(core._rates(G, contrasts, 0.1).mean(), 0.1, atol=1e-3)
    # four orthogonal contrasts at random, among those orthogonal to the leading one; as those of five runs
    lead, rng, variances = np.linalg.eigh(core._shares(G))[1][:, -1], np.random.default_rng(7), []
    of_five = np.linalg.svd(np.eye(5) - 1 / 5)[0][:, :4]
    for _ in range(200):
        basis = np.linalg.qr(np.c_[np.ones(6), lead, rng.normal(size=(6, 4))])[0][:, 2:]
        turned = (of_five @ basis.T) @ G @ (basis @ of_five.T)
        variances.append(core._rates(turned, of_five.T, 0.05).var(ddof=1))
    assert core._scatter_of_rates(G, 0.05) == pytest.approx(np.sqrt(np.mean(variances)), rel=0.2)


@pytest.mark.parametrize("g, name", [(5, "one against the rest"), (6, "halves")])
def test_rates_by_chance_by_simulation(g, name):
    "A rate at a unit contrast c is level + scatter (c'Nc - mean), with noise N whose mean over all contrasts is taken off."
    contrasts, rng, rates = core._contrasts_of_runs(g)[name], np.random.default_rng(3), []
    for _ in range(4000):
        N = rng.normal(size=(g, g))
        mean = np.mean([c @ N @ c for c in np.linalg.svd(np.eye(g) - 1 / g)[0][:, :g - 1].T])
        rates.append([0.07 + 0.02 * (c @ N @ c / (c @ c) - mean) for c in contrasts])
    rates = np.array(rates)
    worst, high, scatter = core._rates_by_chance(contrasts, 0.07, 0.02)
    assert worst == pytest.approx(rates.max(1).mean(), abs=1e-3) and scatter == pytest.approx(rates.std(1).mean(), abs=5e-4)
    assert high == pytest.approx(np.quantile(rates.max(1), 0.95), abs=3e-3)


@pytest.mark.parametrize("g", [5, 6])
def test_the_check_by_hand(g):
    emb, expected = kinds("001000"[:g], n=150, noise=0.3, moved=40), 1 / (g - 1)
    check = eg.rerun_check(emb, 6, 10, level=0.1, alpha=0.02)
    graphs = as_graphs(emb, 10)
    G = graph_products(list(graphs.graphs.values()), frame(graphs.mean, 6).loadings)
    part, share, spread = core._division(core._shares(G))
    chance = core._shares_by_chance(g)
    assert check.share == pytest.approx(share) and check.expected == expected and check.bound == pytest.approx(expected + np.quantile(chance, 0.98) * spread)
    assert check.pvalue == pytest.approx((1 + ((share - expected) / spread <= chance).sum()) / 2000) and check.runs == tuple(emb) and (check.level, check.alpha) == (0.1, 0.02)
    assert check.kinds == (("run 2",), tuple(f"run {t}" for t in range(g) if t != 2)) and check.settings == {**graphs.settings, "n_components": 6}
    for name, contrasts in core._contrasts_of_runs(g).items():
        assert np.allclose(check.rates[name], core._rates(G, contrasts, 0.1))
        assert check.by_chance[name] == core._rates_by_chance(contrasts, 0.1, core._scatter_of_rates(G, 0.1))
        for c, (one, other) in zip(contrasts, check.divisions[name]):
            assert set(one) == {f"run {t}" for t in np.flatnonzero(c < 0)} and set(one) | set(other) == set(emb) and len(one + other) == g
    assert_a_result(check, "runs", "kinds", "share", "expected", "bound", "pvalue", "alpha", "level")


def made_check(pvalue, kinds):
    rates = {"halves": np.array([0.031, 0.072, 0.051]), "one against the rest": np.array([0.05, 0.02, 0.04, 0.03])}
    divisions = {"halves": ((("a", "b"), ("c", "d")), (("a", "c"), ("b", "d")), (("a", "d"), ("b", "c"))), "one against the rest": tuple(((t,), ()) for t in "abcd")}
    return core.RerunCheck(tuple("abcd"), kinds, 0.456, 1 / 3, 0.5, pvalue, rates, divisions,
                           {"halves": (0.061, 0.08, 0.01), "one against the rest": (0.062, 0.09, 0.02)}, 0.01, 0.05, {})


@pytest.mark.parametrize("pvalue, kinds, one_kind, verdict, begins", [
    (0.011, (("a",), ("b", "c", "d")), True, "exchangeable as far as 4 runs can tell", "these 4 runs are exchangeable as far as 4 runs can tell: a against the rest holds 45.6%"),
    (0.01, (("a",), ("b", "c", "d")), False, "one run is of another kind", "a is of another kind than the other 3 runs: a against the rest holds 45.6%"),
    (0.004, (("a", "c"), ("b", "d")), False, "of two kinds", "these 4 runs are of two kinds: a + c against the rest holds 45.6%"),
    (0.5, (("a", "c"), ("b", "d")), True, "exchangeable as far as 4 runs can tell", "these 4 runs are exchangeable"),
])
def test_what_a_check_says(pvalue, kinds, one_kind, verdict, begins):
    check = made_check(pvalue, kinds)
    assert check.one_kind is one_kind and check.verdict == verdict and check.sentence.startswith(begins)
    assert check.sentence.endswith(f" of the variation among the runs, and 99% of exchangeable sets stay below 50.0% (p = {pvalue:.2g}); at 5% the worst split into halves "
                                   "rejects 7.2% (exchangeable runs: 6.1%), the worst run against the rest 5.0% (exchangeable runs: 6.2%)")
    table, page = check.to_frame(), check._repr_html_()
    assert list(table.index) == ["halves", "one against the rest"] and table.loc["halves"].tolist() == [3, 0.072, 0.061, 0.08, pytest.approx(np.std([0.031, 0.072, 0.051])), 0.01, "a + c"]
    assert table.loc["one against the rest", ["divisions", "worst", "which"]].tolist() == [4, 0.05, "a"]
    assert list(table) == ["divisions", "worst", "worst by chance", "95 % of chance below", "standard deviation", "by chance", "which"]
    assert f"{check.sentence[0].upper()}{check.sentence[1:]}." in page and "rejected at 5%" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert [cell for cell in cells if "%" in cell or cell.isdigit()] == ["3", "7.2%", "6.1%", "1.7%", "1.0%", "4", "5.0%", "6.2%", "1.1%", "2.0%"]


def test_names_and_numbers_of_a_result():
    emb = runs(6, n=60)
    for method, n_resamples, drawn, least in (("pooled", None, 10, 1 / 600), ("single", None, 10, 1 / 10), ("rotation", None, 9999, 1 / 10_000), ("rotation", 19, 19, 1 / 20),
                                              ("single", 19, 10, 1 / 10)):
        R = test(emb, method=method, n_resamples=n_resamples, seed=3)
        assert (R.n_resamples, R.smallest_pvalue, R.seed, R.null, R.method) == (drawn, pytest.approx(least), 3, "replicates", method)
        assert (R.null_distribution is None) == (method == "rotation") and R.outside is None and R.frame_models == () and R.n_components == 6
    assert R.models == ("r0 + r1 + r2", "r3 + r4 + r5") and test(runs(8, n=60)).models == ("r0 + 3 more", "r4 + 3 more")
    assert test(emb, n_resamples=None).method == "pooled" and test(runs(14, n=40)).n_resamples == 1000
    half_still = {name: np.block([[Y, np.zeros((60, 5))], [np.zeros((60, 5)), points]]) for points in [runs(1, n=60)["r0"]] for name, Y in emb.items()}
    varying = test(half_still, n_neighbors=8, n_components=20)
    assert (varying.statistic == 0).sum() == 60 and varying.smallest_pvalue == pytest.approx(1 / 600)


def test_relabellings_that_are_few():
    "Nineteen warn, twenty do not; and runs that are all the same have nothing to warn of."
    graphs = {name: eg.data_kernel(Y, 5).graph for name, Y in runs(20, n=40).items()}
    names = list(graphs)
    with pytest.warns(UserWarning, match="With 1 \\+ 18 runs there are 19 relabellings.*at most 19 alpha"):
        warnings.simplefilter("always")
        eg.replicate_test(graphs, names[:1], names[1:19], n_components=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert eg.replicate_test(graphs, names[:1], names[1:], n_components=4).n_resamples == 20


def test_what_is_no_set_of_runs(tmp_path):
    emb, graphs = runs(4, n=60), {name: eg.data_kernel(Y, 10).graph for name, Y in runs(4, n=60).items()}
    for wrong in ([1, 2], runs(4, n=60).values(), 7):
        with pytest.raises(TypeError, match=f"emb must be Embeddings.*got {type(wrong).__name__}"):
            eg.replicate_test(wrong, ["r0", "r1"], ["r2", "r3"])
    with pytest.raises(ValueError, match="There is no model 'x'; the models are r0, r1, r2, r3"):
        eg.replicate_test(emb, ["r0", "x"], ["r2", "y"])
    for given in (graphs, {name: eg.data_kernel(Y, 10) for name, Y in emb.items()}, as_graphs(emb, 10)):
        with pytest.raises(ValueError, match="emb holds graphs already"):
            eg.replicate_test(given, ["r0", "r1"], ["r2", "r3"], n_components=4, resume=tmp_path / "kept")
    with pytest.raises(ValueError, match="got 2 \\+ 1"):
        eg.replicate_test(emb, ["r0", "r1"], ["r2"])
    with pytest.raises(ValueError, match="got r0, r1 in both"):
        eg.replicate_test(emb, ["r1", "r0"], ["r0", "r1"])
    with pytest.raises(ValueError, match=r"group_b must name.*got \['r2', 'r2'\]"):
        eg.replicate_test(emb, ["r0", "r1"], ["r2", "r2"])
    with pytest.raises(TypeError, match="frame_models must be a list of model names"):
        eg.replicate_test(emb, ["r0", "r1"], ["r2", "r3"], frame_models=[1])


def test_graphs_that_are_kept_are_the_same(tmp_path):
    emb = runs(6, n=60)
    options = dict(n_neighbors=7, n_components=4, metric="euclidean", symmetrize="intersection")
    first, kept, again = (eg.replicate_test(emb, *halves(emb), **options, **more) for more in ({}, dict(resume=tmp_path), dict(resume=tmp_path)))
    for R in (kept, again):
        assert np.array_equal(R.pvalue, first.pvalue) and R.settings == first.settings == dict(n_neighbors=7, metric="euclidean", symmetrize="intersection")


def test_defaults():
    assert defaults(eg.replicate_test) == dict(n_components=None, n_neighbors=32, metric="cosine", symmetrize="union", n_resamples=None, seed=0, device=None, method=None,
                                              tol=1e-4, frame_models=(), resume=None)
    assert defaults(eg.rerun_check) == dict(n_components=None, n_neighbors=32, metric="cosine", symmetrize="union", level=0.05, alpha=0.01, device=None, tol=1e-4)


def test_a_datum_without_neighbours_is_nowhere_and_stays_there():
    graphs = {name: eg.data_kernel(Y, 10).graph.toarray() for name, Y in runs(6, n=60).items()}
    for A in graphs.values():
        A[7] = A[:, 7] = 0
    R = eg.replicate_test({name: sp.csr_array(A) for name, A in graphs.items()}, *halves(graphs), n_components=4)
    assert R.effect[7] == 0 and R.pvalue[7] == 1 and (np.delete(R.effect, 7) > 0).all()


@pytest.mark.parametrize("g", [6, 8])
def test_scatter_of_rates_in_another_basis(g):
    G = normal_gram(150, g, 8, g)
    others = np.linalg.eigh((G / np.trace(G, axis1=1, axis2=2)[:, None, None]).mean(0))[1][:, 1:-1]         # neither the mean nor what leads
    plane = null_space(np.ones((1, g - 1)))
    fewer = plane @ others.T @ G @ others @ plane.T
    rates = lambda turn: (pooled_pvalues(moderated_ratio(fewer, (plane @ turn).T)) <= 0.1).mean(0)
    wanted = np.sqrt(np.mean([np.sum((own - own.mean()) ** 2) / (len(own) - 1) for own in map(rates, ortho_group.rvs(g - 2, size=300, random_state=0))]))
    assert np.isclose(core._scatter_of_rates(G, 0.1, 300), wanted, rtol=0.06)                               # divided by g - 2, it would be 9 to 13 % less
