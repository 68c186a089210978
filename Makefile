# The front door. Each target works on a fresh Debian 12 machine with a Rust toolchain and a network.

CARGO ?= cargo
VEXLAB = target/release/vexlab

.PHONY: demo test lint fuzz bench loader-diff docs build prerequisites clean

## demo: from VexFS's source to a verdict in a real kernel
demo: build
	$(VEXLAB) test

## test: every test, the ones in virtual machines included
test: prerequisites
	tools/run-tests

## lint: formatting, clippy
lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path kernel/glue/Cargo.toml
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

## fuzz: every reader of untrusted bytes for SECONDS each, with cargo-fuzz
SECONDS ?= 60
fuzz:
	tools/fuzz $(SECONDS)

## bench: how long things take, as a table
bench: build
	$(CARGO) bench --locked -p vexlab --bench loop > target/performance.md
	$(CARGO) bench --locked -p vexlab --bench check >> target/performance.md
	mv target/performance.md docs/performance.md
	cat docs/performance.md

## loader-diff: what `vexlab check` says beside what the kernel's loader does, on changed modules
loader-diff: build
	$(VEXLAB) kernel add debian-6.1-cloud
	$(CARGO) run --release --locked -p lab --example loader_diff -- debian-6.1-cloud crc7 500

## docs: the pages that are made from the program
docs: build
	$(VEXLAB) doc exit-codes > docs/exit-codes.md
	$(VEXLAB) doc rules > docs/rules.md

build: prerequisites
	$(CARGO) build --release --locked -p vexlab

prerequisites:
	tools/install-prerequisites

clean:
	$(CARGO) clean
