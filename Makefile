# Everything a person or CI does with this checkout. The logic is in scripts/; GNU make 3.81 (macOS) is enough.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# make test ARGS="tests/unit -k fleet"    one pytest call with these options instead of all tests
ARGS ?=
# make setup PYTHON=/path/to/python3.12   another Python than the first one found on PATH
ifdef PYTHON
export PYTHON
endif

.PHONY: help setup setup-dev run stop test lint verify bench chaos golden docs format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## make .venv with all a node needs, and bring missing system packages
	@bash scripts/setup.sh run

setup-dev: ## the same, and the tools for tests and lint
	@bash scripts/setup.sh dev

run: setup ## start a one-node fleet in the background and run examples/hello on it
	@bash scripts/run.sh

stop: ## stop that fleet
	@bash scripts/stop.sh

test: setup-dev ## run all tests (ARGS="tests/unit -k fleet" runs some)
	@bash scripts/test.sh $(ARGS)

lint: setup-dev ## check style, types, import floors and shell syntax
	@bash scripts/lint.sh

verify: lint test ## what CI runs: lint, then all tests

bench: setup-dev ## measure the figures, each beside its floor
	@.venv/bin/python -m benchmarks $(ARGS)

chaos: setup-dev ## break everything for an hour and check every promise (ARGS="--nemesis 1 --runs 600" runs less)
	@.venv/bin/python -m chaos $(ARGS)

golden: setup-dev ## write tests/golden/<version>: the records that later versions must understand
	@.venv/bin/python scripts/golden.py $(ARGS)

docs: setup-dev ## build the site of docs/ into build/docs, links checked
	@bash scripts/docs.sh

format: setup-dev ## bring the code into its form
	@.venv/bin/ruff check --fix --exit-zero .
	@.venv/bin/ruff format .

lock: setup-dev ## write the lock files anew from pyproject.toml
	@bash scripts/lock.sh

clean: ## remove what was made here: .venv and caches (a fleet's folder stays)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
