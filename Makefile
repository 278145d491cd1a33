# A fresh machine needs git, make, and Python 3.11 or newer with venv. The rest goes into .venv.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# What `make test` passes to pytest, for example TESTS=tests/unit or TESTS='-k merge'.
TESTS ?= -m 'not slow'
# What `make mutants` changes: FILES='shardctl/engine shardctl/sizes.py', else what differs from BASE;
# SAMPLE changes of it, chosen by SEED.
BASE ?= main
FILES ?=
SAMPLE ?= 60
SEED ?= 1
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
DEMO := demo

# The pin of torch is in one place, the `test` group of pyproject.toml.
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

.DELETE_ON_ERROR:
.PHONY: help demo check test test-all clients cloud training dask coverage mutants lint docs-check generate pictures bench \
	bench-check format clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

# Each stamp is one layer of the environment. A change of pyproject.toml updates all of them.
$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --editable .
	@touch $@

# torch goes first and alone, so that nothing after it asks for another build of it.
$(VENV)/.test: $(VENV)/.runtime
	$(PIP) install '$(TORCH)'
	$(PIP) install --group test
	@touch $@

# The pins of the group `test` are given again, so that no client asks for another release of them.
$(VENV)/.clients: $(VENV)/.test
	$(PIP) install '$(TORCH)' --group test --group clients
	@touch $@

$(VENV)/.cloud: $(VENV)/.test
	$(PIP) install '$(TORCH)' --group test --group cloud
	@touch $@

# DeepSpeed is built without its kernels, which need a compiler and are not used.
$(VENV)/.training: $(VENV)/.test
	DS_BUILD_OPS=0 $(PIP) install '$(TORCH)' --group test --group training
	@touch $@

$(VENV)/.dask: $(VENV)/.test
	$(PIP) install '$(TORCH)' --group test --group dask
	@touch $@

$(VENV)/.lint: $(VENV)/.runtime
	$(PIP) install --group lint
	@touch $@

demo: $(VENV)/.runtime ## Create a checkpoint like BERT's; split, inspect and verify it.
	@$(BIN)/python benchmarks/reference.py $(DEMO)/bert-base-cased
	@mkdir -p $(DEMO)
	$(BIN)/shardctl split $(DEMO)/bert-base-cased $(DEMO)/sharded --max-shard-size 200MB
	$(BIN)/shardctl inspect $(DEMO)/sharded --depth 2
	$(BIN)/shardctl verify $(DEMO)/sharded
	ls -l $(DEMO)/sharded
	head -n 7 $(DEMO)/sharded/pytorch_model.bin.index.json

check: lint test ## Run what a change must pass: lint, types and tests.

test: $(VENV)/.test ## Run the tests, except slow ones; TESTS='...' replaces the selection.
	$(PYTEST) $(TESTS)

test-all: $(VENV)/.test ## Run all tests, slow ones too.
	$(PYTEST)

clients: $(VENV)/.clients ## Install the clients that tests/conformance/test_clients.py loads with.

# Without three suites: tests/corruption limits the processor time of each case, and measuring takes
# more of it; tests/faults and tests/docs run the program in processes that are not measured.
coverage: $(VENV)/.test ## Measure which lines and branches the tests of the code itself run.
	$(PYTEST) tests/unit tests/cli tests/conformance tests/properties --cov

# The tests are checked too, and need the types of what they import.
cloud: $(VENV)/.cloud ## Install the S3 server that the tests of buckets ask.

training: $(VENV)/.training ## Install DeepSpeed, which tests/conformance/test_zero.py compares with.

dask: $(VENV)/.dask ## Install the cluster that tests/conformance/test_dask.py starts.

lint: $(VENV)/.lint $(VENV)/.test ## Check style, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(VENV)/.test ## Check that the tests notice small changes; BASE, FILES, SAMPLE, SEED.
	$(BIN)/python -m tools.mutants --jobs $(JOBS) --base $(BASE) --sample $(SAMPLE) --seed $(SEED) \
		$(FILES)

docs-check: $(VENV)/.test ## Test the documentation: examples, links, commands, options, findings.
	$(BIN)/python -m pytest tests/docs

generate: $(VENV)/.runtime ## Write completions, manual and reference from the command line.
	$(BIN)/python -m tools.generate

pictures: demo ## Write the pictures in docs/images again, from the demo's checkpoint.
	$(BIN)/python tools/screens.py $(DEMO) docs/images

bench: $(VENV)/.test ## Write docs/performance.md: 30 minutes, 22 GB; less with BENCH='--size 1GB'.
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-check: $(VENV)/.test ## Compare a short run with the recorded figures.
	$(BIN)/python -m benchmarks.run --compare $(BENCH)

format: $(VENV)/.lint ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment, the demo, caches and builds.
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist
