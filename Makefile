# cgbpf. `make help` tells the targets.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What cgbpf itself needs of the distribution, and what only its tests do.
PACKAGES := python3-bpfcc linux-perf python3-venv
TEST_PACKAGES := busybox-static containerd docker.io qemu-system-x86 runc

.DEFAULT_GOAL := help
.PHONY: help install install-tests demo test test-kernels unit lint types check bench bench-% format clean

help: ## Tell the targets
	@sed -n 's/^\([a-z%-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

install: packages-of-cgbpf $(STAMP) ## Install what is missing; the command is then .venv/bin/cgbpf

install-tests: packages-of-tests install ## Also what the tests need: container runtimes

.PHONY: packages-of-cgbpf packages-of-tests
packages-of-cgbpf:
	@tools/install-packages.sh $(PACKAGES)

packages-of-tests:
	@tools/install-packages.sh $(PACKAGES) $(TEST_PACKAGES)

# BCC is the distribution's and for its own Python, so that is the Python taken.
$(STAMP): setup.cfg pyproject.toml | packages-of-cgbpf
	$(PYTHON) -m venv --system-site-packages $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --editable '.[dev]' || \
		{ echo 'make: packages are missing from $(VENV), and PyPI could not give them' >&2; exit 1; }
	@touch $@

demo: install ## Record a known load in three cgroups, and show what was found
	@$(BIN)/python tools/demo.py

test: install-tests ## Run every test (as root), but those of other kernels
	$(BIN)/pytest --ignore=tests/kernels/test_machines.py

test-kernels: install-tests ## Boot other kernels in virtual machines, and run the real thing there
	$(BIN)/pytest tests/kernels

unit: install ## Run the tests that need no root: seconds
	$(BIN)/pytest tests/unit

lint: install ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## Check types, strictly
	$(BIN)/mypy

check: lint types test ## Lint, types and tests: what has to pass before a commit lands

bench: install ## Measure speed, accuracy and cost against floors and peers
	@$(BIN)/python -m tools.bench

bench-%: install ## One of them: probe, snapshot, accuracy, startup, memory
	@$(BIN)/python -m tools.bench $*

format: install ## Rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was built, the environment too
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache demo-profile
