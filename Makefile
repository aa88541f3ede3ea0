# A thin front: CMake does the work. `make help` lists what there is.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
CMAKE_FLAGS ?=
# what a process with one thread runs, for the policy `single` is among the racers
POLICY_PROGRAMS := python3,perl,lua5.4,sqlite3,gcc,clang,z3,gs,jq
POLICY_WORKLOADS := fixed-lifo,fixed-fifo,mixed-random,peak-trough,large,growing,ramp

.PHONY: all help demo check check-all bench bench-programs bench-limits bench-policies bench-blocks tidy asan tsan cov install clean setup

all: setup ## build the libraries and the command into build/
	@cmake -S . -B $(BUILD) $(if $(shell command -v ninja),-G Ninja) $(CMAKE_FLAGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@cmake --build $(BUILD) -j $(JOBS)

setup:
	@dev/setup build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: all ## run real programs on libc and on loam, compare, and print what it cost
	@dev/setup demo
	@LOAM_BUILD=$(BUILD) demo/run

check: ## test
	@dev/setup check
	@dev/check

check-all: ## test in full: long runs, every compiler, sanitizers, other processors
	@dev/setup check all
	@LOAM_CHECK_ALL=1 dev/check

bench: all ## race loam against libc and the allocators installed
	@dev/setup bench
	@LOAM_BUILD=$(BUILD) bench/run --json $(BUILD)/bench.json
	@bench/plot --to $(BUILD)/plots $(BUILD)/bench.json

bench-programs: all ## the same race on real programs and servers
	@dev/setup bench
	@LOAM_BUILD=$(BUILD) bench/programs --json $(BUILD)/bench-programs.json

bench-limits: all ## how far loam and its peers are from a malloc that does nothing
	@dev/setup bench
	@LOAM_BUILD=$(BUILD) bench/limits --json $(BUILD)/bench-limits.json

bench-policies: all ## what loam's policies gain, and what they cost
	@dev/setup bench
	@LOAM_BUILD=$(BUILD) bench/programs --policies --peers none --only $(POLICY_PROGRAMS) --json $(BUILD)/bench-policies-programs.json
	@LOAM_BUILD=$(BUILD) bench/run --policies --peers none --no-traces --only $(POLICY_WORKLOADS) --json $(BUILD)/bench-policies.json

bench-blocks: all ## race the building blocks against their like
	@dev/setup bench
	@LOAM_BUILD=$(BUILD) bench/blocks

tidy: all ## format and lint
	@dev/setup tidy
	@clang-format -i $$(git ls-files '*.c' '*.h' '*.cc')
	@clang-tidy -quiet -p $(BUILD) $$(git ls-files 'src/*.c' | grep -v fake.c)

asan: ## test the library under the address and undefined behaviour sanitizers
	@dev/check sanitize address,undefined

tsan: ## test the library under the thread sanitizer
	@dev/check sanitize thread

cov: ## coverage of the unit and model tests
	@dev/check coverage

install: all ## into PREFIX, below DESTDIR
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove what was built
	@rm -rf $(BUILD) build-*
