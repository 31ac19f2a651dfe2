# Every target sets itself up. A fresh clone needs Python 3.11 or newer (with venv), git and make, nothing else.
# The packages come from wherever pip is configured to look; their versions from constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt
# one thread a worker and a worker a core: many small tests share the cores better than many small matrix products
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist worksteal
# transformers' tests come with its source distribution alone; of that, only they are kept
TRANSFORMERS := $(shell sed -n 's/^transformers==//p' constraints.txt)
SUITE := .cache/transformers-$(TRANSFORMERS)
# apart from the environment: with it there, transformers imports it, which writes to standard error
TORCHAO := .cache/torchao
# likewise: what docs/works-with.md and docs/scaling.md show, and nobody needs otherwise
LIBRARIES := .cache/libraries
PYTHON_CODE := src tests tests_hf

# the real data sets; tests that need them are skipped where they aren't there
export PONET_DATA ?= ../shared/data

# `make demo ARGS="--seed 1"`, `make test ARGS="-k tokenizer"`
ARGS ?=

.PHONY: help demo test test-slow test-hf test-quantized test-libraries check lint imports types format hooks docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(STAMP) ## the main job in minutes: PoNet beside the Transformer, on data it makes itself
	@$(BIN)/ponet demo $(ARGS)

test: check ## lint, types and all fast tests; what CI runs
	@$(PYTEST) $(ARGS)

test-slow: $(STAMP) ## the tests that take minutes
	@$(PYTEST) -m slow $(ARGS)

test-hf: $(STAMP)-test-hf $(SUITE) ## transformers' own tests on PoNet; the first time they are downloaded
	@$(PYTEST) -rfEx --override-ini verbosity_subtests=0 tests_hf $(ARGS)

test-quantized: $(STAMP) $(TORCHAO) ## int8 weights by torchao, which is fetched the first time
	@PYTHONPATH=$(TORCHAO) $(PYTEST) tests/models/test_quantized.py $(ARGS)

test-libraries: $(STAMP) $(LIBRARIES) ## Ray, PEFT, SetFit, skorch, which are fetched the first time
	@PYTHONPATH=$(CURDIR)/$(LIBRARIES) $(BIN)/python -c "import peft, ray, setfit, skorch"  # else tests would be skipped
	@PYTHONPATH=$(CURDIR)/$(LIBRARIES) $(PYTEST) -m "slow or not slow" tests/test_ray.py tests/test_documentation.py -k "ray or library" $(ARGS)

check: lint imports types ## lint, imports and types

lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check --quiet $(PYTHON_CODE)
	@$(BIN)/ruff format --check --quiet $(PYTHON_CODE)

imports: $(STAMP) ## packages import downwards only, without circles
	@mkdir -p .cache
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter > .cache/imports.txt || { cat .cache/imports.txt; exit 1; }

types: $(STAMP) ## mypy
	@$(BIN)/mypy

format: $(STAMP) ## ruff: put right what it can
	@$(BIN)/ruff check --fix $(PYTHON_CODE)
	@$(BIN)/ruff format $(PYTHON_CODE)

hooks: $(STAMP) ## lint and types before every commit
	@$(BIN)/pre-commit install

docs: $(STAMP)-docs ## guides and API reference as a site, in site/; a broken link or reference fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)
	@echo "The site is in site/: open site/index.html."

clean: ## remove what the other targets made, the environment included
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache demo site
	find $(PYTHON_CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# setuptools and torch go first: the one so that ponet is built with the pinned version, the other so that no
# looser requirement of another package chooses the build of torch
$(STAMP): pyproject.toml constraints.txt
	@python=$$(for each in python3.11 python3.12 python3.13 python3 python; do \
	    if $$each -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$each; break; fi; \
	  done); \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer with its venv module is needed (Debian: apt-get install python3 python3-venv)." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$python --version), once; it takes minutes. First torch ..."; \
	$$python -m venv $(VENV)
	@$(PIP) setuptools torch
	@echo "... then the other packages ..."
	@$(PIP) --no-build-isolation --editable '.[fast,dev]'
	@touch $@
	@echo "... done."

$(STAMP)-test-hf: $(STAMP)
	@$(PIP) --no-build-isolation --editable '.[fast,dev,test-hf]'
	@touch $@

$(STAMP)-docs: $(STAMP)
	@$(PIP) --no-build-isolation --editable '.[fast,dev,docs]'
	@touch $@

$(SUITE): | $(STAMP)
	@echo "Fetching the tests of transformers $(TRANSFORMERS) ..."
	@rm -rf $@.part
	@$(BIN)/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary transformers \
	    --no-build-isolation --dest $@.part transformers==$(TRANSFORMERS)
	@tar -xzf $@.part/transformers-$(TRANSFORMERS).tar.gz -C $@.part --strip-components 1 transformers-$(TRANSFORMERS)/tests
	@rm $@.part/*.tar.gz
	@mv $@.part $@

$(LIBRARIES): constraints.txt | $(STAMP)
	@rm -rf $@
	@$(PIP) --target $@ --no-deps ray peft setfit skorch evaluate tabulate msgpack jsonschema jsonschema-specifications \
		referencing rpds-py attrs protobuf requests urllib3 charset-normalizer idna certifi

$(TORCHAO): | $(STAMP)
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt --no-deps --target $@ torchao
