# make run  - set everything up and train the quickstart
# make test - set everything up and run every check

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run setup system-deps check test clean

run: setup
	$(BIN)/labctl run configs/experiments/quickstart.yaml

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

system-deps:
	sh .ci/system-deps

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonplatform Linux  # alone: the first time it installs itself
	$(MAKE) --no-print-directory --jobs 2 types-Windows types-Darwin

types-%: setup
	$(BIN)/pyright --pythonplatform $*

test: system-deps setup check
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder  # many tests wait, so more than processors

clean:
	rm -rf $(VENV) build dist
