# The commands of developers and of CI. They need python3 (3.11 or newer), gcc and make.

# The Python of the virtual environment.
PYTHON3 ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

PYTHON := $(BIN)/python
STEP := .ci/step
INSTALL := PYTHON='$(PYTHON3)' .ci/install
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check --progress-bar off
PYTEST := $(PYTHON) -m pytest
# Two processes share the tests. Tests that measure run alone, after the others.
SHARED := -m 'not alone and not client and not deploy' --numprocesses 2
# Long tests wait for containers, browsers and clocks, and a third process uses that time.
LONG := $(SHARED) --numprocesses 3
# Only the files with such tests, because it takes a while to collect all. Some measure for a minute:
# the part `measures` of .ci/long runs them.
MEASURES := tests/door/test_slow.py tests/e2e/test_costs_console.py
ALONE_FILES = $(filter-out $(MEASURES),$(shell grep -rlwF --include='*.py' mark.alone tests))
ALONE = -m 'alone and not client and not deploy' $(or $(ARGS),$(ALONE_FILES))
# These targets may run in parallel: they wait for a network, a disk and a processor.
TOGETHER = MAKEFLAGS='$(filter-out -j% --jobserver%,$(MAKEFLAGS))' \
	$(MAKE) --no-print-directory --jobs 2
# ARGS may select no test of a kind. Only the whole suite must have some.
OR_NONE := $(if $(ARGS),|| [ $$? = 5 ])

# Tests start hundreds of processes, each of which would compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help build serve dev check fix test test-all test-long test-measures test-lanes test-blobs \
	test-clients test-more-clients test-deploy wheel wheels coverage mutants bench profile hooks \
	lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "ARGS is passed on: make test ARGS='tests/oci -k digest'. The short loop: docs/development.md"

build: $(VENV)/.dtrfast-build ## build dtrfast in .venv, with its compiled core

serve: plan-build build ## run a registry on 127.0.0.1:5000 with its data in ./data
	exec $(BIN)/dtrfast serve $(ARGS)

dev: $(VENV)/.dtrfast-dev ## build, and install every tool of the other targets

check: dev ext-check ## run linters and type checks; changes no source
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(STEP) --show mypy $(BIN)/mypy

fix: dev ## fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: plan-test ## run the short tests: units, contracts, API, store, a docker daemon, a crash
	@$(TOGETHER) programs-of-test $(VENV)/.dtrfast-test
	$(STEP) --show "short tests" $(PYTEST) --suite short $(SHARED) $(ARGS) $(OR_NONE)

test-all: test test-long test-lanes test-blobs fuzz asan ## run all tests whose programs install as packages

test-long: plan-all dev ## run the longer tests: clients, browser, LDAP, crashes, lifecycles, arm64
	@$(INSTALL) all
	$(STEP) --show "long tests" $(PYTEST) --suite long $(LONG) $(ARGS) $(OR_NONE)
	$(STEP) --show "long tests, alone" $(PYTEST) --suite long $(ALONE) $(OR_NONE)

test-measures: plan-all dev ## run the tests that measure for a minute, without others beside them
	@$(INSTALL) all
	$(STEP) --show "measures" $(PYTEST) --suite long -m 'alone' $(MEASURES) $(ARGS)

# Clients and restarts. The part `lanes` of .ci/long repeats all tests with servers.
WITHOUT_LANES ?= $(patsubst %,tests/e2e/test_%.py,access docker killed_worker small_image) \
	tests/server/test_resume.py

# Left out are tests that choose lanes themselves, that check only the disk or pages, and slow
# programs whose requests other tests send as well.
WITH_LANES := console test_full_disk.py test_own_certificate.py test_repair.py \
	test_devcontainers.py test_dxf.py test_jib.py test_oras_python.py

test-lanes: plan-all dev ## run tests with servers again, without lanes
	@$(INSTALL) all
	$(STEP) --show "tests without lanes" $(PYTEST) --lanes off $(SHARED) \
		$(addprefix --ignore=tests/e2e/,$(WITH_LANES)) $(WITHOUT_LANES) $(ARGS)

# The tests that read blobs from a registry: its own tests, those of the API, and docker.
OVER_BLOBS := tests/registry tests/api tests/server/test_resume.py \
	$(patsubst %,tests/e2e/test_%.py,small_image docker)

test-blobs: plan-all dev ## run registry, API and docker tests again, over the blob store of the tests
	@$(INSTALL) all
	DTRFAST_TEST_ASSEMBLY=tests.assembly:files $(STEP) --show "tests over files" $(PYTEST) \
		$(SHARED) --ignore=tests/api/managed $(OVER_BLOBS) $(ARGS) $(OR_NONE)

# These two are parts of .ci/long.
MORE_CLIENTS := $(patsubst %,tests/e2e/test_%.py,buildkit ctr notation oci_client ollama tier_buildkit)

test-clients: dev ## run tests with clients compiled from Go modules
	@$(INSTALL) all
	programs=$$(.ci/go_programs crane oras regctl helm cosign dockerd-next) && \
		programs="$$programs:$$(.ci/go)" && PATH="$$programs:$$PATH" \
		$(STEP) --show "compiled clients" $(PYTEST) -m client \
		$(addprefix --ignore=,$(MORE_CLIENTS)) $(ARGS)

test-more-clients: dev ## run tests with more Go clients, and one in Rust
	@$(INSTALL) rust
	programs=$$(.ci/go_programs notation containerd ctr buildkitd buildctl ollama-server) && \
		programs="$$programs:$$(.ci/rust_programs)" && PATH="$$programs:$$PATH" \
		$(STEP) --show "more compiled clients" $(PYTEST) -m client $(MORE_CLIENTS) $(ARGS)

test-deploy: dev ## run tests of deploy/: wheels, containers, systemd, charts, proxies
	@$(INSTALL) deploy
	programs=$$(.ci/go_programs helm helm3 manifest_check caddy) && PATH="$$programs:$$PATH" \
		$(STEP) --show "ways to run it" $(PYTEST) -m deploy tests/deploy $(ARGS)

# A server may build it: this installs a compiler, and no program of the tests.
wheel: $(VENV)/.wheel ## build the source distribution and a wheel for this machine into dist/
	$(STEP) --show wheel .ci/wheels $(PYTHON) $$(uname -m)

wheels: dev ## build the source distribution and wheels for x86_64 and aarch64, for a release
	@$(INSTALL) all
	$(STEP) --show wheels .ci/wheels $(PYTHON)

bench: dev ## run the quick benchmarks, with all peers on this machine; ARGS='--only push'
	$(BIN)/python -m benchmarks --quick --against all $(ARGS)

# Left out are tests that run no Python code, need other programs, or repeat smaller tests.
UNCOVERED := benchmarks crash e2e ext fuzz test_architecture.py test_tidy.py \
	store/test_large_blob.py door/test_deletes_under_pulls.py door/test_differential.py \
	door/test_dribbles.py door/test_smuggling.py door/test_splits.py

coverage: dev ## measure branch coverage in build/coverage/html, against tests/coverage_floors.toml
	@$(INSTALL) all
	rm -rf build/coverage
	$(STEP) --show coverage $(PYTHON) -m coverage run -m pytest $(SHARED) \
		$(addprefix --ignore=tests/,$(UNCOVERED)) tests
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report
	$(PYTHON) -m coverage html --quiet
	$(PYTHON) -m coverage json --quiet
	$(PYTHON) -m tests.coverage_floors

mutants: dev ## count how many of 300 small faults the tests find; ARGS='--seed N --count 30'
	$(STEP) --show mutants $(PYTHON) -m tests.mutants $(or $(ARGS),--seed 15 --count 300)

profile: dev ## draw a flame graph of a benchmark, build/profile.svg; ARGS='--only small-blob'
	mkdir -p build
	$(BIN)/py-spy record --subprocesses --rate 50 --output build/profile.svg -- \
		$(PYTHON) -m benchmarks --quick $(or $(ARGS),--only push/gzip/chunked/4)

hooks: dev ## install git hooks that run the checks before a commit
	$(BIN)/pre-commit install

lock: dev ## write newer versions of all Python packages to .ci/lock
	$(BIN)/pip install --quiet uv
	rm -rf .ci/lock
	.ci/lock.sh $(BIN)/uv

clean: ## remove build results, but not the virtual environment
	rm -rf build dist *.egg-info dtrfast/_core*.so

# Prints the packages that a bare machine will get, and their size.
plan-%:
	@$(INSTALL) --plan $*
	@[ -e $(VENV)/.dtrfast-$(PACKAGES_OF_$*) ] || \
		echo "to install: Python packages into $(VENV) ($(SIZE_OF_$*))"

PACKAGES_OF_build := build
PACKAGES_OF_test := test
PACKAGES_OF_all := dev
SIZE_OF_build := 40 MB to download, 180 MB on disk
SIZE_OF_test := 42 MB to download, 200 MB on disk
SIZE_OF_all := 190 MB to download, 790 MB on disk

programs-of-%: $(VENV)/.python
	@$(INSTALL) $*

$(VENV)/.python:
	@$(INSTALL) build
	@$(STEP) "virtual environment" $(PYTHON3) -m venv $(VENV)
	@touch $@

# .core and .packages run at the same time: one waits for a processor, the other for the network.
$(VENV)/.compiler: $(VENV)/.python .ci/lock/compiler.txt
	@$(STEP) "Python packages: compiler (4 MB)" $(PIP_INSTALL) --require-hashes -r .ci/lock/compiler.txt
	@touch $@

$(VENV)/.core: $(VENV)/.compiler setup.py $(wildcard ext/*)
	@$(STEP) "compile the core" $(PYTHON) setup.py build_ext --inplace
	@touch $@

$(VENV)/.packages: $(VENV)/.compiler .ci/lock/dtrfast.txt
	@$(STEP) "Python packages: dtrfast (35 MB)" $(PIP_INSTALL) --require-hashes -r .ci/lock/dtrfast.txt
	@touch $@

$(VENV)/.wheel: $(VENV)/.compiler .ci/lock/wheel.txt
	@$(STEP) "Python packages: wheel (1 MB)" $(PIP_INSTALL) --require-hashes -r .ci/lock/wheel.txt
	@touch $@

# Without build isolation, so that a rebuild of the kernels needs no network.
$(VENV)/.dtrfast-build: $(VENV)/.python pyproject.toml .ci/lock/dtrfast.txt setup.py $(wildcard ext/*)
	@$(TOGETHER) $(VENV)/.core $(VENV)/.packages
	@$(STEP) "dtrfast into $(VENV)" $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dtrfast-%: $(VENV)/.dtrfast-build .ci/lock/%.txt
	@$(STEP) "Python packages: $*" $(PIP_INSTALL) --require-hashes -r .ci/lock/$*.txt
	@touch $@

include ext.mk
