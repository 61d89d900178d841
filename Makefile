# Each target works alone on a fresh machine; what is installed already is not installed again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help dist docs run test test-faults check bench bench-aggregation bench-deployment bench-pacing bench-trees bench-verdicts format clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## Train the built-in federation, compare it, and write a report
	$(BIN)/werkbund run

test test-faults: export OMP_NUM_THREADS = 1  # more threads than processors wait for one another, and burn time doing so
test test-faults: export PYTHONDONTWRITEBYTECODE =  # tests start hundreds of processes, and each would compile all modules
test: $(STAMP) ## Run all tests, doctests and the architecture's rules
	$(BIN)/python -m pytest -n 2 -m "not faults"

test-faults: $(STAMP) ## Kill, cut off and mislead the parts of real federations, about half an hour
	$(BIN)/python -m pytest -m faults

check: $(STAMP) ## Check format, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.bench ## Compare speed with Flower, plain loops and the floor, side by side
	$(BIN)/python -m benchmarks.simulation --clients 100 --rounds 2
	$(BIN)/python -m benchmarks.simulation --clients 1000 --rounds 1

bench-aggregation: $(STAMP) ## Compare aggregation with copies in memory, and robust rules with the mean
	$(BIN)/python -m benchmarks.aggregation
	$(BIN)/python -m benchmarks.robust

bench-pacing: $(STAMP) ## Compare ways to close a round by simulated time to a score
	$(BIN)/python -m benchmarks.pacing --updates 5 --momentum 0.5

bench-deployment: $(STAMP) ## Compare a round over the network with Flower's own, side by side
	$(BIN)/python -m benchmarks.deployment

bench-trees: $(VENV)/.bench ## Compare federated trees with pooled ones: figures, speed, messages, about an hour
	$(BIN)/python -m benchmarks.trees messages
	$(BIN)/python -m benchmarks.trees tables
	$(BIN)/python -m benchmarks.trees oracle
	$(BIN)/python -m benchmarks.trees speed
	$(BIN)/python -m benchmarks.trees speed --rows 1000000 --trees 20 --repetitions 2
	$(BIN)/python -m benchmarks.trees protocol --features with --repeats 1
	$(BIN)/python -m benchmarks.trees protocol --features with --repeats 1 --held-out tools

bench-verdicts: $(STAMP) ## Count how often the verdict is right on tables whose truth is known, about half an hour
	$(BIN)/python -m benchmarks.verdicts --seeds 20

docs: $(STAMP) ## Build the pages as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(STAMP) ## Build wheel and sdist, and try the wheel in an empty environment
	rm -rf dist build/empty
	$(BIN)/python -m build -q -o dist
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install -q -c constraints.txt torch
	build/empty/bin/python -m pip install -q -c constraints.txt dist/*.whl
	cd build/empty && bin/werkbund run --set data.source=generator --set federation.rounds=5 --out first-run

format: $(STAMP) ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches, but no run
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch comes first and pinned: an open range would bring a build for GPUs, several gigabytes of it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,fetch]"
	touch $@

$(VENV)/.bench: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[bench]"
	touch $@
