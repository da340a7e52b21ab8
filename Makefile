# What can be done here, by one word each: `make` alone lists it.
#
# Needed are Rust by rustup, Go, a C compiler (Rust links with it), make and git; everything else is fetched and
# built when first used. Demo, tests and the hooks of skaffold.yaml share one profile and one target folder, so
# that each finds what another has built.

# skaffold.yaml names the folder, so another one set up for all of the user's projects would not do.
export CARGO_TARGET_DIR := $(CURDIR)/target

# Where `make install` puts the programs. The default is where rustup has put cargo, which is on PATH.
BINDIR ?= $(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# For CI and for selecting tests: make test CARGO_TEST_FLAGS='--package covdata'
CARGO_TEST_FLAGS ?=
GO_TEST_FLAGS ?=

HOOKS := $(patsubst hooks/%,podcov-%,$(wildcard hooks/*))
GO_MODULES := examples/hello e2e/program

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)

.PHONY: help demo test lint deny bench build install need-rust need-rust-and-go
.DEFAULT_GOAL := help

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Not by `cargo run --package`: which features the crates are built with depends on the packages that are selected,
# and those of the whole workspace are what `make test` needs too.
demo: need-rust-and-go ## Run skaffold.yaml's coverage profile on an embedded cluster: deploy, test, collect
	cargo build --locked --workspace --examples
	target/debug/examples/demo

# Tests run the hooks as whole programs, so those are built first, also for a selection of tests.
test: need-rust-and-go ## Run all tests
	cargo build --locked --workspace --bins
	cargo test --locked --workspace $(CARGO_TEST_FLAGS)
	go -C examples/hello test $(GO_TEST_FLAGS) ./...

lint: need-rust-and-go ## Check the formatting and the lints of the Rust and the Go code
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@unformatted=$$(find crates e2e examples -name '*.go' -exec gofmt -l {} +) && \
	    if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	for module in $(GO_MODULES); do go -C "$$module" vet -tags=integration ./... || exit; done

deny: need-rust $(filter target/%,$(CARGO_DENY)) ## Check what the dependencies are: licences, sources, vulnerabilities
	$(CARGO_DENY) --locked check --hide-inclusion-graph licenses bans sources
	@if $(CARGO_DENY) --locked fetch db; then \
	    echo "$(CARGO_DENY) --locked check --hide-inclusion-graph advisories"; \
	    $(CARGO_DENY) --locked check --hide-inclusion-graph advisories; \
	else \
	    echo "skipped: known vulnerabilities: their database could not be fetched, for the reason above"; \
	fi

# It runs for seconds, so optimizing it would take far longer than it saves.
target/tools/bin/cargo-deny:
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --debug --root target/tools

# The benchmarks run the hooks as whole programs too. What they measure waits for a cluster far more than for the
# processor, so the programs of `make test` serve; BENCH_PROFILE=bench builds optimized ones first, for minutes.
BENCH_PROFILE ?= dev
bench: need-rust-and-go ## Run the benchmarks (BENCH_PROFILE=bench: optimized, takes minutes to build)
	cargo build --locked --profile $(BENCH_PROFILE) --workspace --bins
	cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench '*'

build: need-rust ## Build the programs into target/debug
	cargo build --locked --workspace --bins

install: need-rust ## Build the programs optimized (takes minutes) and put them into BINDIR, else cargo's folder
	cargo build --locked --release $(HOOKS:%=--package=%)
	mkdir -p "$(BINDIR)"
	install -m 755 $(HOOKS:%=target/release/%) "$(BINDIR)"

# $(call need,PROGRAM,WHERE TO GET IT), the latter without a comma
need = command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)" >&2; missing=1; }
rust = $(call need,cargo,install Rust by rustup (https://rustup.rs)); \
       $(call need,cc,install a C compiler (the package is mostly called gcc or clang))
go = $(call need,go,install Go 1.24 or later (https://go.dev/doc/install)); \
     $(call need,git,install git (go runs it to build in a clone))

need-rust:
	@missing=0; $(rust); exit $$missing

need-rust-and-go:
	@missing=0; $(rust); $(go); exit $$missing
