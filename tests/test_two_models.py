"""Two models, on the book's own data: reruns stay quiet, swapped documents are found, and the stored tables hold what is claimed."""
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from embgeo_nb.comparison import compare
from embgeo_nb.multiscale import neighbor_jaccard, ranking_auc

DATA = Path(__file__).resolve().parents[1] / "nbs" / "data"
EVERY_FAMILY = {"finetune", "deployment", "images", "encoders", "words", "lm", "lm64", "sg64", "sg", "ppmi", "lsa", "edits"}


@pytest.fixture(scope="module")
def stored_models():
    "Embeddings of the book by file and name, and the classes of the documents of 'ablation'."
    models = {}
    for name in ("masked_lm_docstrings", "ablation", "population"):
        with np.load(DATA / f"{name}.npz") as file:
            models |= {(name, key.removeprefix("model:")): file[key].astype(np.float32) for key in file.files if key.startswith("model:")}
            if name == "ablation":
                models["labels"] = file["labels"]
    return models


def compared(before, after):
    return compare({"before": before, "after": after}, "before", "after", n_rotations=1, n_resamples=99)


RERUNS = [("masked_lm_docstrings", "full-0", "full-2"), ("masked_lm_docstrings", "ablated-0", "ablated-1"),
          *(("ablation", f"skipgram full-{a}", f"skipgram full-{b}") for a, b in combinations(range(3), 2)),
          ("ablation", "full-0", "full-1"), ("population", "lm 1.00", "lm 1.00 run 2"), ("population", "lm 0.50 run 2", "lm 0.50 run 3")]


@pytest.mark.parametrize("file, a, b", RERUNS)
def test_reruns_are_quiet(stored_models, file, a, b):
    C = compared(stored_models[file, a], stored_models[file, b])
    assert (C.pvalues["bulk"] <= 0.05).mean() <= 0.07
    assert (C.pvalues["bulk"] <= 0.01).mean() <= 0.025
    assert C.rejected().mean() <= 0.01


def test_swapped_documents_are_found(stored_models):
    "Every tenth document of a class exchanged with another of its class, between two runs of skip-gram."
    first, second, label = (stored_models[key] for key in (("ablation", "skipgram full-0"), ("ablation", "skipgram full-1"), "labels"))
    rng, order, changed = np.random.default_rng(1), np.arange(len(first)), np.zeros(len(first), bool)
    for name in np.unique(label):
        rows = rng.permutation(np.flatnonzero(label == name))[:8]
        order[rows], changed[rows] = np.roll(order[rows], 1), True
    C = compared(first, second[order])
    found = C.rejected(0.1)
    assert ranking_auc(C.score, changed) > 0.95
    assert ranking_auc(C.score, changed) > ranking_auc(neighbor_jaccard(*C.test.graphs.graphs.values())[C.place], changed)
    assert found[changed].mean() > 0.6 and (found & ~changed).sum() <= 0.2 * found.sum()
    assert (C.pvalues["bulk"] <= 0.05)[~changed].mean() <= 0.05


@pytest.fixture(scope="module")
def tables():
    return {name: pd.read_csv(DATA / f"two_models_{name}.csv") for name in ("cases", "nulls", "tails", "reruns")}


def test_tables_are_whole(tables):
    cases, nulls, tails = (tables[name] for name in ("cases", "nulls", "tails"))
    assert set(cases["family"]) == EVERY_FAMILY and set(cases["family"]) - {"words"} <= set(nulls["family"])
    for table in (cases, nulls):
        assert not table.duplicated(["family", "case"]).any()
        shares = table.filter(regex="^(bulk|features|paired) ").stack()
        assert shares.between(0, 100).all()
    assert cases.filter(like="AUC ").stack().between(0, 1).all()
    assert len(tails) == tails["tail"].nunique() * (len(cases) + len(nulls))


def test_ranking_as_claimed(tables):
    known = tables["cases"][tables["cases"]["kind"] != "stale"]
    assert known.loc[known["sharp"], "AUC score"].mean() >= 0.985
    assert (known["AUC score"] - known["AUC Jaccard"]).min() >= -0.01
    for rival in ("Jaccard", "Procrustes", "effect", "cosine", "kernel rows", "alignment", "local", "place", "overall"):
        assert known["AUC score"].mean() > known[f"AUC {rival}"].mean()


def test_nulls_as_claimed(tables):
    nulls = tables["nulls"]
    assert nulls.loc[nulls["kind"] == "rerun", "bulk 5"].max() <= 7
    quiet = nulls[nulls["kind"].isin(["rerun", "harmless", "halves"])]
    assert quiet["bulk 5"].mean() <= 5
    assert quiet["paired 5"].max() > 80           # why `paired` is not the recommendation


def test_false_discoveries_as_claimed(tables):
    cases = tables["cases"]
    documents = cases[(cases["kind"] == "planted") & ~cases["family"].isin(["images", "words"]) & ~cases["case"].str.contains("64 tokens|chars2vec")]
    assert (documents["false"] / documents["found"].clip(lower=1)).mean() <= 0.12


def test_reruns_gain_by_the_linear_kernels(tables):
    left_out = tables["reruns"].query("groups == 'left out'").pivot(index=["family", "runs"], columns="method", values=["AUC", "changed", "rest"])
    gain = left_out.xs("compare", level="method", axis=1) - left_out.xs("graphs", level="method", axis=1)
    assert gain["AUC"].mean() > 0.005 and gain["changed"].mean() > 3 and gain["rest"].mean() < 3
    mixed = tables["reruns"].query("groups == 'mixed' and method == 'compare' and runs in ['2 + 2', '4 + 4']")
    assert mixed[["changed", "rest"]].to_numpy().max() <= 7
