"""The nulls that fit a model: what they say they are, on their own ground and off it."""
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.stats import chi2

import embgeo_nb as eg
from embgeo_nb.fitted_nulls import _sparse_weights, weighted_chi2_sf
from reference import PAIR as OPTIONS, agree, result, sizes, views


def test_size_of_the_independent_test():
    found = sizes(300, 4, 0, 20, null="independent")
    assert found.mean() == pytest.approx(0.05, abs=0.015)
    assert sizes(300, 4, 0.5, 5, null="independent").mean() < 0.01           # as documented: useless under correlation


@pytest.mark.filterwarnings("ignore:null='single-copy'")
def test_the_published_null_rejects_far_too_often():
    assert sizes(300, 3, 0, 2, null="single-copy", n_resamples=99).mean() > 0.15


def test_independent_pvalues_have_the_stated_covariance():
    R = result(null="independent")
    P = (R.frame.center * np.sign(R.frame.eigenvalues)) @ R.frame.center.T
    clipped = np.clip(P, 0, 1)
    np.fill_diagonal(clipped, 0)
    weights = [np.linalg.eigvalsh((R.frame.loadings.T * (p * (1 - p)) / 2) @ R.frame.loadings) for p in clipped]
    assert np.abs(R.pvalue - weighted_chi2_sf(R.statistic, np.maximum(weights, 0))).max() < 1e-9
    assert R.outside == pytest.approx(((P < 0) | (P > 1)).mean(), abs=1e-4) and R.null_distribution is None and R.n_resamples is None


def test_memory_of_the_independent_null():
    emb = views(n=1000, noise=0.2)
    tracemalloc.start()
    try:
        eg.datum_test(emb, "a", "b", "independent", n_components=100, n_neighbors=10)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("null", ["bootstrap", "single-copy"])
@pytest.mark.filterwarnings("ignore:null='single-copy'")
def test_resampled_pvalues(null):
    R = result(null=null, n_resamples=39)
    assert R.null_distribution.shape == (200, 39) and R.n_resamples == 39 and 0 <= R.outside <= 1
    wanted = (1 + (R.null_distribution >= R.statistic[:, None]).sum(1)) / 40
    assert np.abs(R.pvalue - wanted).max() < 1e-12 and R.pvalue.min() >= 1 / 40
    assert agree(eg.datum_test(views(), "a", "b", null, **OPTIONS, n_resamples=39), R) and not agree(result(null=null, n_resamples=39, seed=1), R)


def test_the_published_null_warns():
    with pytest.warns(UserWarning, match="not valid"):
        eg.datum_test(views(), "a", "b", "single-copy", **OPTIONS, n_resamples=19)


def test_sparse_closed_form():
    full, sparse = (result(null="independent", method=method) for method in ("full", "sparse"))
    assert full.method == "full" and sparse.method == "sparse" and 0 <= full.outside <= 1 and sparse.outside is None
    weights = _sparse_weights(full.frame, full.graphs.mean)
    i, mean = 7, full.graphs.mean.toarray()
    fitted = np.clip((full.frame.center[i] * np.sign(full.frame.eigenvalues)) @ full.frame.center.T, 0, 1)
    cov = (full.frame.loadings.T * (mean[i] * (1 - fitted) / 2)) @ full.frame.loadings
    assert np.allclose(weights[i], np.linalg.eigvalsh(cov)) and np.corrcoef(full.pvalue, sparse.pvalue)[0, 1] > 0.95


@pytest.mark.parametrize("d, tolerance", [(1, 0.1), (2, 0.05), (3, 0.03), (10, 0.006), (50, 0.001), (200, 0.001)])
def test_equal_weights_are_chi_square(d, tolerance):
    q = d * np.geomspace(0.02, 30, 400)
    q = q[(np.abs(q / d - 1) > 0.05) & (chi2.sf(q, d) > 1e-8)]
    found = weighted_chi2_sf(2.5 * q, np.full((len(q), d), 2.5))
    assert np.abs(found / chi2.sf(q, d) - 1).max() < tolerance


@pytest.mark.parametrize("weights", [[1, 1e-9], [1, 0.5, 0.25, 0.125], np.linspace(0.01, 1, 200), np.geomspace(1e-6, 1, 60), [5, 5, 5, 0, 0]])
def test_unequal_weights_by_simulation(weights):
    weights = np.array(weights, dtype=float)
    rng = np.random.default_rng(0)
    draws = np.concatenate([rng.chisquare(1, size=(20_000, len(weights))) @ weights for _ in range(10)])
    q = np.quantile(draws, [0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
    found = weighted_chi2_sf(q, np.tile(weights, (6, 1)))
    assert np.abs(found - [0.99, 0.9, 0.5, 0.1, 0.01, 0.001]).max() < 0.015 and found[-1] == pytest.approx(0.001, rel=0.4)


@pytest.mark.parametrize("d", [1, 2, 10, 200])
@pytest.mark.parametrize("unit", [1e-200, 1, 1e200])
def test_any_scale_and_order_of_weights(d, unit):
    weights = np.random.default_rng(d).random((50, d))
    q = np.random.default_rng(1).chisquare(d, 50) / 2
    wanted = weighted_chi2_sf(q, weights)
    assert np.allclose(weighted_chi2_sf(q * unit, weights * unit), wanted, rtol=1e-9)
    assert np.allclose(weighted_chi2_sf(q, weights[:, ::-1]), wanted, rtol=1e-9)
    assert np.allclose(weighted_chi2_sf(q, np.c_[weights, np.zeros(50)]), wanted, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 10, 200])
def test_tail_falls_through_the_mean(d):
    q = d * np.linspace(0.9, 1.1, 4001)
    assert np.diff(weighted_chi2_sf(q, np.ones((4001, d)))).max() <= 1e-6


@pytest.mark.parametrize("weights", [[1], [1, 1], [1, 0.1, 0.01], [1] * 100])
def test_tail_is_a_probability_and_falls(weights):
    q = np.r_[0, np.geomspace(1e-10, 1e10, 3000)]
    q = q[np.abs(q / np.sum(weights) - 1) > 0.02]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = weighted_chi2_sf(q, np.tile(np.array(weights, float), (len(q), 1)))
    assert p[0] == 1 and p[-1] == 0 and (np.diff(p) <= 1e-7).all() and p.min() >= 0 and p.max() <= 1


@pytest.mark.parametrize("q", [1e-300, 1e-200])
@pytest.mark.filterwarnings("error")
def test_tail_of_the_smallest_values(q):
    assert weighted_chi2_sf(np.array([q]), np.ones((1, 5)))[0] == pytest.approx(1)


def test_tail_without_weights():
    assert weighted_chi2_sf(np.array([0.0, 1.0, -1.0]), np.zeros((3, 2))).tolist() == [1, 0, 1]
