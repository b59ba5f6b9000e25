# `make demo` and `make test` need git, make and Python 3.11 or newer with venv; everything else is fetched into .uv and .venv.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := .venv/bin
# Imports without compiled files take two to three times as long, and some machines forbid Python to write them by itself.
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never

PHOTO ?=
# Handed over in the environment: a name with spaces is one word there.
export PHOTO
DEMO_ARGS ?=
BUSY_TIMES ?= 10
BUSY_TESTS ?= tests/pulsar/test_outage.py tests/pulsar/test_processes.py tests/chaos/test_broker.py tests/serverless/test_push.py
IMAGE_PYTHON ?= python3.12

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick test-long test-pulsar test-busy lint format image-check bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Fetch everything into .uv and .venv

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# uv lives outside .venv, because a sync removes from there what is not locked.
.venv/.ready: $(UV) pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --all-extras --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

demo: .venv/.ready ## Show the whole way on this machine; PHOTO=path takes a photo of yours
	$(RUN)/scf-workers demo $(DEMO_ARGS) $${PHOTO:+-- "$$PHOTO"}

test: .venv/.ready ## Every test; without Java those that need a Pulsar are left out, and it says so
	$(RUN)/pytest -n 2 -m "not long" $(TEST_ARGS)

test-long: .venv/.ready ## Those that take minutes each and that `make test` leaves out
	PULSAR_REQUIRED=1 $(RUN)/pytest -m long $(TEST_ARGS)

test-quick: .venv/.ready ## Only those that start no whole processes, and no Pulsar
	$(RUN)/pytest -n 2 -m "not slow and not long and not pulsar and not own_pulsar" $(TEST_ARGS)

test-pulsar: .venv/.ready ## Only those that need a Pulsar
	PULSAR_REQUIRED=1 $(RUN)/pytest -n 2 -m "(pulsar or own_pulsar) and not long" $(TEST_ARGS)

test-busy: .venv/.ready ## Those that wait for processes and brokers, BUSY_TIMES times, while something else keeps all cores busy
	PULSAR_REQUIRED=1 $(RUN)/python -m tests.support.busy $(BUSY_TIMES) -- $(BUSY_TESTS) $(TEST_ARGS)

lint: .venv/.ready ## Style, types, import arrows
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports
	@# Side by side: each takes one core.
	$(RUN)/mypy & types=$$!; $(RUN)/basedpyright; right=$$?; wait $$types && exit $$right

format: .venv/.ready ## Put the code into its one style
	$(RUN)/ruff check --fix-only .
	$(RUN)/ruff format .

image-check: ## Run the build steps of the container image, and its server, without a Docker engine; IMAGE_PYTHON=path
	deploy/check.sh $(IMAGE_PYTHON)

bench: .venv/.ready ## Measure, against the limits in the same run
	$(RUN)/python -m bench

clean: ## Remove what was fetched and made
	rm -rf .uv .venv out .sandbox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
