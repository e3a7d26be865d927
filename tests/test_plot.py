"""Figures show what the result says, can be read, and leave the reader's own settings alone."""
import inspect
import io
import re
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from embgeo_nb.calibration import Simulation, calibrate
from embgeo_nb.datum_test import datum_test
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.kernel import data_kernel
from embgeo_nb.manifold import model_manifold, model_tree
from embgeo_nb.omnibus import attribute
from embgeo_nb.frame import frame
from embgeo_nb.perspective import QueryCurve
from embgeo_nb.plot import (PALETTE, plot_calibration, plot_displacement, plot_eigenvalues, plot_explanation, plot_manifold, plot_pvalues,
                            plot_query_curve, plot_sizes, plot_test, plot_tree, style, uniform_band)
from embgeo_nb.replicates import replicate_test


@pytest.fixture(autouse=True)
def nothing_left_behind():
    "Settings are as they were after every test, and figures are closed."
    before = {key: str(value) for key, value in matplotlib.rcParams.items()}
    yield
    plt.close("all")
    assert {key: str(value) for key, value in matplotlib.rcParams.items()} == before


def arrays(n=150, seed=0):
    rng = np.random.default_rng(seed)
    Y = rng.normal(size=(n, 6))
    other = Y + 0.1 * rng.normal(size=Y.shape)
    other[:15] = rng.normal(size=(15, 6))
    return {"first": Y, "second": other}


@pytest.fixture(scope="module")
def R():
    emb = Embeddings(arrays(), ids=[f"doc-{i}" for i in range(150)], data=[f"text\nnumber {i} " + "and so on " * 20 for i in range(150)],
                     labels=[f"topic {i % 10}" for i in range(150)])
    return datum_test(emb, "first", "second", n_neighbors=12, n_components=8, n_resamples=999)


@pytest.fixture(scope="module")
def bare():
    "A test of graphs: no texts, no labels."
    return datum_test({name: data_kernel(Y, 12) for name, Y in arrays().items()}, "first", "second", n_components=8, n_resamples=999)


def map_of(points, n_components=2):
    points = np.asarray(points, dtype=float)
    return model_manifold(np.linalg.norm(points[:, None] - points, axis=2), n_components, [f"a-model-called-{i}" for i in range(len(points))])


def words(ax):
    return [text for text in ax.texts if text.get_text()]


def overlaps(ax):
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in words(ax)]
    return sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# Maps -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", ["spread", "bunched", "line", "duplicates"])
def test_names_do_not_overlap(case):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20, 2)) * [2, 1]
    points = {"spread": points, "bunched": np.where(np.arange(20)[:, None] < 8, 0.1 * points, points + 3),
              "line": np.column_stack([np.linspace(0, 5, 20), np.zeros(20)]) + 1e-3 * points,
              "duplicates": np.where(np.arange(20)[:, None] < 5, points[0], points)}[case]
    ax = plot_manifold(map_of(points))
    assert len(words(ax)) == 20 and overlaps(ax) == 0
    figure = ax.figure.get_window_extent()
    assert all(figure.contains(*corner) for text in words(ax) for corner in text.get_window_extent().corners())


def test_map_shows_the_coordinates():
    M = map_of(np.random.default_rng(0).normal(size=(9, 4)) * [4, 3, 2, 1], 3)
    ax = plot_manifold(M, components=(2, 0), labels=["a-model-called-4"])
    assert np.allclose(ax.collections[0].get_offsets(), M.coordinates[:, [2, 0]])
    assert [text.get_text() for text in words(ax)] == ["a-model-called-4"] and ax.get_aspect() == 1
    assert "coordinate 3" in ax.get_xlabel() and f"{M.explained[2]:.0%}" in ax.get_xlabel() and f"{M.explained[0]:.0%}" in ax.get_ylabel()


def test_one_coordinate():
    ax = plot_manifold(map_of(np.random.default_rng(0).normal(size=(8, 2)), 1))
    assert not len(ax.get_yticks()) and overlaps(ax) == 0


def test_groups_have_a_colour_and_a_marker():
    M = map_of(np.random.default_rng(0).normal(size=(9, 2)))
    ax = plot_manifold(M, color=list("aaaabbbcc"), color_name="kind", labels=False)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"] and ax.get_legend().get_title().get_text() == "kind"
    drawn = [part for part in ax.collections if len(part.get_offsets())]
    assert len({part.get_paths()[0].vertices.tobytes() for part in drawn}) == 3
    assert len({tuple(part.get_facecolor()[0]) for part in drawn}) == 3
    by_name = plot_manifold(M, color=dict(zip(reversed(M.models), reversed("aaaabbbcc"))), labels=False)
    assert [len(part.get_offsets()) for part in by_name.collections if len(part.get_offsets())] == [4, 3, 2]


@pytest.mark.parametrize("values", [np.arange(9), np.zeros(9), np.linspace(-1, 1, 9), [True, False] * 4 + [True]])
def test_numbers_make_a_scale(values):
    ax = plot_manifold(map_of(np.random.default_rng(0).normal(size=(9, 2))), color=values, color_name="age", labels=False)
    assert ax.figure.axes[-1].get_ylabel() == "age"
    size = ax.collections[0].get_sizes()                                     # and not by colour alone
    assert np.array_equal(np.argsort(size, kind="stable"), np.argsort(np.asarray(values, dtype=float), kind="stable"))


def test_added_models_are_hollow():
    M = map_of(np.random.default_rng(0).normal(size=(9, 2)))
    ax = plot_manifold(M.add(M.distances[0], "late"))
    hollow = ax.collections[-1]
    assert len(hollow.get_offsets()) == 1 and not len(hollow.get_facecolor()) and "late" in [text.get_text() for text in words(ax)]


def test_given_axes_are_used():
    figure, (left, right) = plt.subplots(1, 2)
    M = map_of(np.random.default_rng(0).normal(size=(9, 2)))
    assert plot_manifold(M, ax=left) is left and plot_eigenvalues(M, ax=right) is right and M.plot(ax=left) is left
    assert plt.get_fignums() == [figure.number]


def test_eigenvalues():
    angles = np.random.default_rng(5).uniform(0, 2 * np.pi, 12)
    along = np.abs(angles[:, None] - angles)
    M = model_manifold(np.minimum(along, 2 * np.pi - along))
    ax = plot_eigenvalues(M)
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in ax.patches}
    for number, height in heights.items():
        assert height == pytest.approx(M.eigenvalues[number - 1] / np.abs(M.eigenvalues).sum())
    assert f"negative ({M.negative_mass:.1%})" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(bar.get_hatch() for bar in ax.patches if bar.get_height() < 0)


# p-values -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [10, 100, 3000])
def test_band_holds_its_level(n):
    at = np.linspace(0.01, 0.99, 99)
    lower, upper = uniform_band(n, at)
    draws = np.sort(np.random.default_rng(9).random((1500, n)))
    curves = np.array([np.searchsorted(draw, at, side="right") for draw in draws]) / n
    inside = ((curves >= lower) & (curves <= upper)).all(1).mean()
    assert 0.93 < inside < 0.99
    pointwise = uniform_band(n, at, simultaneous=False)
    assert (pointwise[0] >= lower).all() and (pointwise[1] <= upper).all()
    assert ((curves >= pointwise[0]) & (curves <= pointwise[1])).mean() > 0.94


@pytest.mark.parametrize("options", [dict(at=[0.5, 0.2]), dict(at=[0, 0.5]), dict(at=[0.5], level=1)])
def test_band_refuses(options):
    with pytest.raises(ValueError, match="at must|level must"):
        uniform_band(10, **options)


def test_curves_are_the_distribution_functions():
    values = np.random.default_rng(0).random(40)
    ax = plot_pvalues(values, band=None)
    x, y = ax.lines[1].get_data()                       # after the diagonal
    assert np.array_equal(x[1:-1], np.sort(values)) and np.allclose(y[1:-1], np.arange(1, 41) / 40)
    assert f"{(values <= 0.05).mean():.0%} of 40" in ax.get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("band", ["simultaneous", "pointwise", None])
def test_pvalue_options(scale, band):
    values = np.random.default_rng(0).random(200)
    ax = plot_pvalues({"one": values, "two": values ** 4}, scale=scale, band=band, alpha=0.01)
    assert ax.get_xscale() == scale and len(ax.get_legend().get_texts()) == 2 + (band is not None)
    labelled = plot_pvalues(values, labels=np.arange(200) % 12, band=None)
    texts = [text.get_text() for text in labelled.get_legend().get_texts()]
    assert len(texts) == 7 and "6 others" in texts[-1]


def bands(ax):
    return [text.get_text() for text in ax.get_legend().get_texts() if "uniform" in text.get_text()]


def test_a_band_for_every_size_while_they_can_be_told_apart():
    values = np.random.default_rng(0).random(700)
    sizes = lambda *counts: plot_pvalues({f"g{count}-{i}": values[:count] for i, count in enumerate(counts)})
    assert bands(sizes(50, 200, 700)) == [f"uniform, 95 %, n = {n}" for n in (50, 200, 700)]
    assert bands(sizes(200, 210, 230)) == ["uniform, 95 %, n = 200"]                # nearly the same
    assert bands(sizes(20, 50, 200, 700)) == ["uniform, 95 %, n = 20"]              # too many: the widest
    ax = sizes(50, 200, 700)
    widths = [np.ptp([point for point in band.get_paths()[0].vertices if abs(point[0] - 0.5) < 0.003], axis=0)[1] for band in ax.collections[:3]]
    greys = [band.get_facecolor()[0][0] for band in ax.collections[:3]]
    assert widths == sorted(widths, reverse=True) and greys == sorted(greys, reverse=True) and len(set(greys)) == 3


@pytest.mark.parametrize("draw", [
    lambda R: plot_pvalues({"low": R.pvalue, "high": np.sqrt(R.pvalue)}), lambda R: plot_pvalues(R.pvalue, R.labels, scale="log"), lambda R: plot_test(R)[0],
    plot_displacement, lambda R: plot_explanation(R.explain(0)), lambda R: plot_manifold(map_of(np.random.default_rng(0).normal(size=(9, 2))), color=list("aaaabbbcc")),
    lambda R: plot_eigenvalues(map_of(np.random.default_rng(0).normal(size=(9, 3)))), lambda R: plot_query_curve(QueryCurve((1, 5), np.array([[0.1, 0.2], [0.5, 0.5]]), 2, 9, 3), {"x": 0.9}),
    lambda R: plot_calibration(calibrate(arrays_of_reruns(), ("paired", "replicates"), n_neighbors=8, n_resamples=99))[1]])
def test_legends_are_off_the_data(R, draw):
    ax = draw(R)
    ax.figure.draw_without_rendering()
    legend, inside, figure = ax.get_legend().get_window_extent(), ax.get_window_extent(), ax.figure.get_window_extent()
    assert legend.x0 >= inside.x1 and legend.x1 <= figure.x1 + 1 and legend.y0 >= figure.y0 - 1


def arrays_of_reruns(n=80):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, 5))
    return {f"run {t}": points + 0.2 * rng.normal(size=points.shape) for t in range(4)}


def test_splits_of_reruns_are_shown_one_by_one():
    C = calibrate(arrays_of_reruns(), "replicates", n_neighbors=8, n_resamples=99)
    right = plot_calibration(C)[1]
    dashes = [line for line in right.lines if line.get_marker() == "_" and line.get_alpha()]
    assert len(dashes) == 3 and np.allclose(np.sort(dashes[1].get_ydata()), np.sort(100 * C.rates("replicates", 0.05)))


@pytest.mark.parametrize("pvalues, labels, words", [
    ([0.5, 1.5], None, "between 0 and 1"), ([], None, "non-empty"), ([0.5, np.nan], None, "between 0 and 1"), ([0.5], ["a", "b"], "one per p-value"),
    ({"a": [0.5]}, ["a"], "names already"), ({}, None, "at most 7"), ({str(i): [0.5] for i in range(8)}, None, "at most 7")])
def test_pvalues_refuses(pvalues, labels, words):
    with pytest.raises(ValueError, match=words):
        plot_pvalues(pvalues, labels)


# Tests of data --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("correction", ["fdr_bh", "storey", "bonferroni", None])
def test_two_panels(R, correction):
    left, right = plot_test(R, correction=correction, n_names=4)
    rejected = R.rejected(0.05, correction)
    assert f"{rejected.sum()} of 150" in right.get_title("left") and "paired" in left.get_title("left")
    filled = sum(len(part.get_offsets()) for part in right.collections if len(part.get_facecolor()))
    assert filled == rejected.sum() and sum(len(part.get_offsets()) for part in right.collections) == 150
    most = sorted(np.flatnonzero(rejected), key=lambda i: -R.effect[i])[:4]
    assert {text.get_text() for text in words(right)} == {f"doc-{i}" for i in most} and overlaps(right) == 0


def test_every_correction_that_rejected_takes(R):
    "Whatever it accepts: found from its own complaint, so that a new one is tried here too."
    with pytest.raises(ValueError) as error:
        R.rejected(correction="nothing of the kind")
    options = [None, *re.findall(r"'(\w+)'", str(error.value).partition(";")[0])]
    assert len(options) >= 4 and "storey" in options
    for correction in options:
        right = R.plot(correction=correction)[1]
        assert f"{R.rejected(0.05, correction).sum()} of 150 moved" in right.get_title("left")


def test_without_labels_and_texts(bare):
    axes = plot_test(bare, n_names=0)
    assert len(axes) == 2 and not words(axes[1])
    assert len(plot_displacement(bare, 5).texts) == 5
    ax = plot_explanation(bare.explain(3))
    assert all(label.get_text().isdigit() for label in ax.get_yticklabels())
    own = plot_test(bare, labels=["x"] * 75 + ["y"] * 75)
    assert len(own[0].get_legend().get_texts()) == 3


def test_result_draws_itself(R):
    assert len(R.plot()) == 2


def pair_positions(graphs, first, second, d):
    "Where each of two models, on its own, puts the data in the frame of the two: by definition."
    A, B = (sp.csr_array(graphs[name], dtype=float) for name in (first, second))
    loadings = frame((A + B) / 2, d).loadings
    return A @ loadings, B @ loadings


def arrow_vectors(ax):
    return np.array([np.subtract(arrow.xy, arrow.xyann) for arrow in ax.texts])


def test_arrows_lead_from_the_first_to_the_second(R):
    ax = plot_displacement(R, n_arrows=6)
    top = np.argsort(-R.effect, kind="stable")[:6]
    start, end = pair_positions(R.graphs, "first", "second", 8)
    plane = np.linalg.svd((end - start)[top], full_matrices=False)[2][:2].T
    wanted = {tuple(np.round(np.r_[start[i], end[i]].reshape(2, -1) @ plane, 4).ravel()) for i in top}
    drawn = {tuple(np.round([*arrow.xyann, *arrow.xy], 4)) for arrow in ax.texts}
    near = lambda one, other: all(min(np.abs(np.subtract(a, b)).max() for b in other) < 1e-3 for a in one)
    assert near(drawn, wanted) and near(wanted, drawn) and "from first to second" in ax.get_title("left")
    hollow = [part for part in ax.collections if len(part.get_offsets()) and np.allclose(part.get_facecolor(), 1)]
    assert sum(len(part.get_offsets()) for part in hollow) == 6                    # where they start: no arrow by colour alone


def test_arrows_do_not_depend_on_other_models():
    "The frame of a pair is that of the pair, whatever else is there."
    models = arrays()
    other = {"third": np.random.default_rng(7).normal(size=(150, 6)), "fourth": np.random.default_rng(8).normal(size=(150, 6))}
    options = dict(n_neighbors=12, n_components=8, n_resamples=99)
    alone, among = (datum_test(emb, "first", "second", **options) for emb in (models, {**other, **models}))
    lengths = [np.sort(np.linalg.norm(arrow_vectors(plot_displacement(result, 150)), axis=1)) for result in (alone, among)]
    assert np.allclose(*lengths, atol=1e-3 * lengths[0].max())
    if "frame_models" in inspect.signature(datum_test).parameters:
        asked = datum_test({**other, **models}, "first", "second", frame_models=list(other), **options)
        assert not np.allclose(asked.statistic, alone.statistic)
        assert np.allclose(np.sort(np.linalg.norm(arrow_vectors(plot_displacement(asked, 150)), axis=1)), lengths[0], atol=1e-3 * lengths[0].max())


def test_arrows_of_groups():
    rng = np.random.default_rng(0)
    emb = {f"{side}{t}": Y + 0.1 * rng.normal(size=Y.shape) for side, Y in arrays().items() for t in range(2)} | {"second2": arrays()["second"]}
    R = replicate_test(emb, ["first0", "first1"], ["second0", "second1", "second2"], n_neighbors=12, n_components=8, method="rotation", n_resamples=99)
    vectors = arrow_vectors(plot_displacement(R, 4))
    top = np.argsort(-R.effect, kind="stable")[:4]
    plane = np.linalg.svd(R.displacement[top], full_matrices=False)[2][:2].T
    assert np.allclose(np.sort(np.linalg.norm(vectors, axis=1)), np.sort(np.linalg.norm(2 * R.displacement[top] @ plane, axis=1)), rtol=1e-3)


def by_graphs(R, i):
    "An explanation from the graphs alone: the second minus the first."
    first, second = (sp.csr_array(R.graphs[name], dtype=float) for name in R.models)
    difference = sp.csr_array(second - first)
    difference.eliminate_zeros()
    return attribute(difference, i, R.frame.loadings, R.ids, R.data), first[[i]].toarray()[0], second[[i]].toarray()[0]


def test_explanation(R):
    i = int(np.argmax(R.effect))
    E, first, second = by_graphs(R, i)
    ax = plot_explanation(E, n_bars=5, models=R.models, width=30)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(ax.patches) == len(names) == 5 and all(len(name) <= 30 and "\n" not in name and name.endswith("…") for name in names)
    strongest = np.argsort(-np.abs(E.share), kind="stable")[:5]
    assert sorted(bar.get_width() for bar in ax.patches) == pytest.approx(sorted(E.share[strongest]))
    assert f"the other {len(E.share) - 5}: {1 - E.share[strongest].sum():.0%}" in ax.get_xlabel()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"only in first ({((first > 0) & (second == 0)).sum()})" in legend and f"only in second ({((second > 0) & (first == 0)).sum()})" in legend
    unnamed = [text.get_text() for text in plot_explanation(E).get_legend().get_texts()]
    assert unnamed == [f"gained ({((second > 0) & (first == 0)).sum()})", f"lost ({((first > 0) & (second == 0)).sum()})"]
    everything = plot_explanation(E, n_bars=10_000)
    assert sum(bar.get_width() for bar in everything.patches) == pytest.approx(1)


def test_hatched_bars_are_what_only_the_first_has(R):
    i = int(np.argmax(R.effect))
    E, first, second = by_graphs(R, i)
    ax = plot_explanation(E, n_bars=1000, models=R.models, width=10)
    by_row = {round(bar.get_y() + bar.get_height() / 2): bar for bar in ax.patches}
    for row, at in enumerate(np.argsort(-E.share, kind="stable")):
        j = E.neighbors[at]
        assert bool(by_row[row].get_hatch()) == (first[j] > second[j])


def test_explanations_of_results_speak_of_the_same(R):
    "From `first` to `second`: what the result explains is what the graphs say. (Needs results that read from a to b.)"
    i = int(np.argmax(R.effect))
    wanted = [text.get_text() for text in plot_explanation(by_graphs(R, i)[0], models=R.models).get_legend().get_texts()]
    assert [text.get_text() for text in plot_explanation(R.explain(i), models=R.models).get_legend().get_texts()] == wanted


def test_nothing_to_explain():
    same = arrays()["first"]
    R = datum_test({"a": same, "b": same.copy()}, "a", "b", n_neighbors=12, n_components=8, n_resamples=99)
    with pytest.raises(ValueError, match="nothing to explain"):
        plot_explanation(R.explain(0))
    assert "0 of 150" in plot_test(R)[1].get_title("left")


@pytest.mark.parametrize("call", [lambda R: plot_test(R, labels=["a"]), lambda R: plot_displacement(R, 0), lambda R: plot_displacement(R, 10_000),
                                  lambda R: plot_test(R, correction="holm"), lambda R: plot_test(R, alpha=2), lambda R: plot_explanation(R.explain(0), 0)])
def test_refuses(R, call):
    with pytest.raises(ValueError):
        call(R)


# The look -------------------------------------------------------------------------------------------------------------

def test_style_stays_inside():
    with style():
        assert not matplotlib.rcParams["axes.spines.top"]
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert matplotlib.rcParams["axes.spines.top"]


def test_a_backend_loaded_inside_may_turn_interaction_on():
    "Jupyter's does; were it undone, only the first figure of a notebook would be shown."
    try:
        with style():
            matplotlib.interactive(True)
        assert matplotlib.is_interactive()
    finally:
        matplotlib.interactive(False)


def luminance(color):
    rgb = np.array(matplotlib.colors.to_rgb(color))
    return np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_readable_on_any_page(R):
    "The ground is opaque white, and all texts are dark on it."
    ax = plot_test(R)[0]
    assert matplotlib.colors.to_rgba(ax.figure.get_facecolor()) == (1, 1, 1, 1)
    shown = [text for text in ax.figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert all(1.05 / (luminance(text.get_color()) + 0.05) > 7 for text in shown)
    assert min(text.get_fontsize() for text in shown) >= 8
    assert all(1.05 / (luminance(color) + 0.05) > 2 for color in PALETTE)


@pytest.mark.parametrize("draw", [lambda R: plot_test(R)[0], plot_displacement, lambda R: plot_pvalues(R.pvalue, R.labels), lambda R: plot_explanation(R.explain(0))])
def test_small_pictures_and_vector_graphics(R, draw):
    figure = draw(R).figure
    for name, most in (("png", 150_000), ("svg", 2_000_000), ("pdf", 500_000)):
        file = io.BytesIO()
        figure.savefig(file, format=name, dpi=96 if name == "png" else "figure")
        assert 2000 < file.tell() < most


def test_missing_matplotlib_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"embgeo_nb\[plot\]"):
        plot_pvalues([0.1, 0.5])


def test_ellipses_and_tree(R):
    "One ellipse per place that is known, of the size the covariance says; leaves in the tree's order, a mark each."
    from dataclasses import replace
    M = map_of(np.random.default_rng(0).normal(size=(9, 2)))
    with_places = replace(M, covariances=np.tile(np.diag([0.04, 0.01]), (9, 1, 1)))
    ax = plot_manifold(with_places.add(M.distances[0], "late"), labels=False)
    assert len(ax.patches) == 9 and ax.patches[0].width == pytest.approx(2 * np.sqrt(5.991) * 0.2, rel=1e-3)
    assert ax.patches[0].height == pytest.approx(2 * np.sqrt(5.991) * 0.1, rel=1e-3) and ax.patches[0].angle % 180 == pytest.approx(0, abs=1e-6)
    T = model_tree(M.distances, models=M.models)
    ax = plot_tree(T, color=list("aaaabbbcc"), color_name="kind")
    height = {label.get_text(): label.get_position()[1] for label in ax.get_yticklabels()}
    assert sorted(height, key=height.get) == list(T.order) and len(ax.lines) == 8 and len(ax.get_legend().get_texts()) == 3
    ax = plot_query_curve(QueryCurve((1, 5), np.array([[0.1, 0.2], [0.5, 0.5]]), 2, 9, 3), {"length": 0.15})
    assert np.allclose(ax.lines[0].get_ydata(), [0.15, 0.5]) and [text.get_text() for text in ax.get_legend().get_texts()] == ["from the answers", "length"]


# What is written is shown as it is ---------------------------------------------------------------------------------------

FORMULA = r"a $\frac$ b $\nonsense{$"


def every_figure(given):
    "All figures, with that formula in every text they show; on new axes, and on axes that were made elsewhere."
    n, rng = 60, np.random.default_rng(0)
    Y = rng.normal(size=(n, 5))
    other = np.r_[rng.normal(size=(20, 5)), Y[20:]] + 0.05 * rng.normal(size=Y.shape)
    names = [FORMULA, FORMULA + " 2"]
    emb = Embeddings(dict(zip(names, (Y, other))), ids=[f"{FORMULA} {i}" for i in range(n)], data=[f"{FORMULA} text {i}" for i in range(n)], labels=[f"{FORMULA} {i % 3}" for i in range(n)])
    R = datum_test(emb, *names, n_neighbors=8, n_components=6, n_resamples=199)
    models = [f"{FORMULA} {i}" for i in range(9)]
    points = rng.normal(size=(9, 2))
    M = model_manifold(np.linalg.norm(points[:, None] - points, axis=2), 2, models)
    kinds = [f"{FORMULA} {i % 3}" for i in range(9)]
    one, two = (lambda: plt.subplots()[1] if given else None), (lambda: plt.subplots(1, 2)[1] if given else None)
    sizes = pd.DataFrame({"group": [FORMULA, FORMULA + " 2"], "rejected": 0.05, "low": 0.04, "high": 0.06}, index=[FORMULA + " x", FORMULA + " y"])
    yield plot_manifold(M, color=kinds, color_name=FORMULA, ax=one())
    yield plot_manifold(M, color=np.arange(9), color_name=FORMULA, ax=one())
    yield plot_eigenvalues(M, ax=one())
    yield plot_tree(model_tree(M.distances, models=models), color=kinds, color_name=FORMULA, ax=one())
    yield plot_query_curve(QueryCurve((1, 5), np.array([[0.1, 0.2], [0.5, 0.5]]), 2, 9, 3), {FORMULA: 0.1}, ax=one())
    yield plot_pvalues({FORMULA: R.pvalue, FORMULA + " 2": R.pvalue ** 2}, ax=one())
    yield plot_pvalues(R.pvalue, [FORMULA + str(i % 2) for i in range(n)], scale="log", ax=one())
    yield plot_test(R, correction=None, axes=two())[0]
    yield plot_displacement(R, 5, ax=one())
    yield plot_explanation(R.explain(0), models=R.models, title=FORMULA, ax=one())
    yield plot_sizes(sizes, band=(0.04, 0.06), ax=one())


@pytest.mark.parametrize("given", [False, True])
def test_dollar_signs_are_dollar_signs(given):
    "No id, label, text or name ever reaches the parser of formulas, which would refuse this one or eat it."
    for ax in every_figure(given):
        for format in ("png", "svg"):
            file = io.BytesIO()
            ax.figure.savefig(file, format=format)
        texts = [text for text in ax.figure.findobj(matplotlib.text.Text) if "$" in text.get_text()]
        ours = [text for text in texts if "frac" in text.get_text()]
        assert texts == ours and not any(text.get_parse_math() for text in ours)
        assert ours or "eigenvalue" in ax.get_xlabel()                                  # which have no names
        if format == "svg" and ours:
            assert "\\frac" in file.getvalue().decode()
        plt.close("all")


# Two models compared --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def compared():
    from embgeo_nb.comparison import compare
    emb = Embeddings(arrays(200), labels=[f"$\\frac{{ {i % 20}\ud800\x00." for i in range(200)])
    return compare(emb, "first", "second", n_neighbors=12, n_rotations=1)


def test_comparison(compared):
    "What moved is hatched, in the same bins; labels are bars with the most moved first, and at most so many."
    from embgeo_nb.plot import plot_comparison
    left, right = plot_comparison(compared, most=6)
    moved = compared.rejected()
    hatched = [bar for bar in left.patches if bar.get_hatch()]
    assert moved.sum() > 5 and sum(bar.get_height() for bar in hatched) == moved.sum()
    assert sum(bar.get_height() for bar in left.patches if not bar.get_hatch()) == compared.n
    assert {bar.get_facecolor() for bar in hatched} != {bar.get_facecolor() for bar in left.patches if not bar.get_hatch()}
    assert left.get_title("left") == "from first to second"
    names, widths = [label.get_text() for label in right.get_yticklabels()], [bar.get_width() for bar in right.patches]
    assert len(names) == 7 and names[-1] == "14 others" and widths[:6] == sorted(widths[:6], reverse=True) and all(bar.get_hatch() for bar in right.patches)
    shares = sorted((100 * moved[compared.labels == name].mean() for name in set(compared.labels)), reverse=True)
    assert widths[:6] == pytest.approx(shares[:6]) and widths[6] == pytest.approx(np.mean(shares[6:]))
    assert right.figure.savefig(io.BytesIO(), format="png") is None and any("\ufffd" in name for name in names)


def test_comparison_without_labels(compared):
    from dataclasses import replace

    from embgeo_nb.plot import plot_comparison
    figure, axes = plt.subplots(1, 2)
    left, right = plot_comparison(replace(compared, labels=None), axes=axes)
    assert left is axes[0] and plt.get_fignums() == [figure.number]
    filled = [part for part in right.collections if part.get_facecolor().size]
    points = np.vstack([part.get_offsets() for part in right.collections])
    points = points[np.argsort(points[:, 0])]
    assert sum(len(part.get_offsets()) for part in filled) == compared.rejected().sum()
    assert np.allclose(points[:, 1], np.maximum(compared.qvalue[compared.order], 1e-8))
    for options in ({"alpha": 2}, {"most": 0}):
        with pytest.raises(ValueError):
            plot_comparison(compared, **options)
