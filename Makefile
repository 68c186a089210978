# The front door. Each target works on a fresh Debian 12 machine with a Rust toolchain and a network.

CARGO ?= cargo
VEXLAB = target/release/vexlab
# The kernels whose loaders `make loader-diff` asks.
LOADERS = debian-6.1-cloud debian-6.12-cloud
# The image that `make image-test` builds.
IMAGE ?= debian-12

.PHONY: demo test image-test debug-kernel debug-test debug-splats steady lint fuzz bench coverage loader-diff splats docs build prerequisites clean

## demo: from VexFS's source to a verdict in a real kernel
demo: build
	$(VEXLAB) test

## test: every test, the ones in virtual machines included
test: prerequisites
	tools/run-tests

## image-test: a whole distribution: built from packages, booted, reached by ssh, restored, and built in
image-test: prerequisites
	VEXLAB_TEST_IMAGE=$(IMAGE) $(CARGO) test --locked -p vexlab --test suite -- image::

## debug-kernel: a kernel that looks at itself (KASAN, UBSAN, lockdep, kmemleak, failslab …), from Debian's source
DEBUG = 6.1
DEBUG_KERNEL = target/debug-kernel/$(DEBUG)/build
debug-kernel: prerequisites
	tools/debug-kernel $(DEBUG) target/debug-kernel

## debug-test: what only that kernel notices, modules that it has nothing to say of, and VexFS's own tests on it
debug-test: debug-kernel
	VEXLAB_TEST_DEBUG_KERNEL=$(CURDIR)/$(DEBUG_KERNEL) $(CARGO) test --locked -p vexlab --test suite -- debug_kernel::

## debug-splats: as splats, with that kernel
debug-splats: build debug-kernel
	$(CARGO) run --release --locked -p lab --example splats -- tests/splats debug-$(DEBUG)=$(CURDIR)/$(DEBUG_KERNEL)
	SPLATS_WRITE=1 $(CARGO) test --locked -p lab --test splats

## steady: the same verdict, in the same words, each of RUNS times, of a healthy module and of five that crash
RUNS ?= 100
steady: prerequisites
	VEXLAB_STEADY=$(RUNS) $(CARGO) test --locked -p vexlab --test suite -- steady::

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
	$(CARGO) bench --locked -p vexlab --bench splats >> target/performance.md
	$(CARGO) bench --locked -p vexlab --bench inside >> target/performance.md
	$(CARGO) bench --locked -p vexlab --bench others >> target/performance.md
	$(VEXLAB) bench --format markdown >> target/performance.md
	mv target/performance.md docs/performance.md
	cat docs/performance.md

## coverage: which lines and branches of VexFS its tests run, on these kernels together, as a table
COVERED = debian-6.1 debian-6.12
coverage: build
	for kernel in $(COVERED); do $(VEXLAB) kernel add $$kernel || exit; done
	$(VEXLAB) coverage $(COVERED:%=-k %) --markdown docs/coverage.md
	cat docs/coverage.md

## loader-diff: what `vexlab check` says beside what kernels' loaders do: damaged modules, and modules of another kernel
loader-diff: build
	for kernel in $(LOADERS) debian-6.1 debian-6.12; do $(VEXLAB) kernel add $$kernel || exit; done
	$(CARGO) run --release --locked -p lab --example loader_diff -- damaged 1000 $(LOADERS)
	$(CARGO) run --release --locked -p lab --example loader_diff -- spot debian-6.1 50 debian-6.12 debian-6.12-cloud

## splats: what kernels say when a module misbehaves, and what is made of it, to be looked at before it is committed
SPLATS = debian-6.1 debian-6.12
splats: build
	for kernel in $(SPLATS); do $(VEXLAB) kernel add $$kernel || exit; done
	$(CARGO) run --release --locked -p lab --example splats -- tests/splats $(SPLATS)
	SPLATS_WRITE=1 $(CARGO) test --locked -p lab --test splats

## docs: the pages that are made from the program
docs: build
	$(VEXLAB) doc exit-codes > docs/exit-codes.md
	$(VEXLAB) doc report-format > docs/report-format.md
	$(VEXLAB) doc rules > docs/rules.md
	$(VEXLAB) doc splats > docs/splats.md

build: prerequisites
	$(CARGO) build --release --locked -p vexlab

prerequisites:
	tools/install-prerequisites

clean:
	$(CARGO) clean
