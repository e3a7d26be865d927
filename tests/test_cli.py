"""The command line: exit codes, one line for what is wrong, silence in a pipe, and a summary that keeps its form."""
import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embgeo_nb.cli import SUMMARY_SCHEMA, Threshold, main, names_of, threshold

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ["--id", "doc_id", "--text", "body", "--label", "topic"]


def run(folder, *line, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
    done = subprocess.run([sys.executable, "-m", "embgeo_nb.cli", *map(str, line)], cwd=folder, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "The same two models in five kinds of file, and reruns of either."
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    X = 2 * rng.normal(size=(6, 12))[np.arange(240) % 6] + rng.normal(size=(240, 12))
    order = np.r_[np.roll(np.arange(12), 1), np.arange(12, 240)]
    see = lambda X, seed: (X @ np.random.default_rng(9).normal(size=(12, 24)) + np.random.default_rng(seed).normal(size=(240, 24))).astype(np.float32)
    ids = [f"d{i}" for i in range(240)]
    for name, places, seed in (("before", X, 1), ("after", X[order], 2)):
        Y = see(places, seed)
        np.save(folder / f"{name}.npy", Y)
        np.savez(folder / f"{name}.npz", embedding=Y, doc_id=ids)
        rows = [{"doc_id": id, "body": f"text of {id}", "topic": f"t{i % 6}", "embedding": y.tolist()} for i, (id, y) in enumerate(zip(ids, Y))]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        pd.DataFrame(rows).sample(frac=1, random_state=seed).to_parquet(folder / f"{name}.parquet")
        pytest.importorskip("safetensors.numpy").save_file({"embedding": Y}, folder / f"{name}.safetensors")
        for t in range(2):
            np.save(folder / f"{name}{t}.npy", see(places, 10 + 2 * t + seed))
    (folder / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def compared(folder):
    return run(folder, "compare", "before.parquet", "after.parquet", *COLUMNS, "--report", "out.html", "--json", "out.json", "--csv", "out.csv", "--k", 16)


def test_a_comparison(compared, folder):
    code, said, complained = compared
    summary = json.loads((folder / "out.json").read_text())
    assert code == 0 and complained == "" and said.splitlines() == [summary["verdict"], summary["signature"]]
    assert summary["settings"]["k"] == 16 and summary["moved"] >= 6 and "k:16" in said
    assert (folder / "out.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(folder / "out.csv")
    found = set(table["id"][:summary["moved"]]) & {f"d{i}" for i in range(12)}
    assert len(table) == 240 and len(found) >= 0.8 * summary["moved"] and table["text"][0] == f"text of {table['id'][0]}"
    assert not list(folder.glob(".embgeo-*"))


def test_the_summary_keeps_its_form(compared, folder):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SUMMARY_SCHEMA)
    summary = json.loads((folder / "out.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    jsonschema.validate(summary, SUMMARY_SCHEMA)
    assert set(summary) == set(SUMMARY_SCHEMA["properties"])
    for name in summary:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in summary.items() if key != name}, SUMMARY_SCHEMA)
    for change in ({"schema": 2}, {"null": "paired"}, {"moved": -1}, {"moved_share": 1.5}, {"rejected": {}}, {"before": "a"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**summary, **change}, SUMMARY_SCHEMA)


@pytest.mark.parametrize("kind, options", [("npy", []), ("npy", ["--ids", "ids.txt"]), ("npz", ["--id", "doc_id"]), ("jsonl", COLUMNS), ("safetensors", [])])
def test_kinds_of_files(folder, compared, kind, options, capsys, monkeypatch, tmp_path):
    "The same vectors, whatever they are kept in, move the same data."
    monkeypatch.chdir(folder)
    assert main(["compare", f"before.{kind}", f"after.{kind}", *options, "--k", "16", "--json", str(tmp_path / "x.json")]) == 0
    found, reference = json.loads((tmp_path / "x.json").read_text()), json.loads((folder / "out.json").read_text())
    assert found["n"] == 240 and abs(found["moved"] - reference["moved"]) <= 1
    assert bool(found["by_label"]) == ("--label" in options)


def test_threshold_and_exit_code(folder, compared):
    moved = json.loads((folder / "out.json").read_text())["moved"]
    line = ["compare", "before.parquet", "after.parquet", *COLUMNS, "--k", 16, "--fail-if"]
    code, said, complained = run(folder, *line, f"moved >= {moved}")
    assert code == 1 and len(said.splitlines()) == 2 and len(complained.splitlines()) == 1 and f"{moved} of 240" in complained
    assert run(folder, *line, f"moved > {moved}")[0] == 0


def test_several_thresholds(folder, compared):
    "One that is passed is enough, and each that is passed is a line; what both models share has its own."
    shared = json.loads((folder / "out.json").read_text())["shared_neighbors"]["share"]
    line = ["compare", "before.parquet", "after.parquet", *COLUMNS, "--k", 16, "--fail-if", "moved >= 241", "--fail-if"]
    code, _, complained = run(folder, *line, f"shared_neighbors <= {shared + 1e-3:.4f}")
    assert code == 1 and len(complained.splitlines()) == 1 and f"share {shared:.2%} of the neighbours" in complained
    assert run(folder, *line, f"shared_neighbors < {shared - 1e-3:.4f}")[::2] == (0, "")
    assert len(run(folder, *line, "moved >= 0", "--fail-if", "shared_neighbors < 100%")[2].splitlines()) == 2


@pytest.mark.parametrize("text, meant", [
    ("moved > 1%", ("moved_share", ">", 0.01)), ("moved>=20", ("moved", ">=", 20)), ("moved_share > 0.01", ("moved_share", ">", 0.01)),
    ("moved_share >= 2.5 %", ("moved_share", ">=", 0.025)), (" moved > 0 ", ("moved", ">", 0)), ("moved_share > .5", ("moved_share", ">", 0.5)),
    ("moved > 100%", ("moved_share", ">", 1)), ("moved > 3.", ("moved", ">", 3)), ("shared_neighbors < 70%", ("shared_neighbors", "<", 0.7)),
    ("shared_neighbors<=.5", ("shared_neighbors", "<=", 0.5))])
def test_grammar(text, meant):
    assert threshold(text) == Threshold(*meant)


@pytest.mark.parametrize("text", ["", "moved", "moved 1%", "moved < 1%", "moved == 1", "moved => 1", "moved > 1,5%", "moved > 1e-2", "moved > -1", "moved > nan",
                                  "moved > 0.5", "moved_share > 2", "moved > 101%", "share > 1%", "moved > 1% and moved < 2", "Moved > 1",
                                  "shared_neighbors > 50%", "shared_neighbors < 70", "shared_neighbors"])
def test_grammar_refuses(text):
    with pytest.raises(ValueError, match="--fail-if"):
        threshold(text)


@pytest.mark.parametrize("line, words", [
    (["compare", "nothing.npy", "after.npy"], "nothing.npy"), (["compare", "before.npy"], "after"), (["compare", "before.npy", "before.npy"], "given twice"),
    (["compare", "before.parquet", "after.parquet", "--id", "no such column"], "no such column"), (["compare", "before.npy", "after.npy", "--k", "none"], "--k"),
    (["compare", "before.npy", "after.npy", "--k", "0"], "n_neighbors"), (["compare", "before.npy", "after.npy", "--alpha", "5"], "--alpha"),
    (["compare", "before.npy", "after.npy", "--fail-if", "moved"], "--fail-if"), (["compare", "before.npy", "after.npy", "--report", "x.pdf"], ".html"),
    (["compare", "before.npy", "after.npy", "--report", "no/x.html"], "--report"), (["compare", "before.npy", "after.npy", "--json", "."], "--json"),
    (["compare", "before.npy", "ids.txt"], "ids.txt"), (["compare", "before.npy", "broken.npy"], "broken.npy"), (["compare", "before.npy", "short.npy"], "rows"),
    (["compare", "before.npy", "after.npy", "--reruns-before", "before0.npy"], "four runs"), (["compare", "before.npy", "after.npy", "--device", "nowhere"], "--device"),
    (["compare", "before.parquet", "after.parquet"], "--id doc_id"), (["compare", "before.jsonl", "after.parquet"], "--join position"),
    (["map", "before.npy", "after.npy"], "three models"), (["nonsense"], "nonsense"), ([], "COMMAND")])
def test_wrong_input_is_one_line(folder, line, words, capsys, monkeypatch):
    (folder / "broken.npy").write_bytes(b"not an array")
    np.save(folder / "short.npy", np.ones((7, 24)))
    monkeypatch.chdir(folder)
    assert main(line) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and words in said.err and "Traceback" not in said.err and said.err.startswith("embgeo")


def test_wrong_input_as_a_process(folder):
    code, said, complained = run(folder, "compare", "before.npy", "nothing.npy")
    assert code == 2 and said == "" and len(complained.splitlines()) == 1


def test_a_mistake_of_the_program_is_no_threshold(folder, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("a bug")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("embgeo_nb.cli.compare", broken)
    assert main(["compare", "before.npy", "after.npy"]) == 3 and "RuntimeError: a bug" in capsys.readouterr().err


def test_what_cannot_be_counted_passes_no_gate(folder, monkeypatch, capsys):
    "Rows in another order: nothing stands out, and a build must not take that for an answer."
    monkeypatch.chdir(folder)
    np.save("shuffled.npy", np.random.default_rng(0).permutation(np.load("after.npy")))
    assert main(["compare", "before.npy", "shuffled.npy"]) == 0
    assert main(["compare", "before.npy", "shuffled.npy", "--fail-if", "moved > 1%"]) == 1
    said, complained = capsys.readouterr()
    assert "same data in the same order?" in said and "cannot be counted" in complained


def test_reruns(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    line = ["compare", "before.npy", "after.npy", "--reruns-before", "before0.npy", "before1.npy", "--reruns-after", "after0.npy", "after1.npy"]
    assert main([*line, "--json", str(tmp_path / "x.json"), "--report", str(tmp_path / "x.html")]) == 0
    summary = json.loads((tmp_path / "x.json").read_text())
    assert summary["null"] == "bulk" and "replicates" in summary["rejected"] and summary["before"] == ["before", "before0", "before1"] and summary["after"] == ["after", "after0", "after1"]
    pytest.importorskip("jsonschema").validate(summary, SUMMARY_SCHEMA)


def test_names(tmp_path):
    assert names_of(["a/x.npy", "b/x.npy", "y.npy"])[:2] == ["a/x", "b/x"] and names_of(["a/x.npy", "b/y.parquet"]) == ["x", "y"]


def test_version_and_help(folder):
    from embgeo_nb import __version__
    assert run(folder, "--version") == (0, f"embgeo_nb {__version__}\n", "")
    code, said, complained = run(folder, "compare", "--help")
    assert code == 0 and "--fail-if" in said and complained == ""


def test_map(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(folder)
    models = ["before.npy", "before0.npy", "before1.npy", "after.npy"]
    for kind in ("frobenius", "cka"):
        assert main(["map", *models, "--kind", kind, "--report", str(tmp_path / "m.html"), "--json", str(tmp_path / "m.json"), "--csv", str(tmp_path / "m.csv")]) == 0
        found = json.loads((tmp_path / "m.json").read_text())
        assert found["models"] == ["before", "before0", "before1", "after"] and f"distance:{kind}" in capsys.readouterr().out
        distances = np.array(found["distances"])
        assert (distances == distances.T).all() and (np.diag(distances) == 0).all() and (distances + np.eye(4) > 0).all()
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 5


SLOW = """
import time
from embgeo_nb.common import progress
for _ in progress(range(4), "working", delay=0): time.sleep(0.15)
"""


def test_progress_is_silent_in_a_pipe():
    pytest.importorskip("tqdm")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    piped = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, env=environment)
    assert piped.returncode == 0 and piped.stdout == piped.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_progress_is_shown_on_a_terminal():
    pytest.importorskip("tqdm")
    import fcntl
    import pty
    import struct
    import termios
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=slave, stderr=slave, env={**os.environ, "PYTHONPATH": str(ROOT)})
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:                       # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait() == 0 and b"working" in shown


def test_entry_point(tmp_path):
    "What pip installs as `embgeo` is `main`."
    done = subprocess.run([sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    points = configparser.ConfigParser(delimiters=["="])
    points.read(next(tmp_path.glob("*.egg-info")) / "entry_points.txt")
    assert points["console_scripts"]["embgeo"] == "embgeo_nb.cli:main"
