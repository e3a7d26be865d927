"""What a program around this one has set, and where arrays lie, changes no analysis and raises no warning."""
import warnings
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import pytest
import torch

import embgeo_nb as eg
from surroundings import default_dtype

NAMES = ("a", "b", "c", "d")


def arrays(dtype="f8"):
    rng = np.random.default_rng(0)
    base = np.r_[rng.normal(size=(76, 16)), np.tile(rng.normal(size=(1, 16)), (4, 1))]            # some data that are equal
    return {name: (base + 0.3 * rng.normal(size=base.shape)).astype(dtype) for name in NAMES}


def answers():
    return {name: np.random.default_rng(at).normal(size=(12, 3, 5)) for at, name in enumerate("uvwxyz")}


def tiny_lm():
    return eg.encoders.masked_lm(["a b c d e f g", "b d f a c", "g f e a b"] * 5, dim=8, layers=1, heads=2, vocab_size=30, max_length=8, batch_size=8, steps=4)


ANALYSES = {
    "datum_test": lambda Y: [eg.datum_test(Y, "a", "b", n_neighbors=8, n_resamples=199).pvalue],
    "tail": lambda Y: [eg.datum_test(Y, "a", "b", n_neighbors=8, method="tail").pvalue],
    "independent": lambda Y: [eg.datum_test(Y, "a", "b", "independent", n_neighbors=8).pvalue, eg.datum_test(Y, "a", "b", "independent", n_neighbors=8, method="sparse").pvalue],
    "bootstrap": lambda Y: [eg.datum_test(Y, "a", "b", "bootstrap", n_neighbors=8, n_resamples=19).pvalue],
    "global": lambda Y: [np.array([eg.datum_test(Y, "a", "b", n_neighbors=8, n_resamples=99).global_test(99).pvalue])],
    "compare": lambda Y: (lambda C: [C.score, C.pvalue, C.qvalue, C.explain(0).share])(eg.compare(Y, "a", "b", n_neighbors=8, n_rotations=1, n_resamples=99)),
    "compare groups": lambda Y: [eg.compare(Y, ["a", "b"], ["c", "d"], n_neighbors=8, n_resamples=99).pvalue],
    "feature_test": lambda Y: [eg.feature_test(Y, "a", "b", n_neighbors=8, n_rotations=1).pvalue],
    "linear_frame": lambda Y: [np.linalg.norm(eg.linear_frame(Y["a"], Y["b"], 4).displacement, axis=1)],
    "replicates": lambda Y: [eg.replicate_test(Y, ["a", "b"], ["c", "d"], n_neighbors=8, method="rotation", n_resamples=99).pvalue, eg.rerun_check(Y, n_neighbors=8).rates["halves"]],
    "multiscale": lambda Y: [eg.multiscale_test(Y, "a", "b", n_neighbors=(6, 9), n_resamples=99).pvalue],
    "distances": lambda Y: [eg.model_distance(eg.omnibus(Y, 4, n_neighbors=8), n_resamples=2).draws, *(eg.model_distance(Y, kind).matrix for kind in ("knn", "cka", "rsa", "procrustes"))],
    "manifold": lambda Y: (lambda M: [np.abs(M.coordinates), M.correlate([1.0, 2.0, 4.0, 3.0], n_permutations=9, unseen=False).null_distribution])(eg.model_manifold(eg.model_distance(Y, "cka"), 1)),
    "tree": lambda Y: [eg.model_tree(eg.model_distance(Y, "cka")).linkage],
    "perspective": lambda Y: [eg.perspective_distance(answers(), n_resamples=3).draws, eg.query_curve(answers(), [1.0, 2, 4, 3, 5, 7], [6, 12], n_components=1, repeats=2).scores],
    "calibrate": lambda Y: [eg.calibrate(eg.Simulation(n=60), n_components=3, n_resamples=59, n_pairs=2).pvalue["paired"]],
    "ppmi": lambda Y: [np.abs(eg.encoders.ppmi(["a b c d e f g", "b d f a c", "g f e a b"] * 5, dim=2, window=2)(["a b", "g f e"]))],
    "skipgram": lambda Y: [eg.encoders.skipgram(["a b c d e f g", "b d f a c", "g f e a b"] * 5, dim=3, epochs=1, batch_size=64, subsample=None).vectors],
    "masked_lm": lambda Y: [pytest.importorskip("tokenizers") and np.array(tiny_lm().losses), tiny_lm()(["a b", "g f e"])],
}
QUIET = "With . [+] . runs|tells its data hardly apart|fewer than 5 models|few "


@lru_cache
def whole(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", QUIET)
        return ANALYSES[name](arrays())


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def strict():
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", QUIET)
        yield


SURROUNDINGS = {"strict": strict, "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16), "float64": lambda: default_dtype(torch.float64),
                "inference": torch.inference_mode, "no grad": torch.no_grad}


def agree(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", SURROUNDINGS)
@pytest.mark.parametrize("name", ANALYSES)
def test_settings_of_others_change_nothing(name, where):
    wanted = whole(name)
    with SURROUNDINGS[where]():
        found = ANALYSES[name](arrays())
    agree(found, wanted)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ANALYSES)
def test_arrays_on_disk_that_cannot_be_written(name, tmp_path):
    for model, Y in arrays().items():
        np.save(tmp_path / f"{model}.npy", Y)
    mapped = {model: np.load(tmp_path / f"{model}.npy", mmap_mode="r") for model in NAMES}
    agree(ANALYSES[name](mapped), whole(name))
    assert all((np.load(tmp_path / f"{model}.npy") == Y).all() for model, Y in arrays().items())
