# `make help` lists the targets. What takes more than three lines lives in e2e/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CLUSTER_CLI := e2e/cluster/cluster
# kubectl, helm, promtool, amtool: the pinned ones first.
export PATH := $(shell $(CLUSTER_CLI) bin):$(PATH)
LOCKED := $(CLUSTER_CLI) lock --

.PHONY: help demo test unit e2e soak bench generate check-generated fmt lint deny shell tools cluster cluster-down

help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: ## watch a bad release being rolled back, on a cluster of its own
	@$(LOCKED) e2e/demo

test: lint unit check-generated e2e ## everything that must hold

unit: tools ## unit and integration tests, without a cluster
	cargo test --all-targets
	cargo test --doc

e2e: ## end-to-end tests on a real cluster
	@$(LOCKED) e2e/test

soak: ## half an hour: a healthy stack of which only the Watchdog fires; then logs, ten minutes of it without Loki
	@EVENKEEL_SOAK=900 $(LOCKED) e2e/test steady:: exporters::on_a_healthy --nocapture

bench: ## measure, and write docs/benchmarks.md (PARTS="rules slos storm stack cost accuracy": only these)
	@$(LOCKED) e2e/bench $(PARTS)

generate: ## write the CRDs from the Rust types
	cargo run --quiet -- crds --directory crds
	cargo run --quiet -- crds --directory charts/evenkeel/files/crds

check-generated:
	@e2e/check-generated

fmt: ## format the Rust sources
	cargo fmt

lint: deny shell ## formatting, clippy with warnings as errors, cargo deny, shellcheck
	cargo fmt --check
	cargo clippy --all-targets --test e2e --test bench --test bench_slo -- -D warnings

deny:
	@e2e/deny

SCRIPTS := .ci/run e2e/bench e2e/check-generated e2e/demo e2e/deny e2e/install e2e/test e2e/cluster/cluster $(wildcard e2e/cluster/lib/*.sh e2e/images/*/entry)
shell:
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); \
	else echo "shellcheck is not installed: the scripts are not checked"; fi

tools: ## build kubectl, helm, promtool and the rest of the cluster's programs
	@$(CLUSTER_CLI) tools

cluster: ## start the local cluster (CLUSTER=local, kind or current)
	@$(CLUSTER_CLI) up
	@$(CLUSTER_CLI) images

cluster-down: ## stop it and leave nothing behind
	@$(LOCKED) $(CLUSTER_CLI) down
