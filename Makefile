# The two commands of the README: `make demo` and `make test`. Both make their own environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint clean

demo: .venv/demo
	$(BIN)/masg-sam demo --out demo

# A process for each core, and each test file in one of them; the threads of PyTorch would only fight for the cores.
test: .venv/dev lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff check src tests benchmarks examples docs/make_reference.py
	$(BIN)/ruff format --check src tests benchmarks examples docs/make_reference.py
	$(BIN)/mypy

# PyTorch first and by its pinned version, so that nothing else decides which build is taken.
.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	touch $@

.venv/demo: .venv/torch pyproject.toml
	$(PIP) -e '.[text,sample]'
	touch $@

.venv/dev: .venv/torch pyproject.toml
	$(PIP) -e '.[dev]'
	touch $@ .venv/demo

clean:
	rm -rf .venv demo build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
