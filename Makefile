# One command an action. `make` alone prints what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
INSTALLED := .venv/.installed
COMPILED := .venv/.compiled

.PHONY: help install demo test test-kubernetes test-footage test-model test-faults test-database test-cluster test-browser chromium lint benchmark clean

help:  ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(COMPILED)  ## create .venv and install everything from constraints.txt

# The pip of Python 3.11 takes twice as long: it compares every file of every index page with every tag of the platform.
$(INSTALLED): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "samaflow needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	PYTHONWARNINGS=ignore PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check \
	    --no-compile --build-constraint $(CURDIR)/constraints.txt --editable '.[model,kubernetes,dev]'
	@touch $@

# Compiled on every core, where pip uses one; and not in a test, where a package's own warnings would be errors. Some
# packages hold files that are no Python of ours: what cannot be compiled is left.
$(COMPILED): $(INSTALLED)
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

demo: install  ## draw a clip, run the main job on it, print where the result lies
	$(BIN)/python examples/run_demo.py $(DEMO)

# Three workers on two cores: many tests wait for processes that they have started.
test:  ## lint, check types and imports, run the tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint install
	$(BIN)/pytest -n 3 --dist worksteal

test-kubernetes: install  ## flows, pods and faults on the cluster double
	$(BIN)/pytest -n 2 --dist worksteal -m kubernetes

test-footage: install  ## long clips of ../shared through the whole chain, where they are there
	$(BIN)/pytest -n 2 --dist worksteal -m footage

test-model: install  ## the network's exact variants (parallel, compiled, offloaded), training, evaluation
	$(BIN)/pytest -n 2 --dist worksteal -m model

test-faults: install  ## 200 scripted and 25 real schedules of faults on the cluster double, Prefect away for five minutes
	FAULT_SEEDS=200 FAULT_WORKER_SEEDS=25 PREFECT_AWAY_SECONDS=300 $(BIN)/pytest -q -s -m kubernetes \
	    tests/integration/test_kubernetes_faults.py tests/integration/test_kubernetes_edit.py

test-database: install  ## a minute of eight processes and outages of half a minute, on SQLite and PostgreSQL
	$(BIN)/pytest -m endurance -s tests/integration

chromium:  ## install Debian's Chromium where there is none
	@command -v chromium chromium-browser google-chrome > /dev/null || (apt-get update -q && apt-get install -qy --no-install-recommends chromium)

test-browser: install chromium  ## the Prefect UI and the review pages in a real Chromium; pictures are kept in .browser/
	$(BIN)/pytest -m browser tests/browser

test-cluster: install  ## check a real cluster, in a namespace of its own: make test-cluster KUBECONFIG=...
	TEST_KUBECONFIG="$(KUBECONFIG)" $(BIN)/pytest tests/cluster -k real -rs

lint: $(INSTALLED)  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: install  ## print the media engine's speed against plain ffmpeg, and the transformer's against diffusers' blocks
	$(BIN)/python benchmarks/media.py
	$(BIN)/python benchmarks/transformer.py

clean:  ## remove what the demo and the tests leave here
	rm -rf $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
