# The words that developers and continuous integration share. Each one installs what it needs into .venv, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all check fix bench docs
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
# Extra arguments for the step that installs torch, such as an index with CPU builds.
TORCH_ARGS ?=
EXTRAS ?= dev,sql,baselines,ann,serve,brokers,online
WORKERS ?= 2

export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-input -c constraints.txt
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

help:  ## list the words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

# Three stamps: torch alone first, so that its build is settled before anything depends on it; the core; the rest.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Temporec needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(TORCH_ARGS) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(INSTALL) -e '.[$(EXTRAS)]'
	@touch $(VENV)/.core $@

venv: $(VENV)/.dev  ## create .venv with everything that development needs

demo: $(VENV)/.core  ## install the core and run the demonstration into temporec-demo/
	$(BIN)/temporec demo --out temporec-demo

# Tests run in parallel processes: more threads in each of them would only fight over the cores.
test test-all: export OMP_NUM_THREADS = 1

test: $(VENV)/.dev  ## run the tests that are not slow
	$(PYTEST)

test-all: $(VENV)/.dev  ## run all tests
	$(PYTEST) -m "slow or not slow"

check: $(VENV)/.dev  ## lint, format and types; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src

fix: $(VENV)/.dev  ## repair lint and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCHES := calibration data_speed recommend_speed startup event_log serve_start serve_events serve_latency serve_swaps \
  serve_kills train_speed text_speed add_items kills encoders joint_text variants serve_soak continual cold_items

bench: $(VENV)/.dev  ## run the benchmarks, from the short to the long; fails at the end if one failed
	@failed=; for name in $(BENCHES); do echo "== benchmarks/$$name.py"; \
	  $(BIN)/python benchmarks/$$name.py || failed="$$failed $$name"; done; \
	  [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

docs: $(VENV)/.dev  ## write the generated pages again
	@mkdir -p docs
	$(BIN)/python -m typer temporec.cli.main utils docs --name temporec --title "The command line" --output docs/cli.md
