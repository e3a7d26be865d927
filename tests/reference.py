"""The definitions, computed the long way: dense, exact where that is possible, and slow."""
from copy import copy
from dataclasses import FrozenInstanceError, fields
from functools import cache
from inspect import signature
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import embgeo_nb as eg

each_device = pytest.mark.parametrize("device", [
    "cpu", pytest.param("cuda", id="pretend", marks=pytest.mark.pretend), pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"))])


# Data -----------------------------------------------------------------------------------------------------------------

def views(models="ab", n=200, p=6, noise=0.5, seed=0):
    "Noisy copies of one latent space, one per letter of `models`."
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, p))
    return {name: latent + noise * rng.normal(size=(n, p)) for name in models}


def random_graph(n, density, seed=0, weights=None):
    "A symmetric hollow csr_array; `weights` (rng, size) -> weights, ones by default."
    rng = np.random.default_rng(seed)
    rows, columns = np.triu_indices(n, 1)
    chosen = rng.random(len(rows)) < density
    values = np.ones(chosen.sum(), np.float32) if weights is None else weights(rng, chosen.sum())
    upper = sp.coo_array((values, (rows[chosen], columns[chosen])), shape=(n, n))
    return sp.csr_array(upper + upper.T)


# Kernel ---------------------------------------------------------------------------------------------------------------

def similarity(Y, metric):
    "All similarities: sums in extended precision, rounded once. Exact for integers."
    Y = np.asarray(Y, dtype=np.longdouble)
    if metric == "euclidean":
        return -((Y[:, None] - Y) ** 2).sum(-1).astype(float)
    inner = (Y[:, None] * Y).sum(-1).astype(float)
    return inner / np.sqrt(np.outer(inner.diagonal(), inner.diagonal())) if metric == "cosine" else inner


def nearest(Y, k, metric):
    "The k most similar others, most similar first, equals by index."
    S = similarity(Y, metric)
    np.fill_diagonal(S, -np.inf)
    return np.argsort(-S, axis=1, kind="stable")[:, :k]


def assert_nearest(neighbors, Y, metric):
    "The neighbours are as similar as any, to rounding, and equal rows come by index."
    n, k = neighbors.shape
    S = similarity(Y, metric)
    np.fill_diagonal(S, -np.inf)
    chosen, best = np.take_along_axis(S, neighbors, 1), -np.sort(-S, axis=1)[:, :k]
    assert all(len(set(row)) == k for row in neighbors) and (neighbors != np.arange(n)[:, None]).all()
    assert np.abs(chosen - best).max() <= 8 * np.finfo(float).eps * np.abs(best).max()
    kind = np.unique(Y, axis=0, return_inverse=True)[1].ravel()
    for i, row in enumerate(neighbors):
        for same in set(kind[row]):
            members = row[kind[row] == same]
            assert members.tolist() == [j for j in np.flatnonzero(kind == same) if j != i][:len(members)]


# Spectra --------------------------------------------------------------------------------------------------------------

def eigenpairs(M, k):
    "The k eigenpairs of a dense symmetric matrix that are largest in absolute value."
    values, vectors = np.linalg.eigh(M)
    order = np.argsort(-np.abs(values), kind="stable")[:k]
    return values[order], vectors[:, order]


def omnibus_matrix(graphs):
    "The matrix of blocks (A_s + A_t) / 2, dense."
    A = [graph.toarray().astype(float) for graph in graphs]
    return np.block([[(a + b) / 2 for b in A] for a in A])


def positions_of(values, vectors, m):
    "U |Lambda|^(1/2) as (m, n, d)."
    return (vectors * np.sqrt(np.abs(values))).reshape(m, -1, len(values))


def up_to_signs(Z, like):
    "Z (..., d), with the signs of its columns that bring it closest to `like`."
    return Z * np.where((Z * like).sum(tuple(range(Z.ndim - 1))) < 0, -1, 1)


# Tests ----------------------------------------------------------------------------------------------------------------

def enumerated_pvalue(change, loadings, slack=1e-9):
    "Share of all sign patterns of the differing edges whose statistic reaches the observed one."
    vectors = np.abs(change)[:, None] * loadings / 2
    T = [((np.array(signs) @ vectors) ** 2).sum() for signs in product((1, -1), repeat=len(change))]
    observed = ((np.sign(change) @ vectors) ** 2).sum()
    return np.mean(np.array(T) >= observed - slack * (vectors ** 2).sum())


PAIR = dict(n_components=6, n_neighbors=10)


@cache
def result(names="ab", null="paired", **options):
    return eg.datum_test(views(names), "a", "b", null, **PAIR, **options)


def agree(one, other):
    return np.array_equal(one.pvalue, other.pvalue)


def sizes(n, d, correlation, repeats, level=0.05, **options):
    "Share of data rejected in each of `repeats` pairs of graphs drawn from one P."
    Z = np.random.default_rng(0).uniform(0.1, 0.9, size=(n, 4)) / 2
    rejected = []
    for seed in range(repeats):
        A, B = eg.sample_rdpg(Z, n_graphs=2, correlation=correlation, seed=seed)
        rejected.append(eg.datum_test({"a": A, "b": B}, "a", "b", n_components=d, seed=seed, **options).pvalue <= level)
    return np.mean(rejected, axis=1)


# Results --------------------------------------------------------------------------------------------------------------

def assert_a_result(R, *shown):
    "It cannot be changed, is equal to itself alone, and its repr shows these of its fields and no other."
    assert [f.name for f in fields(R) if f.repr] == list(shown) and all(f"{name}=" in repr(R) for name in shown)
    assert R == R and R != copy(R)
    with pytest.raises(FrozenInstanceError):
        setattr(R, fields(R)[0].name, None)


def defaults(call):
    "The options of a function or class that may be left out, and what they are then."
    return {name: option.default for name, option in signature(call).parameters.items() if option.default is not option.empty}
