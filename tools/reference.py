"""Make nbs/reference.ipynb, the page of all public names, from their docstrings and the examples below.

    python tools/reference.py            # write the page, and run its examples if one of them is new
    python tools/reference.py --run      # ... in any case
    python tools/reference.py --check    # fail if a signature or a summary on the page is not the code's

A new public name needs an example: here, or in its docstring (a line that starts with >>>).
"""
import argparse
import doctest
import functools
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import embgeo_nb as eg
from embgeo_nb.common import atomic_path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "nbs" / "reference.ipynb"

SETUP = """rng = np.random.default_rng(0)
before = rng.normal(size=(200, 12))
after = before + 0.2 * rng.normal(size=before.shape)
after[:10] = rng.permutation(before[:10])                 # ten data in other places
emb = eg.Embeddings({"before": before, "after": after}, ids=[f"text {i}" for i in range(200)], labels=["odd", "even"] * 100)
runs = {f"{name} {t}": Y + 0.1 * rng.normal(size=Y.shape) for name, Y in (("old", before), ("new", after)) for t in range(4)}
population = {f"noise {s:.1f}": before + s * rng.normal(size=before.shape) for s in (0, 0.2, 0.4, 0.6, 0.8, 1.0)}
answers = {name: Y[:40, None, :4] for name, Y in population.items()}      # (queries, replicates, dimensions)
quality = dict(zip(population, (0.9, 0.8, 0.72, 0.6, 0.55, 0.4)))
K = eg.data_kernel(before, 16)
O = eg.omnibus(population, n_components=6, n_neighbors=16)
R = eg.datum_test(emb, "before", "after", n_neighbors=16)
C = eg.compare(emb, "before", "after", n_neighbors=16)
D = eg.model_distance(O)
M = eg.model_manifold(D)"""

# What a reader looks for first stands first.
GROUPS = {
    "Compare two models": {
        "compare": 'eg.compare(emb, "before", "after", n_neighbors=16).to_frame()[["id", "score", "pvalue", "qvalue"]].head(3)',
        "Comparison": "C.null, int(C.rejected(0.1).sum()), C.neighbors('text 3').head(3)",
        "datum_test": 'eg.datum_test(emb, "before", "after", n_neighbors=16).to_frame().head(3)',
        "DatumTest": "R.explain('text 3').to_frame().drop(columns='contribution').head(3)",
        "replicate_test": 'eg.replicate_test(runs, list(runs)[:4], list(runs)[4:], n_neighbors=16).to_frame().head(3)',
        "rerun_check": "eg.rerun_check({name: Y for name, Y in runs.items() if name.startswith('old')}, n_neighbors=16)",
        "RerunCheck": "eg.rerun_check(dict(list(runs.items())[:4]), n_neighbors=16).pvalue",
        "feature_test": 'eg.feature_test(emb, "before", "after", n_neighbors=16).pvalue[:3].round(3)',
        "FeatureTest": 'int((eg.feature_test(emb, "before", "after", n_neighbors=16).pvalue <= 0.05).sum())',
        "linear_frame": 'np.argsort(-eg.linear_frame(before, after, 8).effect)[:10]',
        "LinearFrame": "eg.linear_frame(before, after, 8).displacement.shape",
        "multiscale_test": 'eg.multiscale_test(emb, "before", "after", n_neighbors=(8, 16), n_resamples=199).pvalue[:3].round(3)',
        "MultiscaleTest": 'eg.multiscale_test(emb, "before", "after", n_neighbors=(8, 16), n_resamples=199)',
        "recommend": 'eg.recommend(emb, "before", "after", n_neighbors=(8, 16), n_components=(8, 16), n_repeats=1)',
        "Recommendation": 'eg.recommend(emb, "before", "after", n_neighbors=(8, 16), n_components=(8, 16), n_repeats=1).n_neighbors',
        "calibrate": 'eg.calibrate(eg.Simulation("block", n=100), n_pairs=3, n_resamples=99).to_frame()',
        "Calibration": 'eg.calibrate(eg.Simulation("block", n=100), n_pairs=3, n_resamples=99).verdict("paired", 0.05)',
        "Simulation": 'models, moved = eg.Simulation("block", n=100, moved=0.1).draw(seed=0)\nlist(models), int(moved.sum())'},
    "Data and graphs": {
        "Embeddings": "emb",
        "data_kernel": "eg.data_kernel(before, 16).neighbors[:2]",
        "DataKernel": "K.graph.shape, K.graph.nnz, K.n_neighbors, K.metric",
        "sample_rdpg": "eg.sample_rdpg(np.full((50, 50), 0.2), seed=0).nnz",
        "spectral_embedding": "eg.spectral_embedding(K, 6).eigenvalues.round(2)",
        "SpectralEmbedding": "eg.spectral_embedding(K, 6).signature",
        "profile_likelihood": "int(np.argmax(eg.profile_likelihood(np.array([9.0, 8.5, 8.0, 1.2, 1.1, 1.0, 0.9])))) + 1",
        "omnibus": "eg.omnibus(population, n_components=6, n_neighbors=16).positions.shape",
        "Omnibus": 'O.displacement("noise 0.0", "noise 0.4").shape, O.add_model("late", before).models[-1]',
        "frame": "eg.frame(K, 6).eigenvalues.round(2)",
        "Frame": "R.frame.center.shape, R.frame.loadings.shape"},
    "Populations of models": {
        "model_distance": "eg.model_distance(O).to_frame().round(2)",
        "ModelDistance": "D.to_frame().shape",
        "model_manifold": "eg.model_manifold(D).to_frame().round(3)",
        "ModelManifold": "M.negative_mass, M.eigenvalues[:3].round(4)",
        "model_tree": "eg.model_tree(D)",
        "ModelTree": "eg.model_tree(D).models",
        "unrelated_distance": "eg.unrelated_distance(O, n_permutations=3).head(3).round(3)",
        "distances_from": 'dict(list(eg.distances_from(O, after).items())[:2])',
        "associate": "eg.associate({'frobenius': D}, quality, n_permutations=99).round(3)",
        "calibrated_distance": "eg.calibrated_distance(O, n_permutations=3).to_frame().iloc[:2].round(2)",
        "n_shared_components": "eg.n_shared_components(population, n_neighbors=16)",
        "feature_draws": "views, of = eg.feature_draws(population, n_groups=2)\nlen(views), list(of.items())[:2]",
        "group_distance": "drawn, groups = eg.feature_draws(emb, n_groups=4)\neg.group_distance(eg.model_distance(eg.omnibus(drawn, n_components=6, n_neighbors=16)), groups, n_permutations=99)",
        "horseshoe": "round(eg.horseshoe(M), 2)",
        "association_interval": "eg.association_interval(D, quality, n_permutations=99)",
        "neighbor_joining": "eg.neighbor_joining(D)",
        "BranchTree": "eg.neighbor_joining(D).models",
        "family_test": "eg.family_test(D, ['low'] * 3 + ['high'] * 3, n_permutations=99)",
        "model_chart": "versions = {f'v{t}': before + 0.1 * rng.normal(size=before.shape) for t in range(8)}\neg.model_chart(versions)",
        "ModelChart": "eg.model_chart(versions).pvalue.round(2)",
        "answer_chart": "eg.answer_chart({name: Y[:40, None, :4] for name, Y in versions.items()}).pvalue.round(2)",
        "change_point": "eg.change_point(versions, n_resamples=99)",
        "ChangePoint": "eg.change_point(versions, n_resamples=99).version",
        "perspective_distance": "eg.perspective_distance(answers).to_frame().round(2)",
        "perspective_space": "eg.perspective_space(answers).to_frame().round(3)",
        "answer_test": "sampled = {name: Y[:40, None, :4] + 0.1 * rng.normal(size=(40, 3, 4)) for name, Y in (('a', before), ('b', after))}\neg.answer_test(sampled, 'a', 'b', n_resamples=99).pvalue",
        "AnswerTest": "eg.answer_test(sampled, 'a', 'b', n_resamples=99).query_qvalue[:3].round(2)",
        "choose_queries": "many = {f'noise {s:.2f}': (before + s * rng.normal(size=before.shape))[:40, None, :4] for s in np.linspace(0, 1, 10)}\neg.choose_queries(many, 5).queries",
        "QueryChoice": "eg.choose_queries(many, 5).weights.round(2)",
        "predict_metric": "graded = dict(zip(many, [*np.linspace(0.9, 0.4, 9), np.nan]))             # the last is not graded\neg.predict_metric(eg.perspective_distance(many), graded).prediction.round(2)",
        "MetricPrediction": "eg.predict_metric(eg.perspective_distance(many), graded).upper.round(2)",
        "query_curve": "eg.query_curve(answers, quality, [5, 20], n_components=2, repeats=2).to_frame().round(2)",
        "QueryCurve": "eg.query_curve(answers, quality, [5, 20], n_components=2, repeats=2).sizes",
        "Claim": 'eg.Claim("The map explains half of the variance", {"c = 2": 0.7, "c = 4": 0.8}, "coordinates", "min", 0.5)'},
    "Large data": {
        "estimate_cost": "eg.estimate_cost(100_000, 384)",
        "CostEstimate": "type(eg.estimate_cost(100_000, 384)).__name__",
        "save_graphs": "with TemporaryDirectory() as folder:\n    saved = eg.save_graphs(emb, folder + '/graphs', 16)\n    shapes = {name: graph.shape for name, graph in saved.graphs.items()}\nshapes",
        "open_graphs": "with TemporaryDirectory() as folder:\n    eg.save_graphs(emb, folder + '/graphs', 16)\n    opened = eg.open_graphs(folder + '/graphs').models\nopened",
        "DaskEngine": "sorted(name for name in vars(eg.DaskEngine) if not name.startswith('_'))"},
    "Explorers": {
        "DatumExplorer": "type(eg.DatumExplorer(C)).__name__",
        "ManifoldExplorer": "type(eg.ManifoldExplorer(M, population)).__name__"},
}


def public():
    "Public names that are no modules, and the modules."
    known = list(dict.fromkeys([*eg.__all__, *eg._HOME, *eg._LATER]))
    modules = [name for name in known if inspect.ismodule(named(name))]
    return [name for name in known if name not in modules], modules


def named(name):
    "What a public name stands for; a module that is called like its function stands for the function."
    thing = getattr(eg, name)
    return getattr(thing, name) if inspect.ismodule(thing) and callable(thing) else thing


def example_of(thing):
    "The code of the examples in a docstring, or None."
    found = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    source = "".join(one.source for one in found).strip()
    return re.sub(r"(?<![\w.'\"])(%s)\(" % "|".join([*eg._HOME, *eg.__all__]), r"eg.\1(", source) or None


def summary(thing):
    "The first paragraph of a docstring, on one line."
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def signature(name, thing):
    "How it is called: names and defaults."
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:
        return name
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters if parameter.name != "self"]
    return f"{name}{inspect.Signature(plain)}"


def members(cls):
    "A table of the public attributes, properties and methods of a class."
    rows = []
    for name, thing in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(thing, (property, functools.cached_property)):
            rows.append((f"`.{name}`", summary(thing)))
        elif isinstance(thing, (classmethod, staticmethod)) or inspect.isfunction(thing):
            rows.append((f"`.{signature(name, getattr(cls, name))}`", summary(thing)))
    fields = [name for name in getattr(cls, "__dataclass_fields__", {}) if not name.startswith("_")]
    lines = [f"Attributes: {', '.join(f'`.{name}`' for name in fields)}.", ""] if fields else []
    if rows:
        lines += ["| | |", "|---|---|"] + [f"| {call.replace('|', chr(92) + '|')} | {words.replace('|', chr(92) + '|')} |" for call, words in rows]
    return "\n".join(lines)


def section(name):
    "The text on one public name."
    thing = named(name)
    room = thing.__module__.split(".")[-1]
    parts = [f"### `eg.{name}`", f"```python\neg.{signature(name, thing)}\n```", f"{summary(thing)} (In `{room}`.)"]
    return "\n\n".join(parts + ([members(thing)] if inspect.isclass(thing) and members(thing) else []))


def cells():
    "The page: text and examples, as (kind, source, what it is about)."
    names, modules = public()
    placed = {name for group in GROUPS.values() for name in group}
    rest = {name: example_of(named(name)) for name in names if name not in placed}
    if lacking := [name for name, code in rest.items() if not code]:
        raise SystemExit(f"No example for {', '.join(lacking)}: add one to tools/reference.py, or to the docstring.")
    yield "markdown", "# Reference\n> Every public name, how it is called, and an example that was run", "head"
    yield "markdown", ("This page is made from the docstrings by `python tools/reference.py`. In a notebook, `eg.compare?` shows the whole "
                       "docstring of a name: parameters, errors, sources. All examples use the same two hundred data:"), "intro"
    yield "code", "from tempfile import TemporaryDirectory\n\nimport numpy as np\n\nimport embgeo_nb as eg", "imports"
    yield "code", SETUP, "setup"
    for title, group in [*GROUPS.items(), *([("More", rest)] if rest else [])]:
        yield "markdown", f"## {title}", title
        for name, code in group.items():
            if name in names:
                yield "markdown", section(name), name
                yield "code", code, f"{name} example"
    yield "markdown", "## Modules", "modules"
    yield "markdown", "\n".join(["What has no name of its own at the top is in a module, `eg.plot.plot_test` for instance:", "", "| | |",
                                 "|---|---|", *(f"| `eg.{name}` | {summary(named(name))} |" for name in modules)]), "module table"


def notebook():
    "The page as a notebook without outputs."
    meta = json.loads((ROOT / "nbs" / "92_multiplicity.ipynb").read_text(encoding="utf-8"))
    made = []
    for kind, source, about in cells():
        cell = {"cell_type": kind, "id": re.sub(r"\W+", "-", about), "metadata": {}, "source": source.splitlines(keepends=True)}
        made.append({**cell, "execution_count": None, "outputs": []} if kind == "code" else cell)
    return {**meta, "cells": made}


def differences(page):
    "Cells of a page that are not what the code says."
    have = [(cell["cell_type"], "".join(cell["source"])) for cell in page["cells"]]
    wanted = [(kind, source) for kind, source, _ in cells()]
    return [source.split("\n")[0] for kind, source in wanted if (kind, source) not in have] + [
        source.split("\n")[0] for kind, source in have if (kind, source) not in wanted]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare the page with the code")
    parser.add_argument("--run", action="store_true", help="run the examples even if all of them have outputs")
    arguments = parser.parse_args()
    if arguments.check:
        if found := differences(json.loads(PAGE.read_text(encoding="utf-8"))):
            raise SystemExit("nbs/reference.ipynb is out of date, run `python tools/reference.py`: " + "; ".join(found))
        raise SystemExit(print("nbs/reference.ipynb is up to date."))
    page = notebook()
    kept = {} if arguments.run or not PAGE.exists() else {
        "".join(cell["source"]): cell["outputs"] for cell in json.loads(PAGE.read_text(encoding="utf-8"))["cells"] if cell.get("outputs")}
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = kept.get("".join(cell["source"]), [])
    shown = [cell for cell in page["cells"] if cell["cell_type"] == "code"][2:]           # after imports and setup
    with atomic_path(PAGE) as temporary:
        temporary.write_text(json.dumps(page, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    if all(cell["outputs"] for cell in shown):
        raise SystemExit(print("wrote nbs/reference.ipynb; every example has its output"))
    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--log-level=ERROR", "--inplace", str(PAGE)], check=True)
    page = json.loads(PAGE.read_text(encoding="utf-8"))
    page["metadata"].pop("widgets", None)                     # explorers are shown in their own chapter
    for cell in page["cells"]:                                # progress is no output
        cell["outputs"] = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        if cell["cell_type"] != "code":
            del cell["outputs"]
    with atomic_path(PAGE) as temporary:
        temporary.write_text(json.dumps(page, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", str(PAGE)], check=True)
