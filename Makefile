# Everything a developer runs. Each target sets up what it needs in .venv, from nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIXELWISE := $(BIN)/pixelwise

.PHONY: run test test-instruction-sets check fix audit faults bench bench-guard lab docs-pictures wheel clean
.DEFAULT_GOAL := run

# The stamp is as old as the last install: a change of the requirements installs again.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

run: $(VENV)/installed  ## make digits, train on them, evaluate, draw pictures
	$(BIN)/python examples/first_run.py

# Three processes one after the other: in whole runs, a worker that had run thousands of tests died
# without a word (three times of three, each time in a test that uses compare). Not understood yet.
PAGES := tests/reporting/test_pages_in_a_browser.py

test: $(VENV)/installed  ## all tests, real data included where it is there
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PAGES)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 tests/[a-l]*/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --ignore $(PAGES) tests/[m-z]*/ tests/test_*.py

# What compares numbers must hold on every processor: older instruction sets are forced here.
NUMBERS := tests/training/test_metrics_agree.py tests/models/test_models.py tests/prediction/test_predictor.py
ISA ?= AVX2

test-instruction-sets: $(VENV)/installed  ## what compares numbers, as a processor with only ISA=AVX2 (or AVX512_CORE_BF16) would
	OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=$(ISA) $(BIN)/python -m pytest --numprocesses 2 $(NUMBERS)

check: $(VENV)/installed  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_words.py

fix: $(VENV)/installed  ## what lint and format can fix by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Not a part of check: it needs the network. pip-audit stays out of the environment that it audits.
audit: $(VENV)/installed  ## known vulnerabilities of the pinned packages; says so if the database cannot be reached
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(VENV)/audit/bin/python tools/audit.py

EXECUTIONS ?= 20000
MINUTES ?= 30

MOMENTS ?= 200
CALLS ?= 12

faults: $(VENV)/installed  ## damages files (EXECUTIONS, MINUTES), kills commands (MOMENTS), makes system calls fail (CALLS of each kind)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/fuzz.py --executions $(EXECUTIONS) --minutes $(MINUTES)
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/run_faults.py kills --moments $(MOMENTS) --folder /tmp --folder /dev/shm
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/run_faults.py calls --each $(CALLS)

bench: $(VENV)/installed  ## the figures of the table in docs/results.md
	$(BIN)/python benchmarks/results.py

bench-guard: $(VENV)/installed  ## ratios of speed against the stored ones; fails where one is worse
	$(BIN)/python benchmarks/guard.py

lab: $(VENV)/installed  ## every published system for a short while; fails where one does not learn
	$(BIN)/python benchmarks/lab.py

docs-pictures: $(VENV)/installed  ## the layouts of docs/data/layouts.md: opens each, writes its section, draws its picture
	$(BIN)/python tools/layout_pictures.py

wheel: $(VENV)/installed  ## the wheel, in dist/
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist
