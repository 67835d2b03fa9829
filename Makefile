# From nothing but Python 3.11, pip and make: `make train` trains a model, `make test` runs the everyday tests.
PYTHON ?= python3
MODEL ?= dcgan
ARGS ?=
# The versions to install; `make test CONSTRAINTS=lowest.txt` tests with others, in a fresh .venv.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q -c $(CONSTRAINTS)
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
INSTALLED := .venv/installed
DOCS_INSTALLED := .venv/installed-docs

.PHONY: train test test-all lint types docs

train: $(INSTALLED)
	$(BIN)/python -m train.run --model $(MODEL) $(ARGS)

test: $(INSTALLED)
	$(PYTEST) -m "not heavy" $(ARGS)

test-all: $(INSTALLED)
	$(PYTEST) --cov --cov-report=term $(ARGS)

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
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e '.[test]'
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(PIP) -e '.[docs]'
	touch $@
