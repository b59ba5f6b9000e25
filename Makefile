# `make demo` and `make test` need git, make and Python 3.11 or newer with venv; the rest is installed into .uv and .venv.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := .venv/bin
# Imports without compiled files take two to three times as long, and on some machines Python may not write them itself.
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# The tests start hundreds of processes, and pytest rewrites every test module: both are kept compiled.
unexport PYTHONDONTWRITEBYTECODE

PHOTO ?=
# Passed in the environment, so that a name with spaces stays one word.
export PHOTO
DEMO_ARGS ?=
SEEDS ?= 300
SEED ?=
TASK ?=
DEFECT ?=
BROKER ?= sqlite
SECONDS ?= 300
TASKS ?= 300
KINDS ?= basic_clean,model_pose12,photography
BUSY_TIMES ?= 10
BUSY_TESTS ?= tests/pulsar/test_outage.py tests/pulsar/test_processes.py tests/chaos/test_broker.py tests/serverless/test_push.py
IMAGE_PYTHON ?= python3.12

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick test-random test-long test-pulsar test-busy lint format image-check simulate simulate-replays chaos bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Install everything into .uv and .venv

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# uv is installed outside .venv, because a sync removes packages from there that are not locked.
.venv/.ready: $(UV) pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --all-extras --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

demo: .venv/.ready ## Run the full pipeline locally; PHOTO=path uses your photo
	@$(RUN)/scf-workers demo $(DEMO_ARGS) $${PHOTO:+-- "$$PHOTO"}

test: .venv/.ready ## Run all tests but the long ones; without Java, skip those that need Pulsar and report it
	$(RUN)/pytest -n 3 --dist worksteal -m "not long" $(TEST_ARGS)

test-long: .venv/.ready ## Run the tests that take minutes each, which `make test` skips
	PULSAR_REQUIRED=1 $(RUN)/pytest -m long $(TEST_ARGS)

test-quick: .venv/.ready ## Run the quick tests: without those that start processes or stand-ins, wait for seconds or need a Pulsar
	$(RUN)/pytest -n 2 -m "not slow and not long and not pulsar and not own_pulsar" $(TEST_ARGS)

test-random: .venv/.ready ## Run the property tests with new random examples
	$(RUN)/pytest -n 2 -m hypothesis --hypothesis-profile random $(TEST_ARGS)

test-pulsar: .venv/.ready ## Run the tests that need a Pulsar
	PULSAR_REQUIRED=1 $(RUN)/pytest -n 2 -m "(pulsar or own_pulsar) and not long" $(TEST_ARGS)

test-busy: .venv/.ready ## Run the tests that wait for processes and brokers BUSY_TIMES times, with all cores busy
	PULSAR_REQUIRED=1 $(RUN)/python -m tests.support.busy $(BUSY_TIMES) -- $(BUSY_TESTS) $(TEST_ARGS)

simulate: .venv/.ready ## Simulate SEEDS deployments on virtual time; SEED=n replays one (TASK=name), DEFECT=name plants a defect
	$(RUN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(TASK:%=--task %) $(DEFECT:%=--defect %)

simulate-replays: .venv/.ready ## Simulate SEEDS histories of replays of dead letters; SEED and DEFECT as above
	$(RUN)/python -m tests.simulation --replays $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(DEFECT:%=--defect %)

chaos: .venv/.ready ## Kill, stop and cut off real processes for SECONDS; BROKER=pulsar, SEED=n, TASKS=n, KINDS=a,b
	$(RUN)/python -m tests.chaos --broker $(BROKER) --seconds $(SECONDS) --seed $(or $(SEED),1) --tasks $(TASKS) --kinds $(KINDS)

lint: .venv/.ready ## Check style, types and import layers
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports
	@# In parallel: each uses one core.
	$(RUN)/mypy & types=$$!; $(RUN)/basedpyright; right=$$?; wait $$types && exit $$right

format: .venv/.ready ## Format the code
	$(RUN)/ruff check --fix-only .
	$(RUN)/ruff format .

image-check: ## Run the build steps of the container image and its server without Docker; IMAGE_PYTHON=path
	deploy/check.sh $(IMAGE_PYTHON)

bench: .venv/.ready ## Measure performance, and the limits of the machine in the same run
	$(RUN)/python -m bench

clean: ## Remove everything installed and generated
	rm -rf .uv .venv out .sandbox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
