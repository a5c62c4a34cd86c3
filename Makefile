# Everything a person does with a checkout. Each target makes its own environment: Python 3.11 to 3.13 and make suffice.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
UV     ?= $(BIN)/uv

# One more than cores: tests also wait for the processes that they start.
WORKERS    = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PIP        = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-compile
UV_INSTALL = $(UV) pip install --quiet --python $(BIN)/python --no-deps

.DEFAULT_GOAL := help
.PHONY: help demo run test browser lint hooks bench clean lock snapshot dagster-yaml

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Show the main job on recorded traffic, in about a minute once it is set up
	@$(BIN)/tasks-pipeline demo

run: $(STAMP) ## Run the whole service until Ctrl-C
	@exec $(BIN)/tasks-pipeline run

# Each worker imports all tests: byte code lets one take over what another has compiled, half of the time.
test: $(STAMP) ## Run the tests; ARGS="-k spool" runs some
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

browser: $(STAMP) ## Run the tests of pages in Chromium, if it is installed
	@$(BIN)/pytest -m browser tests/browser $(ARGS)

lint: $(STAMP) ## Check style, format and types
	@$(BIN)/ruff check .
	@if git rev-parse --git-dir > /dev/null 2>&1; then git ls-files -z | xargs -0 $(BIN)/python .ci/check_files.py; fi
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict

hooks: $(STAMP) ## Have git run the fast part of lint before each commit (needs pre-commit)
	@if command -v pre-commit > /dev/null; then pre-commit install; else echo "pre-commit is not installed: https://pre-commit.com"; fi

bench: $(STAMP) ## Measure; ARGS="--help" says what can be measured
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove the environment and caches; data in home directories stays
	@rm -rf $(VENV) .venv-newest build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: $(STAMP) ## Resolve requirements.lock afresh from pyproject.toml, and what of it runs in production
	@printf 'editables\nhatchling\n' | $(UV) pip compile --quiet --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --extra dev \
	  --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml -
	@printf 'hatchling\n' | $(UV) pip compile --quiet --universal --python-version 3.11 --constraints requirements.lock \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --extra s3 --extra celery \
	  --custom-compile-command 'make lock' --output-file deploy/requirements.lock pyproject.toml -

snapshot: $(STAMP) ## Write tests/data/edge.json afresh: all that is declared to Dagster, for a test and for reviewers
	@$(BIN)/python -m tests.support.edge

dagster-yaml: $(STAMP) ## Write dagster.yaml and those in deploy afresh after a change of the lanes
	@$(BIN)/python -c 'from tasks_pipeline.service.dagster_home import dagster_yaml as y; print(y(), end="")' > dagster.yaml
	@$(BIN)/python -c 'from tasks_pipeline.service.dagster_home import dagster_yaml as y; print(y(postgres=True), end="")' > deploy/dagster.yaml
	@$(BIN)/python -c 'from tasks_pipeline.service.dagster_home import dagster_yaml as y; print(y(postgres=True, queues=True), end="")' > deploy/dagster-celery.yaml

# uv, itself from the lock, installs the rest in a sixth of pip's time; where it cannot reach the index that pip was told of,
# pip does. Byte code is compiled here once: compiling at the first import would cost every start of Dagster seconds, and
# each of its processes memory. The lock holds the build backend too, hence --no-build-isolation; what comes as source is built
# with what the lock holds.
$(STAMP): requirements.lock pyproject.toml
	@echo "setting up $(VENV) from requirements.lock (a minute, once)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python 3.11 to 3.13 is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % v)'
	@$(PYTHON) -m venv --clear $(VENV)
	@awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.txt
	@$(PIP) --require-hashes -r $(VENV)/uv.txt
	@$(UV_INSTALL) --require-hashes --build-constraints requirements.lock -r requirements.lock || $(PIP) --require-hashes -r requirements.lock
	@$(UV_INSTALL) --no-build-isolation --editable . || $(PIP) --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check > $(VENV)/pip-check.log || { cat $(VENV)/pip-check.log; exit 1; }
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j 0 -x "/tests/" $(VENV)/lib tasks_pipeline > $(VENV)/compileall.log || true
	@touch $@
