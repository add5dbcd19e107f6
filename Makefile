# Every check has one name here; .ci/run calls the same names. `make` alone lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check
STAMP  := $(VENV)/.installed
CODE   := dataver cli tests benchmarks scripts
ARGS   ?=
# in order, and what is left at the end is shared: a module's fixtures are made in one worker
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# hundreds of processes of the tests start in less than half the time with it
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-faults torture browser pictures test-ceph test-all trackers readers engines importers clouds format format-check lint types contracts docs docs-check docs-site wheel wheel-test first-hour check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

# pip reads dependency groups from 25.1 on, and some Pythons bring an older one.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1'

$(STAMP): pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) --editable . --group test --group check
	@touch $@

setup: $(STAMP) ## create the virtual environment .venv with dataver and all tools

# As users install it, and not into the environment of the tests, which takes seven times as long.
DEMO := $(if $(wildcard $(STAMP)),$(VENV),$(VENV)-demo)

demo: $(DEMO)/bin/dataver ## install, then version a dataset, fetch it, find what a bad file has spoiled, and say how to look at it
	@$(DEMO)/bin/dataver demo

$(VENV)-demo/bin/dataver:
	@echo "Installing dataver and what it needs into $(VENV)-demo (120 MB)"
	@$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --disable-pip-version-check --editable '.[serve]'

$(VENV)/bin/dataver: $(STAMP)

test: $(STAMP) ## install, then run the tests (ARGS="-k name" selects)
	$(PYTEST) -m "not slow and not faults and not torture and not browser" $(ARGS)

test-slow: $(STAMP) ## only the slow tests: large sizes, all damage to the golden repository, all examples of properties (DATAVER_PUBLISHES=full for 400 concurrent publishes)
	DATAVER_PROPERTIES=full $(PYTEST) -m "(slow or hypothesis) and not faults and not torture and not browser" $(ARGS)

test-faults: $(STAMP) ## uploads and fetches on an unreliable network, and killed ones (DATAVER_FAULTS=full for 1 GB and 200 kills)
	$(BIN)/python -m pytest -n $(if $(filter full,$(DATAVER_FAULTS)),0,auto) -m faults tests/faults $(ARGS)

torture: $(STAMP) ## every command killed at its system calls, on a full disk, with few descriptors; every object damaged; every request answered wrongly or broken (DATAVER_TORTURE=full for all points; needs strace and root)
	$(PYTEST) -m torture tests/torture $(ARGS)

browser: $(STAMP) ## the pages of `dataver ui` in Chromium (needs the package chromium; CHROMIUM names another program)
	$(PIP) --group browser
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

pictures: $(STAMP) ## write docs/images: the pages in Chromium
	$(PIP) --group browser
	$(BIN)/python scripts/ui_pictures.py

test-ceph: $(STAMP) ## the store contract and the end-to-end suite against Ceph's gateway (docs/stores.md lists the packages to install)
	DATAVER_TEST_SERVERS=ceph $(BIN)/python -m pytest -n 2 -k ceph tests/storage tests/endtoend tests/transfer tests/maintenance $(ARGS)

test-all: $(STAMP) ## all tests, including the slow ones
	DATAVER_PROPERTIES=full $(PYTEST) -m "not browser" $(ARGS)

trackers: ## real trackers and orchestrators, each in its own environment (NAMES="mlflow zenml" selects)
	$(PYTHON) scripts/trackers.py $(VENV)-trackers $(NAMES)

clouds: ## the store contract and the end-to-end suite against emulators of Google Cloud Storage and Azure (NAMES="azure" selects)
	$(PYTHON) scripts/clouds.py $(VENV)-clouds $(NAMES)

engines: ## Dask, Spark and Ray make versions and read them, each in its own environment (NAMES="dask" selects; Spark needs Java 17)
	$(PYTHON) scripts/engines.py $(VENV)-engines $(NAMES)

importers: ## DVC, git-lfs and others write history that is imported, each in its own environment (NAMES="dvc" selects; git-lfs is a program of the system)
	$(PYTHON) scripts/importers.py $(VENV)-importers $(NAMES)

readers: ## pandas, DuckDB, PyTorch and others on dataver://, in separate environments (NAMES="data" selects)
	$(PYTHON) scripts/readers.py $(VENV)-readers $(NAMES)

format: $(STAMP) ## format the code
	$(BIN)/ruff format $(wildcard $(CODE))

format-check: $(STAMP) ## fail if code is not formatted
	$(BIN)/ruff format --check $(wildcard $(CODE))

lint: $(STAMP) ## ruff
	$(BIN)/ruff check $(wildcard $(CODE))

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## import contracts (import-linter), no import circle, and a reason for imports in functions
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_imports.py

docs: $(STAMP) ## write docs/cli.md from the commands
	$(BIN)/python scripts/cli_reference.py

docs-check: $(STAMP) ## fail if docs/cli.md is stale
	$(BIN)/python scripts/cli_reference.py --check

$(VENV)-docs/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)-docs/bin/python -m pip install -qq --disable-pip-version-check --group docs
	@touch $@

docs-site: $(VENV)-docs/.installed ## build the site of the documentation in build/site; a broken link fails
	$(VENV)-docs/bin/python scripts/docs_site.py

wheel: $(STAMP) ## build dist/*.whl
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null

wheel-test: wheel ## install the built wheel elsewhere, import all of it, and run the tests of its commands and formats
	scripts/wheel_test.sh $(PYTHON) dist $(ARGS)

FIRST := $(VENV)-first-hour

first-hour: wheel ## install the built wheel into an empty environment, run the documentation as it is written there, and compare the screens
	$(PYTHON) -m venv --clear $(FIRST)
	$(FIRST)/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls $(CURDIR)/dist/dataver-*.whl)[serve,tables,arrays]" pandas
	FIRST_HOUR_PROGRAMS=$(CURDIR)/$(FIRST)/bin $(PYTEST) tests/first_hour $(ARGS)

check: format-check lint types contracts docs-check test ## everything except the wheel

bench: $(STAMP) ## quick benchmark, one JSON line per result
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the files that the targets created
	rm -rf .venv .venv-trackers .venv-readers .venv-engines .venv-importers .venv-clouds .venv-docs .venv-demo .venv-first-hour build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache
