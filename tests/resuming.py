"""Work that is killed at random moments, and what comes of going on.

    python tests/resuming.py bootstrap 50      # kills 50 runs, and compares every resumed result with the whole one
"""
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import embgeo_nb as eg
from embgeo_nb.files import kept_arrays

warnings.simplefilter("ignore")
TEXTS = [" ".join(np.random.default_rng(seed).choice(list("abcdefghijklmnopqrst"), 30)) for seed in range(60)]


def models(count, n=150, p=8):
    rng = np.random.default_rng(0)
    position = rng.normal(size=(n, p))
    return {f"m{at}": position + 0.3 * rng.normal(size=(n, p)) for at in range(count)}


def pieces(folder):
    return None if folder is None else folder / "pieces"


def bootstrap(folder, null="bootstrap"):
    R = eg.datum_test(models(2, 100), "m0", "m1", null, n_components=6, n_neighbors=12, n_resamples=19, resume=pieces(folder))
    return {"pvalue": R.pvalue, "null": R.null_distribution, "effect": R.effect}


def single_copy(folder):
    return bootstrap(folder, "single-copy")


def replicates(folder):
    R = eg.replicate_test(models(6, 600, 64), ["m0", "m1", "m2"], ["m3", "m4", "m5"], n_components=8, resume=pieces(folder))
    return {"pvalue": R.pvalue, "displacement": R.displacement}


def population(folder):
    O = eg.omnibus(models(4, 100), n_components=4, n_neighbors=8)
    D = eg.model_distance(O, n_resamples=6, resume=pieces(folder))
    return {"matrix": D.matrix, "draws": D.draws}


def pairwise(folder):
    O = eg.omnibus(models(4, 60), n_components=4, n_neighbors=8)
    D = eg.model_distance(O, frame="pairwise", n_resamples=3, refit=False, resume=pieces(folder))
    return {"draws": D.draws, "unrelated": eg.unrelated_distance(O, n_permutations=3, resume=pieces(folder)).drop(columns=["a", "b"]).to_numpy()}


def calibration(folder):
    C = eg.calibrate(eg.Simulation(n=80), ("paired", "independent"), n_components=4, n_resamples=99, n_pairs=5, resume=pieces(folder))
    return {f"{name}.{what}": getattr(C, what)[name] for name in C.nulls for what in ("pvalue", "n_differing")}


def store(folder):
    with tempfile.TemporaryDirectory() as own:
        found = eg.save_graphs(models(4, 400, 64), Path(own) / "s" if folder is None else folder / "store", n_neighbors=12, resume=pieces(folder))
        return {name: found[name].toarray() for name in found.models}


def saving(folder):
    if folder is None:
        return models(2, 3000, 16)
    eg.Embeddings(models(2, 3000, 16)).save(folder / "emb.npz")
    return dict(eg.Embeddings.load(folder / "emb.npz").arrays)


def tour(folder):
    make = lambda seed: {"embedding": eg.encoders.ppmi(TEXTS, dim=8, min_count=1, seed=seed)(TEXTS)}
    return {str(seed): (make(seed) if folder is None else kept_arrays(folder / "models" / f"ppmi-{seed}.npz", lambda: make(seed)))["embedding"] for seed in range(4)}


def skipgram(folder):
    return {"vectors": eg.encoders.skipgram(TEXTS, dim=8, min_count=1, epochs=4, batch_size=512, resume=pieces(folder)).vectors}


def masked_lm(folder):
    found = eg.encoders.masked_lm(TEXTS, dim=8, layers=1, heads=2, vocab_size=60, max_length=8, batch_size=8, steps=300, resume=pieces(folder))
    return {"embedding": found(TEXTS), "losses": np.array(found.losses)}


WORK = {work.__name__: work for work in (bootstrap, single_copy, replicates, population, pairwise, calibration, store, saving, tour, skipgram, masked_lm)}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)


def apart(job):
    "A process that does a job; its number."
    process = os.fork()
    if not process:
        try:
            os._exit(int(job() is False))
        finally:
            os._exit(2)
    return process


def killed(work, kills, seed=0):
    "Kill that many runs, each at a random moment, and go on after each: (how many were under way, with pieces kept; results that differ)."
    draw, start = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as own:                # in a process of its own: what comes after a fork shall find fresh libraries
        assert os.waitpid(apart(lambda: np.savez(Path(own) / "whole.npz", **work(None))), 0)[1] == 0
        whole = dict(np.load(Path(own) / "whole.npz"))
    most, under_way, kept, wrong = time.perf_counter() - start, 0, 0, 0
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as own:
            folder = Path(own)
            process = apart(lambda: work(folder))
            time.sleep(draw.uniform(0, most))
            os.kill(process, signal.SIGKILL)
            under_way += os.waitpid(process, 0)[1] == signal.SIGKILL
            kept += any(path.suffix in (".npz", ".npy") and not path.name.startswith(".") for path in folder.rglob("*.np*"))
            wrong += os.waitpid(apart(lambda: same(work(folder), whole)), 0)[1] != 0
            shutil.rmtree(folder / "pieces", ignore_errors=True)
    return {"kills": kills, "under way": under_way, "with something kept": kept, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(killed(WORK[sys.argv[1]], int(sys.argv[2]))))
