"""The implicit omnibus embedding is the dense one, and its identities hold to rounding."""
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import embgeo_nb as eg
from embgeo_nb.omnibus import as_graphs
from reference import each_device, eigenpairs, omnibus_matrix, positions_of, random_graph, up_to_signs, views


def sparse(m, n=150):
    return {f"m{t}": random_graph(n, 0.1, seed=t) for t in range(m)}


def correlated(m, n=150):
    "Three groups, the graphs alike: a spectrum with gaps and clusters."
    P = np.full((n, n), 0.1) + 0.4 * (np.arange(n)[:, None] % 3 == np.arange(n) % 3)
    return {f"m{t}": A for t, A in enumerate(eg.sample_rdpg(P, n_graphs=m, correlation=0.7, seed=m))}


def knn(m, n=150, symmetrize="union"):
    Y = views("abcde"[:m], n)
    return {name: eg.data_kernel(Y[name], 10, symmetrize=symmetrize).graph for name in Y}


def weighted(m, n=150, dtype=np.float64):
    return {f"m{t}": random_graph(n, 0.1, t, lambda rng, size: rng.normal(size=size).astype(dtype)) for t in range(m)}


FAMILIES = {"sparse": sparse, "correlated": correlated, "knn": knn, "mean": lambda m: knn(m, symmetrize="mean"), "weighted": weighted}
each_family = pytest.mark.parametrize("family", FAMILIES)


def pair(n=200, d=6, **options):
    return eg.omnibus(views(n=n), d, n_neighbors=10, **options)


# The definition -------------------------------------------------------------------------------------------------------

@each_family
@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("d", [1, 8])
@each_device
def test_equals_the_dense_definition(family, m, d, device):
    graphs = FAMILIES[family](m)
    values, vectors = eigenpairs(omnibus_matrix(graphs.values()), d + 1)
    assert np.diff(-np.abs(values)).min() > 1e-4, "the seeds should give eigenvalues apart, so that eigenvectors are defined"
    O = eg.omnibus(graphs, d, tol=1e-10, device=device)
    assert O.positions.shape == (m, 150, d) and O.models == tuple(graphs)
    assert np.abs(O.eigenvalues / values[:d] - 1).max() < 1e-8
    wanted = positions_of(values[:d], vectors[:, :d], m)
    assert np.abs(up_to_signs(O.positions, wanted) - wanted).max() < 1e-6
    flat = O.positions.reshape(-1, d)
    assert (flat[np.abs(flat).argmax(0), np.arange(d)] > 0).all()


@pytest.mark.parametrize("m", [2, 3])
def test_as_many_dimensions_as_data(m):
    graphs = sparse(m, 40)
    M = omnibus_matrix(graphs.values())
    values, vectors = eigenpairs(M, 40)
    O = eg.omnibus(graphs, 40, tol=1e-9)
    assert np.abs(O.eigenvalues / values - 1).max() < 1e-8
    Z = O.positions.reshape(-1, 40)
    wanted = (vectors * values) @ vectors.T
    assert np.abs((Z * np.sign(O.eigenvalues)) @ Z.T - wanted).max() < 1e-6


@each_family
@pytest.mark.parametrize("m", [2, 5])
def test_residuals_and_displacements_at_the_default_tolerance(family, m):
    graphs = FAMILIES[family](m)
    M = omnibus_matrix(graphs.values())
    O, exact = eg.omnibus(graphs, 8), eg.omnibus(graphs, 8, tol=1e-10)
    U = O.positions.reshape(-1, 8) / np.sqrt(np.abs(O.eigenvalues))
    assert (np.linalg.norm(M @ U - U * O.eigenvalues, axis=0) <= 1e-3 * np.abs(O.eigenvalues)).all()
    assert np.abs(np.linalg.norm(U, axis=0) - 1).max() < 1e-12
    lengths = [np.linalg.norm(o.displacement(*o.models[:2]), axis=1) for o in (O, exact)]
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-2 * lengths[1].max()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_equal_graphs(m):
    A = random_graph(150, 0.1)
    O = eg.omnibus({f"m{t}": A for t in range(m)}, 5, tol=1e-10)
    assert np.abs(O.eigenvalues / (m * eigenpairs(A.toarray().astype(float), 5)[0]) - 1).max() < 1e-9
    assert np.abs(O.positions - O.positions[0]).max() < 1e-12 and not len(O.attribution("m0", "m1", 3).neighbors)


def test_one_edge_moves_its_two_ends_most():
    A = random_graph(600, 0.03)
    B = A.tolil()
    B[5, 9] = B[9, 5] = 1 - B[5, 9]
    O = eg.omnibus({"a": A, "b": sp.csr_array(B)}, 10)
    moved = np.linalg.norm(O.displacement("a", "b"), axis=1)
    assert set(np.flatnonzero(moved > 1e-12)) == {5, 9}


def test_unrelated_disjoint_copies():
    "Degenerate eigenvalues: positions are free to rotate, what they span is not."
    graphs = {name: sp.csr_array(sp.block_diag([A] * 3)) for name, A in sparse(2, 60).items()}
    M = omnibus_matrix(graphs.values())
    values, vectors = eigenpairs(M, 9)
    O = eg.omnibus(graphs, 9, tol=1e-9)
    assert np.abs(O.eigenvalues / values - 1).max() < 1e-8
    Z = O.positions.reshape(-1, 9)
    assert np.abs((Z * np.sign(values)) @ Z.T - (vectors * values) @ vectors.T).max() < 1e-6


# Units, ranks ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("unit", [1e-12, 1e-8, 1e-6, 1e-3, 1e3, 1e12])
@pytest.mark.parametrize("m", [2, 3])
def test_units_of_the_weights(unit, m):
    graphs = weighted(m)
    O = eg.omnibus(graphs, 5, tol=1e-9)
    scaled = eg.omnibus({name: A * unit for name, A in graphs.items()}, 5, tol=1e-9)
    assert np.abs(scaled.eigenvalues / O.eigenvalues / unit - 1).max() < 1e-7
    assert np.abs(scaled.positions / np.sqrt(unit) - O.positions).max() < 1e-5


def test_no_edges_is_refused():
    with pytest.raises(ValueError, match="nonzero eigenvalues"):
        eg.omnibus({"a": sp.csr_array((50, 50)), "b": sp.csr_array((50, 50))}, 3)


def test_more_dimensions_than_rank_is_refused():
    star = sp.lil_array((60, 60))
    star[0, 1:] = star[1:, 0] = 1
    with pytest.raises(ValueError, match="n_components.* only 2 nonzero eigenvalues; got 5"):
        eg.omnibus({"a": sp.csr_array(star), "b": sp.csr_array(star)}, 5)


def test_many_equal_cliques():
    "Data that occur more than k times: each group is a clique, under every model."
    A = sp.csr_array(sp.block_diag([np.ones((8, 8)) - np.eye(8)] * 20))
    values = eg.omnibus({"a": A, "b": A}, 20).eigenvalues
    assert np.allclose(values, 14)


# Identities -----------------------------------------------------------------------------------------------------------

@each_family
@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("tol", [1e-4, 1e-10])
def test_displacement_identity(family, m, tol):
    graphs = FAMILIES[family](m)
    O = eg.omnibus(graphs, 8, tol=tol)
    for a, b in (O.models[:2], O.models[-2:]):
        difference = (graphs[b].astype(float) - graphs[a].astype(float)) / 2
        assert np.abs(O.displacement(a, b) - difference @ (O.positions.sum(0) / O.eigenvalues)).max() < 1e-9
        assert np.abs(O.displacement(a, b) - difference @ O.loadings).max() < 1e-9


def test_displacement_identity_with_float32_weights():
    graphs = weighted(3, dtype=np.float32)
    O = eg.omnibus(graphs, 8)
    difference = (graphs["m1"].astype(float) - graphs["m0"].astype(float)) / 2
    assert np.abs(O.displacement("m0", "m1") - difference @ (O.positions.sum(0) / O.eigenvalues)).max() < 1e-10


@each_family
def test_attributions_sum_to_displacements(family):
    graphs = FAMILIES[family](3)
    O = eg.omnibus(graphs, 8)
    D, change = O.displacement(*O.models[1:]), (graphs[O.models[2]] - graphs[O.models[1]]).toarray()
    for i in range(0, 150, 7):
        why = O.attribution(*O.models[1:], i)
        assert np.abs(why.contributions.sum(0) - D[i]).max() < 1e-9
        assert sorted(why.neighbors) == np.flatnonzero(change[i]).tolist() and np.allclose(why.change, change[i, why.neighbors], atol=1e-6)
        assert not len(why.share) or (why.share.sum() == pytest.approx(1) and (np.diff(why.share) <= 0).all())


def test_attribution_table():
    emb = eg.Embeddings(views(n=80), ids=[f"id{i}" for i in range(80)], data=[f"text {i}" for i in range(80)])
    O = eg.omnibus(emb, 5, n_neighbors=8)
    table = O.attribution("a", "b", 7).to_frame()
    assert list(table.columns) == ["neighbor", "id", "change", "share", "contribution", "data"] and set(table.change) == {"gained", "lost"}
    a, b = (set(np.flatnonzero(O.graphs[name].toarray()[7])) for name in "ab")
    assert set(table.neighbor[table.change == "gained"]) == b - a and set(table.neighbor[table.change == "lost"]) == a - b
    assert (table.id == [f"id{j}" for j in table.neighbor]).all() and (table.data == [f"text {j}" for j in table.neighbor]).all()
    assert np.abs(np.sum(table.contribution.tolist(), axis=0) - O.displacement("a", "b")[7]).max() < 1e-9
    assert np.array_equal(O.attribution("a", "b", "id7").neighbors, table.neighbor)
    with pytest.raises(ValueError, match="'id99' is not among the ids"):
        O.attribution("a", "b", "id99")


def test_from_a_to_b():
    "By hand: datum 0 exchanges its neighbour 1 (only in a) for datum 2 (only in b)."
    graph = lambda *pairs: sp.csr_array(sp.coo_array((np.ones(2 * len(pairs)), tuple(np.array([*pairs, *(p[::-1] for p in pairs)]).T)), shape=(4, 4)))
    O = eg.omnibus({"a": graph((0, 1), (1, 3), (2, 3)), "b": graph((0, 2), (1, 3), (2, 3))}, 2)
    for pair, gained, lost in ((("a", "b"), 2, 1), (("b", "a"), 1, 2)):
        why = O.attribution(*pair, 0)
        assert dict(zip(why.neighbors.tolist(), why.to_frame().change)) == {gained: "gained", lost: "lost"}
        assert np.allclose(O.displacement(*pair), O[pair[1]] - O[pair[0]]) and np.allclose(O.displacement(*pair)[0], (O.loadings[gained] - O.loadings[lost]) / 2)


def test_models_that_are_named_are_all_that_is_looked_at():
    Y = views("abc")
    for emb in (Y, eg.Embeddings(Y), as_graphs(Y, 10), {name: eg.data_kernel(Y[name], 10) for name in Y}, {**Y, "broken": np.full((3, 2), np.nan)}):
        found = as_graphs(emb, 10, models=("c", "a"))
        assert found.models == ("c", "a") and (found["c"] != eg.data_kernel(Y["c"], 10).graph).nnz == 0
        with pytest.raises(ValueError, match="no model 'x'"):
            as_graphs(emb, 10, models=("a", "x"))
    with pytest.raises(TypeError, match="mapping"):
        as_graphs([1, 2], models=("a", "b"))


def test_displacement_is_antisymmetric_and_transitive():
    O = eg.omnibus(views("abc"), 5, n_neighbors=10)
    assert (O.displacement("a", "b") == -O.displacement("b", "a")).all()
    assert np.abs(O.displacement("a", "b") + O.displacement("b", "c") - O.displacement("a", "c")).max() < 1e-12


def test_order_of_the_models():
    Y = views("abc")
    O, R = (eg.omnibus({name: Y[name] for name in names}, 5, n_neighbors=10, tol=1e-10) for names in ("abc", "cab"))
    assert R.models == ("c", "a", "b") and np.abs(O.eigenvalues / R.eigenvalues - 1).max() < 1e-9
    assert all(np.abs(O[name] - R[name]).max() < 1e-6 for name in Y)


def test_order_of_the_data():
    Y, order = views("abc"), np.random.default_rng(0).permutation(200)
    O, R = (eg.omnibus(emb, 5, n_neighbors=10, tol=1e-10) for emb in (Y, {name: Y[name][order] for name in Y}))
    assert np.abs(O.positions[:, order] - up_to_signs(R.positions, O.positions[:, order])).max() < 1e-6


# One more model, one more datum ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("tol", [1e-4, 1e-10])
def test_a_model_that_is_there_lands_on_itself(m, tol):
    graphs = knn(m)
    O = eg.omnibus(graphs, 6, tol=tol)
    more = O.add_model("again", graphs["b"]).add_model("and again", graphs["a"])
    assert np.abs(more["again"] - more["b"]).max() < 1e-12 and np.abs(more["and again"] - more["a"]).max() < 1e-12
    assert (more.positions[:m] == O.positions).all() and more.models == (*O.models, "again", "and again") and O.models == tuple(graphs)


def test_added_model_is_a_full_member():
    Y = views("abc")
    O = eg.omnibus({name: Y[name] for name in "ab"}, 6, n_neighbors=10)
    more = O.add_model("c", Y["c"])
    assert (more.graphs["c"] != eg.data_kernel(Y["c"], 10).graph).nnz == 0 and more.graphs.emb.models == ("a", "b", "c")
    identity = (more.graphs["a"] - more.graphs["c"]) / 2 @ more.loadings
    assert np.abs(more.displacement("c", "a") - identity).max() < 1e-9
    assert np.abs(more.attribution("c", "a", 5).contributions.sum(0) - identity[5]).max() < 1e-9
    assert np.array_equal(eg.datum_test(more, "a", "c").pvalue, eg.datum_test(Y, "a", "c", n_components=6, n_neighbors=10).pvalue)


@pytest.mark.parametrize("name, model, error", [
    ("a", views("c")["c"], ValueError), ("c", views("c", 201)["c"], ValueError), ("c", random_graph(201, 0.1), ValueError), ("c", sp.csr_array(np.eye(200)), ValueError),
    ("c", np.full((200, 3), np.nan), ValueError), ("c", [["x"]] * 200, TypeError),
])
def test_bad_additions(name, model, error):
    with pytest.raises(error):
        pair().add_model(name, model)


def test_an_array_needs_known_settings():
    O = eg.omnibus(knn(2), 5)
    with pytest.raises(TypeError, match="settings unknown"):
        O.add_model("c", views("c", 150)["c"])
    Y = views("abc", 150)
    O = eg.omnibus({name: eg.data_kernel(Y[name], 10, "euclidean", "mean") for name in "ab"}, 5)
    assert (O.add_model("c", Y["c"]).graphs["c"] != eg.data_kernel(Y["c"], 10, "euclidean", "mean").graph).nnz == 0


def test_an_array_needs_settings_that_agree():
    Y = views("abc", 150)
    O = eg.omnibus({"a": eg.data_kernel(Y["a"], 10), "b": eg.data_kernel(Y["b"], 11)}, 5)
    with pytest.raises((TypeError, ValueError), match="n_neighbors|settings"):
        O.add_model("c", Y["c"])


def new_data(Y, n_new=12):
    rng = np.random.default_rng(9)
    return {name: Y[name][:n_new] + 0.01 * rng.normal(size=(n_new, Y[name].shape[1])) for name in Y}


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner_product"])
@pytest.mark.parametrize("symmetrize", ["union", "intersection", "mean"])
def test_transform_is_the_omnibus_equation(metric, symmetrize):
    "lambda z_s = 1/2 (A_s' sum_t Z_t + sum_t A_t' Z_t), A' the new rows: whom a new datum chooses, and who would choose it."
    Y = views("abc", 120)
    new = new_data(Y)
    O = eg.omnibus(Y, 5, n_neighbors=10, metric=metric, symmetrize=symmetrize)
    combine = {"union": np.maximum, "intersection": np.minimum, "mean": lambda a, b: (a + b) / 2}[symmetrize]
    sim = {"cosine": lambda a, b: a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)),
           "euclidean": lambda a, b: -np.linalg.norm(a[:, None] - b, axis=2), "inner_product": lambda a, b: a @ b.T}[metric]
    rows = []
    for name in Y:
        inside, S = sim(Y[name], Y[name]), sim(new[name], Y[name])
        np.fill_diagonal(inside, -np.inf)
        chosen = S >= -np.sort(-S, axis=1)[:, [9]]
        chosen_by = S > -np.sort(-inside, axis=1)[:, 9]
        rows.append(combine(chosen * 1., chosen_by * 1.))
    both = sum(row @ Z for row, Z in zip(rows, O.positions))
    wanted = np.stack([(row @ O.positions.sum(0) + both) / (2 * O.eigenvalues) for row in rows])
    assert np.abs(O.transform(new) - wanted).max() < 1e-9


def test_copies_of_data_land_on_them():
    "Data in tight pairs, of which one partner is left out: it lands where the other is."
    rng = np.random.default_rng(0)
    Y = {name: np.repeat(values, 2, axis=0) + 1e-4 * rng.normal(size=(400, 6)) for name, values in views(noise=0.2).items()}
    O = eg.omnibus({name: values[1:] for name, values in Y.items()}, 6, n_neighbors=20)
    found = O.transform({name: values[:1] for name, values in Y.items()})[:, 0]
    assert np.linalg.norm(found - O.positions[:, 0]) < 0.1 * np.linalg.norm(O.positions[:, 0])


def test_transform_after_add_model():
    Y = views("abc")
    new, two = new_data(Y), {name: Y[name] for name in "ab"}
    O = eg.omnibus(two, 5, n_neighbors=10)
    before = O.transform({name: new[name] for name in "ab"})
    assert np.abs(O.add_model("c", Y["c"]).transform(new)[:2] - before).max() < 1e-9


@pytest.mark.parametrize("new, message", [
    ({"a": np.ones((2, 6))}, "every model"), ({"a": np.ones((2, 6)), "b": np.ones((2, 5))}, "6 columns"), ({"a": np.ones((2, 6)), "b": np.ones((3, 6))}, "same data"),
    ({"a": np.ones((2, 6)), "b": np.ones((2, 6)), "c": np.ones((2, 6))}, "no other"), ({"a": np.ones((2, 6)), "b": np.full((2, 6), np.nan)}, "NaN"),
    ({"a": np.zeros((2, 6)), "b": np.ones((2, 6))}, "zero"),
])
def test_bad_new_data(new, message):
    with pytest.raises(ValueError, match=message):
        pair().transform(new)


def test_graphs_cannot_be_extended():
    with pytest.raises(ValueError, match="made from graphs"):
        eg.omnibus(knn(2), 5).transform(views())


# What goes in ---------------------------------------------------------------------------------------------------------

def test_every_kind_of_input_is_one_analysis():
    Y = views()
    kernels = {name: eg.data_kernel(Y[name], 10) for name in Y}
    inputs = [Y, eg.Embeddings(Y), kernels, *({name: kind(K.graph) for name, K in kernels.items()} for kind in (sp.csr_array, sp.csr_matrix, sp.coo_array)),
              {"a": kernels["a"], "b": kernels["b"].graph.astype(np.float64)}, {name: torch.as_tensor(Y[name]) for name in Y}]
    first, *others = [eg.omnibus(emb, 5, n_neighbors=10).positions for emb in inputs]
    assert all(np.abs(other - first).max() < 1e-12 for other in others)


def test_a_square_dense_array_is_an_embedding():
    Y = {name: random_graph(60, 0.2, seed).toarray() + 0.01 for seed, name in enumerate("ab")}
    O = eg.omnibus(Y, 4, n_neighbors=5)
    assert (O.graphs["a"] != eg.data_kernel(Y["a"], 5).graph).nnz == 0


def test_settings_are_kept():
    O = pair(metric="euclidean", symmetrize="mean")
    assert O.graphs.settings == dict(n_neighbors=10, metric="euclidean", symmetrize="mean") and (O.n, O.n_components, O.tol) == (200, 6, 1e-4)
    with pytest.raises(AttributeError):
        O.tol = 1


ONE_OFF = random_graph(30, 0.3).tolil()
ONE_OFF[3, 4] = 7


@pytest.mark.parametrize("emb, options, error, message", [
    ({"a": np.eye(20)}, {}, ValueError, "at least two models"), ({"a": random_graph(30, 0.3)}, {}, ValueError, "at least two"), (views(), dict(n_components=201), ValueError, "n_components"),
    (views(), dict(n_components=0), ValueError, "n_components"), (views(), dict(n_components=2.5), TypeError, "n_components"), (views(), dict(n_components="elbow"), ValueError, "profile"),
    (views(), dict(n_neighbors=200), ValueError, "n_neighbors"), (views(), dict(metric="l1"), ValueError, "metric"), (views(), dict(symmetrize="xor"), ValueError, "symmetrize"),
    ({"a": random_graph(30, 0.3), "b": random_graph(31, 0.3)}, {}, ValueError, "same data"), ({"a": random_graph(30, 0.3), "b": ONE_OFF}, {}, ValueError, "graph of 'b' is not symmetric"),
    ({"a": random_graph(30, 0.3), "b": sp.csr_array(np.eye(30))}, {}, ValueError, "'b' has edges from a datum to itself"), ({"a": random_graph(30, 0.3), "b": np.ones((30, 30))}, {}, TypeError, "'b'"),
    ([random_graph(30, 0.3)] * 2, {}, TypeError, "mapping"), (random_graph(30, 0.3), {}, TypeError, "mapping"), (eg.data_kernel(views()["a"], 5), {}, TypeError, "mapping"),
])
def test_refusals(emb, options, error, message):
    with pytest.raises(error, match=message):
        eg.omnibus(emb, **{"n_components": 3, "n_neighbors": 10, **options})


def test_unknown_and_equal_models():
    O = pair()
    for call in (lambda: O["c"], lambda: O.displacement("a", "c"), lambda: O.displacement("a", "a"), lambda: O.attribution("a", "a", 0),
                 lambda: O.attribution("a", "b", 200), lambda: O.attribution("a", "b", -1), lambda: O.attribution("a", "b", 1.0), lambda: O.attribution("a", "b", True)):
        with pytest.raises(ValueError):
            call()


# Reproducibility, memory ----------------------------------------------------------------------------------------------

def test_seeds_and_threads():
    before = torch.get_num_threads()
    state = torch.get_rng_state()
    try:
        first, again = pair(), pair()
        torch.set_num_threads(1)
        one = pair(tol=1e-10)
        torch.set_num_threads(2)
        two = pair(tol=1e-10, seed=1)
    finally:
        torch.set_num_threads(before)
    assert (first.positions == again.positions).all() and np.abs(one.positions - two.positions).max() < 1e-6
    assert (torch.get_rng_state() == state).all()


MEMORY = """
import resource
import numpy as np, scipy.sparse as sp, torch
import embgeo_nb as eg
torch.set_num_threads(1)
n, k = 20_000, 32
def graph(seed):
    columns = np.random.default_rng(seed).integers(0, n, n * k)
    A = sp.csr_array((np.ones(n * k, np.float32), (np.repeat(np.arange(n), k), columns)), shape=(n, n))
    A.setdiag(0); A.eliminate_zeros(); A.data[:] = 1
    return sp.csr_array(A.maximum(A.T))
graphs = {"a": graph(0), "b": graph(1)}
eg.omnibus({"a": graphs["a"][:500, :500], "b": graphs["b"][:500, :500]}, 2)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
O = eg.omnibus(graphs, 16, tol=1e-2)
assert O.positions.shape == (2, n, 16)
print(peak() - before)
"""


def test_memory_is_that_of_the_graphs_and_thin_matrices():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1000          # megabytes; the dense matrix would take 12,800
