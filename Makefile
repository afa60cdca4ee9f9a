# make demo    .venv, install, then the embedded demo into runs/demo (an earlier one is replaced)
# make test    .venv, install with the tools for development, then the tests, in WORKERS=2 processes;
#              TESTS="tests/rps -k dps" chooses some, TESTS="-m 'not slow'" the quick ones
# make lint    ruff and mypy
# make clean   removes what building and testing leave behind; .venv and runs/ stay
#
# Without a GPU, torch and torchvision come from PyTorch's own index (the registry's torch is the CUDA build, 6 GB):
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
TESTS ?=
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/rps predict --config configs/demo.yaml --output runs/demo --overwrite

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The stamps make a second make quick; a changed pyproject.toml installs again.
$(VENV)/.venv:
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
ifneq ($(TORCH_INDEX),)
	$(BIN)/python -m pip install torch torchvision --index-url $(TORCH_INDEX)
endif
	touch $@

$(VENV)/.installed: $(VENV)/.venv pyproject.toml
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@
