# Two commands from nothing but Python, pip and make: `make train` and `make test`.
PYTHON ?= python3
MODEL ?= dcgan
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: train test lint types

train: $(INSTALLED)
	$(BIN)/python -m train.run --model $(MODEL) $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt pyright
	$(BIN)/pyright

# torch first: any other package's wish for it would bring a newer one, with CUDA.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@
