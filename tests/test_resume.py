"""Work that is killed goes on to the same result, and a piece is found by nothing but what made it."""
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import resuming
import scipy.sparse as sp

import embgeo_nb as eg
from embgeo_nb.common import WATCH
from embgeo_nb.resume import Pieces, graph_arrays, work_key

NEEDS = {"masked_lm": "tokenizers", "pairwise": "pandas"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("name", ["saving", "store", "bootstrap", "population", "tour", "masked_lm"])      # all of them, 50 times: resuming.py
def test_every_resume_is_equal_to_the_whole_run(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, resuming.__file__, name, "2"], capture_output=True, text=True, env=alone, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["wrong"] == 0 and json.loads(found.stdout)["kills"] == 2


@pytest.mark.parametrize("name", [name for name in resuming.WORK if name not in ("saving", "store", "tour")])
def test_the_second_run_makes_nothing(name, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    first, put = resuming.WORK[name](tmp_path), Pieces.put
    monkeypatch.setattr(Pieces, "put", lambda self, *args: pytest.fail(f"{args[0]} was made again") if self.folder else put(self, *args))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert resuming.same(resuming.WORK[name](tmp_path), first) and any(tmp_path.rglob("*.npz"))


BASE = dict(null="bootstrap", n_components=6, n_neighbors=12, n_resamples=19, seed=0)


@pytest.mark.parametrize("change", [dict(seed=1), dict(n_components=5), dict(n_neighbors=11), dict(null="single-copy"), dict(metric="euclidean"), dict(symmetrize="mean"), dict(a="m2")], ids=str)
@pytest.mark.filterwarnings("ignore:null='single-copy'")
def test_other_work_finds_no_piece(change, tmp_path):
    Y, (a, settings) = resuming.models(3, 60), ("m0", BASE)
    eg.datum_test(Y, a, "m1", resume=tmp_path, **settings)
    settings = {**BASE, **change}
    a = settings.pop("a", a)
    found = eg.datum_test(Y, a, "m1", resume=tmp_path, **settings)
    assert (found.pvalue == eg.datum_test(Y, a, "m1", **settings).pvalue).all() and len([path for path in tmp_path.iterdir()]) == 2


def test_one_changed_number_is_other_work(tmp_path):
    Y = resuming.models(2, 60)
    eg.datum_test(Y, "m0", "m1", resume=tmp_path, **BASE)
    Y["m0"][3] = Y["m0"][9]
    eg.datum_test(Y, "m0", "m1", resume=tmp_path, **BASE)
    assert len([path for path in tmp_path.iterdir()]) == 2


def test_more_draws_go_on_from_those_that_are_there(tmp_path):
    Y, seen = resuming.models(2, 60), []
    eg.datum_test(Y, "m0", "m1", resume=tmp_path, **BASE)
    put = Pieces.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pieces, "put", lambda self, name, made: seen.append(name) or put(self, name, made))
        more = eg.datum_test(Y, "m0", "m1", resume=tmp_path, **{**BASE, "n_resamples": 22})
    assert seen == ["draw-19", "draw-20", "draw-21"]
    assert (more.null_distribution == eg.datum_test(Y, "m0", "m1", **{**BASE, "n_resamples": 22}).null_distribution).all()


def test_other_versions_are_other_work(monkeypatch):
    key = work_key("x", {}, {"Y": np.eye(2)})
    monkeypatch.setattr(eg, "__version__", "9.9")
    assert work_key("x", {}, {"Y": np.eye(2)}) != key
    assert work_key("y", {}, {"Y": np.eye(2)}) != work_key("x", {}, {"Y": np.eye(2)}) != work_key("x", {}, {"Z": np.eye(2)})


def test_an_interrupt_in_a_population_costs_what_was_under_way(tmp_path):
    O, made = eg.omnibus(resuming.models(3, 60), n_components=4, n_neighbors=8), []

    def watch(items, what):
        for at, item in enumerate(items):
            if what == "halves" and at == 3 and not made:
                made.append(len(list(tmp_path.rglob("half-*.npz"))))
                raise KeyboardInterrupt
            yield item

    token = WATCH.set(watch)
    try:
        with pytest.raises(KeyboardInterrupt):
            eg.model_distance(O, n_resamples=5, resume=tmp_path)
        assert made == [3]
        D = eg.model_distance(O, n_resamples=5, resume=tmp_path)
    finally:
        WATCH.reset(token)
    assert (D.draws == eg.model_distance(O, n_resamples=5).draws).all()


def test_graphs_that_are_given_need_no_folder(tmp_path):
    graphs = {name: eg.data_kernel(Y, 8) for name, Y in resuming.models(4, 60).items()}
    with pytest.raises(ValueError, match="resume keeps the graphs"):
        eg.replicate_test(graphs, ["m0", "m1"], ["m2", "m3"], resume=tmp_path)
    with pytest.raises(NotADirectoryError, match="resume must be a folder"):
        (tmp_path / "file").write_text("x")
        eg.datum_test(resuming.models(2, 60), "m0", "m1", resume=tmp_path / "file", **BASE)


def test_a_folder_without_room_is_an_error_and_loses_nothing(tmp_path, monkeypatch):
    pieces = Pieces(tmp_path, "x", {}, {})
    assert pieces("a", lambda: np.ones(3)).tolist() == [1, 1, 1]
    from embgeo_nb import files
    monkeypatch.setitem(files._WRITERS, ".npz", lambda *args: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space"):
        pieces("b", lambda: np.ones(3))
    assert pieces.get("a").tolist() == [1, 1, 1] and pieces.get("b") is None and len(list(tmp_path.rglob("*.npz"))) == 1


def test_a_graph_is_an_array_of_parts():
    graph = sp.csr_array(np.eye(3))
    assert sorted(graph_arrays({"g": graph})) == ["g.data", "g.indices", "g.indptr"] and Path(resuming.__file__).exists()


def test_a_calibration_with_more_reruns_is_other_work(tmp_path):
    "Draws depend on how many there are: a comparison of the first of three reruns is not that of the first of two."
    settings = dict(null=("paired", "replicates"), n_components=4, n_pairs=1, n_resamples=19)
    subject = eg.Simulation(n=60)
    eg.calibrate(subject, n_reruns=2, resume=tmp_path, **settings)
    found = eg.calibrate(subject, n_reruns=3, resume=tmp_path, **settings)
    assert (found.pvalue["paired"] == eg.calibrate(subject, n_reruns=3, **settings).pvalue["paired"]).all()
