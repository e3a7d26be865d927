"""Groups of reruns: exact under relabelling, exact under rotation, and honest about how few they are."""
import importlib
import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import f as f_distribution, kstest, ttest_ind

import embgeo_nb as eg
from embgeo_nb.frame import frame
from embgeo_nb.omnibus import as_graphs
from reference import each_device, views

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
    assert np.allclose(R.displacement, X[:g_a].mean(0) - X[g_a:].mean(0))
    centred = ((X - X.mean(0)) ** 2).sum((0, 2)) - between[0]
    variance = core._moderated(centred / (g_a + g_b - 2), g_a + g_b - 2, core._moderation(core._inner_products(list(graphs.graphs.values()), coordinates.loadings)))
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
    between = core._between(G, np.repeat([[1.0, -1.0]], 3, axis=1) / 3)[:, 0]
    within = (np.trace(G, axis1=1, axis2=2) - between) / 4
    assert kstest(between / within, f_distribution(8, 32).cdf).pvalue > 1e-4
    nu, prior, common = core._moderation(G)
    assert abs(nu - 8) < 0.5 and prior > 200 and abs(common - 8) < 0.2


# Invariance -------------------------------------------------------------------------------------------------------------

def test_moderation_is_blind_to_groups():
    "It uses what no rotation of the contrasts changes, so a relabelling cannot change it either."
    G = normal_gram(300, 6, 5)
    order = np.random.default_rng(0).permutation(6)
    assert np.allclose(core._moderation(G), core._moderation(G[:, order][:, :, order]))


@pytest.mark.parametrize("method", ["single", "pooled", "rotation"])
@each_device
def test_names_and_order_do_not_matter(method, device):
    emb = runs(6, moved=20)
    R = test(emb, method=method, device=device)
    a, b = halves(emb)
    for again in (eg.replicate_test(emb, b, a, **OPTIONS, method=method), eg.replicate_test(emb, a[::-1], b, **OPTIONS, method=method)):
        assert np.allclose(again.statistic, R.statistic, rtol=1e-3) and np.abs(again.pvalue - R.pvalue).max() < 0.05
    assert np.array_equal(test(emb, method=method, device=device).pvalue, R.pvalue)


def test_more_models_in_the_frame():
    emb = runs(6) | {"other": views("a", n=150)["a"]}
    R = eg.replicate_test(emb, ["r0", "r1", "r2"], ["r3", "r4", "r5"], **OPTIONS)
    assert R.frame.n_components == 6 and not np.allclose(R.statistic, test(runs(6)).statistic)


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
