# One command each; every target does its own set-up. Needs Python 3.11 or newer, nothing else; with a C
# compiler, files of lines are read at twice the speed (tools/build_native.py).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Tests start many processes: what is compiled once stays compiled, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check bench load serve lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# The stamps are named by content: a changed lock installs again, an unchanged one costs nothing.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Twinport needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements-pip.lock  # the one that comes with older Pythons takes thrice as long

NATIVE := $(wildcard privacy/*.c) tools/build_native.py

$(VENV)/.run-$(shell cksum < requirements.lock | cut -d' ' -f1): requirements.lock pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "Installing what Twinport runs on (hash-checked) ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev-$(shell cksum < requirements-dev.lock | cut -d' ' -f1): requirements-dev.lock pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "Installing Twinport and its test tools (hash-checked) ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@ $(RUN)  # what Twinport runs on is among it

RUN := $(VENV)/.run-$(shell cksum < requirements.lock | cut -d' ' -f1)
DEV := $(VENV)/.dev-$(shell cksum < requirements-dev.lock | cut -d' ' -f1)

demo: $(RUN) ## Show the whole path on three synthetic patients (ARGS="--stay" keeps it running)
	@$(BIN)/twinport demo $(ARGS)

serve: $(RUN) ## Run the service
	@$(BIN)/twinport serve $(ARGS)

test: $(DEV) ## Run the default test suite
	@$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(DEV) ## Lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(DEV) ## Measure, as ratios to a floor taken in the same run
	@$(BIN)/python -m bench $(ARGS)

load: $(DEV) ## Measure $$assess with 1, 4 and 16 callers
	@$(BIN)/python -m bench.load $(ARGS)

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q
lock: | $(VENV)/bin/python ## Refresh the lock files from pyproject.toml
	@$(PIP) uv
	@echo pip | $(COMPILE) - -o requirements-pip.lock
	@$(COMPILE) pyproject.toml --group build -o requirements.lock
	@$(COMPILE) pyproject.toml --group build --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove the environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .demo
