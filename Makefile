# SPDX-License-Identifier: GPL-3.0-or-later
# What builds or tests installs what it needs first (tests/setup) and says so.

SHELL := /bin/bash
SANDBOX := tests/sandbox/sandbox
JOBS ?= $(shell nproc)
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix down build dist format lint

help: ## Show what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nmake demo COMPARE=1 also measures the packaged state (it takes the 6 minutes that its outage lasts).\n'
	@printf 'make test ONLY=lint,unit runs some groups alone; tests/run --list names them.\n'
	@printf 'make test FRESH=1 also runs again what has passed on this very tree.\n'
	@printf 'make test MORE=1 takes an hour and more: what must pass before a change lands, also what nodes of a larger cluster lose.\n'
	@printf 'make test FULL=1 takes hours: Kubernetes 1.31 and 1.35 too, every point at which a run can be killed, all predictions.\n'

demo: dist ## Start a small cluster (make-demo), run the role on it, kill a node, and show what DNS clients saw
	@tests/setup sandbox python
	@$(VENV)/python tests/demo/demo.py $(if $(COMPARE),--compare)

test: ## Run the checks: linters, units, the sandbox's own tests, scenarios on real clusters
	@tests/setup build lint sandbox python
	@$(VENV)/python tests/run $(if $(ONLY),--only $(ONLY))

test-matrix: ## Try every strategy on every kind of cluster, each pair of settings once; goes on where it was
	@tests/setup build lint sandbox python
	@MATRIX=1 $(VENV)/python tests/run --only artefact,sandbox-build,matrix

down: ## Stop every cluster that demo and test started
	@$(SANDBOX) down --all

build: ## Build the helper for this machine: build/k3s-core-ha
	@tests/setup build
	@cmake --preset program >build/cmake.log || { cat build/cmake.log; exit 1; }
	@cmake --build --preset program -j $(JOBS)
	@ln -sf program/k3s-core-ha build/k3s-core-ha
	@build/k3s-core-ha version

dist: ## Build the Galaxy artefact with the static helper: build/dist/k3s_ha-core-*.tar.gz
	@tests/setup build python
	@tests/dist

format: ## Format the C++, Go and Python sources in place
	@tests/setup lint python
	@git ls-files -z 'native/*.cc' 'native/*.h' | xargs -0 clang-format-19 -i
	@$(VENV)/ruff format --config tests/ruff.toml . tests/run
	@PATH="$$($(SANDBOX) --go-path):$$PATH" gofmt -w tests/sandbox

lint: ## Run the linters alone
	@tests/setup build lint python
	@$(VENV)/python tests/run --only lint
