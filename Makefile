# make demo | test | shapes | lint | catalog | notebooks | clean. The first run makes .venv.
PYTHON ?= python3
PYTEST_ARGS ?= --numprocesses auto --dist worksteal
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# Every test file but those of frames, files and commands: they check no tensor and start other processes.
SHAPES := $(filter-out $(addprefix tests/,test_architecture.py test_bad_input.py test_notebooks.py benchmarks/ cli/ \
	datasets/ plotting/),$(wildcard tests/test_*.py tests/*/))

.PHONY: demo test shapes lint catalog notebooks clean

# A process of tests for each core, of one thread each: those of a second would only wait for the first.
test shapes: export OMP_NUM_THREADS ?= 1

demo: .venv/demo.stamp
	$(BIN)/tsar demo --output out

test: .venv/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The tests again, with the type and shape of every argument and result in tsar checked.
shapes: .venv/dev.stamp
	$(BIN)/python -m pytest --jaxtyping-packages=tsar,beartype.beartype $(SHAPES) $(PYTEST_ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The list of forecasters and parameters that the command line reads without importing torch.
catalog: .venv/dev.stamp
	$(BIN)/python -m tsar.cli.generate_catalog

notebooks: .venv/dev.stamp
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean:
	rm -rf .venv out build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[plot]'
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv .venv
