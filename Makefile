# Two commands for a newcomer: `make demo` and `make test`. Each does its own set-up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= demo

.PHONY: demo test e2e cuda lint types install clean
.DEFAULT_GOAL := test

# The stamp is newer than what it was installed from; a half-finished installation leaves none.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (PyTorch and nnU-Net: a few GB the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/msa demo -o $(DEMO)

test: install
	$(BIN)/python -m pytest -q tests --ignore=tests/e2e

e2e: install
	$(BIN)/python -m pytest -q tests/e2e --durations=15

# On a machine with an NVIDIA GPU only; nothing else here needs one.
cuda: install
	$(BIN)/python -m pytest -q tests/msa_trainer/cuda

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
