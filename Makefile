# Everything runs in .venv, which the first target makes and later ones reuse.
PYTHON ?= python3
# The pinned versions need Python 3.11 or later; with an older one, or with
# CONSTRAINTS= on the command line, pip takes the newest that settings.ini allows.
CONSTRAINTS ?= $(shell $(PYTHON) -c 'import sys; print("constraints.txt" if sys.version_info >= (3, 11) else "")')

VENV := $(CURDIR)/.venv
READY := .venv/.ready
# Tests run in so many processes, of one thread each.
TEST_WORKERS ?= 2
# The venv's own jupyter kernel is found before any other of the same name.
export PATH := $(VENV)/bin:$(PATH)
export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONUNBUFFERED := 1
# What the book needs is installed with it; nothing is fetched while it runs.
export HF_HUB_OFFLINE ?= 1

.PHONY: help tour test coverage test-oldest types bench mutants lab docs readme export clean-notebooks

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

$(READY): settings.ini setup.py constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -e '.[dev]' $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
	touch $@

tour: $(READY)  ## Run the tour and write its report to tour_output/
	python tools/run_notebook.py nbs/tour.ipynb tour_output

test: $(READY)  ## Run every notebook and the tests (PYTEST_ARGS= for more options)
	OMP_NUM_THREADS=1 python -m pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

# coverage counts in every process that the tests start, kernels of notebooks included; the program itself has no need of it.
coverage: export COVERAGE_FILE = $(CURDIR)/coverage_output/.coverage
coverage: $(READY)  ## Count the lines that make test runs, and show the others (PYTEST_ARGS= for more options)
	.venv/bin/python -m pip install -q "coverage>=7.10"
	mkdir -p coverage_output && rm -f coverage_output/.coverage*
	OMP_NUM_THREADS=1 coverage run --rcfile=tests/coverage.ini -m pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)
	coverage combine --rcfile=tests/coverage.ini -q && coverage report --rcfile=tests/coverage.ini

# Every library at the oldest version that settings.ini allows. pip always takes the newest; uv resolves downwards.
# OLDEST_PYTHON=python3.10 is the oldest Python, where it is installed.
OLDEST_PYTHON ?= $(shell python3.10 -c pass 2> /dev/null && echo python3.10 || echo $(PYTHON))
OLDEST_TESTS ?= tests/test_public_reports.py tests/test_embeddings.py tests/test_inputs.py tests/test_readers.py tests/test_files.py \
  tests/test_kernel.py tests/test_rdpg.py tests/test_omnibus.py tests/test_frame.py tests/test_datum_test.py tests/test_coins.py tests/test_tail.py \
  tests/test_fitted_nulls.py tests/test_comparison.py tests/test_replicates.py tests/test_manifold.py tests/test_perspective.py \
  tests/test_plot.py tests/test_report.py tests/test_cli.py tests/test_widgets.py

.venv-oldest/.ready: settings.ini setup.py
	test -x .venv-oldest/bin/python || $(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -q uv
	.venv-oldest/bin/uv pip install --python .venv-oldest/bin/python --resolution lowest-direct -e '.[all]'
	.venv-oldest/bin/uv pip install --python .venv-oldest/bin/python pytest hypothesis jsonschema selenium scikit-learn "polars>=1.0"
	touch $@

test-oldest: .venv-oldest/.ready  ## Run the tests with the oldest versions that settings.ini allows
	.venv-oldest/bin/python -m pytest $(OLDEST_TESTS) $(PYTEST_ARGS)

types: $(READY)  ## Check the types of a client and of the package
	mypy --strict --follow-imports=silent tests/client.py
	pyright --warnings

# graspologic needs numpy < 2, and so an environment of its own.
.venv-peers/.ready: Makefile
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q graspologic==3.4.4 "numpy<2"
	touch $@

bench: $(READY) .venv-peers/.ready  ## Measure against graspologic, scipy, faiss and scikit-learn (BENCH_ARGS= for more options)
	python tools/bench.py $(BENCH_ARGS)

# cosmic-ray runs beside the tests, not among them, and so in an environment of its own.
.venv-mutants/.ready: Makefile
	test -x .venv-mutants/bin/python || $(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install -q cosmic-ray==8.7.0
	touch $@

mutants: $(READY) .venv-mutants/.ready  ## Count the small mistakes that tests of the rooms with p-values notice (MUTANTS_ARGS= for rooms)
	python tools/mutants.py $(MUTANTS_ARGS)

lab: $(READY)  ## Open the book in JupyterLab
	jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) nbs/tour.ipynb

docs: $(READY)  ## Build the web pages into _docs/
	python tools/build.py docs

readme: $(READY)  ## Write README.md from nbs/index.ipynb
	python tools/build.py readme

export: $(READY)  ## Write the package from the notebooks
	nbdev_export

clean-notebooks: $(READY)  ## Strip what does not belong into version control
	nbdev_clean
