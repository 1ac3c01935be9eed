# A cold debug build takes 5 to 8 minutes on two cores and a release build about 12, so `make run` serves a debug build.
# `make run CONFIGURATION=release` serves an optimised one; ARGS are passed on: `make run ARGS="--port 9000"`.
CONFIGURATION ?= debug
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run setup build test bench bench-compare bench-scaling attack lint format

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Install what is missing, build, and serve on http://127.0.0.1:8090
	@scripts/setup
	@swift build -c $(CONFIGURATION) --product latchkey
	@exec .build/$(CONFIGURATION)/latchkey serve $(ARGS)

setup: ## Install what building and testing need and is missing
	@scripts/setup --tests

build: ## Build everything, tests too
	@scripts/setup
	swift build --build-tests

test: ## Install what is missing, then run every suite
	@scripts/setup --tests
	swift build --build-tests
	scripts/with-postgres timeout 1500 swift test --skip-build --disable-xctest
	.venv/bin/pytest Tests/CLI --engine sqlite
	scripts/with-postgres .venv/bin/pytest Tests/CLI --engine postgres
	.venv/bin/pytest Tests/Browser

bench: ## Measure a release build under load
	@scripts/setup --tests --bench
	swift build -c release --product latchkey
	.venv/bin/python Benchmarks/bench.py $(ARGS)

bench-compare: ## Measure a release build against another binary: ARGS=BEFORE
	@scripts/setup --tests --bench
	swift build -c release --product latchkey
	.venv/bin/python Benchmarks/compare.py $(ARGS)

bench-scaling: ## Measure one and two nodes on PostgreSQL
	@scripts/setup --tests --bench
	swift build -c release --product latchkey
	scripts/with-postgres --durable .venv/bin/python Benchmarks/scaling.py $(ARGS)

attack: ## Attack a release build, and measure what a good client sees of it
	@scripts/setup --tests
	swift build -c release --product latchkey
	.venv/bin/python Benchmarks/attack.py $(ARGS)

lint: ## Check the format; any finding fails
	swift format lint --strict --parallel --recursive Sources Tests Package.swift

format: ## Format in place
	swift format --in-place --parallel --recursive Sources Tests Package.swift
