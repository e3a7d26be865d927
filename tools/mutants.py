"""Do the tests notice a mistake? `make mutants`, or `python tools/mutants.py [ROOM ...] [NUMBER]`.

cosmic-ray (in .venv-mutants) makes one small mistake at a time, such as another number, in a copy of a room that makes p-values, and
the room's own quick tests run on it. Places are drawn at random, one mistake at each, annotations left out: nothing evaluates them.
What survives is printed: it is no mistake (the size of a block, the words of an error), or a test is missing.
"""
import ast
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / ".venv-mutants" / "bin" / "cosmic-ray"
ROOMS = {room: [f"tests/test_{room}.py"] for room in ("features", "bulk", "frame", "replicates", "datum_test")}
ROOMS["datum_test"] += ["tests/test_fitted_nulls.py"]
SLOW = ("real_reruns or level or told_apart or odd_run or noise_of_shares or size or threads or bounded or batches or relatives or the_rows "
        "or tolerance or inputs or planted or option or uniform")
# how cosmic-ray asks for the tests: with a file, and it waits for another with their exit status
ASK = "sh -c 'touch ask; while [ ! -e answer ]; do sleep 0.05; done; read status < answer; rm answer; exit $status'"


def draw(session, source, n):
    "Leaves n mistakes in the session, always the same, no two at one place; how many places there are."
    parts = (getattr(node, name, None) for node in ast.walk(ast.parse(source)) for name in ("annotation", "returns"))
    spans, found, rng = [((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)) for part in parts if part], {}, random.Random(0)
    with sqlite3.connect(session) as db:
        for job, *place in db.execute("select job_id, start_pos_row, start_pos_col from mutation_specs order by operator_name, occurrence"):
            if not any(start <= tuple(place) < end for start, end in spans):
                found.setdefault(tuple(place), []).append(job)
        jobs = ", ".join(repr(rng.choice(found[place])) for place in rng.sample(sorted(found), min(n, len(found))))
        db.execute(f"delete from work_items where job_id not in ({jobs})")
    return len(found)


def passed(copy, tests, seconds):
    "Whether the tests pass, in a fork of this process, which has the libraries in memory already."
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    signal.alarm(seconds)
    with open(copy / "log", "w") as log:
        os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    os.chdir(copy), sys.path.insert(0, str(copy)), os.environ.update(PYTHONPATH=str(copy))
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", f"not ({SLOW})", *tests]))


def mutants(room, n, copy):
    "Places, and (outcome, difference) of every mistake."
    for part in ("embgeo_nb", "tests"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pytest.ini", copy)
    module = copy / "embgeo_nb" / f"{room}.py"
    # a .pyc that goes by time and size would hide a mistake of the same length
    subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", module.parent], check=True)
    start = time.time()
    passed(copy, ROOMS[room], 3600) or sys.exit((copy / "log").read_text())
    limit = 10 + round(5 * (time.time() - start))
    (copy / "config").write_text(f'[cosmic-ray]\nmodule-path = "embgeo_nb/{room}.py"\ntimeout = {limit + 60}.0\nexcluded-modules = []\n'
                                 f'test-command = """{ASK}"""\n[cosmic-ray.distributor]\nname = "local"\n')
    subprocess.run([TOOL, "init", "config", "session"], cwd=copy, check=True)
    places, running = draw(copy / "session", module.read_text(), n), subprocess.Popen([TOOL, "exec", "config", "session"], cwd=copy)
    while running.poll() is None:
        time.sleep(0.05)
        if (copy / "ask").exists():
            (copy / "ask").write_text("0\n" if passed(copy, ROOMS[room], limit) else "1\n")
            (copy / "ask").rename(copy / "answer")
    return places, sqlite3.connect(copy / "session").execute("select test_outcome, diff from work_results").fetchall()


if __name__ == "__main__":
    n, table = next((int(word) for word in sys.argv[1:] if word.isdigit()), 60), ["room        places  mutants  noticed  survived"]
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    import pytest, torch, scipy.stats, scipy.sparse.linalg, pandas, hypothesis          # noqa: E401, F401: once for all
    for room in [word for word in sys.argv[1:] if not word.isdigit()] or ROOMS:
        with tempfile.TemporaryDirectory() as folder:
            places, results = mutants(room, n, Path(folder))
        print(*(survived := [diff for outcome, diff in results if outcome == "SURVIVED"]), sep="\n")
        table.append(f"{room:12}{places:6}{len(results):9}{len(results) - len(survived):9}{len(survived):10}")
    print(*table, sep="\n")
