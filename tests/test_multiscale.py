"""Several k at once: in the frame of the pair, whoever else is there, and in any order of the rows."""
import numpy as np
import pytest

import embgeo_nb as eg
from embgeo_nb.multiscale import multiscale_test, recommend
from reference import views

OPTIONS = dict(n_neighbors=(8, 16), n_components=6, n_resamples=999)


@pytest.mark.parametrize("method", ["joint", "cauchy"])
@pytest.mark.parametrize("ids", [np.array([f"doc-{i}" for i in range(200)]), np.arange(200) * 7 - 300], ids=["texts", "integers"])
def test_the_order_of_the_rows_is_nothing_to_a_pvalue(method, ids):
    Y, order = views(), np.random.default_rng(0).permutation(200)
    first, permuted = (multiscale_test(eg.Embeddings({name: Y[name][rows] for name in Y}, ids[rows]), "a", "b", method=method, **OPTIONS) for rows in (np.arange(200), order))
    for name in ("pvalue", "qvalue", "effect"):
        assert np.array_equal(getattr(first, name)[order], getattr(permuted, name)), name
    assert len(np.unique(first.pvalue)) > 50


def test_coins_are_those_of_the_id():
    Y = views()
    plain, numbered, named = (multiscale_test(eg.Embeddings(Y, ids), "a", "b", **OPTIONS).pvalue for ids in (None, np.arange(200), [f"doc-{i}" for i in range(200)]))
    assert (plain == numbered).all() and not (plain == named).all() and np.abs(plain - named).max() < 0.2


@pytest.mark.parametrize("method", ["joint", "cauchy"])
def test_the_frame_is_made_of_the_pair(method):
    Y = views("abcd")
    wanted = multiscale_test({name: Y[name] for name in "ab"}, "a", "b", method=method, **OPTIONS)
    scales = {k: {name: eg.data_kernel(Y[name], k) for name in "dcba"} for k in (8, 16)}
    for emb in (Y, eg.Embeddings(Y), scales, {**Y, "broken": np.full((3, 2), np.nan)}):
        found = multiscale_test(emb, "a", "b", method=method, **OPTIONS)
        assert (found.pvalue == wanted.pvalue).all() and (found.effect == wanted.effect).all()
        assert all(R.graphs.models == ("a", "b") for R in found.tests.values())
    joined = multiscale_test(Y, "a", "b", method=method, **OPTIONS, frame_models=["c"])
    assert not (joined.pvalue == wanted.pvalue).all() and all(R.frame_models == ("c",) for R in joined.tests.values())


def test_a_recommendation_looks_at_the_pair_alone():
    Y, options = views("abcd"), dict(n_neighbors=(4, 16), n_components=(2, 16), n_repeats=1)
    wanted = recommend({name: Y[name] for name in "ab"}, "a", "b", **options)
    found = recommend({**Y, "broken": np.full((3, 2), np.nan)}, "a", "b", **options)
    assert (found.auc == wanted.auc).all() and (found.n_neighbors, found.n_components) == (wanted.n_neighbors, wanted.n_components)


def test_graphs_of_one_scale_are_not_several():
    for emb in ({name: eg.data_kernel(Y, 20) for name, Y in views().items()}, eg.omnibus(views(), 5, n_neighbors=20)):
        with pytest.raises((TypeError, ValueError)):
            multiscale_test(emb, "a", "b", **OPTIONS)


def test_from_a_to_b():
    R = multiscale_test(views(), "a", "b", **OPTIONS)
    for k, test in R.tests.items():
        assert (test.difference != test.graphs["b"] - test.graphs["a"]).nnz == 0 and test.models == ("a", "b")
