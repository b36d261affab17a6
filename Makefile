# A fresh machine needs python3 (3.11 or newer), its venv module and make. Everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCHTEXT := .venv-torchtext
PYTHON_TORCHTEXT ?= python3.11

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-torchtext test-matrix lint bench gpu-check gallery results notebooks site site-serve dist clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# One stamp per set of extras, renewed when pyproject.toml changes.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $(VENV)/.run $@

$(VENV)/.dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/.run $(VENV)/.test $@

setup: $(VENV)/.dev  ## make .venv with everything a developer needs

demo: $(VENV)/.run  ## train a character language model for about two minutes and let it write
	$(BIN)/unrolled fit char_lm
	@echo; echo "The model writes:"; echo
	@$(BIN)/unrolled generate runs/char_lm --prompt "def " --temperature 0.7 --length 400 --seed 0
	@echo; echo
	@echo "Next: . $(BIN)/activate"
	@echo "      unrolled generate runs/char_lm --prompt 'class '                 another text"
	@echo "      unrolled fit char_lm/text --data.path YOUR.txt                   your own text"
	@echo "      unrolled list                                                    what else there is"

# Two processes of one thread each, a file of tests in one of them: most tests are too small for
# two threads.
test: $(VENV)/.test  ## run the tests (about 10 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: $(VENV)/.test  ## run the slow tests too
	$(BIN)/python -m pytest

# torchtext loads with torch 2.3 only: an environment of its own, 6 GB, with the oldest torch that is
# supported. What runs there beside the answers of torchtext itself: the cores' contract, and the
# tasks and data of text.
$(TORCHTEXT)/pyvenv.cfg:
	$(PYTHON_TORCHTEXT) -m venv $(TORCHTEXT)

$(TORCHTEXT)/.test: $(TORCHTEXT)/pyvenv.cfg pyproject.toml
	$(TORCHTEXT)/bin/python -m pip install --quiet --editable '.[test,torchtext]'
	@touch $@

test-torchtext: $(TORCHTEXT)/.test  ## run the text tasks and the cores with torch 2.3 and torchtext
	OMP_NUM_THREADS=1 $(TORCHTEXT)/bin/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile \
		tests/data/torchtext tests/core/test_contract.py tests/core/cores tests/core/seq2seq tests/data/text \
		tests/data/translation tests/tasks/test_vectors.py tests/tasks/char_lm tests/tasks/translation tests/tasks/captioning

test-matrix: $(VENV)/pyvenv.cfg  ## run the tests with the oldest of every dependency, and the newest
	$(BIN)/python release/matrix.py

# mypy names modules after folders: the link gives the root the package's name, whatever the clone is called.
lint: $(VENV)/.dev  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(VENV)/types && ln -sfn "$(CURDIR)" $(VENV)/types/unrolled
	cd $(VENV)/types && ../bin/mypy --config-file unrolled/pyproject.toml unrolled/*.py unrolled/core unrolled/data unrolled/tasks unrolled/apps

bench: $(VENV)/.dev  ## print the quick tables of docs/benchmarks.md
	$(BIN)/python benchmarks/torch_overhead.py
	$(BIN)/python benchmarks/training_overhead.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/corpus_memory.py

gpu-check: $(VENV)/.dev  ## check and measure on a machine with one GPU, some minutes
	$(BIN)/python benchmarks/gpu_check.py

results: $(VENV)/.dev  ## print the table of every core in every task: about 40 minutes of one core
	nice $(BIN)/python benchmarks/results.py --seconds 20

gallery: $(VENV)/.run  ## train every built-in task for some minutes, and draw docs/gallery
	$(BIN)/python -m pip install --quiet --editable '.[fonts]'
	$(BIN)/python examples/gallery.py

notebooks:  ## make a notebook of each tutorial, in build/notebooks
	$(PYTHON) examples/notebooks.py

# Material tells of its successor at every build; CONTRIBUTING.md says why it is used.
site: $(VENV)/.dev  ## build the documentation into build/site, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --clean
	@echo "open build/site/index.html"

site-serve: $(VENV)/.dev  ## show the documentation at http://127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --no-strict

dist: $(VENV)/.dev  ## build the wheels and source distributions of unrolled and unrolled-core
	$(BIN)/python release/build.py dist

clean:  ## remove the environment and what the tools left
	rm -rf $(VENV) $(TORCHTEXT) .venv-oldest .venv-newest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
