"""Models by their answers: the published definition, ragged replicates, and predictions that never see what they predict."""
import numpy as np
import pytest

from embgeo_nb.manifold import model_manifold
from embgeo_nb.perspective import (Claim, answer_test, choose_queries, embed_answers, perspective_distance, perspective_space, predict_metric, query_curve,
                                   ridge_on_map)


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
    with pytest.raises(ValueError, match="one number per model"):
        query_curve(answers(), np.abs(np.subtract.outer(np.arange(8), np.arange(8))), [3], n_components=2)


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


# Partial answers, raw answers, tests, intervals, choices ---------------------------------------------------------------

def test_partial_answers_are_scaled_by_what_a_query_contributes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 8, 5)) * np.array([5, 1, 1, 1, 1, 1, 1, 1])[:, None]
    whole = {f"m{i}": list(X[i][:, None]) for i in range(6)}
    gap = {**whole, "m0": [[], *whole["m0"][1:]]}                              # the loudest query is missing
    D, full = perspective_distance(gap, partial=True), perspective_distance(whole)
    assert np.allclose(D.matrix[1:, 1:], full.matrix[1:, 1:]) and not D.properties.metric
    squared = ((X[:, None] - X) ** 2).sum(3)                                     # (6, 6, 8)
    pairs = np.triu_indices(6, 1)
    known = np.ones((6, 6)); known[0] = known[:, 0] = 0
    usual = np.r_[squared[..., 0][(known > 0) & ~np.eye(6, dtype=bool)].mean(), squared[..., 1:][pairs].mean(0)]
    assert D["m0", "m1"] ** 2 * 8 == pytest.approx(squared[0, 1, 1:].sum() * usual.sum() / usual[1:].sum())
    with pytest.raises(ValueError, match="partial=True"):
        perspective_distance(gap)
    debiased = perspective_distance({name: [np.vstack([row, row]) if len(row) else row for row in rows] for name, rows in gap.items()}, debias=True, partial=True)
    assert np.allclose(debiased.matrix, D.matrix)                                # replicates without noise: nothing to subtract


def test_embedded_answers_are_in_their_places():
    calls = []

    def encoder(texts):
        calls.append(list(texts))
        return np.array([[len(text), text.count("a")] for text in texts])

    found = embed_answers({"x": ["aa", ["b", "aa"], None], "y": ["b", "c", "aaa"]}, encoder)
    assert calls == [["aa", "b", "c", "aaa"]] and [len(row) for row in found["x"]] == [1, 2, 0]
    assert found["x"][1].tolist() == [[1, 0], [2, 2]] and found["y"][2].tolist() == [[3, 3]] and found["x"][2].shape == (0, 2)
    assert perspective_distance(found, partial=True).matrix.shape == (2, 2)


@pytest.mark.parametrize("heavy", [False, True])
def test_answer_test_is_exact(heavy):
    rng, found = np.random.default_rng(3), []
    draw = (lambda size: rng.standard_t(2, size=size)) if heavy else (lambda size: rng.normal(size=size))
    for seed in range(300):
        given = {"a": draw((5, 3, 4)), "b": draw((5, 4, 4))}
        found.append((lambda R: (R.pvalue, *R.query_pvalue))(answer_test(given, "a", "b", n_resamples=39, seed=seed)))
    sizes = (np.array(found) <= 0.1).mean(0)
    assert np.abs(sizes - 0.1).max() < 0.06


def test_answer_test_by_query_and_in_any_order():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 6, 5)); b = rng.normal(size=(6, 6, 5)); b[4] += 4
    R = answer_test({"a": a, "b": b}, "a", "b")
    assert R.to_frame()["query"][0] == 4 and R.query_qvalue[4] <= 0.05 and np.delete(R.query_pvalue, 4).min() > 0.001
    assert answer_test({"a": a, "b": b}, "b", "a").statistic == pytest.approx(R.statistic)
    assert answer_test({"a": a, "b": 0 * a + a}, "a", "b", n_resamples=99).pvalue > 0.9


def test_rewording_statistic_is_free_of_noise():
    "Same words, same models: the mean of the excess is minus the wording's share, not the replicates'."
    rng, loud = np.random.default_rng(0), []
    labels = np.repeat(np.arange(60), 2)
    for _ in range(20):
        given = {name: 3 * rng.normal(size=(120, 2 if name == "a" else 5, 4)) for name in "ab"}      # noise alone, unequal numbers
        loud.append(answer_test(given, "a", "b", labels, 1).rewording_statistic)
    assert abs(np.mean(loud)) < 4 / 20 ** 0.5


def test_ridge_is_the_regression_on_all_coordinates():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    squared = ((X[:, None] - X) ** 2).sum(2)
    train, test, shrinkage = np.arange(9), np.arange(9, 12), 0.3
    centred = X[train] - X[train].mean(0)
    penalty = shrinkage * (centred ** 2).sum() / 9
    beta = np.linalg.solve(centred.T @ centred + penalty * np.eye(3), centred.T @ (y[train] - y[train].mean()))
    assert np.allclose(ridge_on_map(squared, train, test, y, shrinkage), y[train].mean() + (X[test] - X[train].mean(0)) @ beta)


def test_intervals_never_see_the_family_they_are_for():
    given, skill, family = scored()
    D = perspective_distance(given)
    first = [name for name in family if family[name] == 0]
    one = predict_metric(D, skill, family)
    lied = predict_metric(D, {**skill, **{name: 50.0 for name in first}}, family)
    hidden = predict_metric(D, {name: value for name, value in skill.items() if name not in first}, family)
    at = slice(0, 4)
    for other in (lied, hidden):
        assert all(np.allclose(getattr(one, what)[at], getattr(other, what)[at]) for what in ("prediction", "lower", "upper"))
    assert hidden.graded.sum() == 20 and "20 graded" in repr(hidden) and one.variance_explained > 0.8 and 0.7 < one.coverage <= 1
    assert list(one.to_frame().columns) == ["metric", "prediction", "lower", "upper"] and np.isfinite(one.to_frame().to_numpy()).all()


def test_intervals_cover_new_families():
    found = [predict_metric(perspective_distance(given), skill, family, 0.8).coverage for given, skill, family in (scored(seed, 8, 3) for seed in range(12))]
    assert 0.74 < np.mean(found) < 0.95


def test_choice_prefers_queries_that_tell():
    given, skill, family = scored(families=9)
    rng = np.random.default_rng(1)
    mixed = {name: np.concatenate([X[:3] + 1.2 * rng.normal(size=X[:3].shape), rng.normal(size=X[3:].shape)]) for name, X in given.items()}
    choice = choose_queries(mixed, 3, skill)
    assert {0, 1, 2} >= set(choice.queries[:2]) and set(choice.of(mixed)) == set(mixed)
    assert choice.weights.min() >= 0 and np.isclose(choice.weights.mean(), 1) and 0 < choice.agreement < 1
    assert choose_queries(mixed, 3, {name: 5 - 1e6 * value for name, value in skill.items()}).queries == choice.queries        # unit and sign of the metric
    assert len(set(choose_queries(mixed, 4).queries)) == 4


def test_choice_among_queries_that_were_answered_alike():
    given, skill, _ = scored(families=9)
    same = {name: np.repeat(X[:1], 4, axis=0) for name, X in given.items()}                                 # one query, four times
    assert len(set(choose_queries(same, 3, skill).queries)) == 3 and np.isclose(choose_queries(same, 3).agreement, 1)
    silent = {name: np.ones_like(X) for name, X in given.items()}                                           # nobody answers differently
    assert np.array_equal(choose_queries(silent, 2, skill).weights, np.ones(2)) and choose_queries(silent, 2).agreement == 0
    lone = {**skill, next(iter(skill)): np.nan}
    with pytest.raises(ValueError, match="metric must be a finite number for each of the"):
        choose_queries(given, 2, lone)
