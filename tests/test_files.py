"""What is written survives a kill and a full disk; what is damaged is refused by name; what is stored comes back."""
import ast
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import embgeo_nb as eg
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.files import SUFFIXES, kept_arrays, load_arrays, object_array, pack_column, read_manifest, save_arrays, unpack_column, write_manifest
from embgeo_nb.omnibus import Graphs

ROOT = Path(__file__).resolve().parents[1]


def child(code, *arguments, **options):
    "A fresh interpreter that runs `code`."
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def embeddings(seed=0, n=7):
    rng = np.random.default_rng(seed)
    return Embeddings({"a": rng.normal(size=(n, 3)), "b": rng.normal(size=(n, 2)).astype("f4")}, [f"id {seed} {row}" for row in range(n)],
                      [f"text {row}" for row in range(n)], np.arange(n) % 2)


def alike(one, other):
    return (one.models == other.models and all(one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one)
            and one.ids.tolist() == other.ids.tolist() and list(one.data or []) == list(other.data or [])
            and (one.labels is None) == (other.labels is None) and (one.labels is None or one.labels.tolist() == other.labels.tolist()))


# Writers --------------------------------------------------------------------------------------------------------------

WRITERS = {"save", "savez", "savez_compressed", "save_file", "write_table", "write_text", "write_bytes", "to_csv", "to_parquet", "tofile", "dump"}
ALLOWED = {("embgeo_nb/files.py", "savez"): "inside _write_npz, which writes what atomic_path gives", ("embgeo_nb/files.py", "save_file"): "the same",
           ("embgeo_nb/files.py", "write_table"): "the same", ("embgeo_nb/corpora.py", "dump"): "in a temporary folder of its own",
           ("tools/build.py", "dump"): "the same",
           ("tools/bench.py", "save"): "a result on its way from a process, in the environment of the peers",
           ("tools/mutants.py", "write_text"): "in a copy of the package that is thrown away"}


def unguarded(tree):
    "Calls that write a file outside of `with atomic_path(...)`."
    def visit(node, safe):
        if isinstance(node, ast.With):
            safe = safe or any(isinstance(item.context_expr, ast.Call) and getattr(item.context_expr.func, "id", "") == "atomic_path" for item in node.items)
        if isinstance(node, ast.Call) and not safe:
            if isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS and not (node.func.attr == "to_csv" and not node.args):
                owner = getattr(node.func.value, "id", "")
                buffer = node.args and getattr(node.args[0], "id", "") == "buffer"
                if not buffer and owner not in ("emb", "c"):
                    yield node.func.attr, node.lineno
        for inner in ast.iter_child_nodes(node):
            yield from visit(inner, safe)
    return list(visit(tree, False))


@pytest.mark.parametrize("path", sorted([*(ROOT / "embgeo_nb").glob("*.py"), *(ROOT / "tools").glob("*.py")]), ids=lambda path: path.name)
def test_every_writer_is_atomic(path):
    name = path.relative_to(ROOT).as_posix()
    found = [(call, line) for call, line in unguarded(ast.parse(path.read_text(encoding="utf-8"))) if (name, call) not in ALLOWED]
    assert not found, f"{name} writes in place: {found}"


def test_the_search_for_writers_finds_them():
    assert unguarded(ast.parse("np.save(path, x)\nwith open(p) as f: Path(p).write_text('')")) == [("save", 1), ("write_text", 2)]
    assert not unguarded(ast.parse("with atomic_path(path) as temporary:\n    np.save(temporary, x)"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_writer_that_fails_half_way_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    from embgeo_nb import files
    path = tmp_path / f"x{suffix}"
    embeddings(1).save(path)
    whole = path.read_bytes()

    def fails(temporary, arrays, manifest):
        temporary.write_bytes(whole[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files._WRITERS, suffix, fails)
    with pytest.raises(OSError, match="No space"):
        embeddings(2).save(path)
    assert path.read_bytes() == whole and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    embeddings(1).save(path)
    code = """
        import resource, signal, sys
        import numpy as np
        from embgeo_nb.embeddings import Embeddings
        large = Embeddings({"a": np.random.default_rng(0).normal(size=(2000, 50))})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try: large.save(sys.argv[1])
        except Exception as error: print("refused")
    """
    process = child(code, path)
    assert "refused" in process.communicate(timeout=120)[0]
    assert alike(Embeddings.load(path), embeddings(1)) and os.listdir(tmp_path) == [path.name]


def test_the_mode_and_the_target_of_a_link_stay(tmp_path):
    path, link = tmp_path / "x.npz", tmp_path / "link.npz"
    embeddings(1).save(path)
    path.chmod(0o600)
    link.symlink_to(path)
    embeddings(2).save(link)
    assert link.is_symlink() and alike(Embeddings.load(path), embeddings(2)) and path.stat().st_mode & 0o777 == 0o600


def killed(work, check, kills, most, seed=0):
    "`work` over and over in a process that is killed at a random moment, and `check` after it; so many times."
    draw = random.Random(seed)
    for _ in range(kills):
        reader, writer = os.pipe()
        process = os.fork()
        if not process:                                           # nothing of this process may go on below
            try:
                while True:
                    work()
                    os.write(writer, b"x")
            finally:
                os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b"x"                         # under way
        time.sleep(draw.uniform(0, most))
        os.kill(process, signal.SIGKILL)
        assert os.waitpid(process, 0)[1] == signal.SIGKILL
        os.close(reader)
        check()


@pytest.mark.filterwarnings("ignore:.*tells its data hardly apart", "ignore:.*fork")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kills_while_a_file_is_overwritten(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    both = [Embeddings({"a": np.eye(2000, 32) + which}, np.arange(2000) + which) for which in (1, 2)]

    def check():
        emb = Embeddings.load(path)
        assert alike(emb, both[int(emb.ids[0]) - 1])

    killed(lambda: [emb.save(path) for emb in both], check, 20, 0.04)
    assert len(list(tmp_path.iterdir())) > 1                      # some of the kills came while a file was written


def test_what_a_kill_left_behind_is_swept_after_a_day(tmp_path):
    old, new = tmp_path / ".embgeo-00aa.npz", tmp_path / ".embgeo-00bb.npz"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90000,) * 2)
    embeddings().save(tmp_path / "x.npz")
    assert not old.exists() and new.exists()


# A cache --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_broken_cache_is_made_again_and_said(tmp_path, suffix):
    path, made = tmp_path / "models" / f"x{suffix}", []

    def make():
        made.append(1)
        return {"embedding": np.arange(40.).reshape(20, 2)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert (kept_arrays(path, make)["embedding"] == make()["embedding"]).all()
    assert len(made) == 3
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[flipped.index(b"\x31@") if suffix != ".parquet" else 80] ^= 1
    for broken in (content[:-7], content[:10], b"", flipped):
        path.write_bytes(broken)
        with pytest.warns(UserWarning, match="It is made again"):
            assert kept_arrays(path, make)["embedding"][8, 1] == 17
    assert len(made) == 7


def test_the_tour_keeps_its_models_so():
    import json
    cells = json.loads((ROOT / "nbs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    assert any("return kept_arrays(" in "".join(cell["source"]) for cell in cells)


# Columns --------------------------------------------------------------------------------------------------------------

COLUMNS = {
    "uint64": np.array([2 ** 64 - 1, 2 ** 63, 0], np.uint64), "int64": np.array([-2 ** 63, 2 ** 63 - 1, 2 ** 53 + 1]), "int8": np.array([-128, 0, 127], np.int8),
    "float16": np.array([1.5, -0.0, 65504], np.float16), "float32": np.float32([0.1, 2, 3]), "float64": np.array([0.1, 1e308, -5e-324]), "big-endian": np.array([1, 2, 3], ">i4"), "str": np.array(["a", "bcd", ""]), "wide str": np.array(["a", "b", "c"], "U9"), "zeros": ["a\0", "a", "a\0\0"], "bytes": [b"a\0", b"a", b""],
    "S": np.array([b"ab", b"c", b""]), "surrogate": ["\udc80", "\ud800x", "plain"], "nfc": ["\u00e9", "e\u0301", "é!"], "huge ints": [2 ** 64, -1, 5], "tuples": [("doc", 1), ("doc", 2), ("other", None)],
    "nested": [(1, ("a", 2.5)), (2, ("b", True)), (3, ())], "dates": np.array(["2024-02-29", "0001-01-01", "9999-12-31"], "M8[D]"),
    **{f"M8[{unit}]": np.array([0, -1, 2 ** 40], "i8").view(f"M8[{unit}]") for unit in ("Y", "M", "W", "h", "m", "s", "ms", "us", "ns", "ps")},
    "spans": np.array([0, -1, 2 ** 40], "i8").view("m8[ns]"), "one long": ["x" * 100_000, "y", "z"], "newlines": ["a\nb", "\r\n", "\t"], "commas": ['"', ",", "'"],
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.filterwarnings("ignore:.*look the same")
def test_every_id_and_label_comes_back(tmp_path, kind, suffix):
    values, emb = COLUMNS[kind], None
    emb = Embeddings({"a": np.eye(3)}, values, labels=values)
    emb.save(tmp_path / f"x{suffix}")
    back = Embeddings.load(tmp_path / f"x{suffix}")
    for column in (back.ids, back.labels):
        assert column.dtype == emb.ids.dtype.newbyteorder("=") and column.tolist() == emb.ids.tolist() == np.asarray(emb.ids).tolist()
        assert [type(value) for value in column.tolist()] == [type(value) for value in emb.ids.tolist()]
    if not isinstance(values, np.ndarray):
        assert back.ids.tolist() == values


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.filterwarnings("ignore:.*look the same")
def test_ids_of_every_kind_go_through_a_store(tmp_path, kind):
    ids = Embeddings({"a": np.eye(3)}, COLUMNS[kind]).ids
    stored = eg.save_graphs(Graphs({"a": sp.csr_array(np.ones((3, 3)) - np.eye(3))}, ids), tmp_path)
    assert stored.ids.tolist() == ids.tolist() and stored.ids.dtype == ids.dtype.newbyteorder("=")


DATA = {"list of str": ["a", "", "é"], "with None": ["a", None, "b\0"], "ints": [1, 2 ** 63, 3], "floats": [0.5, 1.0, float("inf")], "bools": [True, False, True], "bytes": [b"", b"\0", b"x"],
        "images": np.arange(36, dtype="u1").reshape(3, 2, 2, 3), "list of arrays": [np.ones((2, 2)), np.zeros((2, 2)), np.full((2, 2), 3.)], "dates": np.array([1, 2, 3], "M8[s]"),
        "U": np.array(["a", "b", "c"]), "tuples": [(1, 2), (3, 4), (5, 6)], "all None": [None] * 3}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", DATA)
def test_data_of_every_kind_come_back(tmp_path, kind, suffix):
    data = DATA[kind]
    Embeddings({"a": np.eye(3)}, data=data).save(tmp_path / f"x{suffix}")
    back = Embeddings.load(tmp_path / f"x{suffix}").data
    assert isinstance(back, np.ndarray) == isinstance(data, np.ndarray) and all(np.array_equal(one, other) and type(one) is type(other) for one, other in zip(back, data, strict=True))


@pytest.mark.parametrize("data", [[{"role": "user"}] * 3, [object()] * 3, [Path("a")] * 3, [1, "a", None], [np.ones(2), np.ones(3), np.ones(1)], [1 + 2j] * 3, [["a"], ["b"], ["c"]]],
                         ids=lambda data: str(data).partition(" at 0x")[0])
def test_what_cannot_come_back_is_refused_before_the_work(tmp_path, data):
    for suffix in SUFFIXES:
        with pytest.raises(ValueError, match="data cannot be saved"):
            Embeddings({"a": np.eye(3)}, data=data).save(tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_store_refuses_ids_before_the_work(tmp_path, monkeypatch):
    import uuid
    from embgeo_nb import scale
    monkeypatch.setattr(scale, "data_kernel", lambda *args, **options: pytest.fail("worked first"))
    with pytest.raises(ValueError, match="ids cannot be saved.*UUID"):
        eg.save_graphs(Embeddings({"a": np.eye(5)}, [uuid.uuid4() for _ in range(5)]), tmp_path / "g", 2)
    assert not (tmp_path / "g").exists()


def test_columns_that_need_care():
    for column in (np.array([], "M8[s]"), np.array([]), object_array([]), np.zeros((0, 3))):
        assert unpack_column(*pack_column(column)).shape == column.shape
    with pytest.raises(ValueError, match="do not fill"):
        unpack_column({"kind": "text", "dtype": "|O"}, {"": np.zeros(3, np.uint8), ".ends": np.array([1, 2])})


# Damage ---------------------------------------------------------------------------------------------------------------

MUTATE = """
    import os, random, sys, warnings
    from pathlib import Path
    warnings.simplefilter("ignore")
    sys.path.insert(0, sys.argv[5])
    from test_files import {opener}
    path, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    whole, draw, truth, identical, refused = path.read_bytes(), random.Random(seed), {opener}(Path(sys.argv[4])), 0, 0
    ends = [0, len(whole) - 1]
    for at in range(count):
        content = bytearray(whole)
        if at % 5 == 4:
            content = content[:draw.randrange(len(whole))]
        else:       # the structure of a file is at its ends: half of the changes go there
            where = draw.randrange(len(whole)) if at % 2 else draw.choice([draw.randrange(min(300, len(whole))), len(whole) - 1 - draw.randrange(min(1500, len(whole)))])
            content[where] = draw.choice([content[where] ^ (1 << draw.randrange(8)), draw.randrange(256), 0, 255])
        (path.parent / "at.txt").write_text(str(at))
        path.write_bytes(content)
        try:
            found = {opener}(Path(sys.argv[4]))
        except ValueError as error:
            assert path.name in str(error), f"mutation {{at}}: no name in {{error}}"
            refused += 1
        else:
            assert found == truth, f"mutation {{at}} was accepted and changed the contents"
            identical += 1
    path.write_bytes(whole)
    print(identical, refused)
"""


def read_embeddings(path):
    emb = Embeddings.load(path)
    return [(name, emb[name].dtype.str, emb[name].tobytes(), emb[name].shape) for name in emb] + [emb.ids.tolist(), emb.data, emb.labels.tolist()]


def read_store(folder, verify=True):
    graphs = eg.open_graphs(folder, verify)
    parts = [(name, part, getattr(graphs[name], part).dtype.str, getattr(graphs[name], part).tobytes()) for name in graphs.models for part in ("indptr", "indices", "data")]
    return [parts, graphs.ids.tolist(), graphs.settings]


def mutated(path, opened, opener, count, seed=0):
    process = child(MUTATE.format(opener=opener), path, count, seed, opened, ROOT / "tests")
    try:
        out, error = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"mutation {(path.parent / 'at.txt').read_text()} of {path.name} never ends")
    (path.parent / "at.txt").unlink()
    assert process.returncode == 0, f"status {process.returncode}: {error[-2000:]}"
    return tuple(map(int, out.split()))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mutations_of_embeddings(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    embeddings(n=40).save(path)
    identical, refused = mutated(path, path, "read_embeddings", 800)
    assert identical + refused == 800 and refused > 300


def test_a_parquet_file_is_sealed(tmp_path):
    "A footer that is damaged is refused before pyarrow, which may end the process, looks at it."
    pytest.importorskip("pyarrow")
    path = tmp_path / "x.parquet"
    embeddings(n=40).save(path)
    whole = path.read_bytes()
    seal = whole.rfind(b"embgeo_nb:sha256")
    for at in [*range(seal + 16, len(whole), 97), *range(0, seal, 211), len(whole) - 6]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        with pytest.raises(ValueError, match="'x.parquet' is damaged.*not those that were written"):
            Embeddings.load(path)
    path.write_bytes(whole[:seal] + whole[seal + 48:])                       # as other versions wrote them
    assert alike(Embeddings.load(path), embeddings(n=40))


FOOTER = """
    import sys
    from pathlib import Path
    from embgeo_nb.readers import read_vectors
    path = Path(sys.argv[1])
    whole = path.read_bytes()
    start, refused = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), 0
    for at in range(start, len(whole)):
        for value in (whole[at] ^ 2, 0, 255):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1:])
            try:
                read_vectors(path, "v", text="text")
            except ValueError as error:
                assert path.name in str(error)
                refused += 1
    print(len(whole) - start, refused)
"""


def test_no_footer_of_a_parquet_file_ends_the_process(tmp_path):
    "A chunk whose declared statistics do not fit ends the process where it is asked for its size: it is read first, which is an error."
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rng, path = np.random.default_rng(0), tmp_path / "x.parquet"
    pandas.DataFrame({"v": list(rng.normal(size=(40, 8)).astype("f4")), "text": [f"text {row}" for row in range(40)], "id": range(40)}).to_parquet(path)
    process = child(FOOTER, path)
    out, error = process.communicate(timeout=400)
    assert process.returncode == 0, f"status {process.returncode}: {error[-2000:]}"
    size, refused = map(int, out.split())
    assert size > 1000 and refused > size / 2


@pytest.mark.parametrize("kind", ["graphs.json", "indptr.npy", "indices.npy", "data.npy", "ids.npy", "ids.ends.npy"])
def test_mutations_of_a_store(tmp_path, kind):
    rng = np.random.default_rng(0)
    eg.save_graphs(Embeddings({"a": rng.normal(size=(40, 3)), "b": rng.normal(size=(40, 3))}, [f"id {row}" for row in range(40)]), tmp_path, 4)
    path = next(path for path in sorted(tmp_path.iterdir()) if path.name.endswith(kind))
    identical, refused = mutated(path, tmp_path, "read_store", 500)
    assert identical + refused == 500 and refused > 300


def read_comparison(path):
    C = eg.Comparison.load(path)
    arrays = {**C.pvalues, **{f"view {name}": own for name, own in C.views.items()}, "score": C.score, "stands": C.stands, "D": C.test.displacement,
              **{name: graph.toarray() for name, graph in C.test.graphs.graphs.items()}}
    return [(name, own.dtype.str, own.tobytes()) for name, own in arrays.items()] + [C.ids.tolist(), C.labels.tolist(), C.data, C.null, C.models, C.groups, C.settings, C.versions]


def read_encoded(path):
    texts = [f"text {row}" for row in range(40)]
    found = eg.encoders.stored_embeddings(eg.corpora.Corpus([f"id {row}" for row in range(40)], texts, np.array(["x"] * 40)), path, missing="raise")
    return [(name, own.tobytes()) for name, own in found.arrays.items()] + [found.recipe, found.unmatched]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    "Files that hold results."
    folder, rng = tmp_path_factory.mktemp("written"), np.random.default_rng(0)
    Y = rng.normal(size=(40, 8))
    emb = Embeddings({"a": Y, "b": Y + 0.3 * rng.normal(size=Y.shape)}, [f"id {row}" for row in range(40)], [f"text {row}" for row in range(40)], ["x", "y"] * 20)
    eg.compare(emb, "a", "b", n_neighbors=8, n_rotations=1, n_resamples=99).save(folder / "comparison.npz")
    corpus = eg.corpora.Corpus([f"id {row}" for row in range(40)], [f"text {row}" for row in range(40)], np.array(["x"] * 40))
    eg.encoders.store_embeddings(folder / "encoded.npz", corpus, {"a": Y}, {"how": "by hand"})
    return folder


@pytest.mark.parametrize("kind, opener, count", [("comparison", "read_comparison", 300), ("encoded", "read_encoded", 400)])
def test_mutations_of_results(written, kind, opener, count):
    path = written / f"{kind}.npz"
    identical, refused = mutated(path, path, opener, count)
    assert identical + refused == count and refused > count / 3


CALCULATE = """
    import random, sys
    from pathlib import Path
    import numpy as np
    import embgeo_nb as eg
    folder, draw = Path(sys.argv[1]), random.Random(1)
    for at in range(300):
        path = draw.choice([path for path in sorted(folder.iterdir()) if path.name.endswith(("indices.npy", "indptr.npy"))])
        whole = path.read_bytes()
        content = bytearray(whole)
        content[draw.randrange(128, len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            graphs = eg.open_graphs(folder, verify=False)
            for name in graphs.models:
                graphs[name] @ np.ones(graphs.n)
        except ValueError:
            pass
        path.write_bytes(whole)
    print("done")
"""


def test_without_checksums_a_damaged_store_never_ends_the_program(tmp_path):
    rng = np.random.default_rng(0)
    eg.save_graphs({"a": rng.normal(size=(40, 3))}, tmp_path, 4)
    process = child(CALCULATE, tmp_path)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0 and out == "done\n", error[-2000:]


# Strangers ------------------------------------------------------------------------------------------------------------

LOAD = """
    import resource, sys
    from embgeo_nb.embeddings import Embeddings
    most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for path in sys.argv[1:]:
        before = most()
        try: Embeddings.load(path)
        except ValueError as error: print(most() - before, str(error).replace(chr(10), " "))
        else: print(most() - before, "accepted")
"""


def grown(*paths):
    "By how many MB loading makes a process grow, and what it says, for each of the files."
    process = child(LOAD, *paths)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-2000:]
    return [(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in out.splitlines()]


def manifest(arrays, about):
    import json
    return json.dumps({"embgeo_nb": 2, "about": about, "arrays": arrays, "sha256": "0" * 64})


def test_small_files_take_little_memory(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", models=np.array(["a"]), embedding_0=np.zeros((2 ** 27, 1), np.float32), ids=np.arange(3))
    np.savez_compressed(tmp_path / "wide.npz", models=np.array(["a"]), embedding_0=np.eye(3), ids=np.array(["a", "b", "c" * 2 ** 25]))
    with zipfile.ZipFile(tmp_path / "header.npz", "w") as archive:
        for name, head in (("models", "{'descr': '<U1', 'fortran_order': False, 'shape': (99999999999,), }"), ("ids", "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }")):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + (len(head) + 1).to_bytes(2, "little") + head.encode() + b"\n")
    with zipfile.ZipFile(tmp_path / "unknown.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("unknown.npy", bytes(2 ** 28))
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), ["x" * 200_000])
    for name, column, kinds in (("words", dictionary, {"ids": ["|u1", 4_000_000_000], "ids.ends": ["<i8", 20_000]}),
                                ("numbers", pa.array(np.zeros(2 ** 29, np.int8)), {"ids": ["|i1", 2 ** 29]})):
        about = manifest(kinds, {"models": [], "columns": {}})
        parquet.write_table(pa.table({"ids": column}).replace_schema_metadata({"embgeo_nb": about}), tmp_path / f"{name}.parquet", compression="zstd")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 6 and all(path.stat().st_size < 5e6 for path in paths)
    for path, (megabytes, said) in zip(paths, grown(*paths), strict=True):
        assert path.name in said and megabytes < 200, (path.name, megabytes, said)


def test_a_lying_manifest_is_refused(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), ["x" * 200_000])
    about = manifest({"ids": ["|u1", 5], "ids.ends": ["<i8", 5]}, {})
    parquet.write_table(pa.table({"ids": dictionary}).replace_schema_metadata({"embgeo_nb": about}), tmp_path / "x.parquet", compression="zstd")
    [(megabytes, said)] = grown(tmp_path / "x.parquet")
    assert "x.parquet" in said and megabytes < 200


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_members_are_ignored(tmp_path, suffix):
    path, emb = tmp_path / f"x{suffix}", embeddings()
    emb.save(path)
    if suffix == ".npz":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("notes.txt", "hello")
            archive.writestr("objects.npy", b"\x80\x04N.")
    elif suffix == ".safetensors":
        from safetensors import safe_open
        from safetensors.numpy import save_file
        with safe_open(path, framework="numpy") as file:
            save_file({**{name: file.get_tensor(name) for name in file.keys()}, "more": np.ones(3)}, tmp_path / "y.safetensors", metadata={**file.metadata(), "by": "me"})
        path = tmp_path / "y.safetensors"
    else:
        import pyarrow as pa
        import pyarrow.parquet as parquet
        table = parquet.read_table(path)
        parquet.write_table(table.append_column("more", pa.array(range(emb.n))), path, use_dictionary=["more"])
    assert alike(Embeddings.load(path), emb)


@pytest.mark.parametrize("name, content", [("x.npz", b""), ("x.npz", b"PK\5\6" + bytes(18)), ("x.safetensors", b"\xff" * 64), ("x.parquet", b"PAR1PAR1"), ("x.npz", b"\x93NUMPY")])
def test_other_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        Embeddings.load(tmp_path / name)


def test_an_archive_made_by_hand(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", models=np.array(["b", "a"]), embedding_0=np.asfortranarray(np.arange(6.).reshape(3, 2)), embedding_1=np.eye(3), ids=np.array([3, 1, 2]), data=np.array(["x", "y", "z"]))
    emb = Embeddings.load(tmp_path / "x.npz")
    assert emb.models == ("b", "a") and emb["b"].tolist() == [[0, 1], [2, 3], [4, 5]] and emb.ids.tolist() == [3, 1, 2] and emb.data == ["x", "y", "z"]


def test_arrays_and_what_is_said_about_them(tmp_path):
    arrays = {"one": np.arange(5), "two": np.asfortranarray(np.arange(10.).reshape(5, 2)), "three": np.arange(10)[::2].astype(">i8")}
    for suffix in SUFFIXES:
        save_arrays(tmp_path / f"x{suffix}", arrays, {"columns": [1, None, "é"]})
        back, about = load_arrays(tmp_path / f"x{suffix}")
        assert about == {"columns": [1, None, "é"]} and all(np.array_equal(back[name], array) for name, array in arrays.items())


# A store in use -------------------------------------------------------------------------------------------------------

def graph(seed, n=50):
    rng = np.random.default_rng(seed)
    dense = np.triu(rng.random((n, n)) < 0.2, 1)
    return sp.csr_array((dense | dense.T).astype("f4"))


def test_an_open_store_stays_what_it_is(tmp_path):
    first = eg.save_graphs({"a": graph(0), "b": graph(1)}, tmp_path)
    for seed in range(2, 8):
        eg.save_graphs({"c": graph(seed, 50 + seed)}, tmp_path)
    assert first.models == ("a", "b") and (first["a"] != graph(0)).nnz == 0 and (first["b"] @ np.ones(50) == graph(1) @ np.ones(50)).all()
    again = eg.open_graphs(tmp_path)
    assert again.models == ("c",) and again.n == 57 and (again["c"] != graph(7, 57)).nnz == 0
    assert len(list(tmp_path.iterdir())) == 5                                # a manifest, ids, and one graph


def test_a_store_into_itself(tmp_path):
    stored = eg.save_graphs({"a": graph(0), "b": graph(1)}, tmp_path)
    for models in (["b", "a"], ["b"]):
        stored = eg.save_graphs(stored.select(models), tmp_path)
        assert stored.models == tuple(models) and (stored["b"] != graph(1)).nnz == 0
    assert eg.open_graphs(tmp_path).models == ("b",)


def test_a_save_that_fails_leaves_the_old_graphs(tmp_path, monkeypatch):
    from embgeo_nb import scale
    eg.save_graphs({"a": graph(0)}, tmp_path)
    before, write = sorted(tmp_path.iterdir()), scale.write_array
    monkeypatch.setattr(scale, "write_array", lambda folder, name, array: pytest.fail("full") if ".1." in name else write(folder, name, array))
    with pytest.raises(pytest.fail.Exception):
        eg.save_graphs({"b": graph(1), "c": graph(2)}, tmp_path)
    assert sorted(tmp_path.iterdir()) == before and eg.open_graphs(tmp_path).models == ("a",)


def pair_of_graphs(which):
    return {"a": graph(2 * which), "b": graph(2 * which + 1)}


def one_of_two(folder):
    found = eg.open_graphs(folder)
    assert any(all((found[name] != own).nnz == 0 for name, own in pair_of_graphs(which).items()) for which in (0, 1))


@pytest.mark.filterwarnings("ignore:.*fork")
def test_kills_while_a_store_is_overwritten(tmp_path):
    both = [pair_of_graphs(0), pair_of_graphs(1)]
    killed(lambda: [eg.save_graphs(graphs, tmp_path) for graphs in both], lambda: one_of_two(tmp_path), 20, 0.06)
    assert len(list(tmp_path.iterdir())) > 8                      # some of the kills came in between


def test_readers_while_a_store_is_overwritten(tmp_path):
    code = """
        import sys
        sys.path.insert(0, sys.argv[2])
        from test_files import eg, pair_of_graphs
        both = [pair_of_graphs(0), pair_of_graphs(1)]
        eg.save_graphs(both[0], sys.argv[1])
        print("ready", flush=True)
        while True:
            for graphs in both: eg.save_graphs(graphs, sys.argv[1])
    """
    process = child(code, tmp_path, ROOT / "tests")
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(40):
            one_of_two(tmp_path)
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_folders_that_are_no_stores(tmp_path):
    with pytest.raises(ValueError, match="no graphs.json"):
        eg.open_graphs(tmp_path / "nowhere")
    (tmp_path / "graphs.json").write_text('{"models": ["a"], "settings": {}}')
    for call in (lambda: eg.open_graphs(tmp_path), lambda: eg.save_graphs({"a": graph(0)}, tmp_path)):
        with pytest.raises(ValueError, match="not one that save_graphs wrote"):
            call()
    assert os.listdir(tmp_path) == ["graphs.json"]


def test_files_of_others_in_the_folder_stay(tmp_path):
    for name in ("notes.txt", "0.indptr.npy", "embedding.npy"):
        (tmp_path / name).write_text("mine")
    for seed in range(3):
        eg.save_graphs({"a": graph(seed)}, tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in ("notes.txt", "0.indptr.npy", "embedding.npy"))


def test_graphs_that_a_kill_left_behind_are_swept_after_a_day(tmp_path):
    eg.save_graphs({"a": graph(0)}, tmp_path)
    for name in ("0123456789abcdef.0.indices.npy", "fedcba9876543210.0.indices.npy"):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / "0123456789abcdef.0.indices.npy", (time.time() - 90000,) * 2)
    eg.save_graphs({"a": graph(1)}, tmp_path)
    assert [path.name for path in tmp_path.glob("*.0.indices.npy") if path.read_bytes() == b"half"] == ["fedcba9876543210.0.indices.npy"]
    assert (eg.open_graphs(tmp_path)["a"] != graph(1)).nnz == 0


def test_a_manifest_that_points_elsewhere(tmp_path):
    eg.save_graphs({"a": graph(0)}, tmp_path / "g")
    path = tmp_path / "g" / "graphs.json"
    known = read_manifest(path)
    for name in ("../secret.npy", "/etc/passwd", "0.npy", 5):
        known["models"][0]["indices"]["file"] = name
        write_manifest(path, known)
        with pytest.raises(ValueError, match="graphs.json|no name"):
            eg.open_graphs(tmp_path / "g")


def test_a_missing_file_is_named(tmp_path):
    eg.save_graphs({"a": graph(0)}, tmp_path)
    lost = next(path for path in tmp_path.iterdir() if path.name.endswith("indices.npy"))
    lost.unlink()
    with pytest.raises(ValueError, match=f"lacks a file.*{lost.name}"):
        eg.open_graphs(tmp_path)


@pytest.mark.parametrize("empty", [sp.csr_array((5, 5), dtype="f4"), sp.csr_array((5, 5), dtype="f8")])
def test_graphs_without_edges(tmp_path, empty):
    assert eg.save_graphs({"a": empty}, tmp_path)["a"].nnz == 0 and eg.open_graphs(tmp_path)["a"].shape == (5, 5)


def test_unsorted_indices_are_sorted(tmp_path):
    mixed = sp.csr_array((np.ones(4, "f4"), np.array([2, 1, 0, 0]), np.array([0, 2, 3, 4])), shape=(3, 3))
    stored = eg.save_graphs(Graphs({"a": mixed}, np.arange(3)), tmp_path)
    assert stored["a"].indices.tolist() == [1, 2, 0, 0] and mixed.indices.tolist() == [2, 1, 0, 0]


def test_an_interrupt_after_the_manifest_loses_nothing(tmp_path, monkeypatch):
    from embgeo_nb import scale
    eg.save_graphs({"a": graph(0)}, tmp_path)
    write = scale.write_manifest

    def interrupted(*args):
        write(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(scale, "write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        eg.save_graphs({"b": graph(1)}, tmp_path)
    assert (eg.open_graphs(tmp_path)["b"] != graph(1)).nnz == 0
