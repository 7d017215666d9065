# The one vocabulary: the same words on a desk and in CI. Every target first makes .venv if it is missing or stale.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
UV := $(shell uv --version 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run check test test-slow test-containers test-programs lint docs bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

run: $(STAMP) ## set up, run the sweep "quick" on MNIST and CIFAR-10, print the comparison
	@$(BIN)/kd-sweeps run quick --preset quick

check: lint ## before each commit: lint, and tests without training, other processes, servers or a browser
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --quick --durations 10 tests/unit tests/project

test: $(STAMP) test-programs ## tests that take seconds each (about 10 minutes)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 10

test-slow: $(STAMP) test-programs ## tests that take minutes each
	@$(BIN)/python -m pytest -m "slow and not containers"

test-containers: $(STAMP) ## image and stack in a real Docker engine (15 minutes, 10 GB; as root on Debian, installs one)
	@docker version >/dev/null 2>&1 || command -v dockerd >/dev/null || { test "$$(id -u)" = 0 && apt-get install -qq --yes \
		--no-install-recommends docker.io docker-cli docker-compose runc iptables mmdebstrap; } || \
		{ echo "make test-containers needs a Docker engine: start one" >&2; exit 1; }
	@$(BIN)/python -m pytest -m containers tests/containers

# A browser and Slurm. Where they cannot be installed, the tests that need them are skipped and say so.
test-programs:
	@for program in chromium chromedriver slurmctld slurmd; do command -v $$program >/dev/null || missing=1; done; \
	test -z "$$missing" || { test "$$(id -u)" = 0 && command -v apt-get && apt-get update -qq && apt-get install -qq --yes \
		--no-install-recommends chromium chromium-driver slurmctld slurmd slurm-client; } >/dev/null 2>&1 || \
	echo "not installed: a browser with its driver, or Slurm; the tests that need them will be skipped" >&2

lint: $(STAMP) ## format, style, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

docs: $(STAMP) ## the documentation as HTML, in docs/_build/html; a warning is an error
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

bench: $(STAMP) ## measure the speed claims of README again: bench/results/results.md (20 minutes, an idle machine)
	@$(BIN)/python bench/ladder.py
	@$(BIN)/python bench/overhead.py
	@$(BIN)/python bench/reading.py

lock: ## write requirements.lock again from pyproject.toml (needs uv); versions that still fit stay
	@test -n "$(UV)" || { echo "make lock needs uv, which writes one lock for Linux and macOS; install uv and try again" >&2; exit 1; }
	uv pip compile --universal --python-version 3.11 --group dev --group docs --extra all pyproject.toml \
		--generate-hashes --no-annotate --no-header --no-emit-index-url -q -o requirements.lock
	uv pip compile --universal --python-version 3.11 --extra server --extra autokeras --extra weights --extra npm pyproject.toml --constraint requirements.lock \
		--generate-hashes --no-annotate --no-header --no-emit-index-url -q -o deploy/image/requirements.lock

clean: ## remove .venv and tool caches; keep sweeps (*.db)
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find kd storage sweeps tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Exactly the versions and hashes of the lock, then this folder itself, editable. The stamp comes last: a finished
# environment is brought up to date, an interrupted one is made again. All output goes to stderr, so that
# `make run > report.md` holds the report only. No build isolation: setuptools is in the lock, nothing else is fetched.
$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) with $(if $(UV),uv,pip) (about 2.5 GB on disk)." >&2
ifneq ($(UV),)
	@test -e $@ || { rm -rf $(VENV) && uv venv --quiet $(VENV) >&2; }
	@rm -f $@
	@uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock >&2
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . >&2
else
	@if ! test -e $@ || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		for python in python3.11 python3.12 python3.13 python3 python none; do \
			$$python -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
		done; \
		if test $$python = none; then \
			echo "No Python 3.11, 3.12 or 3.13 with venv on the PATH (python3 is: $$(python3 --version 2>&1)); install one of them, or uv." >&2; \
			exit 1; \
		fi; \
		rm -rf $(VENV) && $$python -m venv $(VENV) >&2; \
	fi
	@rm -f $@
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock >&2
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
endif
	@touch $@
