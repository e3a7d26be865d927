"""Groups of features, piece by piece and then whole: against numpy alone, dense and slow."""
import numpy as np
import pytest
import scipy.sparse as sp

from embgeo_nb.contrasts import moderated_ratio, relabellings
from embgeo_nb.features import (bulk_units, feature_test, global_products, group_graph, group_views, group_width, haar_columns,
                                local_products, log_ratios, n_rotations_for, relabelled_pvalues)
from embgeo_nb.linear import UnitRows
from embgeo_nb.multiplicity import benjamini_hochberg
from reference import assert_a_result, defaults, eigenpairs, nearest


def unit(X):
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


def pair(n=40, p=(9, 12), seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 5))
    return {name: (latent @ rng.normal(size=(5, width)) + rng.normal(size=(n, width))).astype(np.float32) for name, width in zip("ab", p)}


def gram(positions):
    "(n, g, d) -> (n, g, g), about the mean over g."
    centred = positions - positions.mean(1, keepdims=True)
    return np.einsum("nsd,ntd->nst", centred, centred)


def union_graph(X, k):
    A = np.zeros((len(X), len(X)))
    A[np.arange(len(X))[:, None], nearest(X, k, "cosine")] = 1
    return np.maximum(A, A.T)


def local_by_hand(graphs, d):
    values, U = eigenpairs(sum(graphs) / len(graphs), d)
    return gram(np.stack([A @ (U / np.sqrt(np.abs(values)) * np.sign(values)) / 2 for A in graphs], 1))


def global_by_hand(groups, d=16, used=None):
    "Kernels between all data and those that make the frame, of norm 1 among the latter; d at most half the columns."
    d = min(d, sum(X.shape[1] for X in groups) // 2)
    used = np.ones(len(groups[0]), bool) if used is None else used
    kernels = [X @ X[used].T / np.linalg.norm(X[used] @ X[used].T) for X in groups]
    values, U = np.linalg.eigh(sum(kernels)[used] / len(groups))
    values, U = values[::-1][:d], U[:, ::-1][:, :d]
    U, values = U[:, values > 1e-9 * values[0]], values[values > 1e-9 * values[0]]
    return gram(np.stack([K @ U / np.sqrt(values) / 2 for K in kernels], 1))


def views_by_hand(Y, n_groups, width, rng):
    Q = haar_columns(Y.shape[1], n_groups * width, rng)
    turned = (Y - Y.mean(0)) @ Q
    return [unit(turned[:, g * width:(g + 1) * width]) for g in range(n_groups)]


def test_width_of_groups():
    assert group_width([12, 9], 4) == 2 and group_width([8], 4) == 2 and group_width([100, 64, 70], 3) == 21
    with pytest.raises(ValueError, match="n_groups: 4 groups of at least 2 features need 8 of them; the models have 12 and 7"):
        group_width([12, 7], 4)


def test_haar_columns():
    "The factor of a normal matrix whose triangle has a positive diagonal: only that one is uniform over rotations."
    Q, M = haar_columns(9, 6, np.random.default_rng(2)), np.random.default_rng(2).normal(size=(9, 6))
    assert Q.dtype == np.float32 and Q.shape == (9, 6) and np.allclose(Q.T @ Q, np.eye(6), atol=1e-6)
    upper = Q.T @ M
    assert np.allclose(np.tril(upper, -1), 0, atol=1e-5) and (np.diag(upper) > 0).all()
    assert abs(np.mean([haar_columns(3, 2, np.random.default_rng(seed)) for seed in range(400)], 0)).max() < 5 * np.sqrt(1 / 3 / 400)


def test_views_of_groups():
    Y = pair()["b"] + 3
    found = group_views(Y, 3, 4, np.random.default_rng(5))
    wanted = views_by_hand(Y, 3, 4, np.random.default_rng(5))
    assert len(found) == 3 and all(np.allclose(view.block(slice(0, 40)), own, atol=1e-5) for view, own in zip(found, wanted))
    assert all(view.Y.dtype == np.float32 and view.ready for view in found)


@pytest.mark.parametrize("k", [1, 5])
def test_graph_of_a_group(k):
    X = unit(np.random.default_rng(0).normal(size=(41, 4))).astype(np.float32)
    wanted = union_graph(X, k)
    for rows in (7, 41, 512):
        graph = group_graph(UnitRows(X, ready=True), k, rows=rows)
        assert (graph.toarray() == wanted).all() and graph.dtype == np.float32 and graph.nnz == wanted.sum()


def test_local_products():
    views = views_by_hand(pair()["b"], 4, 3, np.random.default_rng(0))
    graphs = [union_graph(X, 6) for X in views]
    found = local_products([sp.csr_array(A.astype(np.float32)) for A in graphs], 4)
    assert found.shape == (40, 4, 4) and np.allclose(found, local_by_hand(graphs, 4), atol=1e-3 * found.max())
    standard = local_products([sp.csr_array(A.astype(np.float32)) for A in graphs])
    assert np.allclose(standard, local_by_hand(graphs, 5), atol=1e-3 * found.max())             # d: n/8


def test_global_products():
    views = views_by_hand(pair(n=40, p=(9, 40))["b"], 4, 10, np.random.default_rng(0))
    held, used = [UnitRows(X.astype(np.float32), ready=True) for X in views], np.arange(40) % 3 > 0
    for found, wanted in ((global_products(held), global_by_hand(views)), (global_products(held, 3), global_by_hand(views, 3)),
                          (global_products(held, 3, used), global_by_hand(views, 3, used))):
        assert found.shape == (40, 4, 4) and np.allclose(found, wanted, atol=1e-4 * wanted.max())
    assert np.allclose(global_products(held[:1] + held[:1]), 0, atol=1e-12)


def test_narrow_models_have_their_say():
    "In a frame of all columns F is a constant, and what is standardised then is rounding."
    views = [UnitRows(X.astype(np.float32), ready=True) for X in views_by_hand(pair(p=(9, 12))["a"], 4, 2, np.random.default_rng(0))]
    assert np.allclose(global_products(views), global_by_hand([view.Y for view in views], 4), atol=1e-5)
    assert np.ptp(log_ratios(global_products(views), relabellings(2, 2, 3, 0)), axis=0).min() > 1
    latent = np.random.default_rng(0).normal(size=(200, 8))
    other = np.where(np.arange(200)[:, None] < 10, np.roll(latent, 1, axis=0), latent)
    R = feature_test({"a": latent, "b": other @ np.linalg.qr(latent[:8])[0]}, "a", "b", n_rotations=1)
    assert (R.overall[:10] > np.median(R.overall)).mean() >= 0.8 and (R.statistic[:10] > np.median(R.statistic)).all()


def test_log_ratios():
    G, contrasts = gram(np.random.default_rng(0).normal(size=(30, 4, 3))), relabellings(2, 2, 9, 0)
    found = log_ratios(G, contrasts)
    assert found.dtype == np.float32 and np.allclose(found, np.log(moderated_ratio(G, contrasts)), atol=1e-5)
    assert np.allclose(log_ratios(0 * G, contrasts), np.log(1e-12)) and (log_ratios(1e-9 * G, contrasts) > -20).all()


def test_units_of_the_bulk():
    "Of 0..10000 the median is 5000, and 15.8655254 % of them lie below 1586.55254."
    values = np.random.default_rng(0).permutation(10_001).astype(float)
    assert np.allclose(bulk_units(values), (values - 5000) / (5000 - 1586.5525393145707), rtol=1e-12)
    few = np.r_[np.zeros(9), 1.0, -1.0]
    assert np.allclose(bulk_units(few, 0.05), 20 * few) and np.allclose(bulk_units(few), 1e12 * few)
    assert np.allclose(bulk_units(values, 0.05), bulk_units(values)) and np.allclose(bulk_units(values, 1e4), (values - 5000) / 1e4)
    assert np.allclose(bulk_units(values / 1e4), bulk_units(values))


def test_relabelled_pvalues():
    table = np.random.default_rng(0).normal(size=(50, 7)) - 1
    table[3], table[4, 1:3], table[5, 1] = 2.0, table[4, 0], table[5, 0] * (1 + 1e-9)            # equal, but for rounding
    assert (table[:, 0] < 0).any() and (table[:, 0] > 0).any()
    least = [own - 2e-6 * abs(own) for own in table[:, 0]]
    assert np.allclose(relabelled_pvalues(table, False), [(row >= own).mean() for row, own in zip(table, least)])
    assert np.allclose(relabelled_pvalues(table, True), [(table >= own).mean() for own in least])
    near = np.array([[1.0, 1 - 1e-7, 1 - 1e-5, 5.0]])
    assert relabelled_pvalues(near, False) == relabelled_pvalues(near, True) == 0.75


def test_rotations_by_default():
    assert [n_rotations_for(n) for n in (1, 4999, 5000, 5001, 10 ** 6)] == [3, 3, 3, 1, 1]
    assert defaults(feature_test) == dict(
        n_groups=4, n_neighbors=32, n_components=None, n_rotations=None, seed=0, device=None)


@pytest.mark.parametrize("n_groups, seed", [(2, 0), (3, 4)])
def test_the_whole_by_hand(n_groups, seed):
    emb, k, d, width, rotations = pair(), 6, 3, 9 // n_groups, 2
    R = feature_test(emb, "a", "b", n_groups, k, d, rotations, seed)
    contrasts, near, far = relabellings(n_groups, n_groups, 1000, seed), [], []
    for child in np.random.SeedSequence(seed).spawn(rotations):
        rng = np.random.default_rng(child)
        groups = [X for Y in emb.values() for X in views_by_hand(Y, n_groups, width, rng)]
        near.append(np.log(moderated_ratio(local_by_hand([union_graph(X, k) for X in groups], d), contrasts)))
        far.append(np.log(moderated_ratio(global_by_hand(groups), contrasts)))
    standardised = sum((table - np.median(table)) / (np.median(table) - np.quantile(table, 0.15865525393145707)) for table in (near[0], far[0]))
    assert np.allclose(R.statistic, standardised[:, 0], atol=2e-3)
    assert np.allclose(R.local, np.mean(near, 0)[:, 0], atol=2e-3) and np.allclose(R.overall, np.mean(far, 0)[:, 0], atol=2e-3)
    assert np.abs(R.pvalue - [(standardised >= own - 1e-9).mean() for own in standardised[:, 0]]).max() < 0.02
    assert np.array_equal(R.qvalue, benjamini_hochberg(R.pvalue))
    assert (R.models, R.n_groups, R.width, R.n_rotations, R.n_relabellings, R.n_neighbors, R.seed) == (
        ("a", "b"), n_groups, width, 2, len(contrasts), k, seed)
    assert_a_result(R, "models", "n_groups", "width", "n_rotations", "n_relabellings", "n_neighbors", "seed")


def test_the_pvalue_is_that_of_the_first_rotation():
    emb = pair()
    one, three = (feature_test(emb, "a", "b", 2, 6, 3, rotations, 1) for rotations in (1, 3))
    assert np.array_equal(one.statistic, three.statistic) and np.array_equal(one.pvalue, three.pvalue)
    assert not np.allclose(one.local, three.local) and not np.allclose(one.overall, three.overall)
    assert feature_test(emb, "a", "b", 2, 6, 3).n_rotations == 3


def test_own_reference_from_a_thousand_relabellings_on():
    "7 + 7 groups have 1,716 of them, of which a thousand are drawn; 6 + 6 have 462, and all data are the reference."
    emb = pair(n=30, p=(14, 15))
    own, pooled = (feature_test(emb, "a", "b", n_groups, 5, 3, 1) for n_groups in (7, 6))
    assert own.n_relabellings == 1000 and np.allclose(own.pvalue * 1000, (own.pvalue * 1000).round()) and own.pvalue.min() >= 1 / 1000
    assert pooled.n_relabellings == 462 and not np.allclose(pooled.pvalue * 462, (pooled.pvalue * 462).round(), atol=1e-6)


def test_few_data_and_refusals():
    emb = pair(n=12)
    assert feature_test(emb, "a", "b", n_groups=2, n_components=2, n_rotations=1).n_neighbors == 11
    assert feature_test(emb, "a", "b", n_groups=2, n_neighbors=1, n_components=2, n_rotations=1).n_neighbors == 1
    for options, words in ((dict(b="a"), "must differ; got 'a' twice"), (dict(n_groups=1), "n_groups must be at least 2"), (dict(n_groups=5), "9 and 12"),
                           (dict(n_neighbors=0), "n_neighbors must be at least 1"), (dict(n_rotations=0), "n_rotations must be at least 1"),
                           (dict(b="c"), "no model 'c'"), (dict(seed=-1), "seed"), (dict(n_components=13), "n_components")):
        with pytest.raises(ValueError, match=words):
            feature_test(emb, **{"a": "a", "b": "b", **options})
