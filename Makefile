# Every check has one name here; .ci/run calls the same names. `make` alone lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check
STAMP  := $(VENV)/.installed
CODE   := dataver cli tests benchmarks scripts
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-faults test-ceph test-all trackers readers format format-check lint types contracts docs docs-check wheel wheel-test check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

# pip reads dependency groups from 25.1 on, and some Pythons bring an older one.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'

$(STAMP): pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) --editable . --group test --group check
	@touch $@

setup: $(STAMP) ## make the virtual environment .venv with dataver and all its tools

demo: $(STAMP) ## install, then make two versions of a dataset and fetch them back
	@$(BIN)/dataver demo

test: $(STAMP) ## install, then run the tests (ARGS="-k name" chooses)
	$(BIN)/python -m pytest -n auto -m "not slow and not faults" $(ARGS)

test-slow: $(STAMP) ## the slow tests alone: large sizes, every damage to the golden repository
	$(BIN)/python -m pytest -n auto -m "slow and not faults" $(ARGS)

test-faults: $(STAMP) ## uploads and fetches on a network that fails, and killed (DATAVER_FAULTS=full for 1 GB and 200 kills)
	$(BIN)/python -m pytest -n $(if $(filter full,$(DATAVER_FAULTS)),0,auto) -m faults tests/faults $(ARGS)

test-ceph: $(STAMP) ## the store contract and the end-to-end suite against Ceph's gateway (docs/stores.md says what to install)
	DATAVER_TEST_SERVERS=ceph $(BIN)/python -m pytest -n 2 -k ceph tests/storage tests/endtoend tests/moving tests/keeping $(ARGS)

test-all: $(STAMP) ## the tests, slow ones included
	$(BIN)/python -m pytest -n auto $(ARGS)

trackers: ## trackers and orchestrators for real, each in its own environment (NAMES="mlflow zenml" chooses)
	$(PYTHON) scripts/trackers.py $(VENV)-trackers $(NAMES)

readers: ## pandas, DuckDB, PyTorch and others on dataver://, for real, in environments of their own (NAMES="data" chooses)
	$(PYTHON) scripts/readers.py $(VENV)-readers $(NAMES)

format: $(STAMP) ## rewrite the code in the house format
	$(BIN)/ruff format $(wildcard $(CODE))

format-check: $(STAMP) ## fail where the format differs
	$(BIN)/ruff format --check $(wildcard $(CODE))

lint: $(STAMP) ## ruff
	$(BIN)/ruff check $(wildcard $(CODE))

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## who may import whom (import-linter)
	$(BIN)/lint-imports

docs: $(STAMP) ## write docs/cli.md from the commands
	$(BIN)/python scripts/cli_reference.py

docs-check: $(STAMP) ## fail when docs/cli.md is stale
	$(BIN)/python scripts/cli_reference.py --check

wheel: $(STAMP) ## build dist/*.whl
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null

wheel-test: wheel ## the tests against the built wheel, from another folder
	scripts/wheel_test.sh $(PYTHON) dist $(ARGS)

check: format-check lint types contracts docs-check test ## everything but the wheel

bench: $(STAMP) ## first figures, one JSON line a result
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what the targets made
	rm -rf .venv .venv-trackers .venv-readers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
