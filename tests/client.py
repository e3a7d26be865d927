"""A script as a user would write it, for type checkers and for `python tests/client.py`; tests/test_typing.py does both."""
from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

import embgeo_nb as eg
import embgeo_nb.omnibus as joint
from embgeo_nb import Comparison, DatumTest, Embeddings, ModelDistance, ModelManifold, Omnibus

Array = npt.NDArray[Any]


def models(n: int = 120, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    X: Array = rng.normal(size=(n, 8)) + 2 * rng.normal(size=(4, 8))[np.arange(n) % 4]
    return {name: X @ rng.normal(size=(8, 16)) + 0.1 * rng.normal(size=(n, 16)) for name in ("a1", "a2", "b1", "b2")}


def embeddings() -> Embeddings:
    arrays = models()
    emb = Embeddings(arrays, ids=[f"d{i}" for i in range(120)], data=[f"text {i}" for i in range(120)], labels=np.arange(120) % 4)
    names: tuple[str, ...] = emb.models
    n: int = emb.n
    a1: Array = emb["a1"]
    assert n == len(a1) and len(names) == len(emb)
    frame = {"id": [1, 2, 3], "v1": np.eye(3).tolist(), "v2": np.eye(3)[::-1].tolist()}
    small: Embeddings = Embeddings.from_frame(frame, {"x": "v1", "y": "v2"}, id="id")
    return emb.select(["a1", "a2", "b1", "b2"]).rows(slice(0, n)) if small.n == 3 else emb


def files(emb: Embeddings, folder: Path) -> Embeddings:
    emb.save(folder / "emb.npz")
    for name in emb.models:
        np.savez(folder / f"{name}.npz", embedding=emb[name], id=emb.ids)
    both: Embeddings = Embeddings.from_files({"a": folder / "a1.npz", "b": folder / "b1.npz"}, id="id", join="inner", on_bad="drop")
    assert both.n == Embeddings.load(folder / "emb.npz").n
    return both


def compared(emb: Embeddings, folder: Path) -> Comparison:
    C: Comparison = eg.compare(emb, "a1", "b1", n_neighbors=12, n_rotations=1, seed=np.random.default_rng(0))
    score: Array = C.score
    pvalues: dict[str, Array] = dict(C.pvalues)
    null: str = C.null
    arrays: list[Array] = [C.pvalue, C.qvalue, C.effect, C.displacement, C.rejected(0.05, "fdr_bh")]
    verdict: str = C.verdict
    summary: dict[str, Any] = C.summary()
    share: Array = C.explain("d3").share
    nearest = C.neighbors("d3")
    page = C.report(folder / "report.html")
    C.save(folder / "C.npz")
    again: Comparison = Comparison.load(folder / "C.npz")
    assert null in pvalues and verdict and summary and len(score) == len(again.score) == len(arrays[0])
    assert page is not None and nearest is not None and share.size >= 0
    return again


def tested(emb: Embeddings) -> DatumTest:
    R: DatumTest = eg.datum_test(emb, "a1", "b1", n_neighbors=12, n_components=4, seed=np.random.default_rng(0))
    parts: list[Array] = [R.statistic, R.pvalue, R.qvalue, R.effect, R.displacement, R.rejected(0.05)]
    again: DatumTest = eg.replicate_test(emb, ["a1", "a2"], ["b1", "b2"], n_neighbors=12, n_components=4)
    assert all(len(part) == emb.n for part in parts) and again.null != R.null
    return R


def mapped(emb: Embeddings) -> ModelManifold:
    O: Omnibus = eg.omnibus(emb, n_components=4, n_neighbors=12)
    moved: Array = O.displacement("a1", "b1")
    more: Omnibus = O.add_model("c", models(seed=1)["a1"])
    D: ModelDistance = eg.model_distance(O, kind="frobenius")
    one: float = D["a1", "b1"]
    M: ModelManifold = eg.model_manifold(D, n_components=2)
    place: Array = M["a1"]
    wider: ModelManifold = M.add("c", D.matrix[0] + 0.1)
    shape: tuple[int, ...] = M.place(D.matrix).shape
    assert isinstance(joint.as_graphs, object) and moved.shape == (120, 4) and len(more.models) == len(wider.models) == 5
    assert one > 0 and place.shape == (2,) and shape == (4, 2)
    return M


def main() -> None:
    with TemporaryDirectory() as folder:
        emb = embeddings()
        files(emb, Path(folder))
        compared(emb, Path(folder))
        tested(emb)
        mapped(emb)


if __name__ == "__main__":
    main()
