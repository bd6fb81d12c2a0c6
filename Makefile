# The targets that need Lago first run tools/setup, which takes no time when everything is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench clean

BIN := .venv/bin
export LAGO_TEST_STORE ?= $(CURDIR)/.cache/test-store

help: ## Show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

setup: ## Install what is missing: Debian packages (as root) and .venv
	@tools/setup

demo: setup ## Bring up three machines on two networks, look around, remove them
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/three-vms/run

test: setup ## Run the tests; ARGS go to pytest: make test ARGS="-k ssh tests/unit"
	@$(BIN)/python -m pytest $(ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

format: setup ## Put the code in its form
	@$(BIN)/ruff format && $(BIN)/ruff check --fix

bench: setup ## Run the benchmarks, each prints one JSON object last
	@status=0; for script in bench/[a-z]*.py; do \
	    [ -e "$$script" ] || continue; \
	    echo "== $$script"; $(BIN)/python "$$script" || status=1; \
	done; exit $$status

clean: ## Remove what these targets made
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache build dist src/*.egg-info
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
