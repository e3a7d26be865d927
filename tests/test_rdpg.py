"""Graphs are drawn with the distribution asked for, and the eigensolver finds what dense solvers find."""
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import eigsh
from scipy.stats import norm

import embgeo_nb as eg
from embgeo_nb.rdpg import (as_graph, block_krylov, fix_signs, leading_eigenpairs, n_components_for, profile_likelihood, sample_copies, start_block,
                            to_torch)
from reference import each_device, eigenpairs, omnibus_matrix, random_graph, up_to_signs, views

# Large and sparse enough (n > 400, k <= n / 8) that the iterative solver is the one that runs.
N = 600


def knn(symmetrize="union", n=N):
    return eg.data_kernel(views("a", n)["a"], 12, symmetrize=symmetrize).graph


def bipartite():
    "Spectrum symmetric about zero: every |eigenvalue| twice."
    half = np.random.default_rng(0).random((N // 2, N // 2)) < 0.05
    return sp.csr_array(sp.bmat([[None, half.astype(float)], [half.T.astype(float), None]]))


def low_rank():
    "Complete in three groups of unequal size: six eigenvalues beyond -1, the rest -1 or few."
    sizes = np.repeat([0, 1, 2], [300, 200, 100])
    P = np.array([[.9, .1, .2], [.1, .7, .1], [.2, .1, .8]])[sizes][:, sizes]
    np.fill_diagonal(P, 0)
    return sp.csr_array(P)


def copies(graph, times):
    return sp.csr_array(sp.block_diag([graph] * times))


GRAPHS = {
    "sparse": lambda: random_graph(N, 0.03), "dense": lambda: random_graph(N, 0.5), "knn": knn, "mean": lambda: knn("mean"), "intersection": lambda: knn("intersection"),
    "bipartite": bipartite, "weighted": lambda: random_graph(N, 0.05, weights=lambda rng, size: rng.exponential(size=size)),
    "signed": lambda: random_graph(N, 0.05, weights=lambda rng, size: rng.normal(size=size)), "isolated": lambda: sp.csr_array(sp.block_diag([random_graph(N - 50, 0.05), sp.csr_array((50, 50))])),
    "twice": lambda: copies(random_graph(N // 2, 0.1), 2), "four times": lambda: copies(random_graph(N // 4, 0.2), 4), "low rank": low_rank,
    "tiny weights": lambda: random_graph(N, 0.05) * 1e-12, "huge weights": lambda: random_graph(N, 0.05).astype(float) * 1e12,
}
each_graph = pytest.mark.parametrize("name", GRAPHS)


def spectrum(graph):
    return eigenpairs(graph.toarray().astype(float), graph.shape[0])[0]


# Drawing --------------------------------------------------------------------------------------------------------------

def two_groups(n=400, inside=0.6, across=0.2):
    groups = np.arange(n) % 2
    return np.where(groups[:, None] == groups, inside, across)


def test_edges_have_their_probabilities():
    P = two_groups()
    A = eg.sample_rdpg(P, seed=3)
    assert isinstance(A, sp.csr_array) and A.dtype == np.float32 and A.has_sorted_indices
    assert (A != A.T).nnz == 0 and not A.diagonal().any() and set(A.data) == {1}
    upper = np.triu_indices(400, 1)
    for p in (0.6, 0.2):
        edges = A.toarray()[upper][P[upper] == p]
        assert abs(edges.mean() - p) < 4 * np.sqrt(p * (1 - p) / len(edges))


@pytest.mark.parametrize("correlation", [0, 0.3, 0.9, 1])
@pytest.mark.parametrize("n_graphs", [2, 3])
def test_correlation_and_margins(correlation, n_graphs):
    graphs = eg.sample_rdpg(np.full((300, 300), 0.3), n_graphs=n_graphs, correlation=correlation, seed=1)
    edges = np.array([A.toarray()[np.triu_indices(300, 1)] for A in graphs])
    assert edges.shape[0] == n_graphs and np.abs(edges.mean(1) - 0.3).max() < 0.01
    assert np.abs(np.corrcoef(edges)[np.triu_indices(n_graphs, 1)] - correlation).max() < 0.02


def test_correlation_asks_for_a_pair():
    assert len(eg.sample_rdpg(two_groups(20), correlation=0.5)) == 2


def test_signature():
    "P = Z I_{1,1} Z': many edges across the groups and few inside need a negative direction."
    Z = np.array([[0.6, 0.5], [0.6, -0.5]])[np.arange(400) % 2]
    A = eg.sample_rdpg(Z, signature=(1, 1), seed=2).toarray()
    inside, across = A[::2, ::2].mean(), A[::2, 1::2].mean()
    assert inside == pytest.approx(0.11, abs=0.01) and across == pytest.approx(0.61, abs=0.01)
    assert eg.spectral_embedding(sp.csr_array(A), 2).signature == (1, 1)


def test_positions_and_probabilities_are_the_same_graphs():
    Z = np.random.default_rng(0).uniform(0.2, 0.5, size=(700, 3))         # more than one tile
    assert (eg.sample_rdpg(Z, seed=5) != eg.sample_rdpg(Z @ Z.T, seed=5)).nnz == 0


def test_seeds():
    P = two_groups(100)
    same = lambda a, b: (a != b).nnz == 0
    assert same(eg.sample_rdpg(P, seed=1), eg.sample_rdpg(P, seed=1)) and not same(eg.sample_rdpg(P, seed=1), eg.sample_rdpg(P, seed=2))
    assert same(eg.sample_rdpg(P, seed=1), eg.sample_rdpg(P, seed=np.random.default_rng(1)))
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    eg.sample_rdpg(P)
    assert (np.random.get_state()[1] == state).all() and (torch.get_rng_state() == torch_state).all()


def test_sure_edges_and_none():
    assert eg.sample_rdpg(np.ones((5, 5))).nnz == 20 and eg.sample_rdpg(np.zeros((5, 5))).nnz == 0 and eg.sample_rdpg([[0.5]]).shape == (1, 1)


def test_two_copies_are_two_independent_draws():
    "Frequencies of one edge, the other and both, over 4,000 draws, against P, P and P^2; P has values on and beyond both bounds."
    rng, draws = np.random.default_rng(0), 4000
    Z = np.c_[rng.uniform(0.3, 1.1, (30, 2)), rng.uniform(-0.6, 0.6, 30)]
    P = np.clip((Z * [1, 1, -1]) @ Z.T, 0, 1)[np.triu_indices(30, 1)]
    assert (P == 1).any() and (P < 0.3).any()
    counts = np.zeros((3, len(P)))
    for _ in range(draws):
        mean, difference = (graph.toarray()[np.triu_indices(30, 1)] for graph in sample_copies(Z, (2, 1), seed=rng))
        A, B = mean + difference / 2, mean - difference / 2
        assert set(np.unique(np.r_[A, B])) <= {0, 1}
        counts += A, B, A * B
    for count, p in zip(counts, (P, P, P ** 2)):
        sure = P == 1
        assert (count[sure] == draws).all()
        z = (count - draws * p)[~sure] / np.sqrt(draws * p * (1 - p))[~sure]
        assert np.abs(z).max() < 4.5 and abs((z ** 2).mean() - 1) < 0.3


def test_copies_hang_on_the_seed_alone():
    Z = np.random.default_rng(0).uniform(0, 0.4, (700, 5))
    same = lambda one, other: all((a != b).nnz == 0 for a, b in zip(one, other))
    found = sample_copies(Z, (4, 1), seed=1)
    assert same(found, sample_copies(Z, (4, 1), seed=np.random.default_rng(1))) and not same(found, sample_copies(Z, (4, 1), seed=2))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert same(found, sample_copies(Z, (4, 1), seed=1))
    finally:
        torch.set_num_threads(threads)
    for graph in found:
        assert (graph != graph.T).nnz == 0 and not graph.diagonal().any() and graph.data.all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_copies_of_few(n):
    mean, difference = sample_copies(np.ones((n, 1)), (1, 0))
    assert mean.shape == (n, n) and mean.nnz == n * (n - 1) and difference.nnz == 0


def test_no_silent_clipping():
    P = np.full((40, 40), 0.5)
    P[:2, :2], P[2:4, 2:4] = 1.5, -0.5
    with pytest.raises(ValueError, match=r"0\.3%.*clip=True"):
        eg.sample_rdpg(P)
    A = eg.sample_rdpg(P, clip=True).toarray()
    assert A[0, 1] == 1 and A[2, 3] == 0


@pytest.mark.parametrize("P, options", [
    (np.ones(3), {}), (np.full((3, 3), np.nan), {}), (np.ones((3, 2)), dict(signature=(1, 2))), (np.ones((3, 2)), dict(signature=(3, -1))),
    (np.ones((3, 3)), dict(correlation=1.1)), (np.ones((3, 3)), dict(correlation=-0.1)), (np.ones((3, 3)), dict(n_graphs=0)),
])
def test_bad_draws(P, options):
    with pytest.raises(ValueError):
        eg.sample_rdpg(P, **options)


# Graphs ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array, sp.csc_array, sp.coo_matrix, sp.lil_array, sp.bsr_array])
@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32, np.float64])
def test_every_sparse_format(kind, dtype):
    A = random_graph(30, 0.3)
    graph = as_graph(kind(A.astype(dtype)))
    assert isinstance(graph, sp.csr_array) and (graph != A).nnz == 0
    assert graph.dtype == (np.float64 if dtype == np.float64 else np.float32)


@pytest.mark.parametrize("weight, dtype", [(1e40, "f8"), (1e-160, "f8"), (1e300, "f8"), (1e40, np.longdouble), (2 ** 24 + 1, "i8"), (3, "i8"), (1, "?")])
def test_weights_keep_their_value(weight, dtype):
    "float32 only where it holds the weights."
    graph = random_graph(500, 0.05)
    plain = eg.spectral_embedding(graph, 5).eigenvalues
    weighted = sp.csr_array((np.full(graph.nnz, weight, dtype), graph.indices, graph.indptr), shape=graph.shape)
    assert (as_graph(weighted).data == np.float64(weight)).all()
    assert np.allclose(eg.spectral_embedding(weighted, 5).eigenvalues / weight, plain, rtol=1e-5)
    for m in (2, 3):
        assert np.allclose(eg.omnibus({str(t): weighted for t in range(m)}, 5).eigenvalues / weight / m, plain, rtol=1e-4)


def test_duplicate_entries_add_up_and_input_is_left_alone():
    A = sp.coo_array(([1., 2., 1., 2.], ([0, 0, 1, 1], [1, 1, 0, 0])), shape=(3, 3))
    assert as_graph(A).toarray().tolist() == [[0, 3, 0], [3, 0, 0], [0, 0, 0]] and A.nnz == 4


def altered(change):
    A = random_graph(12, 0.4).tolil()
    change(A)
    return A


@pytest.mark.parametrize("graph, error, message", [
    (np.eye(5), TypeError, "data_kernel"), ([[0]], TypeError, "data_kernel"), (sp.csr_array((3, 4)), ValueError, "square"), (sp.csr_array((3, 3), dtype=complex), TypeError, "real"),
    (altered(lambda A: A.__setitem__((3, 4), 5)), ValueError, "symmetric"), (altered(lambda A: A.__setitem__((3, 3), 1)), ValueError, "itself"),
    (altered(lambda A: (A.__setitem__((3, 4), np.nan), A.__setitem__((4, 3), np.nan))), ValueError, "NaN"),
    (altered(lambda A: (A.__setitem__((3, 4), np.inf), A.__setitem__((4, 3), np.inf))), ValueError, "infinite"),
])
def test_bad_graphs(graph, error, message):
    with pytest.raises(error, match=message):
        eg.spectral_embedding(graph, 1)


# The eigensolver ------------------------------------------------------------------------------------------------------

@each_graph
@pytest.mark.parametrize("k", [1, 2, 10, 75])
@pytest.mark.parametrize("tol", [1e-3, 1e-8])
@each_device
def test_eigenpairs(name, k, tol, device):
    if name == "low rank" and k == 75:
        pytest.skip("a multiplicity above the block size: see test_high_multiplicity")
    graph = GRAPHS[name]()
    A, truth = graph.toarray().astype(float), spectrum(graph)
    values, vectors = (part.cpu().numpy() for part in leading_eigenpairs(graph, k, tol, device=device))
    assert values.shape == (k,) and vectors.shape == (len(A), k) and values.dtype == vectors.dtype == np.float64
    assert np.abs(vectors.T @ vectors - np.eye(k)).max() < 1e-9
    residual = np.linalg.norm(A @ vectors - vectors * values, axis=0)
    assert (residual <= 1.01 * tol * np.abs(values) + 1e-11 * abs(truth[0])).all()
    assert (np.abs(np.abs(values) - np.abs(truth[:k])) <= tol * np.abs(truth[:k]) + 1e-11 * abs(truth[0])).all()
    assert (np.diff(np.abs(values)) <= 1e-12 * abs(truth[0])).all()
    assert (vectors[np.abs(vectors).argmax(0), np.arange(k)] > 0).all()


@pytest.mark.parametrize("n", [5, 60, 400, 401])
def test_every_k(n):
    graph = random_graph(n, 0.3)
    truth = spectrum(graph)
    for k in {1, 2, n // 8, n // 8 + 1, n // 2, n - 1, n} - {0}:
        values, vectors = leading_eigenpairs(graph, k, 1e-9)
        assert np.abs(values.abs().numpy() - np.abs(truth[:k])).max() < 1e-8 * abs(truth[0])
        assert (vectors.T @ vectors - torch.eye(k)).abs().max() < 1e-9


@pytest.mark.parametrize("name", ["sparse", "knn", "weighted"])
def test_agrees_with_scipy(name):
    graph = GRAPHS[name]()
    values, vectors = eigsh(graph.astype(float), 8, which="LM")
    order = np.argsort(-np.abs(values))
    E = eg.spectral_embedding(graph, 8, tol=1e-10)
    assert np.abs(E.eigenvalues / values[order] - 1).max() < 1e-10
    wanted = vectors[:, order] * np.sqrt(np.abs(values[order]))
    assert np.abs(up_to_signs(E.positions, wanted) - wanted).max() < 1e-6


@pytest.mark.parametrize("size, times, k", [(20, 50, 40), (33, 60, 40), (5, 120, 75)])
def test_high_multiplicity(size, times, k):
    "Disjoint cliques, as kNN makes them of data that occur more than k times."
    graph = copies(sp.csr_array(np.ones((size, size)) - np.eye(size)), times)
    values, _ = leading_eigenpairs(graph, k)
    assert len(values) == k and np.allclose(values, size - 1)


def star(size):
    return sp.csr_array((np.ones(2 * size - 2, np.float32), (np.r_[np.zeros(size - 1, int), 1:size], np.r_[1:size, np.zeros(size - 1, int)])), shape=(size, size))


BLOCKS = {"clique": lambda seed: sp.csr_array(np.ones((20, 20), np.float32) - np.eye(20, dtype=np.float32)), "star": lambda seed: star(24),
          "neighbours": lambda seed: eg.data_kernel(np.random.default_rng(seed).normal(size=(100, 2)), 8, "euclidean").graph,
          "random": lambda seed: random_graph(40, 0.2, seed)}


def repeated(block, copies, seed=0):
    "The block many times over, vertices in a random order."
    order = np.random.default_rng(seed).permutation(copies * block.shape[0])
    return sp.csr_array(sp.block_diag([block] * copies, format="csr"))[order][:, order]


@pytest.mark.parametrize("kind, copies", [("clique", 21), ("clique", 50), ("star", 20), ("star", 50), ("neighbours", 24), ("random", 30)])
@pytest.mark.parametrize("k, tol", [(20, 1e-4), (20, 1e-6), (33, 1e-4)])
def test_no_copy_of_an_eigenvalue_is_missed(kind, copies, k, tol):
    for seed in range(2):
        block = BLOCKS[kind](seed)
        values = np.sort(np.abs(np.linalg.eigvalsh(block.toarray().astype(float))))[::-1]
        fit = eg.spectral_embedding(repeated(block, copies, seed), k, tol, seed=seed)
        assert np.allclose(np.abs(fit.eigenvalues), np.repeat(values, copies)[:k], rtol=2 * tol)


@pytest.mark.parametrize("kind, copies", [("clique", 21), ("star", 20), ("star", 50), ("neighbours", 24)])
@pytest.mark.parametrize("models", ["aa", "ab", "aaa", "aab", "abc"])
def test_no_copy_of_an_omnibus_eigenvalue_is_missed(kind, copies, models):
    "Models of equal blocks: each permutes the vertices within the blocks, so that the omnibus matrix is made of equal blocks, too."
    block = BLOCKS[kind](0)
    orders = {model: np.random.default_rng(ord(model)).permutation(block.shape[0]) for model in models}
    own = [block[orders[model]][:, orders[model]] for model in models]
    values = np.sort(np.abs(np.linalg.eigvalsh(omnibus_matrix(own))))[::-1]
    O = eg.omnibus({f"{t}": repeated(each, copies) for t, each in enumerate(own)}, 20)
    assert np.allclose(np.abs(O.eigenvalues), np.repeat(values, copies)[:20], rtol=2e-4)


@pytest.mark.parametrize("kind", BLOCKS)
def test_what_may_be_unseen(kind):
    graph = repeated(BLOCKS[kind](0), 20)
    fit = eg.spectral_embedding(graph, 38)
    rest = np.sort(np.abs(np.linalg.eigvalsh(graph.toarray().astype(float))))[::-1][38]
    assert rest * (1 - 1e-9) <= fit.largest_unseen() < 1.3 * rest and fit.largest_unseen(200) < 1.05 * rest
    for missing in (0, 7, 30):
        kept = np.delete(np.arange(38), missing)
        maimed = eg.SpectralEmbedding(fit.positions[:, kept], fit.eigenvalues[kept], fit.graph)
        assert maimed.largest_unseen() >= abs(fit.eigenvalues[missing]) * (1 - 1e-6)
    with pytest.raises(ValueError, match="does not know its graph"):
        eg.SpectralEmbedding(fit.positions, fit.eigenvalues).largest_unseen()


def test_low_rank_with_more_asked_for():
    "Star graphs: rank 2, whatever is asked for."
    star = sp.lil_array((N, N))
    star[0, 1:] = star[1:, 0] = 1
    values, vectors = leading_eigenpairs(sp.csr_array(star), 2, 1e-9)
    assert np.allclose(values.abs(), np.sqrt(N - 1)) and torch.sign(values).sum() == 0
    with pytest.raises(ValueError, match="nonzero eigenvalues"):
        eg.frame(sp.csr_array(star), 5)


def test_no_edges_is_refused():
    with pytest.raises(ValueError, match="eigenvalues"):
        eg.frame(sp.csr_array((N, N)), 3)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_restarts_change_nothing(k):
    graph = knn()
    product = to_torch(graph)
    values, vectors = block_krylov(lambda X: (product @ X, X), start_block(N, k, 0), k, 1e-8, max_basis=2 * k + 40)
    assert np.abs(values.abs().numpy() - np.abs(spectrum(graph)[:k])).max() < 1e-8
    assert (product @ vectors - vectors * values).norm(dim=0).max() < 1e-6


def test_giving_up_is_an_error():
    product = to_torch(random_graph(N, 0.03))
    with pytest.raises(RuntimeError, match="tol=1e-10 within 3 blocks"):
        block_krylov(lambda X: (product @ X, X), start_block(N, 5, 0), 5, 1e-10, max_iter=3)


def test_deterministic_and_independent_of_the_seed_within_tol():
    graph = knn()
    first, again, other = (eg.spectral_embedding(graph, 6, tol=1e-9, seed=seed) for seed in (0, 0, 1))
    assert (first.positions == again.positions).all() and (first.eigenvalues == again.eigenvalues).all()
    assert np.abs(first.positions - other.positions).max() < 1e-6


def test_threads_agree():
    graph, before = knn(), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(eg.spectral_embedding(graph, 6, tol=1e-10))
    finally:
        torch.set_num_threads(before)
    assert np.abs(found[0].positions - found[1].positions).max() < 1e-9


def test_signs():
    V = fix_signs(torch.tensor([[0.1, -0.2, 0.0], [-0.3, 0.1, 0.0]]))
    assert V.tolist() == torch.tensor([[-0.1, 0.2, 0.0], [0.3, -0.1, 0.0]]).tolist()


# The embedding --------------------------------------------------------------------------------------------------------

def test_spectral_embedding_of_a_full_spectrum_is_the_graph():
    graph = random_graph(50, 0.3)
    E = eg.spectral_embedding(graph, 50)
    assert np.abs(E.probabilities() - graph.toarray()).max() < 1e-10
    assert np.abs(E.probabilities(slice(3, 7)) - graph.toarray()[3:7]).max() < 1e-10
    assert sum(E.signature) == E.n_components == 50


def test_positions_are_recovered():
    Z = np.random.default_rng(0).uniform(0.3, 0.6, size=(2000, 1))
    estimate = eg.spectral_embedding(eg.sample_rdpg(Z, seed=1), 1).positions
    assert np.corrcoef(estimate[:, 0], Z[:, 0])[0, 1] > 0.95 and np.abs(estimate - Z).mean() < 0.03


# How many dimensions --------------------------------------------------------------------------------------------------

def direct_profile_likelihood(values):
    values = np.sort(np.abs(values))[::-1]
    result = []
    for q in range(1, len(values)):
        means = np.r_[np.full(q, values[:q].mean()), np.full(len(values) - q, values[q:].mean())]
        scale = np.sqrt(((values - means) ** 2).sum() / (len(values) - 2))
        result.append(norm.logpdf(values, means, scale).sum())
    return np.array(result)


@pytest.mark.parametrize("size", [4, 10, 100])
def test_profile_likelihood(size):
    values = np.random.default_rng(size).normal(size=size) * np.linspace(5, 1, size)
    assert np.allclose(profile_likelihood(values), direct_profile_likelihood(values))
    assert np.allclose(profile_likelihood(values[::-1]), profile_likelihood(np.abs(values)))


def test_profile_likelihood_finds_the_elbow():
    values = np.r_[10, 9.5, -9, 1.1, 1, 0.9, 0.8, 0.7]
    assert profile_likelihood(values).argmax() + 1 == 3
    assert profile_likelihood([5, 5, 1, 1, 1]).argmax() + 1 == 2       # no variance inside the groups
    with pytest.raises(ValueError, match="at least 3"):
        profile_likelihood([2, 1])


@pytest.mark.parametrize("n, wanted", [(2, 1), (16, 2), (1000, 125), (4000, 128)])
def test_default_dimension(n, wanted):
    assert n_components_for(sp.csr_array((n, n))) == wanted


def test_profile_dimension():
    A = eg.sample_rdpg(two_groups(600), seed=1)
    assert n_components_for(A, "profile") == eg.spectral_embedding(A, "profile").n_components == 2


@pytest.mark.parametrize("d, error", [(0, ValueError), (31, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError), ("elbow", ValueError)])
def test_bad_dimensions(d, error):
    with pytest.raises(error, match="n_components"):
        eg.spectral_embedding(random_graph(30, 0.3), d)
