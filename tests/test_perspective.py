"""Models by their answers: the published definition, ragged replicates, and predictions that never see what they predict."""
import numpy as np
import pytest

from embgeo_nb.manifold import model_manifold
from embgeo_nb.perspective import Claim, perspective_distance, perspective_space, query_curve


def answers(m=8, q=6, r=3, p=5, seed=0):
    rng = np.random.default_rng(seed)
    return {f"m{i}": rng.normal(size=(q, r, p)) for i in range(m)}


@pytest.mark.parametrize("normalize, constant", [("frobenius", 1), ("mean", 1 / 6), ("rms", 6 ** -0.5)])
def test_definition(normalize, constant):
    given = answers()
    D = perspective_distance(given, normalize)
    for a, b in (("m0", "m1"), ("m3", "m7")):
        assert D[a, b] == pytest.approx(constant * np.linalg.norm(given[a].mean(1) - given[b].mean(1)))
    M = perspective_space(given, normalize, n_components=5)
    J = np.eye(8) - 1 / 8
    values, vectors = np.linalg.eigh(-0.5 * J @ D.matrix ** 2 @ J)
    assert np.allclose(np.abs(M.coordinates), np.abs(vectors[:, ::-1][:, :5] * np.sqrt(values[::-1][:5])))
    assert D.properties.metric and D.properties.euclidean and M.negative_mass < 1e-9 and M.settings["normalize"] == normalize


def test_only_rms_keeps_its_size_when_queries_are_added():
    short, long = ({name: np.tile(X, (copies, 1, 1)) for name, X in answers().items()} for copies in (1, 10))
    size = lambda given, normalize: perspective_distance(given, normalize)["m0", "m1"]
    assert size(long, "rms") == pytest.approx(size(short, "rms"))
    assert size(long, "mean") < 0.5 * size(short, "mean") and size(long, "frobenius") > 2 * size(short, "frobenius")


def test_ragged_replicates():
    rng = np.random.default_rng(0)
    ragged = {f"m{i}": [rng.normal(size=(rng.integers(1, 5), 4)) for _ in range(6)] for i in range(4)}
    means = {name: np.stack([row.mean(0) for row in rows])[:, None] for name, rows in ragged.items()}
    assert np.allclose(perspective_distance(ragged).matrix, perspective_distance(means).matrix)


def test_debiased_squares_are_unbiased():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 4, 6))
    draws = []
    for _ in range(400):
        noisy = {f"m{i}": [truth[i, j] + rng.normal(size=(2 + (i + j) % 3, 6)) for j in range(4)] for i in range(3)}
        draws.append([perspective_distance(noisy, debias=debias).matrix ** 2 for debias in (False, True)])
    raw, mended = np.mean(draws, 0)
    expected = ((truth[:, None] - truth) ** 2).sum((2, 3)) / 4
    pairs = np.triu_indices(3, 1)
    assert np.allclose(mended[pairs], expected[pairs], rtol=0.03) and (raw[pairs] > 1.2 * expected[pairs]).all()


@pytest.mark.parametrize("debias", [False, True])
def test_declared_properties(debias):
    "What is declared holds in every draw; what is not declared fails in some, so that the declaration is as strong as it may be."
    rng, found = np.random.default_rng(1), {"metric": [], "euclidean": [], "apart": []}
    for _ in range(60):
        means = np.repeat(rng.normal(size=(6, 1, 1, 2)) * 0.7, 2, axis=1)
        D = perspective_distance({f"m{i}": means[i] + rng.normal(size=(2, 3, 2)) for i in range(6)}, debias=debias)
        A = D.matrix
        assert D.properties.symmetric and np.array_equal(A, A.T) and not A.diagonal().any() and (A >= 0).all()
        J = np.eye(6) - 1 / 6
        found["metric"].append((A[:, None] <= A[:, :, None] + A[None] + 1e-9).all())
        found["euclidean"].append(np.linalg.eigvalsh(-J @ A ** 2 @ J / 2).min() > -1e-9)
        found["apart"].append((A + np.eye(6) > 0).all())
    assert D.properties.metric == all(found["metric"]) == (not debias) and D.properties.euclidean == all(found["euclidean"]) == (not debias)
    assert all(found["apart"]) == (not debias)                                   # a square below zero is a distance of zero
    assert model_manifold(D, 1).negative_mass < 1e-9 or debias


@pytest.mark.parametrize("wrong, words", [
    ({"a": np.zeros((3, 1, 2))}, "at least two"), ([np.zeros((3, 1, 2))] * 2, "dict"), ({"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, r"\(n_queries, n_replicates, p\)"),
    ({"a": np.zeros((3, 1, 2)), "b": np.zeros((3, 1, 4))}, "same queries"), ({"a": np.zeros((3, 1, 2)), "b": np.zeros((2, 1, 2))}, "same queries"),
    ({"a": np.zeros((3, 0, 2)), "b": np.zeros((3, 1, 2))}, "at least one"), ({"a": np.full((3, 1, 2), np.inf), "b": np.zeros((3, 1, 2))}, "infinite")])
def test_refuses(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        perspective_space(wrong)


def test_refuses_options():
    with pytest.raises(ValueError, match="normalize"):
        perspective_distance(answers(), "max")
    with pytest.raises(ValueError, match="two replicates"):
        perspective_distance(answers(r=1), debias=True)
    with pytest.raises(ValueError, match="half of 3"):
        perspective_distance(answers(q=3), n_resamples=5)
    with pytest.raises(ValueError, match="there are 6 queries"):
        query_curve(answers(), np.arange(8), [7])


def test_halves_of_the_queries():
    given = answers()
    D = perspective_distance(given, n_resamples=5, seed=2)
    rows = np.random.default_rng(2).permutation(6)[:3]
    assert np.allclose(D.draws[0], perspective_distance({name: X[rows] for name, X in given.items()}).matrix)
    assert perspective_space(given, n_resamples=5).covariances.shape == (8, 2, 2) and D.interval()[0].shape == (8, 8)


def scored(seed=0, families=6, size=4):
    rng = np.random.default_rng(seed)
    better = rng.normal(size=(10, 1, 8))
    skill = rng.normal(size=families * size)
    given = {f"m{i}": skill[i] * better + 0.5 * rng.normal(size=(10, 1, 8)) for i in range(families * size)}
    return given, dict(zip(given, skill)), dict(zip(given, np.repeat(np.arange(families), size).tolist()))


def test_query_curve():
    given, skill, family = scored()
    curve = query_curve(given, skill, [1, 5, 10], family, n_components=2, repeats=6, seed=1)
    whole = perspective_space(given).correlate(skill, groups=family, unseen=True, n_permutations=9).variance_explained
    assert curve.scores.shape == (3, 6) and np.allclose(curve.scores[2], whole) and curve.scores[2, 0] > 0.8
    assert len(set(curve.scores[0])) > 1 and np.array_equal(curve.scores, query_curve(given, skill, [1, 5, 10], family, n_components=2, repeats=6, seed=1).scores)
    assert (curve.n_models, curve.n_groups) == (24, 6) and "24 models" in curve._repr_html_()


def test_predictions_do_not_see_the_family_they_predict():
    "Change the scores and answers of one family: what is predicted from the others about it changes with its answers alone."
    given, skill, family = scored()
    first = [name for name in family if family[name] == 0]
    result = perspective_space(given).correlate(skill, groups=family, unseen=True, n_permutations=9)
    lied = perspective_space(given).correlate({**skill, **{name: 99.0 for name in first}}, groups=family, unseen=True, n_permutations=9)
    assert np.allclose(result.predictions[:4], lied.predictions[:4]) and not np.allclose(result.predictions[4:], lied.predictions[4:])
    other = perspective_space({**given, first[1]: given["m9"]}).correlate(skill, groups=family, unseen=True, n_permutations=9)
    assert np.allclose(other.predictions[[0, 2, 3]], result.predictions[[0, 2, 3]])


def test_claims():
    claim = Claim("it <works>", {"k = 1": 0.6, "k = 2": 0.9}, "k", "min", 0.5)
    assert claim.holds and claim.number == 0.6 and "&lt;works&gt;" in claim._repr_html_() and "yes" in claim._repr_html_()
    assert Claim("x", {"a": 0.2, "b": 0.4}, "k", "median", 0.3).holds and not Claim("x", {"a": 0.2}, "k", "max", 0.1, at_least=False).holds
    for wrong in (dict(reduction="mean"), dict(values={}), dict(values={"a": np.nan})):
        with pytest.raises(ValueError):
            Claim(**{**dict(statement="x", values={"a": 1.0}, sweep="k", reduction="min", threshold=0), **wrong})


def test_equal_models_are_at_distance_zero():
    given = {**answers(), "copy": answers()["m2"].copy()}
    D = perspective_distance(given)
    assert D["copy", "m2"] == 0
    M = model_manifold(D)
    assert np.abs(M["copy"] - M["m2"]).max() < 1e-9 and np.abs(M.place(D["copy"]) - M["copy"]).max() < 1e-6
