# Everything from a fresh checkout: `make demo` runs brain, `make test` passes its tests. Both set up what they need.
#
# Building aws-sdk-ec2 takes 7.5 GB of memory. On a smaller machine `make JOBS=1 …` builds one crate at a time.

SHELL := /bin/bash
CARGO_JOBS := $(if $(JOBS),--jobs $(JOBS))
TOOLS := .setup
# The binaries, with the features that dependencies have in tests: one test is named so that cargo takes those, and
# nothing is built twice for `make demo` and `make test`. For the same reason binaries are run from where they are built.
BINARIES := --workspace --bins --test story
# Clippy compiles brain's own crates: one pass builds and lints, where `cargo clippy` would read the whole AWS SDK once more.
# What is built for development is built so by every target: what one has built, the next one takes.
LINTING := RUSTC_WORKSPACE_WRAPPER=clippy-driver
# Most tests wait for other programs: more of them at a time than there are cores.
THREADS := $(shell echo $$((2 * $$(nproc))))
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup build format lint test soak demo bench screenshots
.DEFAULT_GOAL := help

help: ## these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

setup: ## install what the tests need beside cargo
	@tests/setup/setup.sh

build: ## build everything
	$(LINTING) cargo build --workspace --all-targets $(CARGO_JOBS)

format: setup
	cargo fmt --all --check
	$(TOOLS)/npm/node_modules/.bin/buf lint

lint: format ## formatting, clippy, buf lint
	cargo clippy --workspace --all-targets $(CARGO_JOBS) -- -D warnings

test: format ## everything that must pass, lints among it
	cd tests/lab && PYTHONDONTWRITEBYTECODE=1 ../../$(TOOLS)/venv/bin/python -m pytest -q -p no:cacheprovider
	@mkdir -p $(TARGET)
	set -o pipefail; $(LINTING) cargo build --workspace --all-targets $(CARGO_JOBS) 2>&1 | tee $(TARGET)/lints.log
	! grep '^warning: `.* generated ' $(TARGET)/lints.log
	$(LINTING) RUST_TEST_THREADS=$(THREADS) cargo test --workspace --no-fail-fast $(CARGO_JOBS)

soak: ## simulate every place of every plan, then seed after seed until stopped; prints the seed of a failure
	$(LINTING) cargo build --workspace --all-targets $(CARGO_JOBS)
	EVERY=1 $(LINTING) cargo test --quiet --workspace --test simulation -- same_cloud
	@for ((seed = 1000; ; seed += 1000)); do \
		SEEDS=$$seed..$$((seed + 1000)) $(LINTING) cargo test --quiet --workspace --test simulation -- no_seed || exit 1; \
	done

screenshots: setup ## take the README's pictures anew
	$(LINTING) cargo build --workspace --all-targets $(CARGO_JOBS)
	$(LINTING) cargo test --workspace --test board $(CARGO_JOBS)
	cp target/screenshots/{board,project,terminal}.png tests/screenshots/

demo: ## run all of brain in one process, and play a release
	@tests/setup/setup.sh build
	$(LINTING) cargo build $(BINARIES) $(CARGO_JOBS)
	@$(TARGET)/debug/brain dev --story

bench: ## measure, and print the README's table
	@tests/setup/setup.sh bench
	$(LINTING) cargo build $(BINARIES) $(CARGO_JOBS)
	cargo build --release -p brain-server -p brain-watcher -p brain-tests $(CARGO_JOBS)
	@$(TARGET)/release/bench
