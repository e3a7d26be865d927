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
from embgeo_nb.manifold import ModelDistance, ModelManifold, model_distance, model_manifold
from embgeo_nb.multiscale import MultiscaleTest, Recommendation, multiscale_test, recommend
from embgeo_nb.omnibus import Frame, Omnibus, frame, omnibus
from embgeo_nb.replicates import replicate_test
from embgeo_nb.rdpg import SpectralEmbedding, profile_likelihood, sample_rdpg, spectral_embedding

_MODULES = ("corpora", "encoders", "plot", "scale")
_LATER = {"CostEstimate": "scale", "DaskEngine": "scale", "estimate_cost": "scale", "open_graphs": "scale", "save_graphs": "scale"}

__all__ = ["Calibration", "DataKernel", "DatumTest", "Embeddings", "Frame", "ModelDistance", "ModelManifold",
           "MultiscaleTest", "Omnibus", "Recommendation", "Simulation", "SpectralEmbedding", "calibrate", "data_kernel",
           "datum_test", "frame", "model_distance", "model_manifold", "multiscale_test", "omnibus", "profile_likelihood",
           "recommend", "replicate_test", "sample_rdpg", "spectral_embedding", *_LATER, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return _import_module(f"embgeo_nb.{name}")
    if name in _LATER:
        return getattr(_import_module(f"embgeo_nb.{_LATER[name]}"), name)
    raise AttributeError(f"module 'embgeo_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER, *_MODULES])
