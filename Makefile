# Two commands do everything: `make search` and `make test`. Both create .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SPEC ?= sinusoid

# Tests in several processes at once, two more than there are cores, since the long ones mostly
# wait for others; tests/several.py says which ones stay together.
SEVERAL = --numprocesses $(shell expr $$(nproc) + 2) --maxprocesses 6 --no-loadscope-reorder

# Real data for the tests, where a folder of them lies beside the checkout.
BESIDE := $(wildcard ../shared/data)
ifneq ($(BESIDE),)
export METASWEEP_DATA ?= $(abspath $(BESIDE))
endif

.PHONY: search test test-exhaustive test-faults test-long lint types format clean

search: $(INSTALLED)
	$(BIN)/metasweep search $(SPEC)

test: $(INSTALLED) lint types
	$(BIN)/python -m pytest $(SEVERAL)

# Every recipe as a compiled program: minutes of compiling.
test-exhaustive: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 -m exhaustive --timeout 900

# The whole table of faults, with its full counts and times.
test-faults: $(INSTALLED)
	$(BIN)/python -m pytest $(SEVERAL) -m faults

# Both in one go, since the one computes while the other waits; without what `make test` runs. Each
# has a core: some drive a thousand trials and more, or measure.
test-long: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --no-loadscope-reorder \
		-m '(exhaustive or faults) and not again' --timeout 900

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
