"""The kernel is its definition, whatever the numbers, their type, the block size and the ties."""
import pickle
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

import embgeo_nb as eg
from embgeo_nb import kernel as kernel_module
from embgeo_nb.kernel import METRICS, SYMMETRIZE, edges_as_one, full_float32, told_apart
from reference import assert_nearest, each_device, nearest, similarity
from surroundings import default_dtype

each_metric = pytest.mark.parametrize("metric", METRICS)
DTYPES = {
    "f16": lambda Y: Y.astype(np.float16), "f32": lambda Y: Y.astype(np.float32), "f64": lambda Y: Y,
    "big-endian": lambda Y: Y.astype(">f4"), "longdouble": lambda Y: Y.astype(np.longdouble),
    "int8": lambda Y: np.rint(9 * Y).astype(np.int8) + 40, "int64": lambda Y: np.rint(1e4 * Y).astype(np.int64), "bool": lambda Y: np.c_[Y > 0, np.ones(len(Y), bool)],
    "fortran": np.asfortranarray, "strided": lambda Y: np.repeat(Y, 2, axis=1)[::-1, ::2], "list": lambda Y: Y.tolist(),
    "torch32": lambda Y: torch.tensor(Y, dtype=torch.float32), "bfloat16": lambda Y: torch.tensor(Y).bfloat16(),
    "gradient": lambda Y: torch.tensor(Y, requires_grad=True), "transposed": lambda Y: torch.tensor(Y.T.copy()).T,
}


def sample(n=90, p=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def as_float64(Y):
    return Y.detach().double().numpy() if isinstance(Y, torch.Tensor) else np.asarray(Y, dtype=float)


def with_copies(n=40, seed=1):
    "Every row five times: as it is, again, and scaled by powers of two, which is exact."
    Y = sample(n, 5, seed)
    return np.vstack([Y, 2 * Y, Y, 0.25 * Y, Y])[np.random.default_rng(seed).permutation(5 * n)]


# The definition -------------------------------------------------------------------------------------------------------

def test_nearest_are_the_smallest_distances():
    Y = sample(100, 3)
    distances = np.linalg.norm(Y[:, None] - Y, axis=2)
    np.fill_diagonal(distances, np.inf)
    neighbors = eg.data_kernel(Y, 5, "euclidean").neighbors
    assert np.take_along_axis(rankdata(distances, axis=1), neighbors, 1).mean(0).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", DTYPES)
@each_metric
@each_device
def test_every_type_of_array(dtype, metric, device):
    Y = DTYPES[dtype](sample())
    K = eg.data_kernel(Y, 9, metric, device=device)
    assert K.neighbors.dtype == np.int64 and K.neighbors.shape == (90, 9)
    assert (K.neighbors == nearest(as_float64(Y), 9, metric)).all()


@each_metric
@pytest.mark.parametrize("k", [1, 2, 13, 198, 199])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000, None])
@each_device
def test_copies_and_block_sizes(metric, k, batch_size, device):
    Y = with_copies()
    K = eg.data_kernel(Y, k, metric, batch_size=batch_size, device=device)
    assert (K.neighbors == nearest(Y, k, metric)).all()


@each_metric
@pytest.mark.parametrize("k", [1, 8, 40])
@pytest.mark.parametrize("values", [2, 3, 9])
@each_device
def test_integer_grids_tie_by_index(metric, k, values, device):
    Y = np.random.default_rng(values).integers(1, 1 + values, size=(150, 2)).astype(float)
    neighbors = eg.data_kernel(Y, k, metric, batch_size=32, device=device).neighbors
    assert_nearest(neighbors, Y, metric)
    assert metric == "cosine" or (neighbors == nearest(Y, k, metric)).all()      # equals of unlike rows are exact, too


@each_metric
def test_all_rows_equal(metric):
    K = eg.data_kernel(np.full((60, 4), 0.3), 5, metric)
    assert (K.neighbors == [[j for j in range(6) if j != i][:5] for i in range(60)]).all()


@each_metric
@pytest.mark.parametrize("n, p", [(2, 1), (2, 5), (3, 1), (40, 1), (12, 300)])
def test_small_and_flat(metric, n, p):
    Y = np.abs(sample(n, p)) + 1
    for k in {1, n - 1}:
        assert_nearest(eg.data_kernel(Y, k, metric).neighbors, Y, metric)


@settings(deadline=None, max_examples=60)
@given(Y=arrays(np.int8, st.tuples(st.integers(2, 40), st.integers(1, 4)), elements=st.integers(1, 4)), data=st.data())
def test_any_integers(Y, data):
    k, metric = data.draw(st.integers(1, len(Y) - 1)), data.draw(st.sampled_from(METRICS))
    batch_size = data.draw(st.integers(1, len(Y)))
    assert_nearest(eg.data_kernel(Y, k, metric, batch_size=batch_size).neighbors, Y, metric)


@settings(deadline=None, max_examples=60)
@given(Y=arrays(np.float32, st.tuples(st.integers(2, 30), st.integers(1, 4)), elements=st.floats(-1e4, 1e4, width=32)), data=st.data())
def test_any_floats(Y, data):
    "No other datum is more similar than a neighbour by more than rounding."
    k, metric = data.draw(st.integers(1, len(Y) - 1)), data.draw(st.sampled_from(METRICS))
    Y = Y[np.abs(Y).max(1) > 1e-3] if metric == "cosine" else Y
    if len(Y) <= k:
        return
    S = similarity(Y, metric)
    np.fill_diagonal(S, -np.inf)
    K = eg.data_kernel(Y, k, metric)
    chosen = np.take_along_axis(S, K.neighbors, 1)
    rounding = 1e-13 * np.abs(S[np.isfinite(S)]).max()
    assert (np.diff(chosen, axis=1) <= rounding).all()
    assert (chosen >= -np.sort(-S, axis=1)[:, :k] - rounding).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_agrees_with_scikit_learn(metric):
    Y = sample(800, 20)
    theirs = NearestNeighbors(n_neighbors=15, metric=metric, algorithm="brute").fit(Y).kneighbors(return_distance=False)
    assert (eg.data_kernel(Y, 15, metric).neighbors == theirs).all()


# Hard numbers ---------------------------------------------------------------------------------------------------------

# Where the float32 nomination, or the float64 formula itself, leaves its range.


@pytest.mark.parametrize("exponent", [-1070, -601, -1, 0, 1, 52, 600, 1023])
def test_powers_of_two_are_exact(exponent):
    Y = sample(40, 3)
    with np.errstate(all="ignore"):
        wanted = np.ldexp(Y, exponent)
    assert np.array_equal(kernel_module.times_power(torch.from_numpy(Y), torch.tensor(exponent)).numpy(), wanted)


@pytest.mark.parametrize("exponent, metric, dtype", [
    (e, m, t) for e in (-600, -110, -66, -10, 10, 66, 110, 600) for m in METRICS for t in ("f4", "f8") if t == "f8" or abs(e) < 120])
def test_units_do_not_matter(exponent, metric, dtype):
    Y = sample(120, 8).astype(dtype)
    scaled = np.ldexp(Y, exponent)
    assert (eg.data_kernel(scaled, 7, metric).neighbors == eg.data_kernel(Y, 7, metric).neighbors).all()


@each_metric
@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_huge_offsets(metric, offset):
    Y = sample(150, 6) + offset
    S = similarity(Y, metric)
    np.fill_diagonal(S, -np.inf)
    chosen = np.take_along_axis(S, eg.data_kernel(Y, 10, metric).neighbors, 1)
    rounding = 4 * np.finfo(float).eps * np.abs(S[np.isfinite(S)]).max() if metric != "euclidean" else 0
    assert (chosen >= -np.sort(-S, axis=1)[:, :10] - rounding).all()


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-10])
@each_device
def test_nearly_equal_rows(gap, device):
    Y = 1 + gap * sample(150, 6)
    assert (eg.data_kernel(Y, 10, "euclidean", device=device).neighbors == nearest(Y, 10, "euclidean")).all()


def test_one_outlier_does_not_blur_the_others():
    Y = sample(200, 6)
    Y[17] = 1e9
    assert (eg.data_kernel(Y, 10, "euclidean").neighbors == nearest(Y, 10, "euclidean")).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_large_integers_stay_apart(dtype):
    Y = 2 ** 25 + np.random.default_rng(0).permutation(50).astype(dtype)[:, None]
    assert (eg.data_kernel(Y, 3, "euclidean").neighbors == nearest(Y, 3, "euclidean")).all()


@each_device
def test_reduced_matmul_precision_changes_nothing(device):
    Y = (sample(1500, 256) + 10).astype(np.float32)
    wanted = eg.data_kernel(Y, 32, device=device).neighbors
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = eg.data_kernel(Y, 32, device=device).neighbors
    finally:
        torch.set_float32_matmul_precision(before)
    if device == "cpu" and not torch.backends.mkldnn.is_available():
        pytest.skip("this build has no reduced products on the CPU")
    assert (found == wanted).all()


def test_anisotropic_embeddings_need_few_repairs(monkeypatch):
    "A common direction much longer than the differences, as in the last layer of a language model."
    repaired = []
    among = kernel_module._among_all
    monkeypatch.setattr(kernel_module, "_among_all", lambda data, own, *args: repaired.extend(own.tolist()) or among(data, own, *args))
    Y = (sample(400, 256) + 30).astype(np.float32)
    eg.data_kernel(Y, 10)
    assert len(repaired) < 20


# Invariance -----------------------------------------------------------------------------------------------------------

def test_invariances():
    Y = sample(150, 6)
    rotation = np.linalg.qr(sample(6, 6, 3))[0]
    row_scales = np.exp(sample(150, 1, 4))
    same = lambda other, metric: (eg.data_kernel(other, 9, metric).neighbors == eg.data_kernel(Y, 9, metric).neighbors).all()
    assert all(same(0.37 * Y @ rotation, metric) for metric in METRICS)
    assert same(row_scales * Y, "cosine") and not same(row_scales * Y, "euclidean")
    assert same(Y + 3, "euclidean") and not same(Y + 3, "cosine")


@each_metric
def test_rows_in_another_order(metric):
    Y, order = sample(150, 6), np.random.default_rng(1).permutation(150)
    assert (order[eg.data_kernel(Y[order], 9, metric).neighbors] == eg.data_kernel(Y, 9, metric).neighbors[order]).all()


def test_threads_change_nothing():
    Y, before = with_copies(200), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(eg.data_kernel(Y, 20).neighbors)
    finally:
        torch.set_num_threads(before)
    assert (found[0] == found[1]).all()


@each_metric
def test_input_is_left_alone(metric):
    Y = sample()
    eg.data_kernel(Y, 3, metric)
    assert (Y == sample()).all()


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_do_not_warn():
    Y = sample()
    Y.setflags(write=False)
    torch.set_warn_always(True)      # it warns once per process
    try:
        eg.data_kernel(Y, 3)
    finally:
        torch.set_warn_always(False)


# Whatever else the process does ---------------------------------------------------------------------------------------

@contextmanager
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SURROUNDINGS = {
    "seterr": lambda: np.errstate(all="raise"), "warnings": warnings_are_errors, "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16), "float64": lambda: default_dtype(torch.float64), "half": lambda: default_dtype(torch.float16),
}


def pipeline(Y, Z):
    "Neighbours under every metric, and embeddings."
    kernels = [eg.data_kernel(Y, 12, metric) for metric in METRICS]
    joint = [eg.omnibus({str(t): X for t, X in enumerate(models)}, 9).positions for models in ([Y, Z], [Y, Z, Z[::-1]])]
    return [kernel.neighbors for kernel in kernels], [kernels[0].graph.toarray(), eg.spectral_embedding(kernels[0], 9).positions, *joint]


def two_models():
    Y = np.r_[np.tile(sample(1, 20), (20, 1)), sample(480, 20)].astype("f4")
    return Y, (Y + 0.3 * sample(500, 20, 1)).astype("f4")


def assert_same(found, wanted):
    assert all((a == b).all() for a, b in zip(found[0], wanted[0])) and all(np.allclose(a, b, atol=1e-3) for a, b in zip(found[1], wanted[1]))


@pytest.mark.parametrize("where", SURROUNDINGS)
def test_surroundings_change_nothing(where):
    wanted = pipeline(*two_models())
    with SURROUNDINGS[where]():
        found = pipeline(*two_models())
    assert_same(found, wanted)


@pytest.mark.parametrize("how", ["read-only", "on disk"])
def test_arrays_that_cannot_be_written(how, tmp_path):
    arrays = two_models()
    wanted = pipeline(*arrays)
    for t, Y in enumerate(arrays):
        np.save(tmp_path / f"{t}.npy", Y)
        Y.setflags(write=False)
    assert_same(pipeline(*(arrays if how == "read-only" else [np.load(tmp_path / f"{t}.npy", mmap_mode="r") for t in (0, 1)])), wanted)


@each_metric
def test_another_default_device(metric):
    "Whatever tensors are made by default, these are made where they are needed."
    Y = with_copies(100)
    wanted = eg.data_kernel(Y, 9, metric)
    with torch.device("meta"):
        found = eg.data_kernel(Y, 9, metric)
        positions = eg.spectral_embedding(found, 9).positions
    assert (found.neighbors == wanted.neighbors).all() and np.allclose(positions, eg.spectral_embedding(wanted, 9).positions, atol=1e-4)


def test_threads_leave_the_settings_alone():
    "The first thread goes before the second: what either finds set is what the user set."
    inside, leave, before = threading.Barrier(2), threading.Event(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    seen = []

    def first():
        with full_float32():
            inside.wait(10)
            leave.wait(10)
        seen.append(torch.get_float32_matmul_precision())

    try:
        thread = threading.Thread(target=first)
        thread.start()
        inside.wait(10)
        with full_float32():
            leave.set()
            thread.join(10)
            seen.append(torch.get_float32_matmul_precision())
        assert seen == ["highest", "highest"] and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


# The graph ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("symmetrize", [*SYMMETRIZE[:2], "mean"])
@pytest.mark.parametrize("k", [1, 6, 89])
def test_graph(symmetrize, k):
    K = eg.data_kernel(sample(), k, symmetrize=symmetrize)
    directed = np.zeros((90, 90))
    np.put_along_axis(directed, K.neighbors, 1, axis=1)
    wanted = {"union": np.maximum, "intersection": np.minimum, "mean": lambda a, b: (a + b) / 2}[symmetrize](directed, directed.T)
    assert isinstance(K.graph, sp.csr_array) and K.graph.dtype == np.float32 and K.graph.has_sorted_indices
    assert (K.graph.toarray() == wanted).all() and (K.graph.data != 0).all() and not K.graph.diagonal().any()
    assert (K.directed.toarray() == directed).all()
    assert (K.n, K.n_neighbors, K.metric, K.symmetrize) == (90, k, "cosine", symmetrize)


def test_frozen():
    with pytest.raises(AttributeError):
        eg.data_kernel(sample(), 3).metric = "euclidean"


# Ties -----------------------------------------------------------------------------------------------------------------

def shared_edges(Y, k, metric):
    "The directed graph in which data that are as similar as the k-th nearest, to rounding, share what is left: dense, one row at a time."
    S = similarity(as_float64(Y), metric)
    np.fill_diagonal(S, -np.inf)
    A, rounding = np.zeros(S.shape), 1e-11 * np.abs(S[np.isfinite(S)]).max()
    for i, row in enumerate(S):
        kth = np.sort(row)[-k]
        nearer, tied = row > kth + rounding, np.abs(row - kth) <= rounding
        A[i, nearer], A[i, tied] = 1, (k - nearer.sum()) / tied.sum()
    return A


def groups_of_copies(n=300, of=6, groups=20, p=10, seed=0, dtype="f4"):
    "Rows, some of them in groups of equals, in a random order; and who is in which group."
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.r_[np.repeat(np.arange(groups), of), groups + np.arange(n - of * groups)])
    return rng.normal(size=(kind.max() + 1, p)).astype(dtype)[kind], kind


@each_metric
@pytest.mark.parametrize("k", [1, 8, 40])
@pytest.mark.parametrize("values", [2, 3])
@each_device
def test_ties_share_edges(metric, k, values, device):
    Y = np.random.default_rng(values).integers(1, 1 + values, size=(150, 3)).astype(float)
    for batch_size in (7, None):
        K = eg.data_kernel(Y, k, metric, batch_size=batch_size, device=device)
        assert np.allclose(K.directed.toarray(), shared_edges(Y, k, metric), atol=1e-6)
    assert K.n_ties and np.allclose(K.directed.sum(1), k) and K.directed.has_sorted_indices


@each_metric
@pytest.mark.parametrize("symmetrize", SYMMETRIZE)
def test_shared_edges_are_symmetrised(metric, symmetrize):
    A = shared_edges(with_copies(), 7, metric)
    wanted = {"union": np.maximum, "intersection": np.minimum, "mean": lambda a, b: (a + b) / 2}[symmetrize](A, A.T)
    K = eg.data_kernel(with_copies(), 7, metric, symmetrize)
    assert np.allclose(K.graph.toarray(), wanted, atol=1e-6) and K.graph.dtype == np.float32 and (K.graph.data > 0).all()
    assert (K.graph != K.graph.T).nnz == 0 and not K.graph.diagonal().any()


@each_metric
@pytest.mark.parametrize("coarse", [False, True])
def test_copies_are_alike(metric, coarse, monkeypatch):
    "Equal rows may change places: the graph stays."
    monkeypatch.setattr(kernel_module, "coarse_pays", lambda *args: coarse)
    Y, kind = groups_of_copies(of=20, groups=10)
    place = np.arange(len(Y))
    for group in range(10):
        place[kind == group] = np.random.default_rng(group).permutation(place[kind == group])
    K = eg.data_kernel(Y, 12, metric)
    assert (place != np.arange(len(Y))).any() and K.n_ties > 20
    assert (K.graph[place][:, place] != K.graph).nnz == 0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_copies_are_counted(metric, dtype):
    Y, kind = groups_of_copies(dtype=dtype)
    K = eg.data_kernel(Y, 9, metric)
    first = np.array([np.flatnonzero(kind == own)[0] for own in kind])
    assert K.n_copies == (120, 20) and (K.copy_of == first).all()
    assert "120 data in 20 groups of equal rows" in K._repr_html_() and f"{K.n_ties} data share edges" in K._repr_html_()


@each_metric
@pytest.mark.parametrize("where", [(0,), (0, 1)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_noise_of_the_last_digit_changes_no_edge(metric, where, dtype):
    Y, _ = groups_of_copies(dtype="f4")
    rng = np.random.default_rng(1)
    noisy = [(Y * (1 + 1e-7 * rng.normal(size=Y.shape) * (t in where))).astype(dtype) for t in (0, 1)]
    first, second = (eg.data_kernel(Z, 12, metric) for Z in noisy)
    assert first.n_ties > 50 and (first.graph != second.graph).nnz == 0
    assert (first.copy_of == second.copy_of).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_neighbourhood_is_no_tie(dtype):
    "Rows that differ by a little more than their precision are told apart."
    Y = np.r_[sample(60, 8), sample(60, 8) + 2e-3 * sample(60, 8, 1)].astype(dtype)
    K = eg.data_kernel(Y, 4)
    assert K.copy_of is None and K.n_ties <= 1 and (K.neighbors[:, 0] == np.r_[60:120, :60]).all()


@each_metric
def test_very_many_copies(metric):
    "Each is chosen as often as any other, and the graph stays sparse."
    Y = np.r_[np.full((1500, 3), 0.3), sample(100, 3)][np.random.default_rng(0).permutation(1600)]
    K = eg.data_kernel(Y, 5, metric if metric != "inner_product" else "cosine")
    copies = K.copy_of == np.bincount(K.copy_of).argmax()
    among = K.directed[copies][:, copies]
    assert copies.sum() == 1500 and among.nnz == 1500 * 256
    assert ((among != 0).sum(0) == 256).all() and np.allclose(K.directed.sum(1), 5)


def test_repairs_in_parts_are_the_same(monkeypatch):
    Y = with_copies()
    data = kernel_module.SearchRows(torch.as_tensor(Y), "cosine", "cpu")
    own, floor = torch.arange(0, 200, 3), torch.full((67,), -0.5, dtype=torch.float64)
    for room in (1, 50, 2 ** 21):
        found = {int(own[at]): row for place, block in kernel_module._among_all(data, own, 9, floor, room) for at, row in zip(place, block.neighbors)}
        assert len(found) == 67 and (torch.stack([found[int(i)] for i in own]).numpy() == nearest(Y, 9, "cosine")[own]).all()


def test_a_kernel_travels():
    K = eg.data_kernel(groups_of_copies()[0], 9)
    again = pickle.loads(pickle.dumps(K))
    assert (again.graph != K.graph).nnz == 0 and again.n_ties == K.n_ties and (again.copy_of == K.copy_of).all()
    bare = eg.DataKernel(K.neighbors, 9, "cosine", "union")
    assert bare.n_ties == 0 and bare.n_copies == (0, 0) and (bare.graph.data == 1).all()


@pytest.mark.parametrize("of, groups", [(6, 50), (3, 100), (10, 34)])
@pytest.mark.parametrize("both", [False, True])
def test_noise_among_copies_is_no_discovery(of, groups, both):
    Y, _ = groups_of_copies(1000, of, groups, 24)
    rng = np.random.default_rng(2)
    noisy = lambda: (Y + 1e-7 * rng.normal(size=Y.shape)).astype("f4")
    emb = {"before": noisy() if both else Y, "after": noisy()}
    assert not eg.datum_test(emb, "before", "after", n_resamples=499).statistic.any()


@pytest.mark.parametrize("of, groups", [(6, 50), (10, 34)])
def test_data_that_moved_among_copies_are_found_and_no_others(of, groups):
    Y, _ = groups_of_copies(1000, of, groups, 6, seed=1)
    rng = np.random.default_rng(3)
    moved = rng.choice(1000, 20, replace=False)
    after = (Y + 1e-7 * rng.normal(size=Y.shape)).astype("f4")
    after[moved] = rng.normal(size=(20, 6))
    R = eg.datum_test({"before": Y, "after": after}, "before", "after", n_resamples=1999)
    found = np.flatnonzero(R.rejected(0.05))
    assert np.isin(found, moved).all() and len(found) >= 10


def test_copies_get_one_coin():
    Y, kind = groups_of_copies()
    other = Y.copy()
    other[::7] = sample(43, 10, 5)
    A, B = eg.data_kernel(Y, 12), eg.data_kernel(other, 12)
    kinds = told_apart([A, B])
    assert all((kinds == kinds[i]).sum() == ((A.copy_of == A.copy_of[i]) & (B.copy_of == B.copy_of[i])).sum() for i in range(300))
    difference = sp.csr_array(A.graph.astype(float) - B.graph)
    difference.eliminate_zeros()
    loadings = torch.as_tensor(sample(300, 5, 6))
    joined, longer = edges_as_one(difference, loadings, kinds)
    assert np.allclose(joined @ longer.numpy(), difference @ loadings.numpy()) and joined.nnz < 0.8 * difference.nnz
    one_each = {(i, kinds[j], w) for i, j, w in zip(*difference.nonzero(), difference.data)}
    assert joined.nnz == len(one_each)
    assert edges_as_one(difference, loadings, None)[0] is difference and told_apart([eg.data_kernel(sample(), 5), A]) is None


# Refusals -------------------------------------------------------------------------------------------------------------

def spoilt(value):
    Y = sample()
    Y[3, 2] = value
    return Y


@pytest.mark.parametrize("options, error, message", [
    (dict(n_neighbors=0), ValueError, "between 1 and 89"), (dict(n_neighbors=90), ValueError, "n = 90"), (dict(n_neighbors=-1), ValueError, "n_neighbors"),
    (dict(n_neighbors=2.5), TypeError, "n_neighbors"), (dict(n_neighbors=True), TypeError, "n_neighbors"), (dict(n_neighbors="3"), TypeError, "n_neighbors"),
    (dict(metric="manhattan"), ValueError, "cosine"), (dict(metric=None), ValueError, "metric"), (dict(symmetrize="or"), ValueError, "union"),
    (dict(batch_size=-1), ValueError, "batch_size"), (dict(batch_size=2.5), TypeError, "batch_size"),
    (dict(batch_size=0), ValueError, "batch_size"),
])
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        eg.data_kernel(sample(), **{"n_neighbors": 3, **options})


@pytest.mark.parametrize("Y, error, message", [
    (spoilt(np.nan), ValueError, r"NaN.*\[3\]"), (spoilt(np.inf), ValueError, "infinite"), (spoilt(-np.inf), ValueError, "infinite"),
    (np.ones(9), ValueError, "shape"), (np.ones((9, 2, 2)), ValueError, "shape"), (np.ones((0, 3)), ValueError, "shape"), (np.ones((9, 0)), ValueError, "shape"),
    (np.array([["a"], ["b"]]), TypeError, "real numbers"), (np.ones((9, 2), complex), TypeError, "real numbers"), (np.ones((9, 2), object), TypeError, "real numbers"),
    (sp.csr_array(np.eye(9)), TypeError, "sparse"), (sp.csr_matrix(np.eye(9)), TypeError, "sparse"), (None, ValueError, "shape"), (torch.full((9, 2), torch.nan), ValueError, "NaN"),
    (np.ma.masked_invalid(spoilt(np.nan)), (TypeError, ValueError), "mask|NaN"),
])
def test_bad_embeddings(Y, error, message):
    with pytest.raises(error, match=message):
        eg.data_kernel(Y, 3)


def test_zero_rows_have_no_direction():
    Y = sample()
    Y[[4, 8]] = 0
    with pytest.raises(ValueError, match=r"2 zero rows \(first: \[4, 8\]\)"):
        eg.data_kernel(Y, 3)
    assert (eg.data_kernel(Y, 3, "euclidean").neighbors == nearest(Y, 3, "euclidean")).all()


# Memory ---------------------------------------------------------------------------------------------------------------

def peak_megabytes(prepare, command):
    "What `command` adds to the peak resident memory of a fresh process after `prepare`."
    code = f"import resource, numpy as np, torch, embgeo_nb as eg\ntorch.set_num_threads(1)\npeak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n" \
           f"{prepare}\nbefore = peak()\n{command}\nprint(peak() - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_memory_grows_with_n_times_block():
    prepare = "Y = np.random.default_rng(0).normal(size=(20_000, 16)).astype('f4'); eg.data_kernel(Y[:500], 32)"
    assert peak_megabytes(prepare, "eg.data_kernel(Y, 32, batch_size=256)") < 1000      # all similarities: 1,600


def test_memory_of_many_neighbours():
    prepare = "Y = np.random.default_rng(0).normal(size=(600, 768)).astype('f4'); eg.data_kernel(Y, 5)"
    assert peak_megabytes(prepare, "eg.data_kernel(Y, 550)") < 150
