"""Models over time: each step against other steps, versions before against versions after; exact where exactness is claimed."""
import numpy as np
import pytest

from embgeo_nb.embeddings import Embeddings
from embgeo_nb.manifold import ModelDistance
from embgeo_nb.over_time import answer_chart, change_point, charted, model_chart, part_of, split_profile, step_limit, step_pvalue, transformed


def versions(T=14, n=120, p=12, changed=0, at=9, seed=0):
    rng = np.random.default_rng(seed)
    truth, noise, found = rng.normal(size=(n, p)), 0.2 * rng.normal(size=(n, p)), {}
    other = truth.copy()
    other[:changed] = rng.normal(size=(changed, p))
    for t in range(T):
        noise = 0.8 * noise + 0.12 * rng.normal(size=(n, p))
        found[f"v{t}"] = (truth if t <= at else other) + noise
    return found


@pytest.fixture(scope="module")
def chart():
    return model_chart(versions(changed=6))


def test_finds_the_step_and_the_data(chart):
    assert chart.alarms == ("v10",) and chart.n_steps == 13 and set(chart.n_reference) == {12}
    assert set(chart.moved("v10").datum[:6]) == set(range(6)) and chart.step() == chart.step("v10") == chart.step(9) == 9
    table = chart.to_frame()
    assert table.after[table.alarm].tolist() == ["v10"] and (table.part > table.part_limit)[9] and "v10" in repr(chart) and "v10" in chart._repr_html_()
    assert chart.compare().models == ("v9", "v10")


def test_alarms_are_where_a_statistic_passes_its_limit(chart):
    for alpha in (0.01, 0.2, 0.6):
        other = model_chart(chart.emb, alpha=alpha)
        above = np.any([other.statistics[name] > other.limits[name] for name in ("bulk", "part")], axis=0)
        assert np.array_equal(above, other.alarmed) and np.allclose(other.pvalue, chart.pvalue)


def test_order_names_the_versions_and_widths_may_differ():
    made = versions(changed=6)
    rng = np.random.default_rng(1)
    turned = {name: Y @ np.linalg.qr(rng.normal(size=(20, 12)))[0].T for name, Y in reversed(made.items())}
    a, b = model_chart(made), model_chart(turned, order=list(made))
    assert b.models == a.models and b.alarms == a.alarms and np.allclose(a.movement, b.movement, atol=1e-2)


def test_exchangeable_steps_hold_the_level():
    "The ranks are exact for vectors of any kind, here heavy-tailed and dependent within a step."
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        movement = rng.standard_t(3, size=(10, 40)) + rng.normal(size=(10, 1)) * rng.normal(size=40)
        found.append(charted(rng.standard_cauchy(10), movement, lambda s, clear: np.arange(10), 0.2, "rank")["pvalues"])
    for name in ("bulk", "part"):
        sizes = np.mean([np.array(one[name]) <= 0.2 for one in found])
        assert abs(sizes - 0.2) < 1e-9 or abs(sizes - 0.2) < 0.02


def test_a_step_is_judged_by_the_others_alone():
    rng = np.random.default_rng(1)
    bulk, movement = rng.normal(size=8), rng.normal(size=(8, 30))
    whole = charted(bulk, movement, lambda s, clear: np.arange(8), 0.05, "t")
    assert whole["pvalues"]["bulk"][2] == pytest.approx(step_pvalue(bulk[2], np.delete(bulk, 2)))
    part = transformed(part_of(movement), "part")
    assert whole["pvalues"]["part"][2] == pytest.approx(step_pvalue(part[2], np.delete(part, 2)))
    order = rng.permutation(8)
    again = charted(bulk[order], movement[order], lambda s, clear: np.arange(8), 0.05, "t")
    assert np.allclose(again["pvalue"], whole["pvalue"][order])


def test_step_pvalue_by_hand():
    from scipy.stats import t
    reference = np.array([1.0, 2.0, 4.0, 5.0])
    assert step_pvalue(4.0, reference, "rank") == 3 / 5 and step_limit(reference, 0.4, "rank") == 4.0 and step_limit(reference, 0.1, "rank") == np.inf
    assert step_pvalue(6.0, reference) == pytest.approx(t.sf((6 - 3) / (reference.std(ddof=1) * 1.25 ** 0.5), 3))


def test_before_leaves_alarms_out_of_the_reference():
    watched = model_chart(versions(changed=6), reference="before", n_first=5)
    assert np.isnan(watched.pvalue[:5]).all() and "v10" in watched.alarms and watched.n_reference[-1] == 12 - sum(np.nan_to_num(watched.pvalue[:-1], nan=1) <= 0.001)


def test_equal_versions_are_quiet_until_one_differs():
    Y = np.random.default_rng(0).normal(size=(60, 8))
    same = {f"v{t}": Y.copy() for t in range(8)}
    assert not model_chart(same).alarms
    same["v7"] = Y + 0.1 * np.random.default_rng(1).normal(size=Y.shape)
    assert model_chart(same).alarms == ("v7",)


def test_answers():
    rng = np.random.default_rng(0)
    topic = rng.normal(size=(60, 1, 6))
    made = {f"v{t}": topic + np.where(np.arange(60)[:, None, None] < 4 * (t > 7), 4.0, 0.0) + 0.3 * rng.normal(size=(60, 3, 6)) for t in range(21)}
    found = answer_chart(made, queries=[f"q{j}" for j in range(60)])
    assert "v8" in found.alarms and found.step() == 7 and set(found.moved().id[:4]) == {"q0", "q1", "q2", "q3"}
    with pytest.raises(ValueError, match="answer_test"):
        found.compare()


def test_split_profile_is_between_over_within():
    points = np.random.default_rng(0).normal(size=(9, 4))
    squared = ((points[:, None] - points) ** 2).sum(2)
    profile = split_profile(squared)
    for t in (2, 4, 7):
        a, b = points[:t], points[t:]
        within = ((a - a.mean(0)) ** 2).sum() + ((b - b.mean(0)) ** 2).sum()
        between = t * (9 - t) / 9 * ((a.mean(0) - b.mean(0)) ** 2).sum()
        assert profile[t - 1] == pytest.approx(between / (within / 7))
    assert np.isnan(profile[[0, 7]]).all() and np.allclose(split_profile(np.stack([squared, squared])), [profile] * 2, equal_nan=True)


def test_change_point_is_exact_and_finds_a_shift():
    rng, found = np.random.default_rng(0), []
    names = tuple("abcdefghij")
    distances = lambda X: ModelDistance(np.linalg.norm(X[:, None] - X, axis=2), names, "x", False)
    for seed in range(300):
        found.append(change_point(distances(rng.standard_t(3, size=(10, 5))), n_resamples=39, seed=seed).pvalue)
    assert abs(np.mean(np.array(found) <= 0.1) - 0.1) < 0.05
    shifted = rng.normal(size=(10, 5)) + 3 * (np.arange(10) >= 6)[:, None]
    P = change_point(distances(shifted), n_resamples=199)
    assert P.version == "g" and P.pvalue <= 0.03 and "before g" in repr(P)
    back = change_point(distances(shifted), order=names[::-1], n_resamples=199)
    assert back.version == "f" and back.statistic == pytest.approx(P.statistic)


def test_change_point_of_embeddings_compares_groups():
    made = {name: Y + 0.4 * np.random.default_rng(number).normal(size=Y.shape) for number, (name, Y) in enumerate(versions(T=8, changed=12, at=3).items())}
    P = change_point(Embeddings(made), n_resamples=99)
    assert P.version == "v4" and P.compare(n_resamples=50).null == "replicates"


@pytest.mark.parametrize("options, words", [
    (dict(order=["v0", "v1"]), "at least 5 versions"), (dict(order=["v0"] * 6), "each once"), (dict(order=["w"] * 6), "'w'"), (dict(alpha=0), "alpha"),
    (dict(limit="z"), "limit"), (dict(reference="after"), "reference"), (dict(reference=["v1"]), "good steps"), (dict(reference="before", n_first=2), "n_first")])
def test_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        model_chart(versions(n=40), **options)


def test_too_few_steps_for_ranks_are_said():
    with pytest.warns(UserWarning, match="no p-value is below"):
        model_chart(versions(n=40), limit="rank")
