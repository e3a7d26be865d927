"""Every hostile call of the book's table gives what the table says, and no error arises below embgeo_nb."""
import csv

import hostile
import pytest
import torch

KINDS = {"ValueError", "TypeError", "DamagedFile", "ImportError", "OSError", "FileNotFoundError", "NotADirectoryError", "IsADirectoryError"}


@pytest.fixture(scope="module")
def answers():
    pytest.importorskip("matplotlib").use("agg")
    return hostile.all_answers()


def test_no_error_arises_below(answers):
    assert len(answers) >= 150 and len({source for _, source, *_ in answers}) == len(answers)
    assert [(source, kind, where) for _, source, kind, _, where in answers if where != "embgeo_nb" or kind not in KINDS | {"answer"}] == []


def test_every_error_says_something_of_its_own(answers):
    for _, source, kind, said, _ in answers:
        assert said and (kind == "answer" or len(said) > 20), source


def opening(said):
    "Of a message what no library's version changes."
    return said.partition("(")[0].partition(":")[0]


def test_the_table_in_the_book_is_this_one(answers):
    with open(hostile.TABLE, newline="", encoding="utf-8") as file:
        stored = list(csv.reader(file))[1:]
    there = torch.cuda.is_available() or torch.backends.mps.is_available()
    differ = [(old, new) for old, new in zip(stored, answers) if tuple(old[:3]) != new[:3] or opening(old[3]) != opening(new[3])]
    assert len(stored) == len(answers)
    assert [pair for pair in differ if not (there and "device=" in pair[0][1])] == [], "python tests/hostile.py writes the table"


def test_errors_from_below_are_noticed():
    kind, said, where, error = hostile.what_becomes_of("np.linalg.inv([[0]])", {"np": hostile.np, "folder": ""})
    assert kind == "LinAlgError" and where != "embgeo_nb"
