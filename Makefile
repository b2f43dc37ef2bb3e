# What can be done here; each target does one thing. Needs Debian 12 or 13 with Python 3.11 or newer.
SLOWEST := --durations=40 --durations-min=20

.PHONY: help try test test-all test-unit test-vm lint bench clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

try: ## From nothing to a blog over HTTPS, on three disposable servers of this computer
	@scripts/setup
	@scripts/host
	@.venv/bin/python scripts/try.py

test: ## Run the tests: unit, integration, end to end on disposable servers and on virtual machines
	@scripts/setup
	@scripts/host
	@scripts/interpreters
	@scripts/machines
	@.venv/bin/pytest -n 3 --no-loadscope-reorder $(SLOWEST)

test-all: ## Run all tests, with sites and services that take long to build
	@scripts/setup
	@scripts/host
	@scripts/interpreters
	@scripts/machines
	@.venv/bin/pytest -n 3 --no-loadscope-reorder $(SLOWEST) --all

test-unit: ## Run the tests that need neither Docker nor root
	@scripts/setup
	@.venv/bin/pytest -n auto tests/unit

test-vm: ## Run those alone that need a kernel of their own, on virtual machines (as root)
	@scripts/setup
	@scripts/host
	@scripts/machines
	@.venv/bin/pytest tests/vm

lint: ## Check style, types, and which room imports which
	@scripts/setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/python scripts/check_imports.py

bench: ## Measure speed and memory; writes bench/results.json
	@scripts/setup
	@scripts/host
	@.venv/bin/python bench/run.py

clean: ## Remove what was made in this folder: environment, caches, the tried site
	rm -rf .venv try build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
