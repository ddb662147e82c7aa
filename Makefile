# What a person runs: `make demo`, `make test`. Everything else serves these two, or a deployment.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
SCENARIO ?= happy
# What `make bench` measures.
ONLY ?= functions machine services stacks
# The processor of the functions: of this machine for the local AWS, Graviton for AWS.
HOST_ARCH := $(subst aarch64,arm64,$(shell uname -m))
ARCH ?= arm64
$(if $(filter arm64 x86_64,$(ARCH)),,$(error ARCH is arm64 or x86_64, not $(ARCH)))

FUNCTIONS := $(notdir $(patsubst %/src/main.rs,%,$(wildcard functions/*/src/main.rs)))
VENV := target/venv
CHECKOV := target/checkov
REQUIREMENTS := local-aws/moto/requirements.txt
# A program at a fixed address has no table of what to add to its addresses at every start.
FUNCTION_RUSTFLAGS := -C relocation-model=static \
	-C link-arg=-Wl,-T,$(CURDIR)/functions/without-unwinding.ld -C link-arg=-Wl,--no-eh-frame-hdr
# cargo-lambda finds zig, which links for the C library of Lambda's Amazon Linux, in the environment.
CARGO_LAMBDA := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS='$(FUNCTION_RUSTFLAGS)' \
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='$(FUNCTION_RUSTFLAGS)' \
	cargo lambda build --release --output-format zip $(addprefix --package ,$(FUNCTIONS))

# All that is tested is built at once: Cargo builds the dependencies of some packages alone again, with
# other features.
BUILD_ALL := cargo build --workspace --all-targets --locked
# The names of the test suites of some packages.
suites = $(foreach package,$(1),$(patsubst $(package)/tests/%.rs,%,$(wildcard $(package)/tests/*.rs)) \
	$(patsubst $(package)/tests/%/main.rs,%,$(wildcard $(package)/tests/*/main.rs)))
# Those that deploy the pipeline.
END_TO_END := $(call suites,cli tests/end-to-end)
UNIT := $(filter-out $(END_TO_END),$(call suites,local-aws tests/consistency tests/model))

BENCH = $(MAKE) -C tests/bench --no-print-directory ROOT="$(CURDIR)" PYTHON="$(PYTHON)"

# Python leaves nothing beside the sources.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup functions package demo bluegreen up down local-aws format lint unit end-to-end test test-faults bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/installed ## Install what demo and tests need: a Python environment, PostgreSQL
	@tests/prepare-machine.sh "$(PYTHON)" tests

$(VENV)/installed: $(REQUIREMENTS)
	tests/prepare-machine.sh "$(PYTHON)"
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(REQUIREMENTS)
	touch $@

$(CHECKOV)/installed: tests/lint/requirements.txt
	rm -rf $(CHECKOV)
	"$(PYTHON)" -m venv $(CHECKOV)
	$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

functions: $(VENV)/installed ## Build the functions' zips for this machine
	$(CARGO_LAMBDA) $(if $(filter arm64,$(HOST_ARCH)),--arm64,--x86-64)

package: $(VENV)/installed ## Build the functions' zips for AWS (ARCH=arm64 or x86_64)
	$(CARGO_LAMBDA) $(if $(filter arm64,$(ARCH)),--arm64,--x86-64)

demo: setup functions ## Watch a pushed image go live (SCENARIO=bad-migration or rollback: watch one be refused, or taken back)
	$(BUILD_LOCAL)
	target/debug/demo $(SCENARIO)

# What a person runs on the local AWS, built as the tests build it: Cargo builds the dependencies of some packages
# alone again, with other features.
BUILD_LOCAL := cargo build --workspace --bin bluegreen --bin demo --bin local-aws --bin websvc --locked

# With LOCAL=1 the local AWS takes the account's place; without it the command line is built without it.
bluegreen: ## Build the command line, target/debug/bluegreen (LOCAL=1: with the local AWS)
	@$(if $(LOCAL),$(BUILD_LOCAL),cargo build --package bluegreen-cli --no-default-features --locked)

BLUEGREEN = target/debug/bluegreen $(if $(LOCAL),--local)
# Before anything is compiled.
$(if $(filter up down,$(MAKECMDGOALS)),$(if $(STACK),,$(error Say which application: STACK=demo)))

up: $(if $(LOCAL),setup functions,package) bluegreen ## Bring an application up from nothing (STACK=demo; APP=directory or IMAGE=URI; LOCAL=1)
	$(BLUEGREEN) up '$(STACK)' --architecture $(if $(LOCAL),$(HOST_ARCH),$(ARCH)) \
		$(if $(APP),--app '$(APP)') $(if $(IMAGE),--image '$(IMAGE)') $(foreach setting,$(SET),--set '$(setting)')

down: $(VENV)/installed bluegreen ## Delete an application and all it needs, after a question (STACK=demo; YES=1; LOCAL=1)
	$(BLUEGREEN) down '$(STACK)' $(if $(YES),--yes)

local-aws: setup ## Run the local AWS by itself; ends with Ctrl-C
	cargo build --package local-aws --locked
	target/debug/local-aws --venv $(VENV) --state target/local-aws

format: ## Format the Rust code
	cargo fmt --all

lint: $(VENV)/installed $(CHECKOV)/installed ## Check formatting, clippy, templates and state machine
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	$(VENV)/bin/python tests/lint/check.py

unit: setup ## Run every test that needs no deployed pipeline
	$(BUILD_ALL)
	cargo test --workspace --lib --bins $(addprefix --test ,$(UNIT)) --locked
	cargo test --workspace --doc --locked
	$(VENV)/bin/python -m unittest discover --buffer --start-directory tests/lint
	$(VENV)/bin/python -m unittest discover --buffer --start-directory local-aws/moto
	$(VENV)/bin/python -m unittest discover --buffer --start-directory local-aws/conformance

end-to-end: setup functions ## Run the end-to-end tests on the local AWS
	$(BUILD_ALL)
	$(BENCH) agree
	cargo test --workspace $(addprefix --test ,$(END_TO_END)) --locked

test: lint unit end-to-end ## Run everything
	@echo 'The fault matrix was sampled: make test-faults plays all of it'

test-faults: setup functions ## Play the whole fault matrix, for hours (CASES=text: cases with it in their name)
	$(BUILD_ALL)
	FAULTS=all cargo test --workspace --test faults --locked -- $(CASES)

bench: setup $(if $(filter functions machine stacks,$(ONLY)),functions) ## Measure the functions, the state machine, 200 services and 500 stacks deploying at once, and a large push (ONLY=functions, machine, services, stacks or registry)
	@tests/prepare-machine.sh "$(PYTHON)" bench
	$(BENCH) ONLY="$(ONLY)"

clean: ## Remove everything that was built
	rm -rf target
