"""Exercises: every stub gets a helpful sentence, every answer is right, and the usual mistakes are recognised."""
import json
from pathlib import Path

import numpy as np
import pytest

from embgeo_nb import teaching

FOLDER = Path(__file__).resolve().parents[1] / "nbs" / "teaching"


def exercises(name):
    "Of a notebook of exercises: (heading, stub, call of the checker, folded answer), in order."
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    found, heading = [], None
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("## "):
            heading = source[3:]
        if cell["cell_type"] == "code" and "#| code-fold: true" in source:
            stub, call = ("".join(cells[number - back]["source"]) for back in (2, 1))
            again = "".join(cells[number + 1]["source"])
            assert call == again and call.startswith("check_"), f"{heading}: the checker is asked before and after"
            found.append((heading, stub, call, source))
    return found


ALL = [(name, *exercise) for name in ("two_hours", "four_weeks") for exercise in exercises(name)]


def test_there_are_exercises():
    assert len(ALL) == 12 and len({heading for _, heading, *_ in ALL}) == 12


def asked(code, call):
    scope = {"np": np, "eg": __import__("embgeo_nb"), **vars(teaching)}
    exec(code, scope)
    return eval(call, scope)


@pytest.mark.parametrize("name, heading, stub, call, answer", ALL, ids=[heading for _, heading, *_ in ALL])
def test_stub_and_answer(name, heading, stub, call, answer):
    before = asked(stub, call)
    assert before.startswith("Not yet: ") and len(before.split()) >= 8 and before.rstrip()[-1] in ".?"
    earlier = "\n".join(worked for where, _, _, _, worked in ALL if where == name)      # an answer may use earlier ones
    assert asked(earlier + "\n" + answer, call).startswith("Right: ")


MISTAKES = [
    ("check_kernel_by_hand({'A': {'A', 'B'}}, None)", "own neighbour"),
    ("check_kernel_by_hand({'A': {'B', 'D'}}, None)", "how far D"),
    ("check_kernel_by_hand({'A': 'BC', 'B': 'AC', 'C': 'AB', 'D': 'CE', 'E': 'CD', 'F': 'DE'}, {'AB'})", "either"),
    ("check_change(lambda A, B, i: (np.flatnonzero(A[i] > B[i]), np.flatnonzero(B[i] > A[i])))", "other way round"),
    ("check_change(lambda A, B, i: (np.flatnonzero(B[i]), np.flatnonzero(A[i])))", "neither list"),
    ("check_coins_by_hand(1 / 16)", "opposite"),
    ("check_coins_by_hand(0)", "ever zero"),
    ("check_flips(lambda v: 0.3)", "2^r patterns"),
    ("check_fit(lambda A, d: A)", "off by up to"),
    ("check_half_variance(lambda n, d, seed: 0.3 + seed / 100)", "own mean graph"),
    ("check_half_variance(lambda n, d, seed: 1 / 0)", "ZeroDivisionError"),
    ("check_reruns(lambda emb: {'paired': 0.5})", "keys"),
    ("check_reruns(lambda emb: {'paired': 0.9, 'bulk': 0.5, 'replicates': 0.05})", "bulk rejects 50%"),
    ("check_list(lambda p, alpha: p <= alpha)", "true nulls"),
    ("check_list(lambda p, alpha: p <= alpha / len(p))", "any"),
    ("check_list(lambda p, alpha: p <= alpha * (np.argsort(np.argsort(p)) + 1) / len(p))", "largest"),
    ("check_list(lambda p, alpha: p < 2)", "should be"),
    ("check_map(lambda D, c: np.linalg.eigh(-(D ** 2) / 2)[1][:, -c:] * np.sqrt(np.abs(np.linalg.eigh(-(D ** 2) / 2)[0][-c:])))", "centre"),
    ("check_map(lambda D, c: D[:, :c])", "off by up to"),
    ("check_map(lambda D, c: D)", "shape (9, 9)"),
    ("check_reruns(lambda emb: {'paired': 12.0, 'bulk': 0.5, 'replicates': 0.05})", "between 0 and 1"),
]


@pytest.mark.parametrize("call, words", MISTAKES, ids=[call[:40] for call, _ in MISTAKES])
def test_usual_mistakes(call, words):
    sentence = asked("", call)
    assert sentence.startswith("Not yet: ") and words in sentence


def test_reruns_are_seeded():
    first, again, other = teaching.reruns(60), teaching.reruns(60), teaching.reruns(60, seed=1)
    assert all((first[name] == again[name]).all() for name in first) and (first["run 0"] != other["run 0"]).any()
