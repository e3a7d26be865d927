"""Ours and others, interleaved in one run: `make bench`, or `python tools/bench.py [NAME ...] [--rounds N] [--store]`.

Every measurement is a process of its own, which reports its seconds and how far its memory grew. Peers that need
numpy < 2 run in .venv-peers, which `make bench` sets up. Results are written to bench_output/, and with --store to
nbs/data/scaling.json, from where the scaling study shows them.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "bench_output"
PEERS = ROOT / ".venv-peers" / "bin" / "python"
THREADS = None
sys.path.insert(0, str(ROOT))


def rss():
    "Peak resident memory of this process, in bytes, since `fresh_peak`."
    return _memory("VmHWM")


def fresh_peak():
    "Forgets the peak so far (Linux); returns what is held now."
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _memory("VmRSS")


def _memory(what):
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(what))


CPU = []


def seconds(work, times=1):
    "Result and the shortest of a few runs; the processor time of that run goes to CPU."
    best = float("inf")
    for _ in range(times):
        start, cpu = synchronized(), time.process_time()
        result = work()
        took, cpu = synchronized() - start, time.process_time() - cpu
        if took < best:
            best, CPU[:] = took, [cpu]
    return result, best


def synchronized():
    "Now, when a GPU has done all it was asked to."
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


# Data -----------------------------------------------------------------------------------------------------------------

def views(n, p=24, m=2, noise=0.35, clusters=60, seed=0):
    "m noisy views of clustered points: graphs with the degrees, the clusters and the disagreements of real ones."
    import numpy as np
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, p)) * 1.2
    shares = rng.dirichlet(np.full(clusters, 2.0))
    points = centres[rng.choice(clusters, n, p=shares)] + rng.normal(size=(n, p)) * rng.uniform(0.4, 1, size=(1, p))
    for _ in range(m):
        yield (points + noise * rng.normal(size=(n, p))).astype("f4")


def wide(n, p, seed=0):
    "Points of 32 dimensions in p, with noise in all."
    import numpy as np
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=(n, 32)) @ rng.normal(size=(32, p))) + 2 * rng.normal(size=(n, p))).astype("f4")


def stored(n, k, m=2, noise=0.35):
    "Paths of the graphs of noisy views, made once."
    paths = [OUT / f"graph_{n}_{k}_{noise}_{t}.npz" for t in range(m)]
    if not all(path.is_file() for path in paths):
        import scipy.sparse as sp
        import embgeo_nb as eg
        for path, Y in zip(paths, views(n, m=m, noise=noise)):
            sp.save_npz(path, eg.data_kernel(Y, k).graph)
    return paths


def load(paths):
    import scipy.sparse as sp
    return [sp.csr_array(sp.load_npz(path)) for path in paths]


# What is measured: each returns seconds and, where they are compared, arrays -------------------------------------------

def omnibus_ours(n, k, d, times=1, device=None):
    import embgeo_nb as eg
    graphs = dict(zip("ab", load(stored(n, k))))
    eg.omnibus({name: graph[:500][:, :500] for name, graph in graphs.items()}, 4, device=device)          # libraries loaded, threads started
    before = fresh_peak()
    result, took = seconds(lambda: eg.omnibus(graphs, d, device=device), times)
    return took, rss() - before, result.positions


def omnibus_eigsh(n, k, d, times=1):
    "scipy's defaults on the explicit sparse matrix."
    import numpy as np
    import scipy.sparse as sp
    from scipy.sparse.linalg import eigsh
    A, B = (graph.astype(float) for graph in load(stored(n, k)))
    before = fresh_peak()

    def work():
        M = sp.block_array([[A, (A + B) / 2], [(A + B) / 2, B]], format="csr")
        values, vectors = eigsh(M, d)
        order = np.argsort(-np.abs(values), kind="stable")
        return (vectors[:, order] * np.abs(values[order]) ** 0.5).reshape(2, n, d)

    result, took = seconds(work, times)
    return took, rss() - before, result


def omnibus_graspologic(n, k, d, times=1, algorithm="randomized"):
    from graspologic.embed import OmnibusEmbed
    graphs = [graph.toarray().astype(float) for graph in load(stored(n, k))]
    before = fresh_peak()
    result, took = seconds(lambda: OmnibusEmbed(n_components=d, algorithm=algorithm).fit_transform(graphs), times)
    return took, rss() - before, result


def test_ours(n, d, null="paired", method=None, n_resamples=None, times=1, device=None):
    import embgeo_nb as eg
    graphs = dict(zip("ab", load(stored(n, 32))))
    options = dict(null=null, n_components=d, n_resamples=n_resamples, method=method, device=device)
    eg.datum_test(graphs, "a", "b", n_components=d, n_resamples=19, device=device)         # libraries loaded, threads started
    result, took = seconds(lambda: eg.datum_test(graphs, "a", "b", **options), times)
    return took, 0, result.pvalue


def replicates_graspologic(n, d, replicates=4):
    "The published bootstrap: a draw from the fit to the first graph, embedded with the first graph (Duderstadt et al. 2023, section 3)."
    import numpy as np
    from graspologic.embed import AdjacencySpectralEmbed, OmnibusEmbed
    from graspologic.simulations import rdpg
    A, _ = (graph.toarray().astype(float) for graph in load(stored(n, 32)))
    Z = AdjacencySpectralEmbed(n_components=d).fit_transform(A)
    np.random.seed(0)

    def replicate():
        both = OmnibusEmbed(n_components=d).fit_transform([A, rdpg(Z, rescale=False, loops=False)])
        return np.linalg.norm(both[0] - both[1], axis=1)

    took = [seconds(replicate)[1] for _ in range(replicates)]
    return sum(took) / replicates, 0, None


def neighbors_ours(n, p, k, device="cpu"):
    import embgeo_nb as eg
    Y = wide(n, p)
    eg.data_kernel(Y[:5000], k, device=device)
    before = fresh_peak()
    result, took = seconds(lambda: eg.data_kernel(Y, k, device=device, batch_size=512 if device == "cpu" else None))
    return took, rss() - before, result.neighbors


def neighbors_share(n, p, k, device):
    "Exact neighbours, and the share of the measured rate of matrix products (of the precision that nominates) that they reach."
    import torch
    import embgeo_nb as eg
    from embgeo_nb.kernel import coarse_pays
    coarse, Y = coarse_pays(n, p, torch.device(device)), wide(n, p)
    square = torch.randn(8192 if device != "cpu" else 1024, 8192 if device != "cpu" else 1024, device=device).to(torch.bfloat16 if coarse else torch.float32)
    square @ square
    rate = 2 * len(square) ** 3 / seconds(lambda: square @ square, 5)[1]
    eg.data_kernel(Y[:5000], k, device=device)
    before = fresh_peak()
    _, took = seconds(lambda: eg.data_kernel(Y, k, device=device))
    return took, rss() - before, {"share": 2 * n ** 2 * p / took / rate, "rate": rate, "coarse": coarse}


def neighbors_faiss(n, p, k):
    import faiss
    import numpy as np
    Y = wide(n, p)

    def work():
        unit = Y / np.linalg.norm(Y, axis=1, keepdims=True)
        index = faiss.IndexFlatIP(p)
        index.add(unit)
        return index.search(unit, k + 1)[1]

    before = fresh_peak()
    result, took = seconds(work)
    return took, rss() - before, result[:, 1:]


def neighbors_sklearn(n, p, k):
    from sklearn.neighbors import NearestNeighbors
    Y = wide(n, p)
    before = fresh_peak()
    result, took = seconds(lambda: NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(Y).kneighbors(return_distance=False))
    return took, rss() - before, result


def population_ours(n, k, d, m):
    "Joint omnibus and distances of m models, and the memory they take beyond the graphs."
    import embgeo_nb as eg
    graphs = {f"m{t}": graph for t, graph in enumerate(load(stored(n, k, 64)[:m]))}
    eg.omnibus({name: graph[:500][:, :500] for name, graph in list(graphs.items())[:3]}, 4)
    before = fresh_peak()
    result, took = seconds(lambda: eg.model_distance(eg.omnibus(graphs, d)))
    return took, rss() - before, None


def vocabulary_ours(n, p, k, d, device="cpu"):
    "Kernels, omnibus and paired p-values of two models, end to end, against the estimate made before."
    import embgeo_nb as eg
    from embgeo_nb.omnibus import as_graphs
    arrays = dict(zip("ab", views(n, p, clusters=400)))
    expected = eg.estimate_cost(n, p, n_neighbors=k, n_components=d, memory=24e9, device=device, refuse=device == "cpu")
    start, before, took = time.perf_counter(), fresh_peak(), {}
    graphs, took["kernel"] = seconds(lambda: as_graphs(arrays, k, device=device))
    joint, took["omnibus"] = seconds(lambda: eg.omnibus(graphs, d, device=device))
    coordinates, took["frame"] = seconds(lambda: eg.frame(graphs.mean, d, device=device))
    result, took["test"] = seconds(lambda: eg.datum_test(graphs, "a", "b", n_components=d, device=device))
    took["paired"] = took.pop("test") - took["frame"]
    whole = time.perf_counter() - start - took["frame"]
    CPU[:] = [time.process_time()]
    story = told(expected, took, whole) | {
             "edges": int(graphs["a"].nnz), "differing": float((result.n_differing.sum() / 2) / (graphs["a"].nnz + graphs["b"].nnz) * 2), "rejected": float((result.pvalue <= 0.05).mean())}
    return whole, rss() - before, story


def population_whole(n, p, k, d, m):
    "Kernels of m models, their joint omnibus and all distances, end to end, against the estimate made before."
    import embgeo_nb as eg
    from embgeo_nb.omnibus import as_graphs
    arrays = {f"m{t}": Y for t, Y in enumerate(views(n, p, m, clusters=100))}
    expected = eg.estimate_cost(n, p, n_models=m, n_neighbors=k, n_components=d, stages=("kernel", "omnibus"), memory=24e9)
    start, before, took = time.perf_counter(), fresh_peak(), {}
    graphs, took["kernel"] = seconds(lambda: as_graphs(arrays, k))
    joint, took["omnibus"] = seconds(lambda: eg.omnibus(graphs, d))
    distance, _ = seconds(lambda: eg.model_distance(joint))
    whole = time.perf_counter() - start
    CPU[:] = [time.process_time()]
    return whole, rss() - before, told(expected, took, whole)


def taxonomy_whole(n, p, k, d, m, resamples, size):
    "Distances of m models with intervals, their map and tree, from embeddings in memory to the end; then one more model."
    import embgeo_nb as eg
    arrays = {f"m{t}": Y for t, Y in enumerate(views(n, p, m + 1, clusters=100))}
    more, before, took = arrays.popitem(), fresh_peak(), {}
    start = time.perf_counter()
    joint, took["kernels and frame"] = seconds(lambda: eg.omnibus(arrays, d, n_neighbors=k))
    distance, took["distances and resamples"] = seconds(lambda: eg.model_distance(joint, n_resamples=resamples, resample_size=size))
    found, took["map, tree, intervals"] = seconds(lambda: (eg.model_manifold(distance), eg.neighbor_joining(distance), distance.interval()))
    whole = time.perf_counter() - start
    _, took["one more model"] = seconds(lambda: found[0].add(eg.distances_from(joint, more[1]), more[0]))
    CPU[:] = [time.process_time()]
    return whole, rss() - before, {"stages": took, "peak bytes": rss()}


def two_models(n, p, file=None):
    "Two noisy views of the same points as Embeddings, or as float16 arrays on disk, made once."
    import numpy as np
    import embgeo_nb as eg
    if file is None:
        return eg.Embeddings(dict(zip("ab", views(n, p, clusters=400))))
    paths = [OUT / f"{file}_{n}_{p}_{name}.npy" for name in "ab"]
    if not all(path.is_file() for path in paths):
        arrays = [np.lib.format.open_memmap(path, "w+", "f2", (n, p)) for path in paths]
        for start in range(0, n, 50_000):
            for Y, part in zip(arrays, views(min(50_000, n - start), p, clusters=400, seed=start)):
                Y[start:start + len(part)] = part
    return [np.load(path, mmap_mode="r") for path in paths]


def compare_ours(n, p, k=32):
    "All of `compare`, with what it was estimated to take."
    import embgeo_nb as eg
    emb = two_models(n, p)
    expected = eg.estimate_cost(n, p, n_neighbors=k, stages=("kernel", "frame", "paired", "features", "linear"), n_resamples=999, refuse=False)
    eg.compare(emb.rows(range(600)), "a", "b", n_neighbors=k)                                        # libraries loaded, threads started
    before = fresh_peak()
    C, took = seconds(lambda: eg.compare(emb, "a", "b", n_neighbors=k))
    return took, rss() - before, {"expected total": float(expected.total_seconds), "expected bytes": float(expected.peak_bytes), "measured bytes": rss(),
                                  "moved": int(C.rejected().sum())}


def kernels_and_test(n, p, k=32):
    "Kernels and paired p-values of two models, by default settings."
    import embgeo_nb as eg
    emb = two_models(n, p)
    eg.datum_test(emb.rows(range(600)), "a", "b", n_neighbors=k)
    before = fresh_peak()
    _, took = seconds(lambda: eg.datum_test(emb, "a", "b", n_neighbors=k))
    return took, rss() - before, None


def linear_ours(n, p):
    "The joint frame of linear kernels, from float16 arrays on disk. File pages count as memory only while nobody else wants it."
    import embgeo_nb as eg
    arrays = two_models(n, p, "linear")
    eg.linear_frame(*(Y[:1000] for Y in arrays))
    held, before = [], fresh_peak()
    stop = sampled(lambda: held.append(_memory("RssAnon")))
    _, took = seconds(lambda: eg.linear_frame(*arrays))
    stop()
    return took, max(held), {"measured bytes": rss(), "anonymous bytes": max(held)}


def job_from(kind, n, p):
    "Two files to a verdict, a page, a summary and a table: every form as a process of its own, libraries loaded from nothing."
    import tempfile
    sys.path.insert(0, str(ROOT / "tests"))
    import two_files
    took = {}
    with tempfile.TemporaryDirectory() as folder:
        two_files.write(Path(folder), kind, two_files.two_models(n, p, moved=n // 50))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        for form in two_files.FORMS:
            _, took[form] = seconds(lambda form=form: two_files.run(Path(folder), kind, form))
    return took["script"], 0, {"forms": took, "file bytes": size}


CLICK = """
    const [row, done] = arguments, root = document.querySelector(".eg-datum-explorer"), start = performance.now();
    const shown = () => root.querySelector(".eg-card").dataset.datum === row.dataset.row;
    const look = () => shown() ? done(performance.now() - start) : requestAnimationFrame(look);
    row.click(); look();"""


def explorer_clicks(n, p=32, clicks=30):
    "From the click on a row of the explorer's table to the datum's card, in a real JupyterLab in a real browser."
    import tempfile
    import nbformat
    import numpy as np
    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Lab, Page
    made = ("import sys, numpy as np, embgeo_nb as eg\n"
            f"sys.path.insert(0, {str(ROOT / 'tools')!r})\nfrom bench import views\n"
            f"pair = eg.Embeddings(dict(zip('ab', views({n}, {p}, clusters=400))), data=[f'text {{row}}' for row in range({n})], labels=np.arange({n}) % 12)\n"
            "C = eg.compare(pair, 'a', 'b')")
    with tempfile.TemporaryDirectory() as folder:
        cells = [nbformat.v4.new_code_cell(source) for source in (made, "explorer = eg.DatumExplorer(C)\nexplorer")]
        (Path(folder) / "nbs").mkdir()
        about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), Path(folder) / "nbs" / "clicks.ipynb")
        lab = Lab(Path(folder) / "nbs", Path(folder))
        try:
            page = Page(Path(folder) / "profile")
            try:
                page.open_notebook(lab, "clicks.ipynb")
                assert page.run_all() is True
                page.until("document.querySelectorAll('.eg-datum-explorer .eg-card').length", what="the explorer")
                took = []
                for at in range(clicks + 1):                                    # two rows by turns; the first click also loads what is shown later
                    rows = page.driver.find_elements("css selector", ".eg-datum-explorer .eg-table tbody tr[data-row]")
                    took.append(page.driver.execute_async_script(CLICK, rows[1 + at % 8]) / 1000)
                    time.sleep(0.3)
            finally:
                page.close()
        finally:
            lab.stop()
    CPU[:] = [time.process_time()]
    return float(np.median(took[1:])), 0, {"clicks": took}


def sampled(look, every=0.2):
    "Looks again and again until the returned function is called."
    import threading
    ended = threading.Event()

    def work():
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return lambda: (ended.set(), thread.join(), look())


def told(expected, took, whole):
    "An estimate and what was measured, by stage."
    numbers = lambda by_stage: {name: float(value) for name, value in by_stage.items()}
    return {"expected": numbers(expected.seconds), "floor": numbers(expected.floor), "operations": numbers(expected.operations), "measured": took,
            "expected total": float(expected.total_seconds), "measured total": whole, "expected bytes": float(expected.peak_bytes), "measured bytes": rss()}


# Comparisons ----------------------------------------------------------------------------------------------------------

def agree(kind, ours, theirs):
    "How far two results are apart."
    import numpy as np
    if kind == "neighbours":
        return f"{np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(ours.tolist(), theirs.tolist())]):.5f} of the neighbours shared"
    signs = np.sign((ours * theirs).sum((0, 1)))
    if kind == "positions":
        return f"positions differ by {np.linalg.norm(ours * signs - theirs) / np.linalg.norm(theirs):.1e}"
    difference = theirs[0] - theirs[1]
    return f"displacements differ by {np.linalg.norm((ours[0] - ours[1]) * signs - difference) / np.linalg.norm(difference):.1e}"


def pair(n, k, d):
    return dict(ours=("omnibus_ours", dict(n=n, k=k, d=d)), theirs=("omnibus_eigsh", dict(n=n, k=k, d=d)), kind="displacements")


def replicated(factors, **ours):
    return dict(ours=("test_ours", dict(n=2000, d=10, **ours)), theirs=("replicates_graspologic", dict(n=2000, d=10)), times=factors, peers=True)


NAMES = {
    "pair of 4,000 (k 32, d 10) | graspologic": dict(ours=("omnibus_ours", dict(n=4000, k=32, d=10, times=5)), theirs=("omnibus_graspologic", dict(n=4000, k=32, d=10)), peers=True),
    "the same | graspologic, truncated": dict(ours=("omnibus_ours", dict(n=4000, k=32, d=10, times=5)), theirs=("omnibus_graspologic", dict(n=4000, k=32, d=10, algorithm="truncated")), peers=True, kind="positions"),
    "pair of 10,000 (k 32, d 200) | eigsh": pair(10000, 32, 200),
    "pair of 20,000 (k 64, d 64) | eigsh": pair(20000, 64, 64),
    "pair of 50,000 (k 64, d 64) | eigsh": pair(50000, 64, 64),
    "paired test, analytic tail | 200 replicates": replicated((1, 200), method="tail", times=3),
    "paired test, 9,999 flips | 200 replicates": replicated((1, 200)),
    "two-copy bootstrap | 200 replicates": replicated((10, 200), null="bootstrap", n_resamples=20),
    "neighbours (20,000 x 768, k 64) | faiss": dict(ours=("neighbors_ours", dict(n=20000, p=768, k=64)), theirs=("neighbors_faiss", dict(n=20000, p=768, k=64)), kind="neighbours"),
    "neighbours (20,000 x 768, k 64) | scikit-learn": dict(ours=("neighbors_ours", dict(n=20000, p=768, k=64)), theirs=("neighbors_sklearn", dict(n=20000, p=768, k=64)), kind="neighbours"),
    "16 models of 5,000 | 64 models": dict(ours=("population_ours", dict(n=5000, k=32, d=32, m=16)), theirs=("population_ours", dict(n=5000, k=32, d=32, m=64))),
    "compare 20,000 x 768 | kernels and paired test": dict(ours=("compare_ours", dict(n=20_000, p=768)), theirs=("kernels_and_test", dict(n=20_000, p=768))),
    "linear frame of 1,000,000 x 768 (float16 on disk)": dict(ours=("linear_ours", dict(n=1_000_000, p=768))),
    "compare 100,000 x 256": dict(ours=("compare_ours", dict(n=100_000, p=256))),
    "vocabulary of 20,000": dict(ours=("vocabulary_ours", dict(n=20_000, p=64, k=32, d=32))),
    "64 models of 10,000": dict(ours=("population_whole", dict(n=10_000, p=256, k=32, d=64, m=64))),
    "200 models of 10,000": dict(ours=("taxonomy_whole", dict(n=10_000, p=64, k=32, d=128, m=200, resamples=20, size=1000))),
    "vocabulary of 100,000": dict(ours=("vocabulary_ours", dict(n=100_000, p=256, k=64, d=32))),
    **{f"selection to card, n = {n:,}": dict(ours=("explorer_clicks", dict(n=n, p=32))) for n in (10_000, 100_000)},
    **{f"two files, {kind}": dict(ours=("job_from", dict(kind=kind, n=2000, p=384)))
       for kind in (".parquet", ".arrow", ".jsonl", ".npz", ".h5ad", ".npy", ".safetensors", ".zarr", ".faiss")},
}


# Only where there is a GPU.
ON_GPU = {
    "neighbours on a GPU (200,000 x 768, k 64)": dict(ours=("neighbors_share", dict(n=200_000, p=768, k=64, device="cuda"))),
    "vocabulary of 1,000,000 on a GPU": dict(ours=("vocabulary_ours", dict(n=1_000_000, p=768, k=64, d=32, device="cuda"))),
}


def gpu():
    "The name of the GPU, or None."
    import torch
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def measure(function, arguments, python=sys.executable):
    "(seconds, bytes, result, processor seconds) of one function in a process of its own."
    import numpy as np
    file = OUT / f"result_{os.getpid()}.npy"
    done = subprocess.run([str(python), __file__, "--task", function, json.dumps(arguments), str(file)], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, **{f"{name}_NUM_THREADS": str(THREADS) for name in ("OMP", "MKL", "OPENBLAS") if THREADS}})
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    took, grown, story, cpu = json.loads(done.stdout.strip().splitlines()[-1])
    result = np.load(file) if file.is_file() else story
    file.unlink(missing_ok=True)
    return took, grown, result, cpu


def task(function, arguments, file):
    import numpy as np
    took, grown, result = globals()[function](**json.loads(arguments))
    if isinstance(result, np.ndarray):
        np.save(file, result)
        result = None
    print(json.dumps([took, grown, result, CPU[0]]))


def prepare(names):
    "Graphs, before the clock runs."
    for name in names:
        for side in ("ours", "theirs"):
            arguments = NAMES[name].get(side, ("", {}))[1]
            if "n" in arguments and "p" not in arguments:
                stored(arguments["n"], arguments.get("k", 32), 64 if "m" in arguments else 2)


def compare(name, rounds):
    "One comparison: medians over rounds in which both sides take turns."
    import numpy as np
    what, found = NAMES[name], []
    mine, theirs = what.get("times", (1, 1))
    for _ in range(1 if "theirs" not in what else rounds):
        ours = measure(*what["ours"])
        other = measure(*what["theirs"], python=PEERS if what.get("peers") else sys.executable) if "theirs" in what else None
        found.append((ours, other))
    row = {"ours": float(np.median([ours[0] for ours, _ in found])) * mine, "our bytes": float(np.median([ours[1] for ours, _ in found])),
           "our cpu": float(np.median([ours[3] for ours, _ in found])) * mine, "load": os.getloadavg()[0], "threads": THREADS or os.cpu_count(),
           "processor": machine()["processor"]}
    if "theirs" in what:
        row |= {"theirs": float(np.median([other[0] for _, other in found])) * theirs, "their bytes": float(np.median([other[1] for _, other in found])),
                "ratio": float(np.median([other[0] * theirs / (ours[0] * mine) for ours, other in found])), "rounds": rounds,
                "their cpu": float(np.median([other[3] for _, other in found])) * theirs,
                "cpu ratio": float(np.median([other[3] * theirs / (ours[3] * mine) for ours, other in found]))}
    if gpu() and what["ours"][0] in ("omnibus_ours", "test_ours", "neighbors_ours"):
        row["gpu"] = float(np.median([measure(what["ours"][0], what["ours"][1] | {"device": "cuda"})[0] for _ in range(rounds)])) * mine
    if "kind" in what:
        row["agreement"] = agree(what["kind"], found[0][0][2], found[0][1][2])
    if isinstance(found[0][0][2], dict):
        row["story"] = found[0][0][2]
    return row


def machine():
    import torch
    with open("/proc/cpuinfo") as file:
        name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.processor())
    return {"processor": name, "cores": os.cpu_count(), "torch": torch.__version__, "device": gpu() or "no GPU"}


def main():
    from embgeo_nb.common import atomic_path
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names; all by default: " + "; ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", action="store_true", help="keep the results in nbs/data/scaling.json")
    parser.add_argument("--threads", type=int, help="threads for both sides; on a machine with other work, 1 measures best")
    options = parser.parse_args()
    global THREADS
    THREADS = options.threads
    NAMES.update(ON_GPU if gpu() else {})
    names = [name for name in NAMES if any(part in name for part in options.names) or not options.names]
    OUT.mkdir(exist_ok=True)
    prepare(names)
    results = {}
    for name in names:
        results[name] = compare(name, options.rounds)
        row = results[name]
        line = f"{name}: ours {row['ours']:.3g} s, {row['our bytes'] / 1e6:.0f} MB"
        if "theirs" in row:
            line += f"; theirs {row['theirs']:.3g} s, {row['their bytes'] / 1e6:.0f} MB; ratio {row['ratio']:.3g} (processor time {row['cpu ratio']:.3g})"
        print(line, row.get("agreement", ""), flush=True)
        for path in [OUT / "bench.json"] + [ROOT / "nbs" / "data" / "scaling.json"] * options.store:
            held = json.loads(path.read_text()) if path.is_file() else {"results": {}}
            held["machine"] = machine()                       # of the last that were measured; each row has its processor
            held["results"] |= {name: row}
            held["results"] = {known: held["results"][known] for known in [*NAMES, *held["results"]] if known in held["results"]}      # in the order of NAMES
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        task(*sys.argv[2:])
    else:
        main()
