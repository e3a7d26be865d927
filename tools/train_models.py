"""Train the models of three studies from scratch and store their embeddings of held-out documents.

    python tools/train_models.py population    # nbs/data/population.npz: 33 masked language models, 11 skip-gram, 11 PPMI
    python tools/train_models.py ablation      # nbs/data/ablation.npz: 4 + 4 of them, and 4 + 4 skip-gram, with and without Plant
    python tools/train_models.py larger        # nbs/data/ablation_larger.npz: 2 + 2 masked language models, larger and trained six times as long
    python tools/train_models.py versions      # nbs/data/versions.npz: 24 skip-gram models, one after the other; from the 17th on without Plant

The texts are DBpedia abstracts: `dbpedia14_balanced.parquet` in the folder that EMBGEO_DATA names, or in shared/data beside the
project. They are not stored, only their identifiers, classes and hashes. --work keeps every model as soon as it is trained, and the
state of the one under way, under names that say what made them: a run that was killed goes on where it was, to the same models. On
one core: about 25 minutes for the first study, 10 for the second, 80 for the third, 3 for the last.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from embgeo_nb.common import atomic_path
from embgeo_nb.corpora import dbpedia, optional_data
from embgeo_nb.encoders import masked_lm, ppmi, skipgram, store_embeddings
from embgeo_nb.resume import Pieces

TARGET = Path(__file__).resolve().parents[1] / "nbs" / "data"
TOPICS = {"nature": ("Plant", "Animal", "NaturalPlace"), "works": ("Album", "Film", "WrittenWork")}
POPULATION = dict(dim=48, layers=2, heads=4, vocab_size=2000, max_length=64, steps=2000, batch_size=16, learning_rate=2e-3)
ABLATION = dict(dim=64, layers=2, heads=4, vocab_size=3000, max_length=64, steps=3500, batch_size=16, learning_rate=2e-3)
LARGER = dict(dim=128, layers=2, heads=4, vocab_size=3000, max_length=64, steps=20_000, batch_size=16, learning_rate=1e-3)


def split(corpus, held_out: int):
    "Training and held-out documents: so many of every class are held out, by a fixed draw."
    test = corpus.sample(held_out * len(corpus.counts), seed=0)
    return corpus.select(~np.isin(corpus.ids, test.ids)), test


def pieces(texts, settings):
    "One set of word pieces for all models of a study, so that their perplexities are about the same pieces."
    return masked_lm(texts, **{**settings, "steps": 1}).tokenizer


def trained(work: Path, what: str, recipe: dict, texts, test, make) -> dict:
    "What `make` makes, kept under a name that depends on the recipe, the texts and the documents to embed."
    written = {name: np.frombuffer(json.dumps(list(own)).encode(), np.uint8) for name, own in (("texts", texts), ("documents", test.texts))}
    return Pieces(work, what, recipe, written)("model", make)


def mixture(train, share: float, seed: int):
    "As many documents as one topic has, `share` of them about nature, drawn at random."
    rng = np.random.default_rng([seed, 1])
    rows = {topic: np.flatnonzero(np.isin(train.labels, classes)) for topic, classes in TOPICS.items()}
    n = len(rows["nature"])
    count = {"nature": round(share * n), "works": n - round(share * n)}
    return train.select(np.sort(np.concatenate([rng.choice(rows[topic], count[topic], replace=False) for topic in TOPICS])))


def population(work: Path) -> None:
    corpus = dbpedia(optional_data("dbpedia14_balanced.parquet", required=True))
    train, test = split(corpus.select(np.isin(corpus.labels, sum(TOPICS.values(), ()))), 100)
    shares = [(share, 0) for share in np.linspace(0, 1, 27)] + [(share, again) for share in (0.0, 0.5, 1.0) for again in (1, 2)]
    plan = [("lm", share, again) for share, again in shares]
    plan += [(kind, share, 0) for kind in ("skipgram", "ppmi") for share in np.linspace(0, 1, 11)]
    tokenizer, found, about = None, {}, {}
    scored = {topic: [test.texts[i] for i in np.flatnonzero(np.isin(test.labels, classes))[::5]] for topic, classes in TOPICS.items()}
    for number, (kind, share, again) in enumerate(plan):
        name = f"{kind} {share:.2f}" + (f" run {again + 1}" if again else "")
        texts = mixture(train, share, seed=number).texts

        def train_one():
            nonlocal tokenizer
            if kind == "lm":
                tokenizer = tokenizer or pieces(train.texts, POPULATION)
                model = masked_lm(texts, **POPULATION, seed=number, tokenizer=tokenizer, resume=work)
                perplexity = [model.pseudo_perplexity(scored[topic], 40) for topic in TOPICS]
            else:
                own = dict(epochs=8, resume=work) if kind == "skipgram" else dict(subsample=1e-3)
                model = dict(skipgram=skipgram, ppmi=ppmi)[kind](texts, dim=32, min_count=3, seed=number, unknown="mean", **own)
                perplexity = [np.nan, np.nan]
            print(name, np.round(perplexity, 1), flush=True)
            return dict(embedding=model(test.texts).astype(np.float16), perplexity=np.array(perplexity))

        recipe = {"name": name, "number": number, **(POPULATION if kind == "lm" else {})}
        file = trained(work, "population", recipe, texts, test, train_one)
        found[name], about[name] = file["embedding"], dict(kind=kind, share=round(share, 4), run=again, seed=number,
                                                           perplexity=[round(value, 3) for value in file["perplexity"].tolist()])
    store(TARGET / "population.npz", test, found, dict(masked_lm=POPULATION, topics=TOPICS, scored_pieces=40, models=about))


def ablation(work: Path, settings: dict = ABLATION, seeds: int = 4, file_name: str = "ablation.npz", skipgrams: bool = True) -> None:
    "Models with and without plants, by so many seeds."
    train, test = split(dbpedia(optional_data("dbpedia14_balanced.parquet", required=True)), 80)
    sets = {"full": train, "no Plant": train.without("Plant")}
    scored = {name: [test.texts[i] for i in np.flatnonzero((test.labels == "Plant") == (name == "Plant"))[::step]] for name, step in (("Plant", 2), ("rest", 20))}
    tokenizer, found, about = None, {}, {}
    for seed in range(seeds):
        for which, corpus in sets.items():
            name = f"{which}-{seed}"

            def train_one():
                nonlocal tokenizer
                tokenizer = tokenizer or pieces(train.texts, settings)
                model = masked_lm(corpus.texts, **settings, seed=seed, tokenizer=tokenizer, resume=work)
                perplexity = [model.pseudo_perplexity(texts, 40) for texts in scored.values()]
                print(name, np.round(perplexity, 1), flush=True)
                return dict(embedding=model(test.texts).astype(np.float16), perplexity=np.array(perplexity))

            file = trained(work, "ablation", {"name": name, **settings}, corpus.texts, test, train_one)
            found[name], about[name] = file["embedding"], dict(n_texts=corpus.n, seed=seed, perplexity=[round(value, 3) for value in file["perplexity"].tolist()])
            if not skipgrams:
                continue
            name = f"skipgram {name}"
            vectors = lambda: skipgram(corpus.texts, dim=64, min_count=3, epochs=8, seed=seed, unknown="mean", resume=work)
            file = trained(work, "ablation", {"name": name}, corpus.texts, test, lambda: dict(embedding=vectors()(test.texts).astype(np.float16)))
            print(name, flush=True)
            found[name], about[name] = file["embedding"], dict(n_texts=corpus.n, seed=seed)
    store(TARGET / file_name, test, found, dict(masked_lm=settings, scored=list(scored), models=about))


def larger(work: Path) -> None:
    "The same with better language models."
    ablation(work, LARGER, 2, "ablation_larger.npz", skipgrams=False)


def versions(work: Path) -> None:
    "A model retrained 24 times, each time on a fresh half of the texts; from the 17th time on, no text on plants arrives."
    train, test = split(dbpedia(optional_data("dbpedia14_balanced.parquet", required=True)), 40)
    feeds, found, about = {"all": train, "no Plant": train.without("Plant")}, {}, {}
    for number in range(1, 25):
        name, feed = f"v{number:02d}", "all" if number < 17 else "no Plant"

        corpus = feeds[feed].sample(4000, seed=number)

        def train_one():
            model = skipgram(corpus.texts, dim=32, min_count=3, epochs=8, seed=number, unknown="mean", resume=work)
            print(name, flush=True)
            return dict(embedding=model(test.texts).astype(np.float16))

        found[name] = trained(work, "versions", {"name": name}, corpus.texts, test, train_one)["embedding"]
        about[name] = dict(feed=feed, n_texts=4000, seed=number)
    store(TARGET / "versions.npz", test, found, dict(models=about))


def store(path: Path, test, found: dict, recipe: dict) -> None:
    store_embeddings(path, test, found, recipe)
    with np.load(path) as file:
        arrays = dict(file)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, labels=test.labels, **arrays)
    print(path.name, f"{path.stat().st_size / 2 ** 20:.2f} MB", json.dumps(recipe)[:300])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["population", "ablation", "larger", "versions"])
    parser.add_argument("--work", type=Path, default=Path("trained_models"), help="folder for the models that are done (default: trained_models)")
    chosen = parser.parse_args()
    chosen.work.mkdir(exist_ok=True)
    dict(population=population, ablation=ablation, larger=larger, versions=versions)[chosen.study](chosen.work)
