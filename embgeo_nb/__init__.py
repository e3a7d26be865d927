"""Compare foundation models by the geometry of their embeddings.

This file is the one module kept by hand: it gathers the public names. Everything else is exported from the notebooks.
Names that need no more than numpy, scipy and torch are imported at once, the others when they are first used.
"""
__version__ = "0.1.0"

from importlib import import_module as _import_module

from embgeo_nb.calibration import Calibration, Simulation, calibrate
from embgeo_nb.datum_test import DatumTest, datum_test
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.kernel import DataKernel, data_kernel
from embgeo_nb.manifold import ModelDistance, ModelManifold, ModelTree, associate, distances_from, model_distance, model_manifold, model_tree
from embgeo_nb.multiscale import MultiscaleTest, Recommendation, multiscale_test, recommend
from embgeo_nb.omnibus import Frame, Omnibus, frame, omnibus
from embgeo_nb.perspective import Claim, QueryCurve, perspective_distance, perspective_space, query_curve
from embgeo_nb.rdpg import SpectralEmbedding, profile_likelihood, sample_rdpg, spectral_embedding
from embgeo_nb.replicates import replicate_test

_MODULES = ("corpora", "encoders", "plot", "scale", "widgets")
_LATER = {"CostEstimate": "scale", "DaskEngine": "scale", "DatumExplorer": "widgets", "ManifoldExplorer": "widgets",
          "estimate_cost": "scale", "open_graphs": "scale", "save_graphs": "scale"}

__all__ = ["Calibration", "Claim", "DataKernel", "DatumTest", "Embeddings", "Frame", "ModelDistance", "ModelManifold", "ModelTree", "MultiscaleTest", "Omnibus",
           "QueryCurve", "Recommendation", "Simulation", "SpectralEmbedding", "associate", "calibrate", "data_kernel", "datum_test", "distances_from", "frame",
           "model_distance", "model_manifold", "model_tree", "multiscale_test", "omnibus", "perspective_distance", "perspective_space", "profile_likelihood",
           "query_curve", "recommend", "replicate_test", "sample_rdpg", "spectral_embedding", *_LATER, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return _import_module(f"embgeo_nb.{name}")
    if name in _LATER:
        return getattr(_import_module(f"embgeo_nb.{_LATER[name]}"), name)
    raise AttributeError(f"module 'embgeo_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER, *_MODULES])
