# Two commands do all the set-up each: `make demo` and `make test`.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
SOURCES := $(shell find src patches -name '*.py' -o -name '*.toml')

.DEFAULT_GOAL := help
.PHONY: help demo test test-all docs matrix large gpu real-megatron-lm bench lint pr upstream-tests clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/installed  ## import a real Llama, load it with Megatron-LM, compare, show
	$(PYTHON) -W ignore examples/demo.py

# Two workers on two cores: more threads would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q --numprocesses 2 --dist loadscope --no-loadscope-reorder

test: $(VENV)/installed lint  ## run the checks and the tests
	$(PYTEST)

test-all: $(VENV)/installed lint  ## run every test, and every crash point
	CRASH_SEED=all $(PYTEST) -m ""

docs: $(VENV)/installed  ## write the tables of docs, the help of the command line and the picture of the demo
	PYTHONPATH=tests/support $(PYTHON) -W ignore tests/support/written_docs.py
	$(PYTHON) -W ignore examples/demo.py --pictures docs

matrix: $(VENV)/installed  ## read releases with every current megatron-core, convert every family, write the tables
	$(PYTHON) -m pytest -q --tables -m "" tests/functional/test_matrix.py tests/functional/test_families.py \
		tests/functional/test_architectures.py

large: $(VENV)/installed  ## import a Llama of a billion parameters, check it in every way, export it, print what each took
	$(PYTHON) -W ignore -m pytest -q -s -m large tests/functional/test_large.py

gpu: $(VENV)/installed  ## run the tests that need a CUDA device, and nothing else
	$(PYTHON) -m pytest -q -m gpu

real-megatron-lm: $(VENV)/installed  ## run the README's command and sft.sh with a checkout: make real-megatron-lm MEGATRON_LM=path/to/Megatron-LM
	@test -n "$(MEGATRON_LM)" || { echo "error: pass the checkout: make real-megatron-lm MEGATRON_LM=path/to/Megatron-LM" >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check pybind11
	$(PYTHON) -W ignore tests/support/real_megatron_lm.py "$(MEGATRON_LM)"

bench: $(VENV)/installed  ## time imports beside a copy and upstream's import, print a table, draw it into docs
	$(PYTHON) -m pip install --quiet --disable-pip-version-check matplotlib
	PYTHONPATH=.:tests/support $(PYTHON) -W ignore tests/functional/bench.py --to docs

lint: $(VENV)/installed  ## ruff and mypy
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

pr: $(VENV)/installed  ## write the upstream pull requests: make pr UPSTREAM=path/to/Megatron-Bridge [ONLY=key]
	@test -n "$(UPSTREAM)" || { echo "error: pass the upstream checkout: make pr UPSTREAM=path/to/Megatron-Bridge" >&2; exit 1; }
	$(PYTHON) -m patches pr --upstream "$(UPSTREAM)" --to build/pr $(if $(ONLY),--only $(ONLY))

upstream-tests: $(VENV)/installed  ## run upstream's checks on each change: make upstream-tests UPSTREAM=path/to/Megatron-Bridge [ONLY=key]
	@test -n "$(UPSTREAM)" || { echo "error: pass the upstream checkout: make upstream-tests UPSTREAM=path/to/Megatron-Bridge" >&2; exit 1; }
	$(PYTHON) -m patches upstream-tests --upstream "$(UPSTREAM)" $(if $(ONLY),--only $(ONLY))

clean:  ## remove what the other targets made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PYTHON):
	@command -v python3.12 >/dev/null || { echo "error: python3.12 is not on the PATH; install Python 3.12" >&2; exit 1; }
	python3.12 -m venv $(VENV)

# What is installed is what is tested: a changed source is a new wheel.
$(VENV)/installed: $(PYTHON) pyproject.toml setup.py $(SOURCES)
	@echo "Installing into $(VENV): about 6.5 GB, a few minutes."
	$(PYTHON) -m pip install --quiet --disable-pip-version-check '.[demo,test]'
	touch $@
