# SPDX-License-Identifier: Apache-2.0
# A thin front for meson and ninja; everything that it does can be done by hand with the commands below.
#
#@ make                build build/clovisor
#@ sudo make demo      install what is missing, trace two pods, show their requests (10 s, no cluster)
#@ sudo make demo BACKEND=jaeger   the same into a real Jaeger (built once, with Go); KEEP=1 leaves it up to look at
#@ sudo make test      install what the tests need, run every test (without root: those that need none)
#@ make test UNIT=1    unit, laws and golden tests only; no root
#@ make check          lint: include rules, licences, formatting, clang-tidy, shell scripts
#@ make fuzz           fuzz the whole engine for a minute, other readers for a quarter each (FUZZ_SECONDS=n for longer)
#@ sudo make bench     what tracing costs, beside others and without anybody: writes docs/performance.md (15 minutes on a
#@                     machine with nothing else to do; QUICK=1: two, and only prints)
#@ sudo make flame     where the engine spends its time: flamegraphs in docs/performance
#@ make bench-encode   what writing a span costs, as JSON and as OTLP
#@ sudo make install   into /usr/local (PREFIX=... DESTDIR=... as usual)
#@ make clean          remove the build directories

BUILD ?= build
PREFIX ?= /usr/local
SETUP_build = $(BUILD)/build.ninja

# As root in somebody's clone: what we built belongs to whom the clone belongs.
give_back = @[ "$$(id -u)" != 0 ] || for d in build*; do [ ! -d "$$d" ] || chown -R --reference=. "$$d"; done

.PHONY: all demo test bench flame bench-encode check lint format tidy fuzz install clean help setup-%
all: $(SETUP_build)
	@ninja -C $(BUILD)
	$(give_back)

$(SETUP_build):
	@command -v meson >/dev/null || { echo "meson is missing; run: sudo tools/setup build" >&2; exit 1; }
	@meson setup $(BUILD) --prefix=$(PREFIX)

setup-%:
	@tools/setup $*

# The packages come before the build, also with make -j.
demo: setup-demo
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)/clovisor

test: setup-test
	@tests/run $(if $(UNIT),--unit) $(ARGS); status=$$?; \
		[ "$$(id -u)" != 0 ] || for d in build*; do [ ! -d "$$d" ] || chown -R --reference=. "$$d"; done; exit $$status

bench: setup-bench
	@$(MAKE) --no-print-directory all
	@ninja -C $(BUILD) --quiet tests/bpf_bench tests/load tests/mkcapture tests/sink
	@tests/bench/run $(if $(QUICK),--quick) $(ARGS); status=$$?; \
		[ "$$(id -u)" != 0 ] || chown -R --reference=. $(BUILD) docs; exit $$status

flame: setup-bench
	@$(MAKE) --no-print-directory all
	@ninja -C $(BUILD) --quiet tests/load tests/mkcapture
	@tests/bench/flame $(ARGS); status=$$?; \
		[ "$$(id -u)" != 0 ] || chown -R --reference=. build* docs; exit $$status

bench-encode: $(SETUP_build)
	@ninja -C $(BUILD) --quiet tests/encode_bench
	@$(BUILD)/tests/encode_bench

check lint: all
	@tools/lint
format:
	@tools/lint --fix-format
tidy: all
	@tools/lint tidy

FUZZ_SECONDS ?= 60
fuzz:
	@tests/run fuzz --fuzz-seconds $(FUZZ_SECONDS)

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-asan build-flame build-fuzz build-tsan build-image

help:
	@sed -n 's/^#@ //p' Makefile
