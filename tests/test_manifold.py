"""Distances between models are what they say they are; maps are exact; associations hold their level."""
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from embgeo_nb.manifold import DISTANCES, Association, ModelDistance, ModelManifold, model_distance, model_manifold
from embgeo_nb.omnibus import omnibus

each_distance = pytest.mark.parametrize("kind, relative", DISTANCES)


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
def test_what_is_not_declared_is_not_so(O):
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
    with pytest.raises(ValueError, match="'frobenius', 'spectral'"):
        model_distance(O, "nuclear")
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


def test_permutations_respect_groups():
    from embgeo_nb.manifold import _permutations
    groups = np.array(list("aabbbccdddde"))
    drawn = _permutations(groups, 12, 500, np.random.default_rng(0))
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
