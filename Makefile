# What a fresh machine needs: git, make, and Python 3.11 or newer with venv. Everything else goes into .venv.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := demo

# The oracle's pin stands once, in pyproject's `test` group.
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

.DELETE_ON_ERROR:
.PHONY: help demo test lint docs-check generate pictures bench bench-check format clean

help: ## Say what there is to make.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

# Each stamp is one layer of the environment; a changed pyproject.toml renews them all.
$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --editable .
	@touch $@

# torch goes first and alone: what comes after finds it there and asks for no other build of it.
$(VENV)/.test: $(VENV)/.runtime
	$(PIP) install '$(TORCH)'
	$(PIP) install --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.runtime
	$(PIP) install --group lint
	@touch $@

demo: $(VENV)/.runtime ## Make BERT's reference checkpoint (random weights, no torch), split, inspect and verify it.
	@$(BIN)/python benchmarks/reference.py $(DEMO)/bert-base-cased
	@mkdir -p $(DEMO)
	$(BIN)/shardctl split $(DEMO)/bert-base-cased $(DEMO)/sharded --max-shard-size 200MB
	$(BIN)/shardctl inspect $(DEMO)/sharded --depth 2
	$(BIN)/shardctl verify $(DEMO)/sharded
	ls -l $(DEMO)/sharded
	head -n 7 $(DEMO)/sharded/pytorch_model.bin.index.json

test: $(VENV)/.test ## Run the whole test suite, and say what was skipped.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(VENV)/.lint ## Style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs-check: $(VENV)/.test ## The documentation says what is there: links, commands, options, findings.
	$(BIN)/python -m pytest tests/docs

generate: $(VENV)/.runtime ## Write the completions, the manual and the reference anew, from the command line itself.
	$(BIN)/python -m tools.generate

pictures: demo ## Remake the pictures in docs/images, from the demo's checkpoint.
	$(BIN)/python tools/screens.py $(DEMO) docs/images

bench: $(VENV)/.test ## Measure, and write docs/performance.md; half an hour, 22 GB (BENCH='--size 1GB' for less).
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-check: $(VENV)/.test ## A short run, compared with the figures that are kept.
	$(BIN)/python -m benchmarks.run --compare $(BENCH)

format: $(VENV)/.lint ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was made.
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
