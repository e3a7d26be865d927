"""Compare foundation models by the geometry of their embeddings.

This file is the one module kept by hand: it gathers the public names. Everything else is exported from the notebooks.
The core (kernels, the joint embedding, the test) is imported at once, everything else when it is first used.
"""
__version__ = "0.1.0"

import sys as _sys
from importlib import import_module as _import_module
from inspect import signature as _signature
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING, Any as _Any

from embgeo_nb.datum_test import DatumTest, datum_test
from embgeo_nb.embeddings import Embeddings
from embgeo_nb.kernel import DataKernel, data_kernel
from embgeo_nb.frame import Frame, frame
from embgeo_nb.omnibus import Omnibus, omnibus
from embgeo_nb.rdpg import SpectralEmbedding, profile_likelihood, sample_rdpg, spectral_embedding

if TYPE_CHECKING:                        # what tools see of the names in _LATER; a test compares the two
    from embgeo_nb import (
        bulk, calibration, cli, comparison, contrasts, corpora, distances, encoders, features, linear, manifold,
        multiscale, over_time, perspective, plot, replicates, report, scale, score, taxonomy, teaching, widgets)
    from embgeo_nb.calibration import Calibration, Simulation, calibrate
    from embgeo_nb.comparison import Comparison, compare
    from embgeo_nb.distances import (association_interval, calibrated_distance, feature_draws, group_distance,
                                     horseshoe, n_shared_components)
    from embgeo_nb.features import FeatureTest, feature_test
    from embgeo_nb.linear import LinearFrame, linear_frame
    from embgeo_nb.manifold import (ModelDistance, ModelManifold, ModelTree, associate, distances_from,
                                    model_distance, model_manifold, model_tree, unrelated_distance)
    from embgeo_nb.multiscale import MultiscaleTest, Recommendation, multiscale_test, recommend
    from embgeo_nb.over_time import ChangePoint, ModelChart, answer_chart, change_point, model_chart
    from embgeo_nb.perspective import (AnswerTest, Claim, MetricPrediction, QueryChoice, QueryCurve, answer_test,
                                       choose_queries, embed_answers, perspective_distance, perspective_space,
                                       predict_metric, query_curve)
    from embgeo_nb.replicates import RerunCheck, replicate_test, rerun_check
    from embgeo_nb.scale import CostEstimate, DaskEngine, estimate_cost, open_graphs, save_graphs
    from embgeo_nb.taxonomy import BranchTree, family_test, neighbor_joining
    from embgeo_nb.widgets import DatumExplorer, ManifoldExplorer

_LATER = {
    "comparison": ("Comparison", "compare"),
    "features": ("FeatureTest", "feature_test"),
    "linear": ("LinearFrame", "linear_frame"),
    "calibration": ("Calibration", "Simulation", "calibrate"),
    "distances": ("association_interval", "calibrated_distance", "feature_draws", "group_distance", "horseshoe", "n_shared_components"),
    "manifold": ("ModelDistance", "ModelManifold", "ModelTree", "associate", "distances_from", "model_distance", "model_manifold", "model_tree",
                 "unrelated_distance"),
    "multiscale": ("MultiscaleTest", "Recommendation", "multiscale_test", "recommend"),
    "over_time": ("ChangePoint", "ModelChart", "answer_chart", "change_point", "model_chart"),
    "perspective": ("AnswerTest", "Claim", "MetricPrediction", "QueryChoice", "QueryCurve", "answer_test", "choose_queries", "embed_answers",
                    "perspective_distance", "perspective_space", "predict_metric", "query_curve"),
    "replicates": ("RerunCheck", "replicate_test", "rerun_check"),
    "scale": ("CostEstimate", "DaskEngine", "estimate_cost", "open_graphs", "save_graphs"),
    "taxonomy": ("BranchTree", "family_test", "neighbor_joining"),
    "widgets": ("DatumExplorer", "ManifoldExplorer"),
    "bulk": (), "cli": (), "contrasts": (), "corpora": (), "encoders": (), "plot": (), "report": (), "score": (), "teaching": (),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [                              # in full, for tools; a test compares it with the above
    "DataKernel", "DatumTest", "Embeddings", "Frame", "Omnibus", "SpectralEmbedding", "data_kernel", "datum_test",
    "frame", "omnibus", "profile_likelihood", "sample_rdpg", "spectral_embedding", "Comparison", "compare",
    "FeatureTest", "feature_test", "LinearFrame", "linear_frame", "Calibration", "Simulation", "calibrate",
    "ModelDistance", "ModelManifold", "ModelTree", "associate", "distances_from", "model_distance", "model_manifold",
    "model_tree", "unrelated_distance", "MultiscaleTest", "Recommendation", "multiscale_test", "recommend", "Claim",
    "QueryCurve", "perspective_distance", "perspective_space", "query_curve", "RerunCheck", "replicate_test",
    "rerun_check", "CostEstimate", "DaskEngine", "estimate_cost", "open_graphs", "save_graphs", "DatumExplorer",
    "ManifoldExplorer", "comparison", "features", "linear", "calibration", "manifold", "multiscale", "perspective",
    "replicates", "scale", "widgets", "bulk", "cli", "contrasts", "corpora", "encoders", "plot", "report", "score",
    "association_interval", "calibrated_distance", "feature_draws", "group_distance", "horseshoe",
    "n_shared_components", "ChangePoint", "ModelChart", "answer_chart", "change_point", "model_chart", "AnswerTest",
    "MetricPrediction", "QueryChoice", "answer_test", "choose_queries", "embed_answers", "predict_metric",
    "BranchTree", "family_test", "neighbor_joining", "distances", "over_time", "taxonomy", "teaching"]


class _Callable(_ModuleType):
    "A module with the name of the function it is about: `import embgeo_nb.omnibus as m` is the module, `omnibus(...)` the call."

    def __call__(self, *args: _Any, **kwargs: _Any) -> _Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return _import_module, (self.__name__,)


def _as_callable(name: str) -> _Any:
    module = _sys.modules[f"{__name__}.{name}"]
    function, module.__class__ = getattr(module, name), _Callable
    module.__doc__, module.__signature__ = function.__doc__, _signature(function)               # type: ignore[attr-defined]
    return module


if not TYPE_CHECKING:                    # tools see functions, and complain of names that are not there
    datum_test, frame, omnibus = map(_as_callable, ("datum_test", "frame", "omnibus"))

    def __getattr__(name: str) -> _Any:
        if name in _LATER:
            return _import_module(f"embgeo_nb.{name}")
        if name in _HOME:
            return getattr(_import_module(f"embgeo_nb.{_HOME[name]}"), name)
        raise AttributeError(f"module 'embgeo_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_LATER])
