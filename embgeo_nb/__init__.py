"""Compare foundation models by the geometry of their embeddings.

This file is the one module kept by hand: it gathers the public names. Everything else is exported from the notebooks.
The core (kernels, the joint embedding, the test) is imported at once, everything else when it is first used.
"""
__version__ = "0.1.0"

from importlib import import_module as _import_module

from embgeo_nb.datum_test import DatumTest, datum_test
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.kernel import DataKernel, data_kernel
from embgeo_nb.frame import Frame, frame
from embgeo_nb.omnibus import Omnibus, omnibus
from embgeo_nb.rdpg import SpectralEmbedding, profile_likelihood, sample_rdpg, spectral_embedding

_LATER = {
    "comparison": ("Comparison", "compare"),
    "features": ("FeatureTest", "feature_test"),
    "linear": ("LinearFrame", "linear_frame"),
    "calibration": ("Calibration", "Simulation", "calibrate"),
    "manifold": ("ModelDistance", "ModelManifold", "ModelTree", "associate", "distances_from", "model_distance", "model_manifold", "model_tree",
                 "unrelated_distance"),
    "multiscale": ("MultiscaleTest", "Recommendation", "multiscale_test", "recommend"),
    "over_time": ("ChangePoint", "ModelChart", "answer_chart", "change_point", "model_chart"),
    "perspective": ("AnswerTest", "Claim", "MetricPrediction", "QueryChoice", "QueryCurve", "answer_test", "choose_queries", "embed_answers",
                    "perspective_distance", "perspective_space", "predict_metric", "query_curve"),
    "replicates": ("RerunCheck", "replicate_test", "rerun_check"),
    "scale": ("CostEstimate", "DaskEngine", "estimate_cost", "open_graphs", "save_graphs"),
    "widgets": ("DatumExplorer", "ManifoldExplorer"),
    "bulk": (), "cli": (), "contrasts": (), "corpora": (), "encoders": (), "plot": (), "report": (), "score": (),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = ["DataKernel", "DatumTest", "Embeddings", "Frame", "Omnibus", "SpectralEmbedding", "data_kernel", "datum_test", "frame", "omnibus",
           "profile_likelihood", "sample_rdpg", "spectral_embedding", *_HOME, *_LATER]


def __getattr__(name: str):
    if name in _LATER:
        return _import_module(f"embgeo_nb.{name}")
    if name in _HOME:
        return getattr(_import_module(f"embgeo_nb.{_HOME[name]}"), name)
    raise AttributeError(f"module 'embgeo_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_LATER])
