# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV_PYTHON = $$($(PYTHON) hack/bootstrap.py)
RUN = PYTHONPATH=operator:hack:examples $(VENV_PYTHON)
CLUSTER ?= weir
export WEIR_CLUSTER := $(CLUSTER)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## Bring up a cluster, release a good model and a bad one under live traffic
	@$(RUN) -m demo

.PHONY: test
test: tools ## Install what the tests need, check the code, run every test
	@$(MAKE) --no-print-directory check
	@$(RUN) -m pytest

.PHONY: test-fast
test-fast: ## Unit and property tests only: no cluster, no root
	@$(RUN) -m pytest tests/unit tests/properties

.PHONY: test-api
test-api: tools ## Tests against a real API server, without root and without pods
	@$(RUN) -m pytest tests/api

.PHONY: test-e2e
test-e2e: tools ## Tests with real pods and traffic
	@$(RUN) -m pytest tests/e2e

.PHONY: check
check: tools ## Format, lint, types, layers, generated files
	@py=$(VENV_PYTHON); bin=$$(dirname $$py); \
	$$bin/ruff format --check . && $$bin/ruff check . && \
	PYTHONPATH=operator $$py -m mypy && \
	PYTHONPATH=operator $$bin/lint-imports --no-cache && \
	$(MAKE) --no-print-directory generate-check

.PHONY: generate
generate: tools ## Write CRDs, reference docs and chart copies from the models
	@$(RUN) -m weir.api.crds
	@$(RUN) hack/chart_crds.py
	@$(RUN) hack/render_manifests.py

.PHONY: generate-check
generate-check:
	@$(RUN) -m weir.api.crds --check
	@$(RUN) hack/chart_crds.py --check
	@$(RUN) hack/render_manifests.py --check

.PHONY: format
format: ## Format and fix what can be fixed
	@bin=$$(dirname $(VENV_PYTHON)); $$bin/ruff check --fix-only -q .; $$bin/ruff format .

.PHONY: lock
lock: ## Resolve the dependencies anew into hash-locked files
	@$(PYTHON) hack/lock.py

.PHONY: tools
tools:
	@$(RUN) -m devcluster build-tools

.PHONY: cluster
cluster: ## Bring up a cluster: kind where Docker runs, else the embedded one
	@$(RUN) -m devcluster up

.PHONY: cluster-down
cluster-down: ## End the cluster
	@$(RUN) -m devcluster down

.PHONY: cluster-status
cluster-status: ## Show the cluster's parts
	@$(RUN) -m devcluster status

.PHONY: shell
shell: ## A shell with kubectl and helm on the cluster
	@$(RUN) -m devcluster shell

.PHONY: check-image
check-image: ## Build the image that checks data against contracts, and load it into the cluster
	@$(RUN) -m devcluster image build . --file Dockerfile.check --tag localhost/weir-check:dev

.PHONY: benchmarks
benchmarks: tools ## Count the operator's requests and measure its reaction at 1, 20 and 100 Rollouts
	@$(RUN) -m benchmarks

.PHONY: decisions
decisions: ## Simulate how often gates decide rightly, beside what other tools do; writes docs/decisions.md (15 minutes)
	@$(RUN) -m benchmarks.decisions --docs docs

.PHONY: judging
judging: ## Measure what judging a thousand releases costs
	@$(RUN) -m benchmarks.judging

.PHONY: benchmarks-contracts
benchmarks-contracts: tools ## Measure contracts: documents, compatibility, drift, and a check of 10 million rows
	@$(RUN) -m benchmarks.contract_documents
	@$(RUN) -m benchmarks.contract_compatibility
	@$(RUN) -m benchmarks.drift --runs 300
	@$(RUN) -m benchmarks.contract_checks
