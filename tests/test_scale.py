"""Large work in pieces: coarse nominations, data and graphs on disk, estimates, and a cluster that loses a worker."""
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import eigsh

import embgeo_nb as eg
from embgeo_nb import kernel as kernel_module
from embgeo_nb import scale as scale_module
from embgeo_nb.kernel import METRICS
from embgeo_nb.omnibus import Graphs, as_graphs
from embgeo_nb.rdpg import leading_eigenpairs, near_order, reordered
from embgeo_nb.resume import Pieces
from reference import random_graph, views


# Neighbours -----------------------------------------------------------------------------------------------------------

def crowded(n=900, p=40, copies=True, seed=0):
    "Clustered rows, far from the origin, some of them copies."
    rng = np.random.default_rng(seed)
    Y = rng.normal(size=(20, p))[rng.integers(0, 20, n)] * 2 + rng.normal(size=(n, p)) + 1
    if copies:
        Y[:60] = Y[0]
        Y[100:200] = Y[300:400]
    return Y.astype("f4")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("copies", [False, True])
def test_coarse_nominations_give_the_same_neighbours(metric, copies, monkeypatch):
    Y, used = crowded(copies=copies), []
    fine = eg.data_kernel(Y, 12, metric).neighbors
    monkeypatch.setattr(kernel_module, "coarse_pays", lambda *args: True)
    coarse = kernel_module.SearchRows.coarse
    monkeypatch.setattr(kernel_module.SearchRows, "coarse", lambda self, *args: used.append(1) or coarse(self, *args))
    for batch_size in (64, 900):
        assert (eg.data_kernel(Y, 12, metric, batch_size=batch_size).neighbors == fine).all()
    assert used


@pytest.mark.parametrize("metric", METRICS)
def test_the_bound_of_coarse_scores_holds(metric):
    "No datum that was not nominated has an exact score above the bound."
    Y = crowded(600, 300, False)
    data = kernel_module.SearchRows(torch.as_tensor(Y), metric, "cpu")
    rows = data._unit(slice(0, 600)) - data.center
    exact = rows @ rows.T - (0 if data.offset is None else ((rows ** 2).sum(1) / 2))
    for coarse in (True, False):
        nominees, bound = kernel_module._nominees(data, torch.arange(600), 20, coarse)
        left = exact.clone().fill_diagonal_(-torch.inf).scatter_(1, nominees, -torch.inf)
        assert (left.amax(1) <= bound).all()
        assert (bound - left.amax(1)).median() < (0.05 if coarse else 0.01) * exact.abs().max()       # and is not idle


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("coarse", [False, True])
def test_any_rows_in_any_order(metric, coarse):
    "Rows that are done again come in as a list of their numbers; what is proven or repaired must be the truth."
    Y = crowded(1200, 300)
    whole = eg.data_kernel(Y, 9, metric).neighbors
    data, own = kernel_module.SearchRows(torch.as_tensor(Y), metric, "cpu"), torch.tensor([700, 3, 1199, 350, 351, 100])
    (neighbors, *_), proven = kernel_module._neighbors_block(data, own, 9, coarse)
    assert (neighbors.numpy() == whole[own.numpy()]).all() and 0 <= proven <= 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("coarse", [False, True])
def test_pieces_change_nothing(metric, coarse, monkeypatch):
    Y = crowded(2500, 16)
    whole = eg.data_kernel(Y, 9, metric).neighbors
    monkeypatch.setattr(kernel_module, "_PIECE", 16)               # the least: 1,024 rows a piece
    monkeypatch.setattr(kernel_module, "coarse_pays", lambda *args: coarse)
    assert len(kernel_module.SearchRows(torch.as_tensor(Y), metric, "cpu").pieces) == 3
    assert (eg.data_kernel(Y, 9, metric).neighbors == whole).all()


def test_memory_mapped_rows(tmp_path):
    Y = crowded()
    np.save(tmp_path / "Y.npy", Y)
    on_disk = np.load(tmp_path / "Y.npy", mmap_mode="r")
    assert kernel_module.rows_on_cpu(on_disk).data_ptr() == on_disk.ctypes.data                # no copy
    assert (eg.data_kernel(on_disk, 10).neighbors == eg.data_kernel(Y, 10).neighbors).all()


@pytest.mark.parametrize("width", [100, 333, 4000])
@pytest.mark.parametrize("count", [1, 7, 90])
def test_largest_by_groups(width, count):
    scores = torch.as_tensor(np.random.default_rng(0).integers(0, 300, (20, width)).astype("f4"))
    values, places = kernel_module.largest_in_rows(scores, count)
    assert (values.sort(1, descending=True).values == scores.topk(count).values).all()
    assert (scores.gather(1, places) == values).all()
    assert all(len(set(row)) == count for row in places.tolist())


@pytest.mark.parametrize("metric", METRICS)
def test_faiss(metric):
    pytest.importorskip("faiss")
    Y = crowded()
    exact = eg.data_kernel(Y, 12, metric)
    assert (eg.data_kernel(Y, 12, metric, backend="faiss").neighbors == exact.neighbors).all() and exact.recall is None
    near = eg.data_kernel(Y, 12, metric, backend="faiss-approximate")
    shared = np.mean([len(set(a) & set(b)) / 12 for a, b in zip(near.neighbors.tolist(), exact.neighbors.tolist())])
    assert 0.3 < near.recall <= 1 and near.recall == pytest.approx(shared, abs=0.05)
    assert not (near.neighbors == np.arange(len(Y))[:, None]).any() and all(len(set(row)) == 12 for row in near.neighbors.tolist())


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend must be one of"):
        eg.data_kernel(crowded(), 5, backend="annoy")


# The eigensolver ------------------------------------------------------------------------------------------------------

def test_order_of_the_vertices():
    graph = random_graph(300, 0.05, weights=lambda rng, size: rng.normal(size=size))
    order = near_order(graph)
    assert sorted(order) == list(range(300))
    assert (reordered(graph, order).toarray() == graph.toarray()[order][:, order]).all()


@pytest.mark.parametrize("tol", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("d", [5, 40])
def test_float32_work_ends_with_float64_residuals(tol, d):
    graph = eg.data_kernel(views("a", 900)["a"], 12).graph
    values, vectors = (part.numpy() for part in leading_eigenpairs(graph, d, tol))
    truth = np.sort(np.abs(eigsh(graph.astype(float), d)[0]))[::-1]
    assert (np.linalg.norm(graph @ vectors - vectors * values, axis=0) <= tol * np.abs(values)).all()
    assert np.abs(np.abs(values) / truth - 1).max() < tol and np.abs(vectors.T @ vectors - np.eye(d)).max() < 1e-12


def test_a_spectrum_too_steep_for_float32():
    "Weights over seven orders of magnitude: the small eigenvalues are found in float64."
    weights = np.repeat([1.0, 1e-3, 1e-6], 200)
    graph = sp.csr_array(sp.block_diag([random_graph(200, 0.1, seed=t).astype(float) * weight for t, weight in enumerate(weights[::200])]))
    truth = np.linalg.eigvalsh(graph.toarray())
    truth = truth[np.argsort(-np.abs(truth))][:70]
    kept = np.abs(truth) > 1e-9 * abs(truth[0])
    values = leading_eigenpairs(graph, 70, 1e-5)[0].numpy()
    assert np.abs(values[kept] / truth[kept] - 1).max() < 1e-5


@pytest.mark.parametrize("m", [2, 3])
def test_displacements_against_eigsh(m):
    graphs = {name: eg.data_kernel(Y, 16).graph for name, Y in views("abc"[:m], 1500).items()}
    A = [graph.astype(float) for graph in graphs.values()]
    M = sp.csr_array(sp.bmat([[(s + t) / 2 for t in A] for s in A]))
    values, vectors = eigsh(M, 20)
    order = np.argsort(-np.abs(values))
    truth = (vectors[:, order] * np.abs(values[order]) ** 0.5).reshape(m, -1, 20)
    Z = eg.omnibus(graphs, 20).positions
    wanted = truth[0] - truth[1]
    found = (Z[0] - Z[1]) * np.sign((Z * truth).sum((0, 1)))
    assert np.linalg.norm(found - wanted) < 1e-3 * np.linalg.norm(wanted)


# Graphs on disk -------------------------------------------------------------------------------------------------------

def population(m=4, n=300):
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(n, 6))
    return {f"m{t}": latent @ rng.normal(size=(6, 8)) + 0.5 * rng.normal(size=(n, 8)) for t in range(m)}


def test_stored_graphs_are_the_graphs(tmp_path):
    emb = eg.Embeddings(population(), ids=[f"id{i}" for i in range(300)])
    stored, graphs = eg.save_graphs(emb, tmp_path / "a", 10), as_graphs(emb, 10)
    again = eg.open_graphs(tmp_path / "a")
    assert again.models == graphs.models and (again.ids == graphs.ids).all() and again.settings == graphs.settings
    assert all((again[name] != graphs[name]).nnz == 0 and isinstance(again[name].indices, np.memmap) for name in graphs.models)
    assert np.array_equal(eg.omnibus(stored, 8).positions, eg.omnibus(graphs, 8).positions)
    assert np.array_equal(eg.datum_test(stored, "m0", "m2", n_components=8).pvalue, eg.datum_test(graphs, "m0", "m2", n_components=8).pvalue)
    copied = eg.save_graphs(dict(graphs.graphs), tmp_path / "b")
    assert copied.models == graphs.models and (copied["m1"] != graphs["m1"]).nnz == 0
    with pytest.raises(ValueError, match="no graphs.json"):
        eg.open_graphs(tmp_path)


# Estimates ------------------------------------------------------------------------------------------------------------

def test_estimates_grow_as_they_should():
    cost = lambda n, m=2, **options: eg.estimate_cost(n, 128, n_models=m, n_components=32, memory=1e15, **options)
    small, large = cost(50_000), cost(200_000)
    assert large.operations["kernel"] == 16 * small.operations["kernel"]
    assert large.operations["omnibus"] == pytest.approx(4 * small.operations["omnibus"])
    assert 1.5 * small.peak_bytes < large.peak_bytes < 4 * small.peak_bytes and small.total_seconds == pytest.approx(sum(small.seconds.values()))
    assert cost(50_000, 64).operations["omnibus"] < 5 * cost(50_000, 16).operations["omnibus"]
    assert set(cost(1000, stages=["kernel"]).seconds) == {"kernel"}


def test_what_cannot_fit_is_refused_with_advice():
    with pytest.raises(MemoryError, match=r"needs about [\d.]+ GB.*open_graphs"):
        eg.estimate_cost(200_000, 16, n_models=64, n_neighbors=64, n_components=8, memory=4e9)
    with pytest.raises(MemoryError, match="on disk.*mmap_mode"):
        eg.estimate_cost(1_000_000, 4096, n_neighbors=8, n_components=8, memory=4e9)
    with pytest.raises(MemoryError, match="fewer components"):
        eg.estimate_cost(1_000_000, 8, n_neighbors=8, n_components=512, memory=8e9)
    found = eg.estimate_cost(1_000_000, 4096, memory=4e9, refuse=False)
    assert not found.fits and found.advice and "does not fit" in found._repr_html_()


@pytest.mark.parametrize("options, error", [(dict(stages=["kernel", "map"]), ValueError), (dict(n_neighbors=0), ValueError), (dict(n_components=2.5), TypeError), (dict(n=1), ValueError)])
def test_bad_sizes(options, error):
    with pytest.raises(error):
        eg.estimate_cost(**{"n": 1000, "p": 8, **options})


# A cluster ------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("dask.distributed")
    import dask
    with dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "60s"}):
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0) as local:
            with distributed.Client(local) as client:
                yield client


def test_a_worker_is_killed_and_the_results_are_the_same(cluster, tmp_path):
    graphs = as_graphs(population(3), 10)
    engine, killed = eg.DaskEngine(cluster, tmp_path), []
    before = cluster.run(os.getpid)

    def kill():
        while not any(cluster.processing().values()):                # once work is under way
            time.sleep(0.05)
        killed.append(next(iter(before.values())))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    null = engine.bootstrap(graphs, "m0", "m1", 6, n_resamples=60, seed=5)
    thread.join()
    cluster.wait_for_workers(2, timeout=60)
    assert killed and killed[0] not in cluster.run(os.getpid).values()
    alone = eg.datum_test(graphs, "m0", "m1", null="bootstrap", n_components=6, n_resamples=60, seed=5)
    assert np.allclose(null, alone.null_distribution, rtol=1e-3)
    assert np.abs((1 + (null >= alone.statistic[:, None] * (1 - 1e-5)).sum(1)) / 61 - alone.pvalue).max() <= 1 / 61


def test_every_kind_of_work(cluster, tmp_path):
    emb = population(3)
    engine, graphs = eg.DaskEngine(cluster, tmp_path), as_graphs(emb, 10)
    stored = eg.save_graphs(emb, tmp_path / "graphs", 10, engine=engine)
    assert all((stored[name] != graphs[name]).nnz == 0 for name in graphs.models)
    for metric in METRICS:
        assert (engine.kernel(emb["m0"], 9, metric, batch_size=100).neighbors == eg.data_kernel(emb["m0"], 9, metric).neighbors).all()
    assert np.abs(engine.omnibus(stored, 6).positions - eg.omnibus(graphs, 6).positions).max() < 1e-9
    found = engine.pairs(stored, [("m0", "m1"), ("m2", "m0")], n_components=6, n_resamples=199, seed=3)
    for (a, b), (statistic, pvalue) in found.items():
        alone = eg.datum_test(graphs, a, b, n_components=6, n_resamples=199, seed=3)
        assert np.allclose(statistic, alone.statistic) and np.array_equal(pvalue, alone.pvalue)
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["graphs"]              # nothing is left behind
    with pytest.raises(ValueError, match="no model 'm9'"):
        engine.pairs(stored, [("m0", "m9")])


@pytest.mark.parametrize("options, error, message", [
    (dict(metric="cosin"), ValueError, "metric must be one of"), (dict(symmetrize="both"), ValueError, "symmetrize must be one of"), (dict(n_neighbors=300), ValueError, "between 1 and 299"),
    (dict(n_neighbors=2.0), TypeError, "integer"), (dict(batch_size=0), ValueError, "batch_size must be at least 1"),
])
def test_an_engine_refuses_before_the_work(tmp_path, monkeypatch, options, error, message):
    engine = eg.DaskEngine(None, tmp_path)                              # without a client, any work fails
    with pytest.raises(error, match=message):
        engine.kernel(population()["m0"], **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value, message", [(0, r"1 zero rows \(first: \[7\]\)"), (np.nan, r"NaN or infinite values in 1 of 300 rows \(first: \[7\]\)")])
def test_an_engine_takes_no_rows_that_a_single_machine_refuses(tmp_path, value, message):
    Y = population()["m0"].copy()
    Y[7] = value
    for kernel in (eg.data_kernel, eg.DaskEngine(None, tmp_path).kernel):
        with pytest.raises(ValueError, match=message):
            kernel(Y)


def test_a_cluster_goes_on_after_a_kill(cluster, tmp_path, monkeypatch):
    "Draws and pairs that came before the program ended are not made again, and the results are those of a run without an end."
    graphs, engine, kept = as_graphs(population(3), 10), eg.DaskEngine(cluster, tmp_path / "work"), tmp_path / "kept"
    pairs = [("m0", "m1"), ("m2", "m0"), ("m1", "m2")]
    work = {"bootstrap": lambda **more: engine.bootstrap(graphs, "m0", "m1", 6, n_resamples=9, seed=5, **more),
            "pairs": lambda **more: np.stack([np.stack(own) for own in engine.pairs(graphs, pairs, n_components=6, n_resamples=99, seed=3, **more).values()])}
    put = Pieces.put

    def ended(self, name, made):
        if self.folder and len(list(kept.rglob("*.npz"))) == 2:
            raise KeyboardInterrupt
        return put(self, name, made)

    for name, job in work.items():
        monkeypatch.setattr(Pieces, "put", ended)
        with pytest.raises(KeyboardInterrupt):
            job(resume=kept)
        made = []
        monkeypatch.setattr(Pieces, "put", lambda self, name, own: made.append(name) or put(self, name, own))
        resumed = job(resume=kept)
        assert len(made) == {"bootstrap": 7, "pairs": 1}[name]
        made.clear()
        assert np.array_equal(job(resume=kept), resumed) and not made
        assert np.allclose(resumed, job(), rtol=1e-6) and not list((tmp_path / "work").iterdir())
        shutil.rmtree(kept)


def test_a_selection_of_a_store_uses_the_files_of_its_models(cluster, tmp_path):
    graphs, engine = as_graphs(population(4), 10), eg.DaskEngine(cluster, tmp_path)
    stored = eg.save_graphs(graphs, tmp_path / "graphs")
    for chosen in (["m3", "m1"], ["m2", "m0", "m3"]):
        part, alone = stored.select(chosen), graphs.select(chosen)
        assert engine._stored(part, tmp_path) == {name: tuple(str(getattr(stored[name], field).filename) for field in ("indptr", "indices", "data")) for name in chosen}
        assert np.abs(engine.omnibus(part, 6).positions - eg.omnibus(alone, 6).positions).max() < (1e-9 if len(chosen) > 2 else 1e-4)      # a pair is solved in other coordinates
        (pair, (statistic, pvalue)), = engine.pairs(part, [(chosen[0], chosen[1])], n_components=6, n_resamples=99, seed=3).items()
        single = eg.datum_test(alone, *chosen[:2], n_components=6, n_resamples=99, seed=3)
        assert pair == tuple(chosen[:2]) and np.allclose(statistic, single.statistic) and np.array_equal(pvalue, single.pvalue)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graphs"]


def test_graphs_that_are_stored_no_more_are_stored_again(cluster, tmp_path):
    "Graphs of a store that was overwritten, renamed ones, and ones in memory, all in one analysis."
    graphs, engine = as_graphs(population(4), 10), eg.DaskEngine(cluster, tmp_path)
    old = eg.save_graphs(graphs.select(["m0", "m1"]), tmp_path / "graphs")
    new = eg.save_graphs(graphs.select(["m2"]), tmp_path / "graphs")
    mixed = Graphs({"x": old["m1"], "y": new["m2"], "z": graphs["m3"]}, graphs.ids)
    truth = Graphs({"x": graphs["m1"], "y": graphs["m2"], "z": graphs["m3"]}, graphs.ids)
    files = engine._stored(mixed, tmp_path / "graphs")
    assert files["y"][0] == str(new["m2"].indptr.filename) and files["x"][0] != str(old["m1"].indptr.filename)
    assert np.abs(engine.omnibus(mixed, 6).positions - eg.omnibus(truth, 6).positions).max() < 1e-9
    found = engine.pairs(mixed, [("z", "x")], n_components=6, n_resamples=99)["z", "x"]
    assert np.array_equal(found[1], eg.datum_test(truth, "z", "x", n_components=6, n_resamples=99).pvalue)


def test_part_of_a_file_is_not_taken_for_the_file(tmp_path):
    stored = eg.save_graphs(population(1), tmp_path / "graphs", 10)["m0"]
    part = sp.csr_array((150, 300), dtype=stored.dtype)
    part.indptr, part.indices, part.data = stored.indptr[:151], stored.indices[:stored.indptr[150]], stored.data[:stored.indptr[150]]
    assert scale_module._own_files(stored, tmp_path) and scale_module._own_files(part, tmp_path) is None
    assert scale_module._own_files(stored, tmp_path / "elsewhere") is None


def test_nothing_is_left_behind_when_work_fails(cluster, tmp_path):
    engine = eg.DaskEngine(cluster, tmp_path, retries=0)
    with pytest.raises(ValueError, match="n_resamples|null|must be"):
        engine.pairs(as_graphs(population(2), 10), [("m0", "m1")], null="none such")
    assert not list(tmp_path.iterdir())
