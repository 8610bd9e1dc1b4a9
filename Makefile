# SPDX-License-Identifier: MIT
# The whole build, one file.  `make help` lists what it can do.
#
#   CONF=release|debug|asan|tsan|fuzz   each in build/$(CONF), side by side
#   CC=gcc|clang                        clang builds go to build/$(CONF)-clang
#   WERROR=1 (or CI=true)               warnings are errors
#   V=1                                 show the commands
#   T=test_config                       only this test (check, stress)

CONF ?= release
V ?= 0
FUZZ_SECS ?= 10
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

ifeq ($(filter $(CONF),release debug asan tsan fuzz),)
$(error CONF=$(CONF): use release, debug, asan, tsan or fuzz)
endif
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(CONF),fuzz)
override CC := clang
endif
ifeq ($(CI),true)
WERROR ?= 1
endif
WERROR ?= 0

is_clang := $(findstring clang,$(notdir $(firstword $(CC))))
B := build/$(CONF)$(if $(filter-out fuzz,$(CONF)),$(if $(is_clang),-clang))

ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-5s %s\n' $(1) $(2)
Q := @
endif

# --- flags -----------------------------------------------------------------------------------

# The message-pack library goes by either name.
MSGPACK_PC := $(shell pkg-config --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
LIB_PCS := libwebsockets libuv sqlite3 openssl libsodium jansson ck rdkafka $(MSGPACK_PC)

# A library outside the default path is a system header too: its warnings are not ours.
PC_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(LIB_PCS) 2>/dev/null))
PC_LIBS := $(shell pkg-config --libs $(LIB_PCS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
WERROR_FLAG := $(if $(filter 1,$(WERROR)),-Werror)
CPPFLAGS_ALL := -Iinclude -Isrc -D_GNU_SOURCE $(CPPFLAGS) $(PC_CFLAGS)
CFLAGS_ALL := -std=c11 -g -pthread -fno-omit-frame-pointer $(WARN)
LDFLAGS_ALL := -pthread -Wl,--as-needed
LIBS := $(PC_LIBS) -lcrypt -lpthread -lm

UBSAN := -fsanitize=undefined -fno-sanitize-recover=undefined
ifeq ($(CONF),release)
CFLAGS_ALL += -O2 -fstack-protector-strong -fPIE
CPPFLAGS_ALL += -D_FORTIFY_SOURCE=2
LDFLAGS_ALL += -pie -Wl,-z,relro,-z,now
else ifeq ($(CONF),debug)
CFLAGS_ALL += -O0 -g3
CPPFLAGS_ALL += -DCX_DIAG=1
else ifeq ($(CONF),asan)
CFLAGS_ALL += -O1 -fsanitize=address $(UBSAN)
CPPFLAGS_ALL += -DCX_DIAG=1
LDFLAGS_ALL += -fsanitize=address $(UBSAN)
else ifeq ($(CONF),tsan)
CFLAGS_ALL += -O1 -fsanitize=thread
CPPFLAGS_ALL += -DCX_DIAG=1 -DCX_TSAN=1
LDFLAGS_ALL += -fsanitize=thread
else ifeq ($(CONF),fuzz)
CFLAGS_ALL += -O1 -fsanitize=fuzzer-no-link,address $(UBSAN)
CPPFLAGS_ALL += -DCX_DIAG=1
LDFLAGS_ALL += -fsanitize=address $(UBSAN)
endif
CFLAGS_ALL += $(CFLAGS)
LDFLAGS_ALL += $(LDFLAGS)

# --- files: wildcards, a new file needs no edit ----------------------------------------------

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
bin = $(patsubst %.c,$(B)/%,$(1))

CX_SRC := $(wildcard src/runtime/*.c)
APP_SRC := $(filter-out src/roles/main.c,$(wildcard $(foreach d,wire io actors roles,src/$(d)/*.c)))
MAIN_SRC := src/roles/main.c
SUPPORT_SRC := $(wildcard tests/support/*.c)
T ?= test_*
UNIT_SRC := $(wildcard $(foreach d,runtime wire io actors roles,tests/$(d)/$(T).c))
STRESS_SRC := $(wildcard tests/stress/$(if $(filter-out test_*,$(T)),$(T),stress_*).c)
SIM_SRC := $(wildcard tests/sim/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard bench/*.c)
# One program; its peers in other languages are built by the run.
BENCH_RUNTIME_SRC := $(wildcard bench/runtime/*.c)

LIBCX := $(B)/libcx.a
LIBAPP := $(B)/libconstruct.a
LIBSUPPORT := $(if $(SUPPORT_SRC),$(B)/libtestsupport.a)
PROGRAM := $(B)/construct
LINKS := $(addprefix $(B)/,construct-server message-gateway delivery-worker)
UNIT := $(call bin,$(UNIT_SRC))
STRESS := $(call bin,$(STRESS_SRC))
SIM := $(B)/tests/sim/relay_sim
FUZZ := $(call bin,$(FUZZ_SRC))
BENCH := $(call bin,$(BENCH_SRC))
BENCH_RUNTIME := $(B)/bench/bench_runtime
CODE_OBJ := $(call obj,$(CX_SRC) $(APP_SRC) $(MAIN_SRC))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: FORCE all release debug run test check check-asan check-tsan stress sim mutants fuzz bench \
	bench-runtime conformance kafka-test e2e fault lint format check-headers check-install docs deps install \
	clean help \
	tests-build stress-build fuzz-build bench-build

# --- build -----------------------------------------------------------------------------------

all: $(PROGRAM) $(LINKS)
	$(call warnings_clean,$(CODE_OBJ))

release debug:
	@$(MAKE) --no-print-directory CONF=$@ all

# Rewritten only when their text changes, so that what depends on them is rebuilt just then.
define stamp
@mkdir -p $(@D)
@printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(1))' >$@
endef
$(B)/flags: FORCE
	$(call stamp,$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) / $(TEST_FLAGS) / $(LDFLAGS_ALL) $(LIBS))
$(B)/files: FORCE
	$(call stamp,$(CX_SRC) $(APP_SRC) $(SUPPORT_SRC))
$(B)/version: FORCE
	$(call stamp,$(shell ops/version.sh))
FORCE:

# Warnings are kept beside the object: a later WERROR=1 finds them without compiling again.
$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(EXTRA) $(WERROR_FLAG) -MMD -MP -c -o $@ $< 2>$@.warn; \
		rc=$$?; cat $@.warn >&2; exit $$rc

$(B)/obj/src/roles/version.o: $(B)/version
$(B)/obj/src/roles/version.o: EXTRA = -DCONSTRUCT_VERSION='"$(shell cat $(B)/version)"'
# Criterion's and libFuzzer's macros make functions without prototypes, and gcc takes the
# one-bit fields inside Criterion's eq() and its kin for conversions.
TEST_FLAGS := -Itests -Wno-missing-prototypes -Wno-conversion
$(B)/obj/tests/%.o: EXTRA = $(TEST_FLAGS)

# With WERROR=1: no object of the list was compiled with a warning, now or before.
define warnings_clean
$(if $(filter 1,$(WERROR)),@bad=0; for o in $(1); do [ ! -s $$o.warn ] || { cat $$o.warn >&2; bad=1; }; done; \
	[ $$bad = 0 ] || { echo 'warnings are errors here (WERROR=1)' >&2; exit 1; })
endef

define archive
$(call say,AR,$@)
@rm -f $@
$(Q)ar rcs $@ $(filter %.o,$^)
endef
$(LIBCX): $(call obj,$(CX_SRC)) $(B)/files
	$(archive)
$(LIBAPP): $(call obj,$(APP_SRC)) $(B)/files
	$(archive)
$(B)/libtestsupport.a: $(call obj,$(SUPPORT_SRC)) $(B)/files
	$(archive)

define link
@mkdir -p $(@D)
$(call say,LINK,$@)
$(Q)$(CC) $(LDFLAGS_ALL) $(1) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(2) $(LIBS)
endef
$(PROGRAM): $(call obj,$(MAIN_SRC)) $(LIBAPP) $(LIBCX)
	$(call link)
$(LINKS): $(PROGRAM)
	@ln -sf construct $@
$(UNIT): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link,,-lcriterion)
$(STRESS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link)
$(SIM): $(call obj,$(SIM_SRC)) $(LIBAPP) $(LIBCX)
	$(call link)
$(FUZZ): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link,-fsanitize=fuzzer)
$(BENCH): $(B)/bench/%: $(B)/obj/bench/%.o $(LIBAPP) $(LIBCX)
	$(call link,,-lhiredis)
# The library alone, as another program would link it.
$(BENCH_RUNTIME): $(call obj,$(BENCH_RUNTIME_SRC)) $(LIBCX)
	$(call link)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

tests-build: $(UNIT)
	$(call warnings_clean,$(call obj,$(UNIT_SRC) $(SUPPORT_SRC)))
stress-build: $(STRESS)
	$(call warnings_clean,$(call obj,$(STRESS_SRC)))
bench-build: $(BENCH) $(BENCH_RUNTIME)
	$(call warnings_clean,$(call obj,$(BENCH_SRC) $(BENCH_RUNTIME_SRC)))
ifeq ($(CONF),fuzz)
fuzz-build: $(FUZZ)
else
fuzz-build:
	@$(MAKE) --no-print-directory CONF=fuzz fuzz-build
endif

# --- run -------------------------------------------------------------------------------------

deps:
	@ops/install-deps.sh run

# On a terminal the program becomes the foreground job (bash -m), so that Ctrl-C reaches it and
# not make, which would call the clean end an error.
run:
	@ops/install-deps.sh run
	@$(MAKE) --no-print-directory -j$(JOBS) CONF=release all
	@if [ -t 0 ]; then exec bash -mc 'build/release/construct all; exit $$?'; \
	else exec build/release/construct all; fi

# --- tests -----------------------------------------------------------------------------------

test:
	@FUZZ_SECS=$(FUZZ_SECS) JOBS=$(JOBS) MAKE='$(MAKE)' tests/run-all.sh $(STAGES)

check: tests-build
	@tests/run-unit.sh $(B) $(UNIT)

check-asan:
	@$(MAKE) --no-print-directory CONF=asan check

check-tsan:
	@$(MAKE) --no-print-directory CONF=tsan stress

stress: stress-build
	@tests/run-stress.sh $(B) $(STRESS)

# New seeds each time (FIRST) and all that ever failed.
SEEDS ?= 1000
FIRST ?= $(shell date +%s)000
sim: $(SIM)
	$(call warnings_clean,$(call obj,$(SIM_SRC)))
	@tests/sim/run.sh $(SIM) $(FIRST) $(SEEDS)

# Bugs planted on purpose, each to be found by the simulator.
mutants: $(SIM)
	@python3 tests/sim/mutants.py $(B)

fuzz:
	@$(MAKE) --no-print-directory CONF=fuzz fuzz-build
	@FUZZ_SECS=$(FUZZ_SECS) JOBS=$(JOBS) tests/run-fuzz.sh build/fuzz $(patsubst %.c,build/fuzz/%,$(FUZZ_SRC))

bench: all bench-build
	@bench/run.sh $(PROGRAM)

# ARGS: see bench/run_runtime.py --help
bench-runtime: $(BENCH_RUNTIME)
	@python3 bench/run_runtime.py $(ARGS)

conformance: all
	@tests/conformance/run.sh $(PROGRAM)

# KAFKA_BROKERS=host:port,...: real brokers; without it says so and does nothing.
kafka-test: $(B)/tests/io/test_kafka_producer $(B)/tests/io/test_kafka_consumer
	@tests/kafka/run.sh $(B)

e2e: all
	@tests/e2e/run.sh $(PROGRAM)

fault: all
	@$(MAKE) --no-print-directory CONF=asan all
	@tests/fault/run.sh $(PROGRAM)

lint:
	@tests/runner-selftest.sh
	@python3 tests/lint/selftest.py
	@python3 tests/lint/lint.py .

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

# Each header compiles alone; the public ones in C++ too.
HEADERS := $(wildcard include/cx/*.h include/construct/*.h src/*/*.h)
check-headers:
	@n=0; for h in $(HEADERS); do \
		echo "#include \"$$h\"" | gcc -I. $(CPPFLAGS_ALL) -std=c11 $(WARN) -Werror -fsyntax-only -x c - \
			|| { echo "$$h does not compile alone" >&2; exit 1; }; n=$$((n + 1)); \
	done; for h in $(wildcard include/cx/*.h); do \
		echo "#include \"$$h\"" | g++ -I. -Iinclude -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -x c++ - \
			|| { echo "$$h does not compile as C++" >&2; exit 1; }; n=$$((n + 1)); \
	done; echo "headers: $$n passed, 0 failed"

# The installed library serves a program that has nothing else of ours.
check-install: all
	@MAKE='$(MAKE)' tests/install.sh $(B)

docs: all
	@mkdir -p docs
	@$(PROGRAM) --params-md >docs/params.md.tmp && mv docs/params.md.tmp docs/params.md
	@$(PROGRAM) --env-example >.env.example.tmp && mv .env.example.tmp .env.example

# --- install ---------------------------------------------------------------------------------

bindir = $(DESTDIR)$(PREFIX)/bin
libdir = $(DESTDIR)$(PREFIX)/lib
incdir = $(DESTDIR)$(PREFIX)/include/cx

install: all
	install -d $(bindir) $(libdir)/pkgconfig $(incdir)
	install -m 755 $(PROGRAM) $(bindir)/construct
	for l in $(notdir $(LINKS)); do ln -sf construct $(bindir)/$$l; done
	install -m 644 $(LIBCX) $(libdir)/libcx.a
	install -m 644 $(wildcard include/cx/*.h include/cx/*.def) $(incdir)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e "s|@VERSION@|$$(cat VERSION)|" ops/cx.pc.in >$(libdir)/pkgconfig/cx.pc

clean:
	rm -rf build

help:
	@echo 'Build        make                   the program, build/release/construct'
	@echo '             make CONF=debug        debug, asan or tsan instead; CC=clang; V=1; WERROR=1'
	@echo '             make install           PREFIX=/usr/local, DESTDIR: program, libcx.a, headers, cx.pc'
	@echo '             make clean'
	@echo 'Run          make run               install what is missing, build, serve on this machine'
	@echo 'Everything   make test              all of the below, in the order CI does it'
	@echo '             make test STAGES="lint unit-asan"    only these (unknown name: lists them)'
	@echo 'Tests        make check             unit tests          (check-asan: with sanitizers)'
	@echo '             make stress            runtime stress      (check-tsan: with ThreadSanitizer)'
	@echo '             make sim               SEEDS=1000: the whole relay, simulated with faults'
	@echo '             make mutants           planted bugs, each found by the simulator'
	@echo '             make fuzz              FUZZ_SECS=10 each, clang'
	@echo '             make kafka-test        KAFKA_BROKERS=...: the Kafka adapters on real brokers'
	@echo '             make e2e               protocol, with clients that are not ours'
	@echo '             make conformance       Autobahn Testsuite against the echo role'
	@echo '             make fault             kill -9, SIGTERM, slow readers, hostile input'
	@echo 'Code         make lint              include rules, formatting, house rules (tests itself first)'
	@echo '             make format            clang-format over tracked C files'
	@echo '             make check-headers     each header compiles alone'
	@echo '             make check-install     the installed library serves an example'
	@echo '             make docs              docs/params.md and .env.example from the table'
	@echo 'Measure      make bench             benchmarks with their peers; see docs/benchmarks.md'
	@echo '             make bench-runtime     libcx beside CAF, Erlang, Actix, goroutines; ARGS="--help"'
