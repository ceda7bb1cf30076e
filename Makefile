# What one types and what CI calls. `make serve` needs python3 (3.11 or newer), gcc and make.

# The Python that the virtual environment is made with.
PYTHON3 ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

PYTHON := $(BIN)/python
PYTEST := $(PYTHON) -m pytest
# What ARGS chooses may have no test of a kind; the whole suite has.
OR_NONE := $(if $(ARGS),|| [ $$? = 5 ])
SOURCES := pyproject.toml setup.py $(wildcard ext/*)

.PHONY: build serve dev check fix test test-clients bench clean

build: $(VENV)/.dtrfast-built

# A registry on 127.0.0.1:5000 with its data in ./data. More: make serve ARGS='--bind :5000'
serve: build
	exec $(BIN)/dtrfast serve $(ARGS)

dev: $(VENV)/.dtrfast-dev

# Changes no source.
check: dev ext-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: dev
	sh tests/install.sh
	sh tests/install_axe.sh
	$(PYTEST) -m 'not client and not alone' --numprocesses 2 --dist loadgroup $(ARGS) $(OR_NONE)
	$(PYTEST) -m 'not client and alone' $(ARGS) $(OR_NONE)

# The same registry, asked by the programs that people use.
test-clients: dev
	sh tests/install.sh
	sh tests/clients/install_go.sh
	$(PYTEST) -m client $(ARGS)

# The quick set beside every peer that is on this machine. More: make bench ARGS='--only push'
bench: dev
	$(BIN)/python -m benchmarks --quick --against all $(ARGS)

clean:
	rm -rf build dist *.egg-info dtrfast/_core*.so

$(VENV)/.dtrfast-python:
	@PYTHON='$(PYTHON3)' VENV='$(VENV)' sh .ci/python
	touch $@

# Without isolation, so that a rebuild after a change of the kernels needs no network.
$(VENV)/.dtrfast-built: $(VENV)/.dtrfast-python $(SOURCES)
	$(BIN)/pip install --quiet 'setuptools>=77' 'cython>=3.3'
	$(BIN)/pip install --quiet --no-build-isolation --editable .
	touch $@

$(VENV)/.dtrfast-dev: $(VENV)/.dtrfast-built
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[dev]'
	touch $@

include ext.mk
