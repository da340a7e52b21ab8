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

# As Rust names this machine.
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# These are links to podcov, which is all of them.
COMMANDS := $(filter-out agent podcov,$(notdir $(wildcard hooks/*)))
EXAMPLES := $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
GO_MODULES := $(EXAMPLES) e2e/measured e2e/plain e2e/program e2e/storage/gcs e2e/wrapped crates/covdata/tests/programs/sample \
    crates/covdata/tests/programs/blocks crates/covdata/tests/programs/fromfile crates/livecov/tests/programs/quiet

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)

CARGO_MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := $(or $(shell command -v cargo-mutants),target/tools/bin/cargo-mutants)

# Which way is tried, which processes are signalled, and whose a folder is. docs/development.md lists what no test finds,
# and what else is changed now and then: make mutants MUTATED=FILE, by these tests of its package.
MUTANT_TESTS ?= --lib
MUTATED := crates/reach/src/plan.rs crates/reach/src/try_ways.rs crates/reach/src/process.rs hooks/collect/src/ownership.rs

# A real Kubernetes on this machine, or the one that PODCOV_E2E_CONTEXT names in the kubeconfig: its programs are
# built and unpacked here, once.
E2E := target/e2e
KUBERNETES := $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2 }' e2e/kube/go.mod)
KUBE_PROGRAMS := kube-apiserver kube-controller-manager kube-scheduler kubelet
DEBIAN_PACKAGES := busybox-static containerd containernetworking-plugins etcd-server runc
E2E_TOOLS := $(E2E)/bin/ko $(E2E)/debian/bin/busybox $(if $(PODCOV_E2E_CONTEXT),,$(E2E)/bin/kube)
CLUSTER := target/debug/examples/cluster
WITH_CLUSTER := $(if $(PODCOV_E2E_CONTEXT),,$(CLUSTER) run --)

.PHONY: help demo test agent agent-sizes image dist archives release check-macos tryout reproduce emulate readers storage fuzz e2e e2e-tools cluster-up cluster-down lint deny mutants bench bench-e2e bench-snapshot build install need-rust need-rust-and-go
.DEFAULT_GOAL := help

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The whole workspace, and all that the hook in skaffold.yaml builds: which features the crates are built with depends on
# the packages that are selected, and those of the whole workspace are what `make test` needs too.
demo: need-rust-and-go ## Run skaffold.yaml's coverage profile on an embedded cluster: deploy, test, collect
	@begun=$$(date +%s) && echo "cargo build --locked --workspace --bins --examples" && \
	    cargo build --locked --workspace --bins --examples && \
	    echo "building podcov took $$(($$(date +%s) - begun)) s"
	target/debug/examples/demo

# Tests run the hooks as whole programs, so those are built first, also for a selection of tests.
test: need-rust-and-go ## Run all tests
	cargo build --locked --workspace --bins
	cargo test --locked --workspace $(CARGO_TEST_FLAGS)
	for example in $(EXAMPLES); do go -C "$$example" test $(GO_TEST_FLAGS) ./... || exit; done

# Statically, with all that it needs at run time in it, and small: in a folder of its own, for other flags than the
# hosts' programs have make other libraries. At a fixed address, for a program that must be relocated is 200 kB larger,
# and takes up to half a millisecond more at each of its two starts in a container.
AGENT := target/agent/bin/podcov-agent

AGENT_BUILD := RUSTFLAGS="-Ctarget-feature=+crt-static -Crelocation-model=static" \
    cargo build --locked --profile agent --package podcov-agent --target $(HOST) --target-dir target/agent
AGENT_INSTALL := install -D -m 755 target/agent/$(HOST)/agent/podcov-agent

agent: need-rust ## Build podcov-agent for images, in target/agent (takes minutes)
	$(AGENT_BUILD)
	$(AGENT_INSTALL) $(AGENT)

agent-sizes: need-rust ## Build it with one cloud each and with none too, for make bench to weigh (takes minutes)
	for cloud in none aws azure gcp; do \
	    $(AGENT_BUILD) --no-default-features --features "$${cloud#none}" || exit; \
	    $(AGENT_INSTALL) "$(AGENT)-$$cloud" || exit; \
	done

image: agent ## Make an image of it: target/image, an OCI layout (crane push target/image REFERENCE)
	cargo build --locked --workspace --bins
	target/debug/podcov-packaging image target/image $(AGENT)

# Those of macOS are built there alone.
DIST_TARGETS ?= $(if $(findstring darwin,$(HOST)),aarch64-apple-darwin x86_64-apple-darwin,\
    x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-pc-windows-gnu)
# Where target/dist will be published. This default makes an install script that works on this machine.
DIST_URL ?= file://$(CURDIR)/target/dist
DIST_HOMEPAGE ?= $(DIST_URL)

dist: archives release ## Make a release in target/dist: DIST_TARGETS names the platforms (needs Python; takes some ten minutes each)

archives: need-rust ## Make its archives alone
	cargo build --locked --workspace --bins
	COMMANDS="$(COMMANDS)" packaging/dist $(DIST_TARGETS)

release: need-rust ## Make its sums, install script, manifests and images, of the archives that are there
	cargo build --locked --workspace --bins
	target/debug/podcov-packaging release target/dist --url "$(DIST_URL)" --homepage "$(DIST_HOMEPAGE)"

# On another machine than a Mac this is all there is.
check-macos: need-rust ## See whether podcov compiles for macOS (needs Python; takes minutes)
	packaging/dist --check aarch64-apple-darwin x86_64-apple-darwin

tryout: need-rust-and-go ## Install target/dist in empty roots of Debian and busybox, and collect there (Debian or Ubuntu)
	packaging/tryout $(TRYOUT_ROOTS)

REPRODUCED := x86_64-unknown-linux-musl
reproduce: ## Build the archive of linux-amd64 in two folders, and compare (takes twice as long)
	COMMANDS="$(COMMANDS)" packaging/reproduce $(REPRODUCED)

emulate: need-rust-and-go ## Run what target/dist has for linux-arm64 by qemu, for windows-amd64 by wine (Debian or Ubuntu)
	cargo build --locked --workspace --bins
	packaging/emulate

readers: need-rust-and-go $(E2E)/readers/catalog.xml ## Let other projects' programs and a browser read reports (installs Debian packages: needs root once)
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --test readers $(CARGO_TEST_FLAGS)

$(E2E)/readers/catalog.xml: $(wildcard e2e/readers/*)
	e2e/readers/setup "$(@D)"

storage: need-rust-and-go ## Upload to real servers of object storage, also where they fail (needs Node.js and npm)
	e2e/storage/setup "$(E2E)/storage"
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --test storage $(CARGO_TEST_FLAGS)

# Every reader of outside bytes in turn, from the corpus in e2e/fuzz. What makes one fail stays in target/fuzz/found;
# once mended it belongs into the corpus, which `make test` reads.
FUZZ_SECONDS ?= 10
FUZZ_FLAGS := -Cpasses=sancov-module -Ccodegen-units=1 --cfg fuzzing $(patsubst %,-Cllvm-args=-sanitizer-coverage-%,\
    level=4 inline-8bit-counters pc-table trace-compares)

fuzz: need-rust ## Fuzz every reader, FUZZ_SECONDS each (needs a C++ compiler)
	RUSTFLAGS="$(FUZZ_FLAGS)" CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo build --locked --package podcov-fuzz --features libfuzzer \
	    --bins --target $(HOST) --target-dir target/fuzz
	@for corpus in e2e/fuzz/corpus/*; do \
	    name=$${corpus##*/}; \
	    mkdir -p "target/fuzz/corpus/$$name" target/fuzz/found; \
	    echo "fuzzing $$name"; \
	    "target/fuzz/$(HOST)/debug/fuzz-$$name" -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=1024 \
	        -max_len=65536 -print_final_stats=1 -artifact_prefix=target/fuzz/found/ "target/fuzz/corpus/$$name" "$$corpus" \
	        2>"target/fuzz/$$name.log" || { tail -40 "target/fuzz/$$name.log"; exit 1; }; \
	    sed -n 's/^stat::number_of_executed_units: */    inputs: /p' "target/fuzz/$$name.log"; \
	done

e2e-tools: $(E2E_TOOLS) ## Build and unpack what that takes, once (minutes)

# Ctrl-C also shuts the cluster down gracefully; so does a failing test.
e2e: export PATH := $(CURDIR)/$(E2E)/bin:$(PATH)
e2e: need-rust-and-go $(E2E_TOOLS) image $(E2E)/storage/bin/gcs ## Run the tests on a real Kubernetes, started and ended here (needs root)
	cargo build --locked --workspace --bins --examples
	@if [ -n "$(PODCOV_E2E_CONTEXT)" ] || [ -e /sys/class/net/podcov0 ]; then \
	    echo "skipped: e2e/node/tests/lifecycle.rs: a cluster is there already"; \
	else \
	    cargo test --locked --workspace --test lifecycle $(CARGO_TEST_FLAGS); \
	fi
	$(WITH_CLUSTER) cargo test --locked --workspace --test cluster $(CARGO_TEST_FLAGS)

bench-e2e: export PATH := $(CURDIR)/$(E2E)/bin:$(PATH)
bench-e2e: need-rust-and-go $(E2E_TOOLS) agent ## Measure the hooks on it beside shell scripts and kubectl
	cargo build --locked --workspace --examples
	cargo build --locked --profile $(BENCH_PROFILE) --workspace --bins
	cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench hooks --no-run
	$(WITH_CLUSTER) cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench hooks

# podcov-agent is measured as images have it, podcov-collect as BENCH_PROFILE says.
bench-snapshot: export PATH := $(CURDIR)/$(E2E)/bin:$(PATH)
bench-snapshot: need-rust-and-go $(E2E_TOOLS) $(E2E)/covered/kube agent ## Measure reading a large program's memory (builds Kubernetes with -cover)
	cargo build --locked --workspace --examples
	cargo build --locked --profile $(BENCH_PROFILE) --workspace --bins
	$(WITH_CLUSTER) cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench snapshot

# Statically: it runs in an image that has busybox alone.
$(E2E)/covered/kube: $(wildcard e2e/kube/*)
	go -C e2e/kube build -trimpath -cover -covermode=atomic -coverpkg=k8s.io/...,example.com/e2e/kube \
	    -ldflags="-s -w -linkmode=external -extldflags=-static $(KUBE_VERSION)" -o "$(CURDIR)/$(@D)/" .

cluster-up: need-rust-and-go $(E2E_TOOLS) ## Start it for development; make e2e then uses it too
	cargo build --locked --workspace --examples
	$(CLUSTER) up

cluster-down: need-rust-and-go ## End it
	cargo build --locked --workspace --examples
	$(CLUSTER) down

# They say which version they are, as released ones do: Skaffold asks kubectl.
KUBE_MINOR := $(word 2,$(subst ., ,$(KUBERNETES)))
KUBE_VERSION := $(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version,\
    -X $(package).gitVersion=$(KUBERNETES) -X $(package).gitMajor=1 -X $(package).gitMinor=$(KUBE_MINOR))

# One binary of all but kubectl, for they share most of their code; kubectl starts faster alone, as its users have it.
$(E2E)/bin/kube: $(wildcard e2e/kube/*)
	go -C e2e/kube build -trimpath -ldflags="-s -w $(KUBE_VERSION)" -o "$(CURDIR)/$(@D)/" . k8s.io/kubernetes/cmd/kubectl
	for program in $(KUBE_PROGRAMS); do ln -sf kube "$(@D)/$$program" || exit; done

# And crane, which is of the same module as ko's own use of registries.
$(E2E)/bin/ko: $(wildcard e2e/tools/*)
	go -C e2e/tools build -trimpath -ldflags="-s -w" -o "$(CURDIR)/$(@D)/" \
	    github.com/google/ko github.com/google/go-containerregistry/cmd/crane

$(E2E)/debian/bin/busybox: e2e/debian
	e2e/debian "$(E2E)/debian" $(DEBIAN_PACKAGES)
	touch "$@"

# What the example of uploading uploads to.
$(E2E)/storage/bin/gcs: $(wildcard e2e/storage/gcs/*)
	CGO_ENABLED=0 go -C e2e/storage/gcs build -trimpath -ldflags="-s -w" -o "$(CURDIR)/$(@D)/" .

lint: need-rust-and-go ## Check the formatting and the lints of the Rust and the Go code
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --test cluster --test lifecycle --test readers --test storage --bench hooks --bench snapshot --bench covdata -- -D warnings
	@unformatted=$$(find crates e2e examples -name '*.go' -exec gofmt -l {} +) && \
	    if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	for module in $(GO_MODULES); do go -C "$$module" vet -tags=integration ./... || exit; done

# Exit codes 2 and 3: a change was not noticed, or had a test run for ever.
mutants: need-rust $(filter target/%,$(CARGO_MUTANTS)) ## Change the code that decides what is ours, and see whether a test fails (takes most of an hour)
	mkdir -p target/mutants
	$(CARGO_MUTANTS) mutants --workspace $(MUTATED:%=--file %) --cargo-arg=--locked $(MUTANT_TESTS:%=--cargo-arg=%) \
	    --minimum-test-timeout 60 --output target/mutants || { code=$$?; [ $$code -eq 2 ] || [ $$code -eq 3 ]; }

target/tools/bin/cargo-mutants:
	cargo install cargo-mutants --version $(CARGO_MUTANTS_VERSION) --locked --debug --root target/tools

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

# The benchmarks run the hooks as whole programs too. What waits for a cluster far more than for the processor is
# measured with the programs of `make test`; BENCH_PROFILE=bench builds optimized ones first, for minutes. podcov-report
# is measured optimized, podcov-agent as images have it.
BENCH_PROFILE ?= dev
# Which is for Linux alone.
BENCH_AGENT := $(if $(findstring linux,$(HOST)),agent)
bench: need-rust-and-go $(BENCH_AGENT) ## Run the benchmarks (BENCH_PROFILE=bench: optimized, takes minutes to build)
	cargo build --locked --profile $(BENCH_PROFILE) --workspace --bins
	cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench collect
	$(if $(BENCH_AGENT),cargo bench --locked --profile $(BENCH_PROFILE) --workspace --bench agent)
	cargo bench --locked --profile release --package podcov-report --bench covdata

build: need-rust ## Build the programs into target/debug
	cargo build --locked --workspace --bins

install: need-rust ## Build the programs optimized (takes minutes) and put them into BINDIR, else cargo's folder
	cargo build --locked --release --package podcov --package podcov-agent
	mkdir -p "$(BINDIR)"
	install -m 755 target/release/podcov target/release/podcov-agent "$(BINDIR)"
	for name in $(COMMANDS); do ln -sf podcov "$(BINDIR)/podcov-$$name" || exit; done

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
