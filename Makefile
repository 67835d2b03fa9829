# From nothing but Python, pip and make: `make train` trains a model, `make test` runs the everyday tests.
# PYTHON is 3.11 or later; `make train PYTHON=python3.12` uses the newest jax. Another PYTHON makes a new .venv.
PYTHON ?= python3
MODEL ?= dcgan
ARGS ?=
# The versions to install; `make test CONSTRAINTS=lowest.txt` tests with others, in a fresh .venv.
CONSTRAINTS ?= constraints.txt
VERSION := $(shell $(PYTHON) -c "import sys; print('%d.%d' % sys.version_info[:2])")
BIN := .venv/bin
PIP = $(BIN)/python -m pip install -q -c $(CONSTRAINTS)
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal
INSTALLED := .venv/installed-$(VERSION)
DOCS_INSTALLED := .venv/installed-docs-$(VERSION)
JAX_INSTALLED := .venv-jax/installed-$(VERSION)
# An environment of another Python is made anew.
CLEAR = $(if $(wildcard $(1)/lib/python$(VERSION)),,--clear)

.PHONY: train test test-all test-jax lint types docs

train: $(INSTALLED)
	$(BIN)/python -m train.run --model $(MODEL) $(ARGS)

test: $(INSTALLED)
	$(PYTEST) -m "not heavy" $(ARGS)

test-all: $(INSTALLED)
	$(PYTEST) --cov --cov-report=term $(ARGS)

# The tests that need no torch, in an environment without torch.
test-jax: BIN := .venv-jax/bin
test-jax: $(JAX_INSTALLED)
	$(PYTEST) -m "jax_only and not heavy" $(ARGS)

lint: $(INSTALLED)
	$(PIP) ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(INSTALLED)
	$(PIP) pyright
	$(BIN)/pyright

docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built site/index.html"

# torch first: another package's requirement would bring the newest one, with CUDA.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(call CLEAR,.venv) .venv
	$(PIP) torch
	$(PIP) -e '.[torch,test]'
	touch $@

$(JAX_INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(call CLEAR,.venv-jax) .venv-jax
	$(PIP) -e '.[test]'
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(PIP) -e '.[docs]'
	touch $@
