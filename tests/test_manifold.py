"""Distances between models are what they say they are; maps are exact; associations hold their level."""
import warnings
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from embgeo_nb.embeddings import Embeddings
from embgeo_nb.kernel import data_kernel
from embgeo_nb.manifold import (DISTANCES, Association, DistanceKind, ModelDistance, ModelManifold, associate, distances_from, model_distance, model_manifold,
                                model_tree, unrelated_distance)
from embgeo_nb.omnibus import omnibus

each_distance = pytest.mark.parametrize("kind, relative", [key for key, claims in DISTANCES.items() if claims.compares == "positions"])
each_baseline = pytest.mark.parametrize("kind", [kind for (kind, _), claims in DISTANCES.items() if claims.compares != "positions"])


def views(m=6, n=120, noise=0.4, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 5))
    return {f"m{t}": np.hstack([latent, np.zeros((n, t))]) + noise * rng.normal(size=(n, 5 + t)) for t in range(m)}


@pytest.fixture(scope="module")
def O():
    return omnibus(views(), n_components=8, n_neighbors=10)


@cache
def with_copies(metric):
    "Three models, and the first of them rotated, rescaled and repeated."
    base = views(3)
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    copies = {"rotation": base["m0"] @ rotation, "scaling": 1e-3 * base["m0"], "duplicate": base["m0"].copy()}
    return omnibus({**base, **copies}, n_components=8, n_neighbors=10, metric=metric)


@cache
def in_both_orders():
    base = views(4)
    return [omnibus(order, n_components=6, n_neighbors=10, tol=1e-9) for order in (base, dict(reversed(base.items())))]


def at(O, positions):
    "The omnibus `O` with other positions, (m, n, d), for as many models."
    positions = np.asarray(positions, dtype=float)
    return replace(O, positions=positions, models=tuple(f"m{t}" for t in range(len(positions))))


def distances_of(points):
    return np.linalg.norm(points[:, None] - points, axis=2)


# Distances ------------------------------------------------------------------------------------------------------------

@each_distance
def test_definition(O, kind, relative):
    norm = lambda X: np.linalg.norm(X, "fro" if kind == "frobenius" else 2)
    scale = lambda a, b: (norm(O[a]) + norm(O[b])) / 2 if relative else np.sqrt(O.n)
    truth = [[norm(O[a] - O[b]) / scale(a, b) for b in O.models] for a in O.models]
    D = model_distance(O, kind, relative)
    assert np.allclose(D.matrix, truth, atol=1e-12)
    assert D["m1", "m3"] == D.matrix[1, 3] == D["m3"]["m1"] and D.properties is DISTANCES[kind, relative]
    assert (D.models, D.kind, D.relative, D.settings["n_components"], D.settings["n_neighbors"]) == (O.models, kind, relative, 8, 10)
    assert D.frame == "joint" and D.draws is None


def random_positions(case):
    "Models of very different sizes, near each other, on a line through the origin, sparse, or opposite."
    rng = np.random.default_rng(case)
    Z = rng.normal(size=(6, 7, 3))
    return [lambda: Z * rng.lognormal(0, 2, size=(6, 1, 1)), lambda: Z[0] + 1e-3 * Z, lambda: Z[0] * rng.normal(size=(6, 1, 1)),
            lambda: Z * (rng.random(Z.shape) < 0.2), lambda: np.concatenate([Z[:3], -Z[:3]])][case % 5]()


@each_distance
@pytest.mark.parametrize("case", range(60))
def test_declared_properties(O, kind, relative, case):
    D = model_distance(at(O, random_positions(case)), kind, relative)
    assert (D.matrix >= 0).all() and not D.matrix.diagonal().any()
    assert np.array_equal(D.matrix, D.matrix.T) == D.properties.symmetric
    if D.properties.metric:
        detour = (D.matrix[:, :, None] + D.matrix[None]).min(1)
        assert (D.matrix <= detour + 1e-12).all()
    if D.properties.upper_bound is not None:
        assert D.matrix.max() <= D.properties.upper_bound + 1e-12
    if D.properties.euclidean and D.matrix.max() > 1e-12:
        assert model_manifold(D, 1).negative_mass < 1e-7


@pytest.mark.filterwarnings("ignore:Eigenvalues")
def test_what_is_not_declared_of_positions_is_not_so(O):
    "The table is as strict as it can be: where a property is denied there is a counterexample."
    diagonal = np.array([np.diag(entries) for entries in ([-2.0, 2.0], [0.0, 4.0], [2.0, 2.0])])
    D = model_distance(at(O, diagonal), "spectral", relative=True)
    assert D["m0", "m2"] > D["m0", "m1"] + D["m1", "m2"] + 0.5
    corners = np.array([np.diag(entries) for entries in ([0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [1.0, 1.0])])
    assert model_manifold(model_distance(at(O, corners), "spectral"), 1).negative_mass > 0.01
    assert model_manifold(model_distance(at(O, corners + np.diag([9.0, 9.0])), "spectral", relative=True), 1).negative_mass > 0.01


@each_distance
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_declared_invariances(kind, relative, metric):
    D = model_distance(with_copies(metric), kind, relative)
    for name in (*DISTANCES[kind, relative].invariances, "duplicate"):
        assert D["m0", name] < 1e-6
        assert abs(D["m1", name] - D["m1", "m0"]) < 1e-6
    assert D["m0", "m1"] > 1e-2


@each_distance
def test_order_of_the_models(kind, relative):
    forward, backward = (model_distance(O, kind, relative) for O in in_both_orders())
    assert backward.models == forward.models[::-1]
    assert np.allclose(backward.matrix[::-1, ::-1], forward.matrix, atol=1e-7)


@each_distance
def test_near_duplicates(O, kind, relative):
    "No cancellation: a difference of 1e-9 is seen as one."
    Z = O.positions[0]
    step = 1e-9 * np.random.default_rng(0).normal(size=Z.shape)
    D = model_distance(at(O, [1e3 * Z, 1e3 * Z + step, Z]), kind, relative)
    moved = 1e3 * Z + step - 1e3 * Z
    norm = lambda X: np.linalg.norm(X, "fro" if kind == "frobenius" else 2)
    expected = norm(moved) / (norm(1e3 * Z) if relative else np.sqrt(O.n))
    assert abs(D.matrix[0, 1] / expected - 1) < 1e-6


def test_blocks(O):
    "Many models and components: one datum per block, and the same answer."
    Z = np.random.default_rng(0).normal(size=(40, 9, 4000))
    truth = np.linalg.norm((Z[:5, None] - Z[None, :5]).reshape(5, 5, -1), axis=2) / 3
    assert np.allclose(model_distance(at(O, Z)).matrix[:5, :5], truth)


def test_model_distance_refuses(O):
    with pytest.raises(TypeError, match="omnibus"):
        model_distance(O.positions)
    with pytest.raises(TypeError, match="relative"):
        model_distance(O, relative="published")
    with pytest.raises(ValueError, match="'frobenius', 'spectral', 'edges'"):
        model_distance(O, "nuclear")
    with pytest.raises(ValueError, match="no relative 'cka'"):
        model_distance(O, "cka", relative=True)
    with pytest.raises(ValueError, match="frame"):
        model_distance(O, frame="own")
    from_graphs = omnibus(O.graphs.graphs, n_components=8)
    for kind in ("knn", "cka"):
        with pytest.raises(ValueError, match="made from graphs"):
            model_distance(from_graphs, kind)
    with pytest.raises(ValueError, match="refit=False"):
        model_distance(from_graphs, n_resamples=2)
    with pytest.raises(ValueError, match="differ in n_neighbors"):
        model_distance({"a": data_kernel(views(1)["m0"], 5), "b": data_kernel(views(1)["m0"], 6)}, "knn")
    with pytest.raises(ValueError, match="nobody"):
        model_distance(O)["m0", "nobody"]
    with pytest.raises(ValueError, match="pair"):
        model_distance(O)["m0", "m1", "m2"]


def test_distance_as_table(O):
    D = model_distance(O)
    assert np.array_equal(D.to_frame().loc["m2", "m4"], D["m2", "m4"])
    assert np.asarray(D, dtype=np.float32).dtype == np.float32
    copy = np.array(D)
    copy[0, 1] = 99
    assert D.matrix[0, 1] < 99
    html = ModelDistance(D.matrix, ("<b>", *D.models[1:]), D.kind, D.relative)._repr_html_()
    assert "&lt;b&gt;" in html and "<b></td>" not in html


# Baselines ------------------------------------------------------------------------------------------------------------

def plain(kind, X, Y):
    "Each baseline the long way."
    if kind == "knn":
        return np.mean([1 - len(set(a) & set(b)) / 10 for a, b in zip(data_kernel(X, 10).neighbors, data_kernel(Y, 10).neighbors)])
    if kind == "edges":
        A, B = (data_kernel(Z, 10).graph.toarray() for Z in (X, Y))
        return np.linalg.norm(A - B) / np.sqrt(len(X))
    if kind == "linear":
        unit = [Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (X - X.mean(0), Y - Y.mean(0))]
        K, L = (U @ U.T / np.linalg.norm(U @ U.T) for U in unit)
        return np.linalg.norm(K - L)
    if kind == "cka":
        J = np.eye(len(X)) - 1 / len(X)
        K, L = J @ X @ X.T @ J, J @ Y @ Y.T @ J
        return np.sqrt(2 - 2 * (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum()))
    if kind == "rsa":
        cosine = lambda Z: 1 - (Z / np.linalg.norm(Z, axis=1, keepdims=True)) @ (Z / np.linalg.norm(Z, axis=1, keepdims=True)).T
        pairs = np.triu_indices(len(X), 1)
        return np.sqrt(2 - 2 * spearmanr(cosine(X)[pairs], cosine(Y)[pairs])[0])
    from scipy.spatial import procrustes
    pad = lambda Z: np.pad(Z, ((0, 0), (0, max(X.shape[1], Y.shape[1]) - Z.shape[1])))
    return np.sqrt(2 - 2 * np.sqrt(1 - procrustes(pad(X), pad(Y))[2]))


@each_baseline
def test_baseline_definition(O, kind):
    D, emb = model_distance(O, kind), views()
    assert D["m0", "m4"] == pytest.approx(plain(kind, emb["m0"], emb["m4"]), abs=1e-7) and D["m2", "m2"] == 0
    assert D.frame is None and D.properties is DISTANCES[kind, False] and D.models == O.models


def test_baselines_take_embeddings_and_kernels(O):
    emb = views()
    for kind in ("linear", "cka", "rsa", "procrustes"):
        assert np.allclose(model_distance(emb, kind).matrix, model_distance(O, kind).matrix)
        assert model_distance(Embeddings(emb), kind).models == O.models
    kernels = {name: data_kernel(Y, 10) for name, Y in emb.items()}
    for kind in ("knn", "edges"):
        assert np.allclose(model_distance(kernels, kind).matrix, model_distance(O, kind).matrix)
    assert model_distance(emb, "knn").models == O.models


@each_baseline
@pytest.mark.parametrize("case", range(12))
def test_declared_properties_of_baselines(kind, case):
    "Unlike models, nearly like ones, of low rank, of different widths."
    rng = np.random.default_rng(case)
    Y = rng.normal(size=(7, 40, 4))
    emb = [lambda: Y, lambda: Y[0] + 0.05 * Y, lambda: Y * [1, 1, 0.01, 0.01], lambda: [np.hstack([y, y[:, :t]]) for t, y in enumerate(Y[:5])]][case % 4]()
    D = model_distance({f"m{t}": y for t, y in enumerate(emb)}, kind) if kind not in ("knn", "edges") else model_distance({f"m{t}": data_kernel(y, 6) for t, y in enumerate(emb)}, kind)
    assert (D.matrix >= 0).all() and not D.matrix.diagonal().any() and np.array_equal(D.matrix, D.matrix.T)
    assert (D.matrix <= (D.matrix[:, :, None] + D.matrix[None]).min(1) + 1e-7).all() and D.properties.metric
    assert D.properties.upper_bound is None or D.matrix.max() <= D.properties.upper_bound + 1e-12
    if D.properties.euclidean:
        assert model_manifold(D, 1).negative_mass < 1e-6


@pytest.mark.filterwarnings("ignore:Eigenvalues")
def test_what_is_not_declared_of_baselines_is_not_so():
    rng = np.random.default_rng(0)
    few = {f"m{t}": data_kernel(rng.normal(size=(8, 2)), 2) for t in range(30)}
    assert model_manifold(model_distance(few, "knn"), 1).negative_mass > 1e-3
    one_dimensional = {f"m{t}": np.cos(angle) * np.array([[1.0], [-1], [0], [0]]) + np.sin(angle) * np.array([[0.0], [0], [1], [-1]])
                       for t, angle in enumerate(np.arange(12) * np.pi / 12)}                # distances sqrt(2 - 2 |cos|) on a circle
    assert model_manifold(model_distance(one_dimensional, "procrustes"), 1).negative_mass > 1e-3


@pytest.mark.parametrize("kind", [kind for kind, relative in DISTANCES if not relative])
def test_invariances_are_those_declared(kind):
    base = views(2)
    Y, rotation = base["m0"], np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    variants = {"rotation": Y @ rotation, "scaling": 1e3 * Y, "translation": Y + 2, "stretching": Y * [1, 1, 1, 3, 9]}
    O = omnibus({**base, **variants}, n_components=8, n_neighbors=10)
    D = model_distance(O, kind)
    assert {name for name in variants if D["m0", name] < 1e-6} == set(DISTANCES[kind, False].invariances)


# Frames and resampling ------------------------------------------------------------------------------------------------

@each_distance
def test_pairwise_frame(O, kind, relative):
    few = omnibus({name: O.graphs[name] for name in ("m0", "m1", "m4")}, n_components=8)
    D, pair = model_distance(few, kind, relative, frame="pairwise"), omnibus({name: O.graphs[name] for name in ("m1", "m4")}, n_components=8)
    for alone in (model_distance(pair, kind, relative), model_distance(pair, kind, relative, frame="pairwise")):   # nobody else matters
        assert D["m1", "m4"] == pytest.approx(alone["m1", "m4"], rel=1e-3)
    assert not D.properties.metric and not D.properties.euclidean and D.frame == "pairwise"


@pytest.mark.parametrize("kind, frame", [("frobenius", "joint"), ("spectral", "joint"), ("frobenius", "pairwise"), ("knn", "joint"), ("cka", "joint")])
def testrandom_halves_with_fixed_graphs(O, kind, frame):
    from embgeo_nb.manifold import random_halves
    O = O if frame == "joint" else omnibus(views(3), n_components=8, n_neighbors=10)
    D = model_distance(O, kind, frame=frame, n_resamples=4, refit=False, seed=3)
    assert D.draws.shape == (4, *D.matrix.shape) and np.allclose(D.matrix, model_distance(O, kind, frame=frame).matrix)
    rows = random_halves(O.n, 4, 3)[2]
    assert len(rows) == 60 == len(set(rows))
    if frame == "joint" and kind in ("frobenius", "spectral"):
        assert np.allclose(D.draws[2], [[np.linalg.norm((O[a] - O[b])[rows], "fro" if kind == "frobenius" else 2) / np.sqrt(60) for b in O.models] for a in O.models])
    if kind == "cka":
        assert D.draws[2][0, 1] == pytest.approx(plain("cka", views()["m0"][rows], views()["m1"][rows]))
    again, other = (model_distance(O, kind, frame=frame, n_resamples=4, refit=False, seed=seed).draws for seed in (3, 4))
    assert np.array_equal(D.draws, again) and not np.array_equal(D.draws, other)


def testrandom_halves_refitted(O):
    from embgeo_nb.manifold import random_halves
    D = model_distance(O, n_resamples=3, seed=1)
    rows = random_halves(O.n, 3, 1)[0]
    alone = omnibus({name: Y[rows] for name, Y in views().items()}, n_components=8, n_neighbors=5)
    assert np.allclose(D.draws[0], model_distance(alone).matrix, rtol=1e-3) and not np.allclose(D.draws[0], D.matrix, rtol=0.01)
    lower, upper = D.interval(0.9)
    assert (lower <= upper).all() and not lower.diagonal().any() and np.allclose(D.standard_error, D.draws.std(0))
    for call, words in [(lambda: D.interval(0), "level"), (lambda: model_distance(O).standard_error, "n_resamples")]:
        with pytest.raises(ValueError, match=words):
            call()


def test_intervals_are_centred_on_the_estimate():
    "A shift that all halves share is bias, not spread."
    matrix = np.array([[0, 1.0], [1, 0]])
    noise = np.random.default_rng(0).normal(size=4000) * 0.1
    D = ModelDistance(matrix, ("a", "b"), "frobenius", False, draws=matrix * (1.5 + noise)[:, None, None])
    lower, upper = D.interval()
    assert lower[0, 1] == pytest.approx(1 - 0.196, abs=0.01) and upper[0, 1] == pytest.approx(1 + 0.196, abs=0.01)


def test_ellipses_have_the_right_size():
    rng = np.random.default_rng(0)
    points, sigma = rng.normal(size=(25, 2)) * [3, 1], 0.02
    noisy = np.stack([distances_of(points + sigma * rng.normal(size=points.shape)) for _ in range(400)])
    M = model_manifold(ModelDistance(distances_of(points), tuple(f"m{t}" for t in range(25)), "frobenius", False, draws=noisy))
    assert M.covariances.shape == (25, 2, 2)
    assert np.median(np.linalg.eigvalsh(M.covariances)) == pytest.approx(sigma ** 2, rel=0.15)
    assert np.isnan(M.add(M.distances[0], "late").covariances[-1]).all()


# Isomap and tree ------------------------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore")
def test_isomap_against_scikit_learn():
    Isomap = pytest.importorskip("sklearn.manifold").Isomap
    angle = np.linspace(0, 4.5, 40) + 0.02 * np.random.default_rng(0).normal(size=40)
    truth = distances_of(np.c_[np.cos(angle), np.sin(angle)])
    theirs = Isomap(n_neighbors=4, n_components=2, metric="precomputed").fit(truth)
    M = model_manifold(truth, method="isomap", n_neighbors=4)
    assert np.allclose(M.distances, theirs.dist_matrix_) and np.allclose(np.abs(M.coordinates), np.abs(theirs.embedding_), atol=1e-6)
    assert abs(spearmanr(M.coordinates[:, 0], angle)[0]) > 0.999 and M.n_steps == 4
    assert np.abs(M.place(truth) - M.coordinates).max() < 1e-8
    assert np.allclose(M.add(truth[7], "again").distances[-1, :40], M.distances[7])


def test_isomap_with_duplicates_and_islands():
    points = np.array([[0.0], [0.0], [1.0], [2.0], [3.5]])
    M = model_manifold(distances_of(points), 1, method="isomap", n_neighbors=2)
    assert np.allclose(M.distances, distances_of(points)) and M.distances[0, 1] == 0
    with pytest.raises(ValueError, match="3 models cannot be reached"):
        model_manifold(distances_of(np.array([[0.0], [0.1], [9.0], [9.1], [9.25]])), 1, method="isomap", n_neighbors=1)
    with pytest.raises(ValueError, match="method"):
        model_manifold(square, method="sammon")
    with pytest.raises(ValueError, match="n_neighbors"):
        model_manifold(square, method="isomap", n_neighbors=3)
    with pytest.raises(ValueError, match="Isomap"):
        M.correlate(np.arange(5), unseen=True)


@pytest.mark.parametrize("method", ["average", "complete", "single", "weighted"])
def test_tree(method):
    from scipy.cluster.hierarchy import cophenet, linkage
    from scipy.spatial.distance import squareform
    points = np.r_[np.random.default_rng(0).normal(size=(6, 2)), 20 + np.random.default_rng(1).normal(size=(4, 2))]
    truth = distances_of(points)
    T = model_tree(truth, method)
    assert np.allclose(T.linkage[:, 2], linkage(squareform(truth), method)[:, 2]) and T.cophenetic == pytest.approx(cophenet(T.linkage, squareform(truth))[0])
    found = T.clusters(2)
    assert len({found[f"model {t}"] for t in range(6)}) == 1 and len(set(found.values())) == 2 and len(set(T.clusters(10).values())) == 10
    assert sorted(T.order) == sorted(T.models) and {*T.order[:4]} in ({f"model {t}" for t in range(6, 10)}, {*T.order[:4]} - {f"model {t}" for t in range(6, 10)})
    for call in (lambda: T.clusters(11), lambda: model_tree(truth, "ward"), lambda: model_tree(-truth)):
        with pytest.raises(ValueError):
            call()


# Unrelated models -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, relative", [key for key in DISTANCES])
def test_unrelated_models_are_as_far_as_they_should_be(kind, relative):
    "Independent models come out at 0 on average; equal ones at 1; noisy copies in between, and are found to be related."
    rng = np.random.default_rng(0)
    base = rng.normal(size=(120, 5))
    emb = {"a": base, "copy": base.copy(), "noisy": base + 0.3 * rng.normal(size=base.shape), "foreign": rng.normal(size=(120, 9))}
    O = omnibus(emb, n_components=8, n_neighbors=10)
    table = unrelated_distance(O, kind, relative, n_permutations=19).set_index(["a", "b"])
    assert table.loc[("a", "copy"), "calibrated"] == pytest.approx(1, abs=1e-4) and table.loc[("a", "copy"), "pvalue"] == 0.05
    assert 0.1 < table.loc[("a", "noisy"), "calibrated"] < 0.95 and table.loc[("a", "noisy"), "pvalue"] == 0.05
    foreign = table.loc[("a", "foreign")]
    assert abs(foreign["distance"] - foreign["unrelated"]) < 4 * foreign["sd"] and abs(foreign["calibrated"]) < 0.1
    frame = "pairwise" if DISTANCES[kind, relative].compares == "positions" else "joint"
    assert foreign["distance"] == model_distance(O, kind, relative, frame)["a", "foreign"]


@pytest.mark.parametrize("k", [5, 20, 60])
def test_chance_of_a_common_neighbour_is_known(k):
    "Of k neighbours among n - 1 others, chance has k / (n - 1) in common."
    table = unrelated_distance({name: data_kernel(Y, k) for name, Y in views(3).items()}, "knn", n_permutations=30)
    assert np.allclose(table["unrelated"], 1 - k / 119, atol=5 * table["sd"].max() / 30 ** 0.5)


def test_unrelated_distance_is_seeded_and_refuses(O):
    one, two, other = (unrelated_distance(O, "cka", n_permutations=3, seed=seed) for seed in (1, 1, 2))
    assert one.equals(two) and not one.equals(other) and len(one) == 15
    with pytest.raises(ValueError, match="n_permutations"):
        unrelated_distance(O, n_permutations=1)
    with pytest.raises(TypeError, match="Omnibus"):
        unrelated_distance(views(2))


# Maps -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("m, c, seed", [(5, 1, 0), (8, 3, 1), (20, 4, 2), (3, 2, 3)])
def test_points_are_recovered(m, c, seed):
    truth = distances_of(np.random.default_rng(seed).normal(size=(m, c)))
    M = model_manifold(truth, n_components=c)
    assert np.abs(distances_of(M.coordinates) - truth).max() < 1e-9
    assert np.abs(M.coordinates.mean(0)).max() < 1e-9 and len(M.eigenvalues) == m
    assert (np.diff(M.eigenvalues) <= 1e-12).all() and abs(M.explained.sum() - 1) < 1e-9 and M.negative_mass < 1e-9
    largest = np.take_along_axis(M.coordinates, np.abs(M.coordinates).argmax(0)[None], 0)
    assert (largest > 0).all()


def test_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.manifold")
    if not hasattr(sklearn, "ClassicalMDS"):
        pytest.skip("this scikit-learn has no ClassicalMDS")
    truth = distances_of(np.random.default_rng(4).normal(size=(15, 6)))
    theirs = sklearn.ClassicalMDS(n_components=3, metric="precomputed").fit(truth)
    M = model_manifold(truth, n_components=3)
    assert np.allclose(np.abs(M.coordinates), np.abs(theirs.embedding_), atol=1e-8)


def test_noneuclidean_distances():
    "Three ends of a star and its middle: the squared distances 1 and 4 fit no points."
    star = np.array([[0, 2, 2, 1], [2, 0, 2, 1], [2, 2, 0, 1], [1, 1, 1, 0.0]])
    with pytest.warns(UserWarning, match="Eigenvalues 1 and 2"):
        M = model_manifold(star)
    B = -0.5 * (np.eye(4) - 0.25) @ star ** 2 @ (np.eye(4) - 0.25)
    assert np.allclose(M.eigenvalues, np.sort(np.linalg.eigvalsh(B))[::-1])
    assert M.negative_mass == pytest.approx(-M.eigenvalues.min() / np.abs(M.eigenvalues).sum()) and M.negative_mass > 0.01
    with pytest.raises(ValueError, match="only 2 positive directions; got 3"):
        model_manifold(star, 3)


@pytest.mark.filterwarnings("error")
def test_no_warning_without_ties():
    model_manifold(distances_of(np.random.default_rng(0).normal(size=(10, 3)) * [3, 2, 1]))


def test_the_plane_itself_may_be_arbitrary():
    with pytest.warns(UserWarning, match="which of the two directions"):
        model_manifold(1 - np.eye(3), n_components=1)


square = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0.0]])


@pytest.mark.parametrize("wrong, words", [
    (square[:2], "square"), (square[0], "square"), (np.zeros((1, 1)), "at least two"), (-square, "negative"), (square + np.eye(3), "zero diagonal"),
    (square + np.triu(np.ones((3, 3)), 1), "symmetric"), (square + np.diag([np.nan, 0, 0]), "NaN"), (np.zeros((3, 3)), "distance 0")])
def test_model_manifold_refuses(wrong, words):
    with pytest.raises(ValueError, match=words):
        model_manifold(wrong)


def test_names(O):
    M = model_manifold(square, models=["a", "b", "c"], n_components=1)
    assert M.models == ("a", "b", "c") and np.array_equal(M["b"], M.coordinates[1])
    assert list(M.to_frame().index) == ["a", "b", "c"] and "<td>a</td>" in M._repr_html_()
    for models in (["a", "b"], ["a", "a", "b"], [1, 2, 3]):
        with pytest.raises(ValueError, match="3 different names"):
            model_manifold(square, models=models)
    with pytest.raises(ValueError, match="names its models itself"):
        model_manifold(model_distance(O), models=list("abcdef"))
    assert model_manifold(model_distance(O)).settings["kind"] == "frobenius"
    with pytest.raises(TypeError, match="n_components"):
        model_manifold(square, n_components=1.0)


@pytest.mark.parametrize("seed", range(4))
def test_added_points(seed):
    "A model already there gets its coordinates back, whatever the negative mass; a new point of the same plane gets its own."
    rng = np.random.default_rng(seed)
    uneven = distances_of(rng.normal(size=(9, 4))) ** rng.choice([0.5, 1.3])
    M = model_manifold(uneven, 2)
    assert np.abs(M.place(uneven) - M.coordinates).max() < 1e-6
    points = rng.normal(size=(10, 2))
    M = model_manifold(distances_of(points)[:9, :9]).add(distances_of(points)[9, :9], "late")
    assert np.abs(distances_of(M.coordinates) - distances_of(points)).max() < 1e-9
    assert M.n_fitted == 9 and M.models[-1] == "late" and np.allclose(M.distances, distances_of(points))


def test_add_by_name(O):
    D = model_distance(O)
    M = model_manifold(D)
    shuffled = dict(reversed(D["m2"].items()), somebody=3.0)
    assert np.abs(M.add(shuffled, "again")["again"] - M["m2"]).max() < 1e-6
    twice = M.add(D["m2"], "again").add(D["m3"], "and again")
    assert np.isnan(twice.distances[-1, -2]) and np.abs(twice["and again"] - M["m3"]).max() < 1e-6
    with pytest.raises(ValueError, match="m3 is missing"):
        M.place({name: value for name, value in D["m2"].items() if name != "m3"})
    with pytest.raises(ValueError, match="new model name"):
        M.add(D["m2"], "m2")


@each_distance
def test_distances_from_a_newcomer(O, kind, relative, monkeypatch):
    "The same as adding it to the omnibus, with no eigenproblem; and a model that is there is at distance 0 from itself."
    late = views(1, seed=9)["m0"]
    there = model_distance(O.add_model("late", late), kind, relative)["late"]
    for name in ("omnibus", "as_graphs"):
        monkeypatch.setattr(f"embgeo_nb.manifold.{name}", lambda *_, **__: pytest.fail("solved anew"))
    assert distances_from(O, late, kind, relative) == pytest.approx({name: value for name, value in there.items() if name != "late"}, abs=1e-10)
    kernel = data_kernel(views()["m3"], 10)
    for known in (views()["m3"], kernel, kernel.graph):
        assert distances_from(O, known, kind, relative)["m3"] < 1e-6
    if kind == "frobenius":
        M = model_manifold(model_distance(O, kind, relative))
        assert np.abs(M.add(distances_from(O, kernel, kind, relative), "again")["again"] - M["m3"]).max() < 1e-6


def test_distances_from_refuses(O):
    for wrong, model, error, words in [(O, np.ones((5, 2)) + np.eye(5, 2), ValueError, "n_neighbors|data"), (O, data_kernel(views(1, n=60)["m0"], 10), ValueError, "same 120 data"),
                                       (views(), views()["m0"], TypeError, "Omnibus"), (omnibus(O.graphs.graphs, n_components=8), views()["m0"], TypeError, "settings")]:
        with pytest.raises(error, match=words):
            distances_from(wrong, model)


# Associations ---------------------------------------------------------------------------------------------------------

def random_map(m=12, c=3, seed=0):
    return model_manifold(distances_of(np.random.default_rng(seed).normal(size=(m, c)) * np.arange(c, 0, -1)), 2)


@pytest.mark.parametrize("method, reference", [("pearson", pearsonr), ("spearman", spearmanr)])
def test_mantel_statistic(method, reference):
    M, metric = random_map(), np.random.default_rng(1).normal(size=12)
    pairs = np.triu_indices(12, 1)
    expected = reference(M.distances[pairs], np.abs(metric[:, None] - metric)[pairs])[0]
    result = M.correlate(metric, n_permutations=19, method=method)
    assert result.statistic == pytest.approx(expected, abs=1e-12) and len(result.null_distribution) == 19
    by_matrix = M.correlate(np.abs(metric[:, None] - metric), n_permutations=19, method=method)
    assert by_matrix.statistic == pytest.approx(expected, abs=1e-12) and by_matrix.pvalue == result.pvalue
    assert by_matrix.r_squared is by_matrix.predictions is None and "R²" not in by_matrix._repr_html_()


def test_pvalue_against_all_permutations():
    M, metric = random_map(6), np.random.default_rng(3).normal(size=6)
    result = M.correlate(metric, n_permutations=19_999)
    pairs = np.triu_indices(6, 1)
    everything = [pearsonr(M.distances[pairs], np.abs(np.subtract.outer(metric[list(p)], metric[list(p)]))[pairs])[0] for p in permutations(range(6))]
    exact = np.mean(np.array(everything) >= result.statistic - 1e-12)
    assert abs(result.pvalue - exact) < 4 * np.sqrt(exact * (1 - exact) / 19_999)
    assert M.correlate(metric, n_permutations=9).pvalue >= 0.1


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1, 2, 3], 3), ["a"] * 5 + ["b"] * 4 + ["c"] * 3])
def test_left_out_predictions(groups):
    M, metric = random_map(), np.random.default_rng(2).normal(size=12)
    result = M.correlate(metric, n_permutations=19, groups=groups)
    held = np.arange(12) if groups is None else np.asarray(groups)
    predicted, mean = np.empty(12), np.empty(12)
    for group in np.unique(held):
        out = held == group
        design = np.column_stack([np.ones(12), M.coordinates])
        predicted[out] = design[out] @ np.linalg.lstsq(design[~out], metric[~out], rcond=None)[0]
        mean[out] = metric[~out].mean()
    assert np.allclose(result.predictions, predicted)
    assert result.r_squared == pytest.approx(1 - ((metric - predicted) ** 2).sum() / ((metric - mean) ** 2).sum())


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1, 2, 3], 3)])
def test_unseen_models_take_no_part(groups):
    M, metric = random_map(), np.random.default_rng(2).normal(size=12)
    result = M.correlate(metric, n_permutations=19, groups=groups, unseen=True)
    held, predicted = np.arange(12) if groups is None else groups, np.empty(12)
    for group in np.unique(held):
        out = held == group
        kept = model_manifold(M.distances[np.ix_(~out, ~out)], 2)
        design = np.column_stack([np.ones((~out).sum()), kept.coordinates])
        placed = np.column_stack([np.ones(out.sum()), kept.place(M.distances[np.ix_(out, ~out)])])
        predicted[out] = placed @ np.linalg.lstsq(design, metric[~out], rcond=None)[0]
    assert np.allclose(result.predictions, predicted)
    assert result.variance_explained == pytest.approx(1 - ((metric - predicted) ** 2).sum() / ((metric - metric.mean()) ** 2).sum())
    assert result.variance_explained < result.r_squared and result.statistic == M.correlate(metric, n_permutations=19, groups=groups).statistic
    assert M.correlate(M.distances, n_permutations=19).variance_explained is None


def test_associate(O):
    pytest.importorskip("pandas")
    distances, metric = {kind: model_distance(O, kind) for kind in ("frobenius", "cka")}, np.arange(6.0)
    table = associate(distances, metric, n_permutations=99, seed=4)
    alone = model_manifold(distances["cka"]).correlate(metric, n_permutations=99, seed=4)
    assert list(table.loc["cka"]) == [alone.statistic, alone.pvalue, alone.r_squared, alone.r_squared_pvalue]
    assert associate(distances, np.abs(metric[:, None] - metric), n_permutations=9)["r_squared"].isna().all()
    with pytest.raises(ValueError, match="same models"):
        associate({**distances, "other": model_distance(omnibus(views(3), n_components=4, n_neighbors=10))}, metric)
    with pytest.raises(TypeError, match="at least one"):
        associate({}, metric)


def test_permutations_respect_groups():
    from embgeo_nb.manifold import grouped_permutations
    groups = np.array(list("aabbbccdddde"))
    drawn = grouped_permutations(groups, 12, 500, np.random.default_rng(0))
    assert all(sorted(row) == list(range(12)) for row in drawn.tolist())
    images = groups[drawn]
    for group in "abcde":                                # a group goes as a whole to a group of its size
        assert all(len(set(row)) == 1 for row in images[:, groups == group].tolist())
    assert set(images[:, 0]) == {"a", "c"} and set(images[:, 2]) == {"b"} and set(images[:, -1]) == {"e"}
    assert len(set(map(tuple, drawn[:, groups == "d"].tolist()))) == 24


def test_level_and_power():
    "Independent metrics: both p-values are uniform. A metric that is a coordinate: both are small."
    M, rng = random_map(14), np.random.default_rng(0)
    results = [M.correlate(rng.normal(size=14), seed=s, n_permutations=99) for s in range(400)]
    for pvalues in (np.array([r.pvalue for r in results]), np.array([r.r_squared_pvalue for r in results])):
        assert abs((pvalues <= 0.05).mean() - 0.05) < 0.04 and abs((pvalues <= 0.5).mean() - 0.5) < 0.1
    found = M.correlate(M.coordinates[:, 0], n_permutations=999)
    assert found.pvalue == found.r_squared_pvalue == 0.001 and found.r_squared > 1 - 1e-9


def test_seeds():
    M, metric = random_map(), np.random.default_rng(1).normal(size=12)
    one, two, other = (M.correlate(metric, seed=seed, n_permutations=99) for seed in (3, 3, 4))
    assert np.array_equal(one.null_distribution, two.null_distribution) and not np.array_equal(one.null_distribution, other.null_distribution)
    generator = M.correlate(metric, seed=np.random.default_rng(0), n_permutations=99)
    assert isinstance(generator.seed, int) and generator.pvalue == M.correlate(metric, seed=generator.seed, n_permutations=99).pvalue
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    M.correlate(metric, n_permutations=99)
    assert np.array_equal(np.random.get_state()[1], state)


def test_metric_by_name():
    M = random_map(5)
    values = dict(zip(M.models, [0.1, 0.5, 0.2, 0.9, 0.4]))
    by_name = M.correlate(dict(reversed(values.items())), n_permutations=19, groups=None)
    assert np.array_equal(by_name.metric, list(values.values())) and isinstance(by_name, Association) and isinstance(M, ModelManifold)
    assert by_name.models == M.models and "19 permutations" in by_name._repr_html_()


def test_what_has_names_is_read_by_name():
    "Series, frames and distances in another order, or of other models."
    M, rng = random_map(6), np.random.default_rng(3)
    metric = dict(zip(M.models, rng.normal(size=6)))
    wanted = M.correlate(list(metric.values()), n_permutations=19)
    order = rng.permutation(6)
    series = pd.Series(metric).iloc[order]
    for given in (series, dict(series), pd.Series({**series, "one more": 9.0})):
        assert np.array_equal(M.correlate(given, n_permutations=19).null_distribution, wanted.null_distribution)
    apart = pd.DataFrame(M.distances, M.models, M.models)
    assert M.correlate(apart.iloc[order, order[::-1]], n_permutations=19).statistic > 1 - 1e-12
    named = ModelDistance(M.distances[np.ix_(order, order)], tuple(np.array(M.models)[order].tolist()), "own", False)
    assert M.correlate(named, n_permutations=19).statistic > 1 - 1e-12
    family = pd.Series(dict(zip(M.models, "aabbcc")))
    assert list(M.correlate(series, n_permutations=19, groups=family.iloc[order]).groups) == list("aabbcc")
    for wrong in (pd.Series(range(6)), pd.Series({"model 0": 1.0, "other": 2.0}), apart.iloc[:4, :4], pd.Series(list(metric.values()), [*M.models[:5], "x"])):
        with pytest.raises(ValueError, match="model [0-9].* missing"):
            M.correlate(wrong)
    with pytest.raises(ValueError, match="twice"):
        M.correlate(pd.Series([*metric.values(), 1.0], [*M.models, M.models[2]]))
    with pytest.raises(ValueError, match="groups.*model 1.*missing"):
        M.correlate(metric, groups={"model 0": "a"})


def test_added_by_name_in_either_order():
    M = random_map(6)
    one = M.add(M.distances[2], "late")
    for other in (M.add("late", M.distances[2]), M.add(distances=M.distances[2], name="late"), M.add(M.distances[2], name="late"),
                  M.add("late", pd.Series(M.distances[2], M.models).iloc[::-1])):
        assert other.models[-1] == "late" and np.array_equal(other.coordinates, one.coordinates)
    for wrong in (("late", "other"), (M.distances[2], M.distances[2])):
        with pytest.raises(ValueError):
            M.add(*wrong)


def test_tables_escape_what_they_show():
    sharp = "<script>x</script>"
    D = ModelDistance(np.array([[0.0, 1.0], [1.0, 0.0]]), (sharp, "b"), sharp, False)
    named = DistanceKind(sharp, metric=True, euclidean=True)
    shown = [D._repr_html_(), replace(D, properties=named)._repr_html_(), replace(D, relative=True)._repr_html_(), model_manifold(D, 1)._repr_html_(),
             replace(random_map(5).correlate(np.arange(5), n_permutations=9), method=sharp)._repr_html_()]
    assert all("<script>" not in html.lower() and "&lt;script&gt;" in html.lower() for html in shown)


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4, 4), (6, 4, 4, 3, 3)])
def test_families_respected_or_not(sizes):
    "Families share place and score, and nothing links the two: with groups one in twenty is found, without them far more."
    family, rng, found = np.repeat(np.arange(5), sizes), np.random.default_rng(4), np.zeros((2, 2))
    for _ in range(60):
        places = rng.normal(size=(5, 2))[family] + 0.2 * rng.normal(size=(20, 2))
        score = rng.normal(size=5)[family] + 0.2 * rng.normal(size=20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            M = model_manifold(distances_of(places))
        results = [M.correlate(score, n_permutations=59, groups=groups) for groups in (None, family)]
        found += [[own.pvalue <= 0.05, own.r_squared_pvalue <= 0.05] for own in results]
    without, with_groups = found / 60
    assert without.min() > 0.3 and with_groups.max() < 0.15


@pytest.mark.parametrize("options, words", [
    (dict(metric=[1, 2, 3]), "one per model"), (dict(metric=np.ones(12)), "nothing to correlate"), (dict(metric={"model 0": 1}), "missing"),
    (dict(metric=np.ones((3, 3))), "metric must be a square matrix of distances between 12"), (dict(metric=[np.inf] * 12), "finite"),
    (dict(groups=[0] * 12), "two groups"), (dict(groups=[0] * 9 + [1] * 3), "fewer components"), (dict(groups=[0, 1]), "12 labels"),
    (dict(method="kendall"), "method"), (dict(n_permutations=0), "n_permutations"), (dict(seed=-1), "seed")])
def test_correlate_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        random_map().correlate(**{"metric": np.arange(12), **options})


def test_correlate_needs_models_and_distances():
    with pytest.raises(ValueError, match="at least 4"):
        model_manifold(square, 1).correlate([1, 2, 3])
    M = random_map(5)
    with pytest.raises(ValueError, match="new map"):
        M.add(M.distances[0], "x").add(M.distances[1], "y").correlate(np.arange(7))
    assert M.add(M.distances[0], "x").correlate(np.arange(6), n_permutations=19).models[-1] == "x"
