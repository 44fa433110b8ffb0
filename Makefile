# Two commands on a fresh machine: `make run` and `make test`.
# They need Python >= 3.11 and a package index, nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
PIN := --constraint constraints.txt --build-constraint constraints.txt
WORKERS ?= 2

.PHONY: run test test-slow test-web test-torch lint bench pins clean

run: $(VENV)/.core  ## simulate one whole day of 10M monthly users; the report is runs/meridian-1/report.html
	$(BIN)/tokenfleet run meridian-1

test: $(VENV)/.dev  ## the tests that take seconds
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.dev  ## the tests that take longer, packaging included
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

test-web: $(VENV)/.dev  ## the tests that drive a browser
	$(BIN)/python -m pytest -m web

test-torch: $(VENV)/.dev  ## the tests that play microbenchmarks on a processor, in an environment with PyTorch
	test -x build/torch/bin/python || $(PYTHON) -m venv build/torch
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(build/torch/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tokenfleet.pth"
	build/torch/bin/python -m pip install --quiet --quiet --disable-pip-version-check torch==2.13.0
	build/torch/bin/python -m pytest tests/calibrate/microbench -rs

lint: $(VENV)/.dev  ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## how fast it is
	$(BIN)/python benchmarks/day.py
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

pins:  ## resolve every version anew, within the bounds of pyproject.toml, and write constraints.txt
	$(PYTHON) -m venv --clear build/pins
	build/pins/bin/python -m pip install --upgrade pip
	build/pins/bin/python -m pip install --editable . --group dev
	{ grep '^#' constraints.txt; build/pins/bin/python -m pip freeze --all --exclude-editable --exclude setuptools; } \
	  > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/pins

clean:  ## remove the environment, what was built and what was cached; runs/ stays
	rm -rf $(VENV) build dist .benchmarks .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for what is installed; nothing is done while it is newer than the two files that decide.
$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  f"tokenfleet needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	@echo "Installing into $(VENV) (once; a minute or so)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt "pip>=25.3"
	$(PIP) install $(PIN) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) install $(PIN) --group dev
	touch $@
