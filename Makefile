# The targets that need Lago first run tools/setup, which takes no time when everything is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format docs man pictures bench profile changelog clean

BIN := .venv/bin
JOBS ?= 2
export LAGO_TEST_STORE ?= $(CURDIR)/.cache/test-store

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

setup: ## Install what is missing: Debian packages (as root) and .venv
	@tools/setup

demo: ## Bring up three machines on two networks, look around, remove them
	@tools/setup --run
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/three-vms/run

test: setup ## Run the tests, JOBS at once; ARGS go to pytest: make test ARGS="-k ssh tests/unit"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: override ARGS += --slow
test-all: test ## Run all tests, those with whole distributions too

lint: setup ## Check style and types
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy

format: setup ## Put the code in its form
	@$(BIN)/ruff format && $(BIN)/ruff check --fix

docs: setup ## Build the manual in build/docs; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -q -j auto -d build/doctrees -b html docs build/docs
	@echo build/docs/index.html

man: setup ## Build the man pages in build/man
	@$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees-man -b man docs/man build/man

pictures: setup ## Make the pictures of the manual, most from a real run; takes a minute
	@docs/pictures/make

bench: setup ## Run the benchmarks, each prints one JSON object last
	@status=0; for script in bench/[a-z]*.py; do \
	    [ -e "$$script" ] || continue; \
	    echo "== $$script"; $(BIN)/python "$$script" || status=1; \
	done; exit $$status

profile: setup ## Draw where the time of a command goes: make profile ARGS="-w DIR/.lago status"
	@$(BIN)/py-spy record --idle --threads --output .cache/profile.svg -- $(BIN)/lago $(ARGS)

changelog: setup ## Show what changes/ has, or with VERSION=x.Y move it into CHANGELOG.md
	@$(BIN)/python -m towncrier build $(if $(VERSION),--yes --version $(VERSION),--draft --version Unreleased)

clean: ## Remove what these targets made
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache build dist src/*.egg-info docs/api/*.rst
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
