"""The explorers without a browser: set a trait, read a panel."""
import base64
import io
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import embgeo_nb as eg
from embgeo_nb import widgets as module
from embgeo_nb.widgets import DatumExplorer, Job, ManifoldExplorer, as_seen, drawn_rows, is_image, datum_html

N = 160
DRAWINGS = ["browser", "picture"]


@pytest.fixture(scope="module")
def emb():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, N)
    centre = rng.normal(size=(4, 8))[label]
    arrays = {name: centre + 0.6 * rng.normal(size=(N, 8)) for name in ("a", "b", "c", "d", "e")}
    arrays["b"] = arrays["a"] + 0.1 * rng.normal(size=(N, 8))
    return eg.Embeddings(arrays, ids=[f"id{i}" for i in range(N)], data=[f"text <{i}> of {'odd' if i % 2 else 'even'}" for i in range(N)], labels=np.array(list("wxyz"))[label])


@pytest.fixture(scope="module")
def R(emb):
    return eg.datum_test(emb, "a", "c", n_neighbors=10, n_components=6, n_resamples=199)


@pytest.fixture(scope="module")
def C(emb):
    return eg.compare(emb, "a", "c", n_neighbors=10, n_components=6, n_resamples=199)


@pytest.fixture(params=DRAWINGS)
def explorer(R, request):
    return DatumExplorer(R, drawing=request.param)


@pytest.fixture
def quick(R, emb):
    return DatumExplorer(R, emb, drawing="browser")


def fact(html, name):
    return float(re.search(rf'data-fact="{name}">([^<]+)<', html)[1])


def agrees(explorer, i):
    "Every panel is about datum i, and says what the result says."
    R = explorer.result
    html = explorer._card.value
    assert f'data-datum="{i}"' in html and f"<b>{R.ids[i]}</b>" in html
    V = as_seen(R, explorer.question)
    facts = dict(score=R.score) if V.compared else dict(statistic=R.statistic)
    for name, values in dict(p=V.pvalue, q=V.qvalue, **facts).items():
        if name == "score":
            assert fact(html, name) == float(f"{values[i]:.2f}")
            continue
        assert fact(html, name) == float(f"{values[i]:.4g}")
    assert f"p = {V.pvalue[i]:.2g}" in explorer._null.value and 'role="img"' in explorer._null.value
    E = R.explain(i)
    share = dict(zip(E.neighbors, E.share))
    gained, kept, lost = (explorer._near[kind] for kind in ("gained", "kept", "lost"))
    assert list(gained.numbers) == [j for j, c in zip(E.neighbors, E.change) if c > 0][:8]
    assert list(lost.numbers) == [j for j, c in zip(E.neighbors, E.change) if c < 0][:8]
    for view in (gained, lost):
        assert all(f"{share[j]:.0%}" in row[0] for j, row in zip(view.numbers, view.rows))
    if V.test.graphs.emb is not None:
        R = V.test
        unit = {name: Y / np.linalg.norm(Y, axis=1)[:, None] for name, Y in R.graphs.emb.arrays.items()}
        for view in (gained, kept, lost):
            for j, row in zip(view.numbers, view.rows):
                if R.settings["metric"] == "cosine":
                    assert row[-2] == " | ".join(f"{unit[model][i] @ unit[model][j]:.2f}" for model in R.models)
    first, second = (as_seen(R).test.graphs[model][[i]].toarray()[0] > 0 for model in R.models)
    assert set(kept.numbers) <= set(np.flatnonzero(first & second)) and f"in both: {(first & second).sum()}" in kept.caption


# One trait drives everything

def test_opens_at_the_datum_that_moved_most(explorer, R):
    assert explorer.selected == R.to_frame()["datum"][0] and explorer.message == "" and not explorer.busy
    agrees(explorer, explorer.selected)


def test_selected_drives_the_panels(explorer, R):
    for i in (3, 0, N - 1, int(np.argmin(R.n_differing))):
        explorer.selected = i
        agrees(explorer, i)
        assert i in explorer._table.numbers and explorer._table.selected == i
    explorer.selected = None
    assert "Choose a datum" in explorer._card.value and explorer._near["gained"].rows == []


def test_pick_from_every_view(explorer):
    for view in (explorer._table, explorer._points, *explorer._near.values()):
        row = int(view.numbers[-1]) if getattr(view, "numbers", None) else 11
        view._happened(view, {"event": "pick", "row": row})
        assert explorer.selected == row
        agrees(explorer, row)


def test_menu_below_the_plain_table(R):
    explorer = DatumExplorer(R, drawing="picture")
    wanted = explorer._table.numbers[4]
    explorer._table._menu.value = wanted
    agrees(explorer, wanted)


def test_points_message_reaches_the_trait(R):
    explorer = DatumExplorer(R, drawing="browser")
    explorer._points._handle_custom_msg({"event": "pick", "row": 17}, [])       # what the browser sends
    assert explorer.selected == 17
    assert explorer._points.selected == 17 and any(line.get("arrow") for line in explorer._points.overlay["lines"])


def test_a_row_that_is_not_there(explorer):
    before = explorer.selected
    for row in (N, -1, 10 ** 6):
        explorer.selected = row
        assert explorer.selected == before and f"no datum {row}" in explorer.message


# Controls

@pytest.mark.parametrize("name, value", [("n_neighbors", 7), ("metric", "euclidean"), ("n_components", 9), ("null", "independent"), ("alpha", 0.1), ("color_by", "q-value"),
                                         ("show", "before"), ("view", "position"), ("search", "odd"), ("label", "w"), ("only_rejected", True), ("reject_by", "p"), ("frame_of", "all"),
                                         ("models_a", ("b",)), ("models_b", ("d",))])
def test_controls_only_set_traits(quick, R, name, value):
    explorer, before = quick, getattr(quick, name)
    explorer._controls[name].value = value
    assert getattr(explorer, name) == value
    setattr(explorer, name, before)
    assert explorer._controls[name].value == before


@pytest.mark.parametrize("settings", [dict(n_neighbors=7), dict(metric="euclidean"), dict(n_components=9), dict(n_components=0), dict(null="independent"),
                                      dict(frame_of="all"), dict(models_a=("b",), models_b=("d",))], ids=str)
def test_run_is_datum_test(emb, R, settings):
    explorer = DatumExplorer(R, emb, drawing="browser")
    for name, value in settings.items():
        setattr(explorer, name, value)
    assert "Run the test" in explorer.message
    assert explorer.run().wait().message == ""
    used = explorer.result
    options = dict(n_neighbors=explorer.n_neighbors, metric=explorer.metric, null=explorer.null, n_components=explorer.n_components or None, seed=R.seed,
                   n_resamples=R.n_resamples if explorer.null == R.null else None)
    pair = explorer.models_a + explorer.models_b
    others = [name for name in emb.models if name not in pair] if explorer.frame_of == "all" else None
    direct = eg.datum_test(emb, *pair, frame_models=others, **options)
    assert used.models == pair and np.array_equal(used.pvalue, direct.pvalue) and np.array_equal(used.statistic, direct.statistic)
    agrees(explorer, explorer.selected)
    assert explorer._head.value.count(f"From {direct.models[0]} to {direct.models[1]}") == 1


@pytest.mark.parametrize("settings, words", [(dict(n_neighbors=N), f"between 1 and {N - 1}"), (dict(n_neighbors=0), "k must be"), (dict(models_b=("a",)), "must differ"),
                                             (dict(models_a=()), "each side"), (dict(models_a=("a", "b")), "Reruns are compared with reruns"), (dict(alpha=1.5), "α must be"),
                                             (dict(alpha=0.0), "α must be"), (dict(n_components=N + 1), "d must be"), (dict(n_components=-2), "d must be")], ids=str)
def test_invalid_settings_are_said(quick, R, settings, words):
    explorer = quick
    for name, value in settings.items():
        setattr(explorer, name, value)
    assert words in explorer.message and words in explorer._message.value and explorer._run.disabled
    assert explorer.run().wait().result is R and words in explorer.message
    explorer.selected = 5
    agrees(explorer, 5)                                                    # nothing is dead
    for name in settings:
        setattr(explorer, name, {"n_neighbors": 10, "models_a": ("a",), "models_b": ("c",), "alpha": 0.05, "n_components": 6}[name])
    assert explorer.message == "" and not explorer._run.disabled


def test_an_error_in_the_work_becomes_a_message(R, monkeypatch):
    explorer = DatumExplorer(R)
    monkeypatch.setattr(eg, "datum_test", lambda *_, **__: 1 / 0)
    explorer.n_neighbors = 5
    explorer.run().wait()
    assert explorer.message == "ZeroDivisionError: division by zero" and not explorer.busy and explorer.result is R
    explorer.selected = 4
    agrees(explorer, 4)


def test_cancel(R, monkeypatch):
    explorer, started, go_on = DatumExplorer(R), threading.Event(), threading.Event()
    real = eg.datum_test

    def slow(*arguments, **options):
        started.set()
        assert go_on.wait(30)
        return real(*arguments, **options)

    monkeypatch.setattr(eg, "datum_test", slow)
    explorer.n_neighbors = 5
    explorer.run()
    assert started.wait(10) and explorer.busy and explorer._working.layout.display is None
    explorer.run()
    assert "work going on" in explorer.message
    thread = explorer._job.thread
    explorer._cancel.click()
    assert not explorer.busy and "Cancelled" in explorer.message
    go_on.set()
    thread.join(30)
    explorer.wait()
    assert not thread.is_alive() and explorer.result is R
    assert explorer.run().wait().result.n_neighbors == 5                   # and the next run works


def test_cancelled_work_ends():
    finished = threading.Event()

    def work(job):
        for step in range(2000):
            job.report("counting", step / 2000)
            time.sleep(0.005)
        finished.set()

    job = Job(work, lambda value: None)
    job.thread.start()
    time.sleep(0.1)
    job.cancel()
    job.thread.join(5)
    reports = [job.reports.get() for _ in range(job.reports.qsize())]
    assert not job.thread.is_alive() and not finished.is_set()
    assert reports[0] == ("stage", ("counting", 0.0)) and reports[-1][1][1] > 0 and {kind for kind, _ in reports} == {"stage"}
    job.cancel()                                                           # too late; no harm


def test_progress(R, monkeypatch):
    explorer, seen = DatumExplorer(R), []
    monkeypatch.setattr(explorer, "_say_stage", lambda: seen.append((explorer._doing, explorer._bar.value)))
    explorer.n_neighbors = 6
    explorer.run().wait()
    kernels = [share for what, share in seen if what == "data kernels"]
    assert kernels == pytest.approx([0, 1 / 2])
    assert [what for what, _ in seen if what not in ("data kernels", "nearest neighbours")][:2] == ["comparing a with c", "coin flips"] and all(0 <= share <= 1 for _, share in seen)
    seen.clear()
    explorer.result = eg.datum_test(explorer._emb, "a", "c", null="bootstrap", n_neighbors=6, n_components=3, n_resamples=19)
    explorer.run().wait()
    assert [share for what, share in seen if what == "bootstrap draws"] == pytest.approx([at / 19 for at in range(19)])


def test_groups_of_reruns(emb):
    explorer = DatumExplorer(eg.datum_test(emb, "a", "c", n_neighbors=10, n_components=6, n_resamples=99), emb)
    explorer.models_a, explorer.models_b = ("a", "b"), ("c", "d")
    explorer.run().wait()
    assert "relabellings" in explorer.message                              # the test's own warning: 2 + 2 runs are few
    with pytest.warns(UserWarning):
        direct = eg.replicate_test(emb, ["a", "b"], ["c", "d"], n_components=6, n_neighbors=10)
    R = explorer.result
    assert R.groups == (("a", "b"), ("c", "d")) and np.array_equal(R.pvalue, direct.pvalue) and (explorer.models_a, explorer.models_b) == R.groups
    for i in (0, 11):
        explorer.selected = i
        assert fact(explorer._card.value, "p") == float(f"{R.pvalue[i]:.4g}") and "relabellings" in explorer._null.value
    explorer.models_a, explorer.models_b = ("a",), ("d",)
    assert explorer.run().wait().result.models == ("a", "d") and explorer.message == ""
    again = DatumExplorer(direct)
    assert again.models_a == ("a", "b") and again.problem() == ""
    from_graphs = DatumExplorer(eg.replicate_test({name: eg.data_kernel(emb[name], 10).graph for name in "abcd"}, ["a", "b"], ["c", "d"], n_components=6, method="rotation", n_resamples=99))
    assert "call `replicate_test` anew" in from_graphs.problem()
    from_graphs.selected = 4
    assert "no draws" in from_graphs._null.value


def test_work_reports_to_the_event_loop(R):
    "As in a kernel: nobody waits; the loop delivers the result."
    import asyncio
    explorer = DatumExplorer(R)

    async def session():
        explorer.n_neighbors = 6
        explorer.run()
        threads = set()
        explorer.observe(lambda _: threads.add(threading.current_thread()), "result")
        for _ in range(600):
            await asyncio.sleep(0.05)
            if not explorer.busy:
                return threads

    assert asyncio.run(session()) == {threading.main_thread()}
    assert explorer.result.n_neighbors == 6 and explorer.message == ""


def test_made_from_graphs(emb):
    R = eg.datum_test({name: eg.data_kernel(emb[name], 10).graph for name in ("a", "c")}, "a", "c", n_components=6, n_resamples=99)
    explorer = DatumExplorer(R)
    assert explorer._controls["n_neighbors"].disabled and explorer._controls["metric"].disabled and explorer.color_by == "q-value"
    explorer.selected = 9
    agrees(explorer, 9)
    explorer.n_components = 4
    assert explorer.run().wait().message == "" and explorer.result.n_components == 4
    explorer.frame_of = "all"
    assert explorer.run().wait().message == ""


def test_more_models_than_the_result(emb):
    R = eg.datum_test(emb.select(("a", "b")), "a", "b", n_neighbors=10, n_components=6, n_resamples=99)
    explorer = DatumExplorer(R, emb)
    explorer.models_b = ("e",)
    assert explorer.run().wait().result.models == ("a", "e")
    with pytest.raises(ValueError, match="same ids"):
        DatumExplorer(R, emb.rows(np.arange(N)[::-1]))
    with pytest.raises(TypeError, match="a DatumTest, or embeddings with two model names"):
        DatumExplorer(emb)
    with pytest.raises(ValueError, match="drawing"):
        DatumExplorer(R, drawing="canvas")


# The table

def test_table_order(explorer, R):
    order = R.to_frame()["datum"].to_numpy()
    assert np.array_equal(explorer._order, order)
    for column, key in (("p", R.pvalue), ("q", R.qvalue), ("statistic", R.statistic), ("label", R.labels), ("id", R.ids), ("datum", np.arange(N))):
        explorer._sort(column)
        assert explorer.sort_by == column
        values = key[explorer._order]
        ordered = values[1:] <= values[:-1] if explorer.descending else values[1:] >= values[:-1]
        assert ordered.all()
        direction = explorer.descending
        explorer._sort(column)
        assert explorer.descending != direction


def test_filters_and_pages(explorer, R):
    explorer.search = "ODD text"
    assert set(explorer._order) == {i for i in range(N) if i % 2}
    explorer.label = "w"
    assert set(explorer._order) == {i for i in range(N) if i % 2 and R.labels[i] == "w"}
    explorer.only_rejected = True
    assert set(explorer._order) == {i for i in range(N) if i % 2 and R.labels[i] == "w" and R.qvalue[i] <= 0.05}
    explorer.search, explorer.label, explorer.only_rejected = "nowhere", "", False
    assert len(explorer._order) == 0 and explorer._table.rows == [] and "0 of 160" in explorer._where.value
    explorer.search = ""
    seen = []
    for page in range(-(-N // explorer.page_size)):
        explorer.page = page
        seen += list(explorer._table.numbers)
    assert seen == explorer._order.tolist() and explorer._next.disabled
    explorer.page = 10 ** 6
    assert explorer.page == page
    explorer._back.click()
    assert explorer.page == page - 1


def test_labels_and_basket(explorer, R):
    explorer._tabs.selected_index = 1
    assert 'alt="Distribution functions' in explorer._labels_image.value
    rate = (R.pvalue[R.labels == "w"] <= 0.05).mean()
    assert re.search(rf"<td>w</td><td[^>]*>{(R.labels == 'w').sum()}</td><td[^>]*>{rate:.1%}</td>", explorer._labels_table.value)
    explorer.selected = 8
    assert explorer.to_frame()["id"].tolist() == ["id8"]
    explorer._keep.click()
    explorer.search = "even"
    explorer._keep_all.click()
    table = explorer.to_frame()
    assert set(table["datum"]) == {i for i in range(N) if i % 2 == 0} and table["effect"].is_monotonic_decreasing and "download" in explorer._basket.value
    explorer._empty.click()
    assert explorer.basket == ()


def test_alpha_and_colours(explorer, R):
    explorer.alpha = 0.3
    assert f"{(R.pvalue <= 0.3).mean():.1%}" in explorer._head.value
    for color in module.COLORS:
        groups = module.classes_of(R, color)
        assert (sum(mask.astype(int) for _, mask in groups) == 1).all()      # everyone in one group
        explorer.color_by = color
    for show in ("before", "after", "middle", "both"):
        explorer.show = show
    explorer.view = "position"
    assert explorer.message == ""


def test_many_labels(emb):
    many = eg.Embeddings({name: emb[name] for name in ("a", "c")}, labels=[f"label {i % 12}" for i in range(N)])
    many_test = eg.datum_test(many, "a", "c", n_neighbors=10, n_components=6, n_resamples=99)
    groups = module.classes_of(many_test, "label")
    assert len(groups) == 7 and groups[-1][0] == "6 others" and (sum(mask.astype(int) for _, mask in groups) == 1).all()
    chosen = ("label 3", "label 11")
    groups = module.classes_of(many_test, "label", chosen)
    assert [name for name, _ in groups] == [*chosen, "10 others"]
    explorer = DatumExplorer(many_test)
    assert explorer._controls["colored"].layout.display is None
    explorer._controls["colored"].value = chosen
    assert explorer.colored == chosen and [entry["name"] for entry in explorer._points.legend[:3]] == [*chosen, "10 others"]
    look = np.frombuffer(explorer._points.look, np.uint8).reshape(-1, 4)
    grey = np.array(explorer._points.palette)[look[:, 0]] == module.GREY
    assert grey.sum() == 2 * sum(f"label {i % 12}" not in chosen for i in range(N)) and grey[:grey.sum()].all()      # behind the others
    explorer.colored = [f"label {i}" for i in range(9)]
    assert len(explorer.colored) == 7 and "At most 7" in explorer.message


def test_the_class_that_moved_most_has_a_colour(emb):
    label = np.array([f"big {i % 10}" for i in range(N)])
    label[:5] = "small"
    arrays = {"a": emb["a"], "b": emb["b"].copy()}
    arrays["b"][:5] = np.random.default_rng(1).normal(size=(5, 8))
    C = eg.compare(eg.Embeddings(arrays, labels=label), "a", "b", n_neighbors=10)
    assert module.colored_labels(C)[0] == "small"


def test_null_draws_are_the_tests_own(R):
    for i in (0, 5, 77):
        assert np.allclose(module.null_draws(R, i), R.null_distribution[i], rtol=1e-4, atol=1e-8)


# A comparison and its questions

@pytest.mark.parametrize("drawing", DRAWINGS)
def test_questions(C, emb, drawing):
    explorer = DatumExplorer(C, emb, drawing=drawing)
    assert explorer.question == "bulk" and explorer.message == "" and explorer.sort_by == "score"
    assert C.verdict in unescaped(explorer._head.value)
    assert dict(explorer._controls["question"].options) == {module.QUESTIONS["bulk"] + " (recommended)": "bulk", module.QUESTIONS["features"]: "features",
                                                           module.QUESTIONS["paired"]: "paired"}
    assert explorer._order.tolist() == C.order.tolist() and explorer.selected == C.order[0]
    for question in ("paired", "features", "bulk"):
        explorer._controls["question"].value = question
        explorer.selected = 5
        assert explorer.question == question
        agrees(explorer, 5)
        assert set(explorer._order) == set(range(N))
        explorer.only_rejected, explorer.reject_by = True, "p"
        assert set(explorer._order) == set(np.flatnonzero(C.pvalues[question] <= 0.05))
        explorer.only_rejected = False
        assert f"{(C.pvalues[question] <= 0.05).mean():.1%}" in explorer._said.value
    explorer.question = "truth"
    assert explorer.question == "bulk" and "'truth'" in explorer.message


def test_most_data_moved_is_said_beside_the_number(C):
    explorer, words = DatumExplorer(C), "most data moved by this question: rank, or give reruns"
    for question, values in C.pvalues.items():
        explorer.question = question
        assert (words in explorer._said.value) == ((values <= explorer.alpha).mean() >= 0.5)
    explorer.question = "paired"
    explorer.alpha = float(np.quantile(C.pvalues["paired"], 0.6))
    assert words in explorer._said.value
    explorer.alpha = float(np.quantile(C.pvalues["paired"], 0.4))
    assert words not in explorer._said.value


def test_diagnosis_where_the_fit_is_not_trusted(C):
    from dataclasses import replace
    bad = replace(C, fit=replace(C.fit, share=0.7))
    for null in ("bulk", "paired"):
        shown = DatumExplorer(replace(bad, null=null))
        assert unescaped(shown._head.value).count("the bulk is hardly a bulk") == 1
    assert "hardly a bulk" not in DatumExplorer(replace(C, fit=replace(C.fit, share=0.0, tail=1.0, core=1.0)))._head.value


def unescaped(html):
    from html import unescape
    return unescape(html)


def test_before_and_after(emb):
    "Only the model after has what was gained, in tables, lines and legend."
    graph = np.zeros((30, 30))
    graph[np.arange(30), (np.arange(30) + 1) % 30] = 1
    graph = graph + graph.T
    before, after = graph.copy(), graph.copy()
    before[0, 10] = before[10, 0] = after[0, 20] = after[20, 0] = 1
    import scipy.sparse as sp
    R = eg.datum_test({"old": sp.csr_array(before), "new": sp.csr_array(after)}, "old", "new", n_components=4, n_resamples=99)
    explorer = DatumExplorer(R, drawing="browser")
    explorer.selected = 0
    near = explorer._near
    assert list(near["gained"].numbers) == [20] and near["gained"].caption.startswith("only in new: 1")
    assert list(near["lost"].numbers) == [10] and near["lost"].caption.startswith("only in old: 1") and sorted(near["kept"].numbers) == [1, 29]
    arrow = explorer._points.overlay["lines"][-1]
    plane, D = explorer._plane, R.displacement[0]
    assert np.allclose([arrow["x1"] - arrow["x0"], arrow["y1"] - arrow["y0"]], D @ plane, atol=1e-6)
    assert np.allclose(D, R.explain(0).contributions.sum(0))
    names = [entry["name"] for entry in explorer._points.legend]
    assert "neighbour only in old" in names and "only in new" in names
    assert explorer.title() == "From old to new" and ("old", "before") in explorer._controls["show"].options


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_embeddings_and_two_names(emb, drawing):
    explorer = DatumExplorer(emb, "a", "c", drawing=drawing)
    assert explorer.busy and explorer.result is None and explorer._working in explorer.children
    assert explorer.wait().message == "" and not explorer.busy
    direct = eg.compare(emb, "a", "c")
    assert np.array_equal(explorer.result.score, direct.score) and explorer.selected == direct.order[0]
    agrees(explorer, explorer.selected)
    with pytest.raises(ValueError, match="no model 'z'"):
        DatumExplorer(emb, "a", "z")
    with pytest.raises(TypeError, match="two model names"):
        DatumExplorer(emb, "a")


def test_cancel_the_first_comparison(emb, monkeypatch):
    started, go_on, real = threading.Event(), threading.Event(), eg.compare

    def slow(*arguments, **options):
        started.set()
        assert go_on.wait(30)
        return real(*arguments, **options)

    monkeypatch.setattr(eg, "compare", slow)
    explorer = DatumExplorer(emb, "a", "c")
    assert started.wait(10)
    thread = explorer._job.thread
    explorer._cancel.click()
    assert not explorer.busy and "Cancelled" in explorer.message and explorer.result is None
    go_on.set()
    thread.join(30)
    assert explorer.run().wait().result is not None and explorer.message == ""


def test_run_is_compare(C, emb):
    explorer = DatumExplorer(C, emb)
    explorer.n_neighbors, explorer.models_b = 7, ("e",)
    assert "Run the test" in explorer.message and explorer.run().wait().message == ""
    assert np.array_equal(explorer.result.score, eg.compare(emb, "a", "e", n_neighbors=7, n_components=6).score)
    explorer.models_a, explorer.models_b = ("a", "b"), ("c", "d")
    assert explorer.run().wait().result.null == explorer.question == "bulk" and "replicates" in explorer.result.pvalues and explorer.message == ""
    for i in (0, 11):
        explorer.selected = i
        assert fact(explorer._card.value, "p") == float(f"{explorer.result.pvalue[i]:.4g}")


def test_a_loaded_comparison(C, tmp_path):
    explorer = DatumExplorer(eg.Comparison.load(C.save(tmp_path / "c.npz")))
    assert explorer.message == "" and explorer._controls["n_neighbors"].disabled
    explorer.selected = 5
    agrees(explorer, 5)
    assert "give them as" in explorer.run().message


def test_copies_share_a_result(emb):
    rows = np.r_[np.arange(N), 4, 9]
    both = eg.Embeddings({name: emb[name][rows] for name in "ac"}, ids=np.arange(len(rows)) * 10 + 1, data=[f"text {i}" for i in range(N + 2)])
    C = eg.compare(both, "a", "c", n_neighbors=10)
    explorer = DatumExplorer(C)
    explorer.selected = N + 1
    html = explorer._card.value
    assert f'data-datum="{N + 1}"' in html and "no model tells it from 91" in html and fact(html, "p") == float(f"{C.pvalue[9]:.4g}")
    explorer.n_neighbors = 8
    assert explorer.run().wait().result.n == N + 2 and explorer.message == ""


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_filters_fade_the_points(C, emb, drawing):
    explorer = DatumExplorer(C, emb, drawing=drawing)
    before = explorer._points.faded if drawing == "browser" else explorer._points.value
    assert before in (b"", before)
    explorer.search = "odd"
    if drawing == "browser":
        faded, rows = (np.frombuffer(value, kind) for value, kind in ((explorer._points.faded, np.uint8), (explorer._points.rows, np.int32)))
        assert np.array_equal(faded == 0, rows % 2 == 1)
        explorer.color_by = "nothing"
        assert np.array_equal(np.frombuffer(explorer._points.faded, np.uint8) == 0, np.frombuffer(explorer._points.rows, np.int32) % 2 == 1)
    else:
        assert explorer._points.value != before
    explorer.search = ""
    explorer.color_by = "label"
    assert (explorer._points.faded if drawing == "browser" else explorer._points.value) == before


def test_text_in_table_and_tooltip(C, emb):
    explorer = DatumExplorer(C, emb, drawing="browser")
    at = [column["name"] for column in explorer._table.columns].index("text")
    assert [row[at] for row in explorer._table.rows] == [emb.data[i] for i in explorer._table.numbers]
    points = explorer._points
    rows = np.frombuffer(points.rows, np.int32)
    for i in (0, 57, len(rows) - 1):                                       # as the page reads it
        name = points.names[i * len(points.names) // len(rows)]
        assert emb.data[rows[i]] in name and str(emb.ids[rows[i]]) in name


def controls(widget):
    "Everything in a widget that can be set or pressed."
    import ipywidgets
    kinds = (ipywidgets.Button, ipywidgets.Text, ipywidgets.Dropdown, ipywidgets.SelectMultiple, ipywidgets.Checkbox, ipywidgets.IntText, ipywidgets.FloatText)
    if isinstance(widget, kinds):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_every_control_has_a_sentence(C, emb, M, drawing):
    for explorer in (DatumExplorer(C, emb, drawing=drawing), ManifoldExplorer(M, emb, drawing=drawing)):
        found = list(controls(explorer))
        assert len(found) > 15
        for control in found:
            assert control.tooltip and control.tooltip.endswith(".") and len(control.tooltip.split()) >= 3, control.description
        if isinstance(explorer, DatumExplorer):
            assert all(column["help"].endswith((".", "?")) for column in module.table_columns(explorer._seen))


NASTY = '<img src=x onerror="alert(1)">$x_1$&amp;'


def test_nothing_is_read_as_html(emb):
    "Ids, labels, texts, model names, metadata: whatever a reader's data hold."
    nasty = eg.Embeddings({NASTY + name: emb[name] for name in "abcd"}, ids=[f"{NASTY}{i}" for i in range(N)], data=[f"{NASTY} text {i}" for i in range(N)],
                          labels=[f"{NASTY}{i % 3}" for i in range(N)])
    a, b, *_ = nasty.models
    C = eg.compare(nasty, a, b, n_neighbors=10)
    for result in (C, eg.datum_test(nasty, a, b, n_neighbors=10, n_components=6, n_resamples=99)):
        for drawing in DRAWINGS:
            explorer = DatumExplorer(result, nasty, drawing=drawing)
            explorer._tabs.selected_index = 1
            explorer.selected, explorer.basket = 3, (1, 2)
            assert explorer.message == ""
            harmless(explorer)
        harmless_html(explorer.static(most=2).to_html())
    M = eg.model_manifold(eg.model_distance(eg.omnibus(nasty, n_components=8, n_neighbors=10)))
    for drawing in DRAWINGS:
        atlas = ManifoldExplorer(M, nasty, metadata={NASTY: dict(zip(nasty.models, [1.0, 2.0, 3.0, 5.0])), NASTY + "2": dict.fromkeys(nasty.models, NASTY)}, drawing=drawing)
        atlas.color_by, atlas.size_by, atlas.pair, atlas.metric = NASTY + "2", NASTY, (a, b), NASTY
        atlas._find()
        atlas.wait()
        atlas._tabs.selected_index = 1
        atlas.correlate().wait()
        harmless(atlas)
        atlas.pair = (a,)
        harmless(atlas)
    harmless_html(atlas.static().to_html())


def harmless(widget):
    import ipywidgets
    if isinstance(widget, ipywidgets.HTML):
        harmless_html(widget.value)
    if hasattr(widget, "columns") and hasattr(widget, "rows"):
        for row in widget.rows:
            for column, cell in zip(widget.columns, row):
                if column.get("html"):
                    harmless_html(cell)
    for child in getattr(widget, "children", ()):
        harmless(child)


def harmless_html(html):
    assert not re.search(r"<img src=x|<script", html), html[:300]
    assert not re.search(r"<[^>]*\sonerror=(?![^<]*&quot;)", html)


# Any modality

def test_images_and_ids_only(emb, tmp_path):
    from PIL import Image
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    Image.fromarray(pixels).save(tmp_path / "x.jpg")
    for datum in (pixels, pixels / 255.0, pixels[..., 0], np.moveaxis(pixels, -1, 0), Image.fromarray(pixels), Image.fromarray(pixels).convert("CMYK"), str(tmp_path / "x.png"), tmp_path / "x.jpg",
                  (tmp_path / "x.png").read_bytes()):
        assert is_image(datum)
        kind, content = re.fullmatch(r'<img src="data:image/(\w+);base64,([^"]+)" alt="datum 7" style="[^"]+">', datum_html(datum, 7)).groups()

        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert image.format.lower() == kind and image.size == (5, 6)
    assert not is_image("no such file.png") and not is_image("a text") and not is_image(3.5)
    pictures = eg.Embeddings({name: emb[name] for name in ("a", "c")}, data=[pixels] * N)
    explorer = DatumExplorer(eg.datum_test(pictures, "a", "c", n_neighbors=10, n_components=6, n_resamples=99))
    assert "<img" in explorer._card.value and "<img" in explorer._near["gained"].rows[0][-1]
    bare = DatumExplorer(eg.datum_test({name: emb[name] for name in ("a", "c")}, "a", "c", n_neighbors=10, n_components=6, n_resamples=99))
    assert '<div class="eg-datum"></div>' in bare._card.value and bare.color_by == "q-value"


def test_texts_are_escaped(R):
    explorer = DatumExplorer(R)
    explorer.selected = 3
    assert "text &lt;3&gt;" in explorer._card.value and "<3>" not in explorer._card.value


def test_drawn_rows():
    importance = np.random.default_rng(0).normal(size=20_000)
    rows = drawn_rows(importance, 4000)
    assert len(rows) == len(set(rows)) == 4000 and set(np.argsort(-importance)[:2000]) <= set(rows) and (np.diff(rows) > 0).all()
    assert np.array_equal(drawn_rows(importance[:50]), np.arange(50))


# Size

@pytest.fixture(scope="module")
def large():
    "10,000 data with labels and texts. The edges are random: what they are does not matter to the drawing, how many there are does."
    import scipy.sparse as sp
    from embgeo_nb.datum_test import DatumTest
    from embgeo_nb.frame import Frame
    from embgeo_nb.omnibus import Graphs
    n, rng = 10_000, np.random.default_rng(0)

    def graph():
        rows = np.repeat(np.arange(n), 32)
        half = sp.csr_array((np.ones(len(rows)), (rows, (rows + rng.integers(1, 200, len(rows))) % n)), shape=(n, n))
        return sp.csr_array(((half + half.T) > 0).astype(float))

    emb = eg.Embeddings({name: np.ones((n, 2)) for name in "ab"}, ids=[f"document {i}" for i in range(n)], data=[f"the text of document number {i} " * 12 for i in range(n)],
                        labels=np.array([f"topic {i % 14}" for i in range(n)]))
    graphs = Graphs({name: graph() for name in "ab"}, emb.ids, emb, None, dict(n_neighbors=32, metric="cosine", symmetrize="union"))
    frame = Frame(rng.normal(size=(n, 64)), rng.normal(size=(n, 64)), np.ones(64))
    difference = graphs["a"] - graphs["b"]
    difference.eliminate_zeros()
    D, p = difference @ frame.loadings / 2, rng.uniform(size=n)
    statistic = (D ** 2).sum(1)
    return DatumTest(statistic=statistic, pvalue=p, qvalue=p, effect=np.sqrt(statistic) / np.linalg.norm(frame.center, axis=1), displacement=D,
                     n_differing=np.diff(difference.indptr).astype(np.int64), models=("a", "b"), null="paired", method="flips", n_components=64, n_resamples=99, seed=0,
                     settings=graphs.settings, outside=None, versions={}, graphs=graphs, frame=frame)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_ten_thousand(large, drawing):
    "What goes to the page does not grow with the data."
    explorer = DatumExplorer(large, drawing=drawing)
    for i in np.random.default_rng(0).integers(0, large.n, 5).tolist():
        explorer.selected = i
        assert explorer._table.selected == i and f'data-datum="{i}"' in explorer._card.value
    if drawing == "browser":
        assert len(np.frombuffer(explorer._points.rows, np.int32)) == 2 * 4000 and len(explorer._table.rows) == explorer.page_size


# Models

@pytest.fixture(scope="module")
def O(emb):
    return eg.omnibus(emb.select(("a", "b", "c", "d")), n_components=8, n_neighbors=10)


@pytest.fixture(scope="module")
def M(O):
    return eg.model_manifold(eg.model_distance(O))


@pytest.fixture(params=DRAWINGS)
def atlas(M, emb, request):
    about = {"size": {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0, "e": 4.0}, "family": dict(zip("abcde", "ppqqq"))}
    return ManifoldExplorer(M, emb, metadata=about, drawing=request.param)


def test_pair(atlas, M, O):
    assert "Choose two models" in atlas._pair.value and atlas.message == ""
    atlas._models._happened(None, {"event": "pick", "row": atlas._models.numbers[0]})
    assert len(atlas.pair) == 1 and "Choose another" in atlas._pair.value
    atlas.pair = ("a", "c")
    assert fact(atlas._pair.value, "distance") == float(f"{M.distances[0, 2]:.4g}")
    atlas._find_button.click()
    atlas.wait()
    assert atlas.message == "" and list(atlas._apart.numbers) == np.argsort(-np.linalg.norm(O.displacement("a", "c"), axis=1), kind="stable")[:10].tolist()
    atlas._pick(1)
    assert atlas.pair == ("c", "b")                                        # a third choice replaces the older
    atlas._pick(1)
    assert atlas.pair == ("c",)


@pytest.mark.parametrize("pair, words", [(("a", "a"), "two different"), (("a", "b", "c"), "two different"), (("a", "nobody"), "'nobody'")])
def test_impossible_pairs(atlas, pair, words):
    atlas.pair = ("a", "b")
    atlas.pair = pair
    assert atlas.pair == ("a", "b") and words in atlas.message


def test_open_pair(atlas, emb):
    assert "two models first" in atlas.open_pair().message
    atlas.pair = ("a", "d")
    atlas.open_pair(7).wait()
    direct = eg.compare(emb, "a", "d", n_neighbors=10)
    assert np.array_equal(atlas.opened.result.score, direct.score) and atlas.opened.selected == 7 and atlas._place.children == (atlas.opened,)
    agrees(atlas.opened, 7)


def test_open_pair_of_graphs(M, emb):
    O = eg.omnibus({name: eg.data_kernel(emb[name], 10).graph for name in "abcd"}, n_components=8)
    atlas = ManifoldExplorer(M, O)
    atlas.pair = ("a", "d")
    opened = atlas.open_pair(7).wait().opened
    assert atlas.message == "" and np.array_equal(opened.result.pvalue, eg.datum_test(O, "a", "d").pvalue)
    agrees(opened, 7)


def test_other_distances(atlas, O):
    for kind, relative in (("spectral", False), ("spectral", True), ("frobenius", True)):
        atlas.kind = kind
        atlas.wait()
        atlas.relative = relative
        atlas.wait()
        assert np.allclose(atlas.result.distances, np.asarray(eg.model_distance(O, kind=kind, relative=relative)))
    atlas.n_components = 3
    atlas.wait()
    assert atlas.result.n_components == 3 and [value for _, value in atlas._controls["across"].options] == [0, 1, 2]
    atlas.up = 2
    for c in (0, 4, 9):
        atlas.n_components = c
        assert "between 1 and 3" in atlas.message and atlas.result.n_components == 3
    atlas.n_components = 1
    atlas.wait()
    assert atlas.result.n_components == 1 and atlas.message == ""


def test_add_and_correlate(atlas, M, O, emb):
    atlas.add()
    assert "Choose a model" in atlas.message
    atlas.newcomer = "e"
    atlas.add().wait()
    placed = M.add(eg.model_distance(O.add_model("e", emb["e"]))["e"], "e")
    assert atlas.result.models == placed.models and np.allclose(atlas.result.coordinates, placed.coordinates) and atlas.pair == ("e",)
    assert atlas._add_button.disabled
    atlas.correlate()
    assert "Choose a metric" in atlas.message
    atlas.metric = "size"
    atlas.correlate().wait()
    assert f"{placed.correlate([1, 2, 3, 5, 4]).statistic:.3f}" in atlas._association.value
    atlas.groups = "family"
    atlas.correlate().wait()
    assert "components" in atlas.message                                   # too few models are left; said, not raised


def test_colours_tree_and_pages(atlas):
    for name in ("family", "size", ""):
        atlas.color_by = atlas.size_by = name if name != "family" else ""
        atlas.color_by = name
    atlas._tabs.selected_index = 1
    assert 'alt="Dendrogram of 4 models' in atlas._tree.value and atlas.message == ""


def test_without_embeddings(M):
    atlas = ManifoldExplorer(M)
    atlas.pair = ("a", "b")
    assert atlas._open_button.disabled and "give them as" in atlas.open_pair().message
    atlas.n_components = 3
    assert atlas.wait().result.n_components == 3
    bare = eg.model_manifold(np.asarray(M.distances))
    assert ManifoldExplorer(bare).message == ""


def test_an_omnibus_will_do(M, O):
    atlas = ManifoldExplorer(M, O)
    atlas.pair = ("a", "b")
    assert len(atlas._apart.rows) == 10


def test_what_the_atlas_refuses(M, emb):
    with pytest.raises(TypeError, match="ModelManifold"):
        ManifoldExplorer(emb)
    with pytest.raises(ValueError, match="'d' is missing"):
        ManifoldExplorer(M, emb.select(("a", "b", "c")))
    with pytest.raises(ValueError, match="one value per model"):
        ManifoldExplorer(M, metadata={"x": [1, 2]})
    with pytest.raises(ValueError, match="missing"):
        ManifoldExplorer(M, metadata={"x": {"a": 1}})


def test_hundred_models():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(100, 5))
    M = eg.model_manifold(np.linalg.norm(points[:, None] - points, axis=2), models=[f"model {i}" for i in range(100)])
    atlas = ManifoldExplorer(M, metadata={"x": points[:, 0]})
    assert len(atlas._models.rows) == atlas.page_size
    atlas.page = 8
    assert "page 9 of 9" in atlas._where.value and len(atlas._models.rows) == 4
    atlas.pair = ("model 3", "model 99")
    assert "model 99" in atlas._pair.value
    atlas._tabs.selected_index = 1
    assert "Dendrogram of 100 models" in atlas._tree.value


# Without a kernel

def test_static_forms(R, M, O):
    for view, count in ((DatumExplorer(R).static(most=3), 3), (ManifoldExplorer(M, O).static(most=4), 4)):
        assert len(view.panels.children) == len(view.panels.titles) == count
        html = view.to_html()
        assert html.count("<details") == count and html.count("<details name=") == count and "<script" not in html
        assert all(' alt="' in image for image in re.findall("<img[^>]+>", html))
        bundle = view._repr_mimebundle_()
        assert bundle["text/html"] == html and "application/vnd.jupyter.widget-view+json" in bundle
    chosen = DatumExplorer(R).static(data=[9, 2])
    assert [f'data-datum="{i}"' in child.value for i, child in zip((9, 2), chosen.panels.children)] == [True, True]


def test_a_datum_is_named_by_its_id_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6)).astype("f4")
    C = eg.compare(eg.Embeddings({"a": X, "b": X + rng.normal(size=X.shape).astype("f4")}, ids=[f"doc {i}" for i in range(60)]), "a", "b", n_neighbors=8)
    explorer = DatumExplorer(C)
    explorer.select("doc 41")
    assert explorer.selected == 41
    explorer.select(7)
    assert explorer.selected == 7
    with pytest.raises(ValueError, match="doc 99"):
        explorer.select("doc 99")
    assert explorer.selected == 7
    assert [f'data-datum="{i}"' in child.value for i, child in zip((9, 2), explorer.static(data=["doc 9", 2]).panels.children)] == [True, True]


def test_says_what_to_install(monkeypatch, R):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    module._browser_views.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"embgeo_nb\[widgets\]"):
            DatumExplorer(R, drawing="browser")
    finally:
        monkeypatch.undo()
        module._browser_views.cache_clear()


def test_falls_back_without_anywidget(monkeypatch, R):
    monkeypatch.setattr(module, "has_anywidget", lambda: False)
    explorer = DatumExplorer(R)
    assert isinstance(explorer._points, module.PicturePoints) and '<img src="data:image/png' in explorer._points.value and 'alt="Scatter of' in explorer._points.value
    before = explorer._points.value
    explorer.selected = 12
    assert explorer._points.value != before
    agrees(explorer, 12)


# Drawn around, chosen in the legend, a layout of one's own, and what is left in a saved notebook ------------------------

def around(points, rows, slack=0.01):
    low, high = points[rows].min(0) - slack, points[rows].max(0) + slack
    return [[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]


def test_inside_a_loop():
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, size=(500, 2))
    circle = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 400, endpoint=False)), np.sin(t)], 1)
    far = np.abs(np.hypot(*points.T) - 1) > 0.02
    assert (module.inside(points, circle) == (np.hypot(*points.T) < 1))[far].all()
    hole = np.array([[0, 0], [3, 0], [3, 3], [0, 3], [0, 0], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1]])       # a square with a square hole
    assert module.inside(np.array([[.5, .5], [1.5, 1.5], [2.5, 1.5], [4, 1]]), hole).tolist() == [True, False, True, False]
    assert not module.inside(points, []).any()


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_data_drawn_around_are_listed_alone(C, drawing):
    explorer = DatumExplorer(C, drawing=drawing)
    explorer.show = "after"
    center, half = explorer._seen.spots(slice(None), explorer._plane)
    after, label = center + half, C.labels[0]
    loop = around(after, np.arange(5))
    wanted = np.flatnonzero(((after >= loop[0]) & (after <= loop[2])).all(1))
    explorer._points._happened(None, {"event": "lasso", "loop": loop})
    assert explorer.lassoed == tuple(wanted) and set(explorer._order) == set(wanted) and f"{len(wanted)} drawn around" in explorer._where.value
    if drawing == "browser":
        faded = np.frombuffer(explorer._points.faded, np.uint8).astype(bool)
        assert set(explorer._drawn[~faded]) == set(wanted)
    explorer._points._happened(None, {"event": "legend", "key": label})
    assert explorer.label == explorer._points.pressed == label and set(explorer._order) == {i for i in wanted if C.labels[i] == label}
    explorer._points._happened(None, {"event": "legend", "key": label})
    explorer._points._happened(None, {"event": "lasso", "loop": [[90, 90], [91, 90], [91, 91]]})
    assert "no datum inside" in explorer.message and explorer.lassoed == tuple(wanted)
    explorer._unloop.click()
    assert explorer.lassoed == () and len(explorer._order) == N and explorer._unloop.layout.display == "none"


def test_legend_of_labels_can_be_chosen(C):
    explorer = DatumExplorer(C, drawing="browser")
    keys = [entry.get("key") for entry in explorer._points.legend]
    assert {key for key in keys if key} == set(C.labels) and None in keys
    explorer.color_by = "q-value"
    assert not any("key" in entry for entry in explorer._points.legend)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_layout_of_ones_own(C, emb, drawing):
    own = np.random.default_rng(5).normal(size=(N, 2)).astype("f4")
    explorer = DatumExplorer(C, emb, positions=own.tolist(), drawing=drawing)
    assert explorer.view == "own" and "own" in explorer._controls["view"].options
    if drawing == "browser":
        shown, rows = np.frombuffer(explorer._points.points, "f4").reshape(-1, 2), np.frombuffer(explorer._points.rows, "i4")
        assert np.array_equal(shown, own[rows]) and len(rows) == N and explorer._points.axes[0] == "your layout"
        i = explorer.selected
        assert explorer._points.overlay["labels"][0]["x"] == pytest.approx(float(own[i, 0]))
        ends = {(round(line["x1"], 5), round(line["y1"], 5)) for line in explorer._points.overlay["lines"] if not line.get("arrow")}
        assert ends and ends <= {(round(float(x), 5), round(float(y), 5)) for x, y in own}
    explorer._points._happened(None, {"event": "lasso", "loop": around(own, [3, 4], 0.001)})
    assert {3, 4} <= set(explorer.lassoed)
    explorer.view = "movement"
    agrees(explorer, explorer.selected)
    assert DatumExplorer(C, drawing=drawing)._controls["view"].options == module.VIEWS[:2]
    assert "<img" in explorer.static().to_html()
    for wrong, words in ((own[:5], rf"positions must have shape \({N}, 2\)"), (own[:, :1], "positions must have shape"), (own * np.nan, "positions has NaN")):
        with pytest.raises(ValueError, match=words):
            DatumExplorer(C, positions=wrong)


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_a_saved_notebook_says_how_to_revive(C, M, drawing, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw=False, **options: shown.append(data))
    for explorer, words in ((DatumExplorer(C, drawing=drawing), C.verdict.split(".")[0]), (ManifoldExplorer(M, drawing=drawing), "models")):
        shown.clear()
        explorer._ipython_display_()
        live, saved = shown
        assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
        assert "Run the cell again" in saved["text/html"] and ":has(.eg-explorer)" in saved["text/html"] and words in saved["text/html"]
        assert "<script" not in saved["text/html"] and len(saved["text/html"]) < 30_000
    assert str(C.ids[C.order[0]]) in DatumExplorer(C, drawing=drawing).saved()


def test_scripts_are_those_of_their_files():
    "What the browser runs is the file beside the package, and no other copy of it."
    from embgeo_nb.widgets import _browser_views, static_text
    pytest.importorskip("anywidget")
    source = (Path(__file__).resolve().parents[1] / "embgeo_nb" / "widgets.py").read_text(encoding="utf-8")
    assert "document.createElement" not in source and "border-collapse" not in source
    for view, name in zip(_browser_views(), ("points.js", "table.js")):
        assert view._esm == static_text(name)


@pytest.mark.parametrize("which", ["explorer", "atlas"])
def test_marimo_shows_the_static_form(which):
    "marimo asks `_display_`, and draws no ipywidgets."
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(80, 6))
    models = {name: Y + 0.3 * rng.normal(size=Y.shape) for name in "abc"}
    own = DatumExplorer(eg.datum_test(models, "a", "b", n_neighbors=8)) if which == "explorer" else ManifoldExplorer(eg.model_manifold(eg.model_distance(eg.omnibus(models, n_neighbors=8))))
    shown = own._display_()._repr_html_()
    assert "draws no Jupyter widgets" in shown and own.static().to_html() in shown
