"""Corpora: parts stay in step, the harvest is the same every time, no label leaks into a text."""
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from embgeo_nb.corpora import Corpus, _plain, _public_modules, _without_names, dbpedia, docstrings, optional_data

PACKAGES = ("numpy", "scipy", "torch", "matplotlib", "pandas")


@pytest.fixture(scope="module")
def corpus():
    for package in PACKAGES:
        pytest.importorskip(package)
    return docstrings()


# The container

labelled = st.lists(st.sampled_from("abc"), min_size=1, max_size=60)


@given(labelled, st.data())
@settings(max_examples=60, deadline=None)
def test_a_sample_keeps_the_shares_and_the_columns_in_step(labels, data):
    corpus = Corpus([f"d{i}" for i in range(len(labels))], [f"text {i}" for i in range(len(labels))], labels)
    n, seed = data.draw(st.integers(0, len(labels))), data.draw(st.integers(0, 99))
    part = corpus.sample(n, seed)
    assert part.n == n and part == corpus.sample(n, seed)
    rows = [int(i[1:]) for i in part.ids]
    assert rows == sorted(set(rows))
    assert part.texts == tuple(f"text {i}" for i in rows) and part.labels.tolist() == [labels[i] for i in rows]
    for label, count in corpus.counts.items():
        assert abs(part.counts.get(label, 0) - count * n / len(labels)) < 1


def test_select_by_mask_and_by_position_agree():
    corpus = Corpus(list("abcd"), list("wxyz"), np.array([1, 2, 1, 2]))
    assert corpus.select(corpus.labels == 1) == corpus.select([0, 2]) == corpus.without(2)
    assert corpus.select(np.array([2, 0])).texts == ("y", "w")


@pytest.mark.parametrize("ids, texts, labels, message", [
    (["a", "a"], ["x", "y"], [0, 1], "unique"),
    (["a"], ["x", "y"], [0, 1], "one length"),
    (["a", "b"], ["x", "y"], [[0, 1]], "one length"),
    (["a", "b"], ["x", 3], [0, 1], "strings"),
    (["a", "b"], "xy", [0, 1], "one string"),
])
def test_a_corpus_that_cannot_be_right_is_refused(ids, texts, labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Corpus(ids, texts, labels)


def test_a_corpus_cannot_be_changed():
    corpus = Corpus(["a"], ["x"], ["l"])
    with pytest.raises(AttributeError):
        corpus.ids = ("b",)
    with pytest.raises(ValueError):
        corpus.labels[0] = "m"


def test_labels_given_as_an_array_are_copied():
    labels = np.array(["l", "m"])
    corpus = Corpus(["a", "b"], ["x", "y"], labels)
    labels[0] = "z"
    assert corpus.labels.tolist() == ["l", "m"]


# Cleaning

@pytest.mark.parametrize("docstring, plain", [
    ("Sum.\n\n    >>> 1 + 1\n    2\n\n    More.", "Sum. More."),
    (">>> f(1)\n... + 2\n3\nstill output\n\nProse", "Prose"),
    ("See :func:`~a.b` and ``c`` and *d*.", "See a.b and c and d."),
    ("`The site <https://x.org>`_ says", "The site says"),
    ("Head\n----\nBody\n.. note::\n\n   Kept [1]_", "Head Body Kept"),
    ("Table\n=== ====\na   b\n=== ====", "Table a b"),
    ("<object at 0x7f0000aa>", "<object at >"),
])
def test_markup_and_examples_are_removed(docstring, plain):
    assert _plain(docstring) == plain


@given(st.lists(st.sampled_from(["np", "numpy", "NumPy", "n", "um", "py", ".", " ", "_", "x", "scikit-learn", "sklearn"]), max_size=20).map("".join))
@settings(max_examples=200, deadline=None)
def test_no_name_survives_its_removal(text):
    cleaned = _without_names(text, ["numpy", "sklearn"])
    assert not re.search(r"numpy|sklearn|\bnp\b|\bscikit-learn\b", cleaned, re.I)


def test_packages_without_known_aliases_are_removed_too():
    assert _without_names("Use yaml.load or PyYAML", ["yaml"]) == "Use load or Py"


# The harvest

def test_no_package_name_is_left(corpus):
    leak = re.compile("|".join(PACKAGES) + r"|\b(?:np|sp|plt|pyplot|mpl|pd)\b", re.I)
    assert not [name for name, text in zip(corpus.ids, corpus.texts) if leak.search(text)]


def test_the_corpus_is_large_balanced_and_without_duplicates(corpus):
    assert corpus.n >= 2000 and set(corpus.counts) == set(PACKAGES)
    assert max(corpus.counts.values()) <= 600 and min(corpus.counts.values()) >= 300
    assert len(set(corpus.texts)) == corpus.n and min(map(len, corpus.texts)) >= 200
    assert all(text == " ".join(text.split()) for text in corpus.texts)


def test_no_private_or_test_module_is_read(corpus):
    for name in corpus.ids:
        parts = name.split(".")
        assert not [p for p in parts if p.startswith("_") or p in ("tests", "testing", "conftest")], name


def test_another_process_with_another_hash_seed_and_imports_finds_the_same(corpus):
    code = "import scipy.stats, matplotlib.pyplot, hashlib; from embgeo_nb.corpora import docstrings; c = docstrings();" \
           "print(hashlib.sha256(repr((c.ids, c.texts)).encode()).hexdigest())"
    import hashlib
    expected = hashlib.sha256(repr((corpus.ids, corpus.texts)).encode()).hexdigest()
    found = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected
    assert not found.stderr.strip()


def test_reading_a_package_leaves_this_process_alone():
    code = "import sys; from embgeo_nb.corpora import docstrings; before = set(sys.modules); c = docstrings('matplotlib');" \
           "new = [m for m in sys.modules if m not in before and m.split('.')[0] == 'matplotlib']; print(c.n > 300, new)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True []"


def test_seed_and_cap_choose_documents(corpus):
    capped = docstrings("numpy", max_per_package=50)
    other = docstrings(["numpy"], max_per_package=50, seed=1)
    everything = docstrings("numpy", max_per_package=None)
    assert capped.n == other.n == 50 and capped.ids != other.ids
    assert set(capped.ids) | set(other.ids) <= set(everything.ids)


def test_shorter_texts_can_be_had():
    assert docstrings("numpy", min_chars=20, max_per_package=None).n > docstrings("numpy", max_per_package=None).n


def test_a_missing_package_is_named():
    with pytest.raises(ImportError, match="no_such_package"):
        docstrings(("numpy", "no_such_package"))


def test_a_package_that_fails_or_prints_is_survived(tmp_path, monkeypatch):
    package = tmp_path / "oddpackage"
    package.mkdir()
    long = "A docstring of a function in a package that does odd things when imported, " * 4
    (package / "__init__.py").write_text(f'print("hello")\ndef f():\n    """{long}"""\n')
    (package / "broken.py").write_text("import sys; sys.exit(3)")
    (package / "good.py").write_text(f'import warnings; warnings.warn("x")\ndef g():\n    """{long} And more about oddpackage."""\n')
    (package / "_private.py").write_text(f'def h():\n    """{long} And private."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    corpus = docstrings("oddpackage")
    assert corpus.ids == ("oddpackage.f", "oddpackage.good.g") and "oddpackage" not in "".join(corpus.texts)
    (package / "__init__.py").write_text("import os; os._exit(5)")
    with pytest.raises(RuntimeError, match="exit status 5"):
        docstrings("oddpackage")


def test_public_modules_are_listed_without_importing():
    names = _public_modules("scipy")
    assert names == sorted(names) and "scipy.optimize" in names
    assert not [n for n in names if ".tests" in n or "._" in n]


# Files

def test_dbpedia_reads_parquet_and_csv_alike(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"doc_id": ["d1", "d2"], "label": [0, 1], "class_name": ["Plant", "Village"],
                              "text": ["A fir, with a \"quoted\" name.", "A village."]})
    table.to_parquet(tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv", index=False)
    corpus = dbpedia(tmp_path / "t.parquet")
    assert corpus == dbpedia(str(tmp_path / "t.csv")) and corpus.counts == {"Plant": 1, "Village": 1}
    table.drop(columns="class_name").to_parquet(tmp_path / "u.parquet")
    assert dbpedia(tmp_path / "u.parquet").labels.tolist() == [0, 1]


def test_dbpedia_says_what_is_missing(tmp_path):
    (tmp_path / "t.csv").write_text("doc_id,text\n1,x\n")
    with pytest.raises(ValueError, match="no column label; its columns are doc_id, text"):
        dbpedia(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="csv or .parquet"):
        dbpedia(Path("t.json"))


def test_dbpedia_reads_awkward_tables_right_or_not_at_all(tmp_path):
    path, long = tmp_path / "t.csv", "word " * 40_000
    path.write_text(f"\ufeffdoc_id,label,text\n1,0,\"two\nlines\"\n\n2,1,{long}\n", encoding="utf-8")       # a mark, a line break, a blank line, a long text
    corpus = dbpedia(path)
    assert corpus.ids == ("1", "2") and corpus.texts == ("two\nlines", long)
    path.write_text("doc_id,label,text\n1,0\n2,1,a text\n")
    with pytest.raises(ValueError, match="t.csv.*row 2 has 2 fields, and the header has 3"):
        dbpedia(path)
    for name, content in (("t.parquet", b"PAR1 nothing PAR1"), ("u.csv", b"doc_id,label,text\n1,0,\xff\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            dbpedia(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        dbpedia(tmp_path / "nothing.parquet")


def test_columns_of_a_corpus_count_by_position():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": [1, 2, 3], "text": list("abc"), "label": list("xyz")})[::-1]
    corpus = Corpus(table.id, table.text, table.label)
    assert corpus.ids == ("3", "2", "1") and corpus.texts == ("c", "b", "a") and corpus.labels.tolist() == ["z", "y", "x"]
    labels = np.array([0, 1, 2])
    assert Corpus(list("abc"), list("abc"), labels) and labels.flags.writeable
    for ids, kept, message in (([1, "1", 2], labels, "ids mixes int"), ([1, None, 2], labels, "ids has 1 missing"), (list("abc"), ["x", None, "y"], "labels has 1 missing")):
        with pytest.raises(ValueError, match=message):
            Corpus(ids, list("abc"), kept)


def test_dbpedia_takes_a_loaded_dataset():
    "What the `datasets` library returns: columns by `to_dict`, and class names with the label's feature."
    from types import SimpleNamespace
    columns = {"label": [1, 0], "title": ["a", "b"], "content": [" Abies alba is a fir. ", "Bergen is a village."]}
    loaded = SimpleNamespace(to_dict=lambda: columns, features={"label": SimpleNamespace(names=["Village", "Plant"])})
    found = dbpedia(loaded)
    assert found.ids == ("row-0", "row-1") and found.labels.tolist() == ["Plant", "Village"] and found.texts[0] == "Abies alba is a fir."
    with pytest.raises(ValueError, match="no column text"):
        dbpedia(SimpleNamespace(to_dict=lambda: {"label": [0]}, features={}))


def test_optional_data(tmp_path, monkeypatch):
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "project" / "nbs").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "one.csv").write_text("x")
    monkeypatch.chdir(tmp_path / "project" / "nbs")
    monkeypatch.delenv("EMBGEO_DATA", raising=False)
    assert optional_data("one.csv") == tmp_path / "shared" / "data" / "one.csv"
    monkeypatch.setenv("EMBGEO_DATA", str(tmp_path / "project"))
    assert optional_data("one.csv") is None
    with pytest.raises(FileNotFoundError, match="EMBGEO_DATA"):
        optional_data("one.csv", required=True)
