# Two commands matter to a newcomer: make demo and make test. Each does all of its own set-up.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& command -v $$python && break; done)
# A byte-code cache halves the time that Dagster takes to start.
unexport PYTHONDONTWRITEBYTECODE

INSTALLERS := --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps \
	-r requirements-installer.lock
# pyspark comes as its source, of which a wheel is made: packed tight, that alone would take twenty
# seconds. What makes it is installed before, so that nothing unpinned is fetched for it.
BUILD := --no-build-isolation --config-settings=--build-option=--compression=stored
# uv takes a fraction of pip's time. It does not read pip's settings: where these name an index near
# by and no other can be reached, pip does what uv could not.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(BUILD) $(1) \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check $(BUILD) $(1)

.DEFAULT_GOAL := help
.PHONY: help demo demo-ui dev simulate doctor test test-fast test-dagster soak lint docs screenshots format types bench lock clean

help: ## Show these commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.installed ## Fill a warehouse from a simulated market, and see what stands in it.
	@$(BIN)/crypto-platform demo

demo-ui: $(VENV)/.installed ## Open the Dagster UI on the demo's data.
	@$(BIN)/crypto-platform demo --ui

dev: $(VENV)/.installed ## Run the Dagster UI and daemon on 127.0.0.1:3000, with the real price API.
	@$(BIN)/crypto-platform dev

simulate: $(VENV)/.installed ## Serve the simulated market until interrupted.
	@$(BIN)/crypto-platform simulate

doctor: $(VENV)/.installed ## Check that all is there that the platform needs, and works.
	@$(BIN)/crypto-platform doctor

test: $(VENV)/.tests-installed ## Check style and types, and run all tests.
	@$(MAKE) --no-print-directory -j2 lint types
	$(BIN)/pytest -n auto --dist loadgroup

test-fast: $(VENV)/.tests-installed ## Run the tests that start no JVM.
	$(BIN)/pytest -n auto --dist loadgroup -m "not spark and not soak"

test-dagster: $(VENV)/.tests-installed ## Test what uses Dagster's private code on its oldest and newest version.
	$(BIN)/python -m crypto_platform_tests.dagster_range oldest -n auto --dist loadgroup
	$(BIN)/python -m crypto_platform_tests.dagster_range newest -n auto --dist loadgroup

soak: $(VENV)/.tests-installed ## Run 200 windows through the daemon, and 200 random schedules of faults.
	$(BIN)/pytest -m soak -s crypto_platform_tests/test_soak.py crypto_platform_tests/test_schedules.py

lint: $(VENV)/.tests-installed docs ## Check style, the direction of imports, and the pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

docs: $(VENV)/.tests-installed ## Build the pages under docs/ into site/; a dead link fails.
	@# Not --quiet: it silences --strict as well. The notice is about a successor of mkdocs.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: demo ## Take the pictures of docs/first-hour.md anew (CHROMIUM names a browser).
	@test -x .screenshots/bin/python || { $(BIN)/python -m venv .screenshots \
		&& .screenshots/bin/pip install --quiet playwright pillow; }
	.screenshots/bin/python docs/screenshots.py

format: $(VENV)/.tests-installed ## Correct style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.tests-installed ## Check types.
	$(BIN)/mypy

bench: $(VENV)/.tests-installed ## Measure API calls, time, rows a second and memory.
	$(BIN)/python -m benchmarks

lock: $(VENV)/.installers ## Resolve the pinned, hashed requirements again.
	$(BIN)/uv pip compile pyproject.toml --group test --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --upgrade -q -o requirements-test.lock
	$(BIN)/uv pip compile pyproject.toml --constraint requirements-test.lock --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q \
		-o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group docker --constraint requirements-test.lock --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q \
		-o requirements-docker.lock
	$(BIN)/uv pip compile --group installer --constraint requirements.lock --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q \
		-o requirements-installer.lock
	$(BIN)/uv pip compile --group audit --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --upgrade -q -o requirements-audit.lock

clean: ## Remove the virtual environment and the caches; data stays.
	rm -rf $(VENV) .wheels .iam-simulator .screenshots .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installers: requirements-installer.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/it." >&2; exit 1; }
	@$(PYTHON) -m venv --without-pip $(VENV)
	@# Python's own copy of pip takes seconds to unpack: only where Python has no pip beside it.
	@$(PYTHON) -m pip --python $(BIN)/python install $(INSTALLERS) 2>/dev/null \
		|| { $(BIN)/python -m ensurepip >/dev/null && $(BIN)/python -m pip install $(INSTALLERS); }
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.installers
	@echo "Setting up: this takes half a minute, once."
	@$(call install,--require-hashes --no-deps -r requirements.lock)
	@$(call install,--no-deps -e .)
	@touch $@

$(VENV)/.tests-installed: requirements-test.lock $(VENV)/.installed
	@$(call install,--require-hashes --no-deps -r requirements-test.lock)
	@touch $@
