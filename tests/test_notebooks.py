"""Every notebook runs from top to bottom, each in a fresh process and in its own folder."""
import multiprocessing
from pathlib import Path

import pytest
from nbdev.config import get_config
from nbdev.test import test_nb as run_notebook

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_notebook(path):
    skip_flags = get_config(path=ROOT).tst_flags.split()
    # A spawned process shows its traceback on stderr; nothing of one notebook is left for the next.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        passed, seconds = pool.apply(run_notebook, (path,), {"skip_flags": skip_flags, "basepath": ROOT})
    assert passed, f"{path.name} failed; the traceback is above"
    if not seconds:
        pytest.skip("its front matter says skip_exec")
