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
FUZZ_SECS ?= 5
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

# By what it is, not by its name: cc may be either.
is_clang := $(shell $(CC) -dM -E -x c /dev/null 2>/dev/null | grep -o -m 1 '__clang__')
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
LIB_PCS := libwebsockets libuv sqlite3 openssl libsodium jansson ck hiredis libpq libnghttp2 \
	libprotobuf-c rdkafka $(MSGPACK_PC)

# A library outside the default path is a system header too: its warnings are not ours.
PC_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(LIB_PCS) 2>/dev/null))
PC_LIBS := $(shell pkg-config --libs $(LIB_PCS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
WERROR_FLAG := $(if $(filter 1,$(WERROR)),-Werror)
# What protoc-c makes is a system header too.
CPPFLAGS_ALL := -Iinclude -Isrc -isystem $(B)/gen -D_GNU_SOURCE $(CPPFLAGS) $(PC_CFLAGS)
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
# By -flto gcc puts cx_send and its kin in line (docs/decisions/0009).  Its objects are an archive of their own: gcc takes
# what is for -flto from any archive that has it, asked or not, and only the very same gcc can.  `make LTO=`: without.
LTO := $(if $(filter release,$(CONF)),$(if $(is_clang),,$(shell \
	echo 'int x;' | $(CC) -flto -x c -c -o /dev/null - 2>/dev/null && echo -flto -ffat-lto-objects)))
LTO_LINK := $(if $(LTO),-O2 -flto=auto)

# --- files: wildcards, a new file needs no edit ----------------------------------------------

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
pic = $(patsubst %.c,$(B)/pic/%.o,$(1))
lto = $(patsubst %.c,$(B)/lto/%.o,$(1))
bin = $(patsubst %.c,$(B)/%,$(1))

CX_SRC := $(wildcard src/runtime/*.c)
APP_SRC := $(filter-out src/roles/main.c,$(wildcard $(foreach d,wire io actors roles,src/$(d)/*.c)))
MAIN_SRC := src/roles/main.c
# The program carries its migrations.
MIGRATIONS := $(wildcard migrations/*.sql)
MIGRATIONS_C := $(B)/gen/postgres_migrations.c
MIGRATIONS_OBJ := $(B)/gen/postgres_migrations.o
SUPPORT_SRC := $(wildcard tests/support/*.c)
T ?= test_*
UNIT_SRC := $(wildcard $(foreach d,runtime wire io actors roles,tests/$(d)/$(T).c))
STRESS_SRC := $(wildcard tests/stress/$(if $(filter-out test_*,$(T)),$(T),stress_*).c)
SIM_SRC := $(wildcard tests/sim/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard bench/*.c)
# One program; its peers in other languages are built by the run.
BENCH_RUNTIME_SRC := $(wildcard bench/runtime/*.c)

# From proto/: C for each file, and the descriptors of all for reflection.
PROTO_SRC := $(sort $(wildcard proto/*.proto))
GEN_SRC := $(patsubst proto/%.proto,$(B)/gen/%.pb-c.c,$(PROTO_SRC)) $(B)/gen/grpc_descriptors.c
GEN_HDR := $(patsubst proto/%.proto,$(B)/gen/%.pb-c.h,$(PROTO_SRC))
GEN_OBJ := $(GEN_SRC:.c=.o)

LIBCX := $(B)/libcx.a
LIBCX_LTO := $(if $(LTO),$(B)/libcx_lto.a)
LIBCX_FAST := $(or $(LIBCX_LTO),$(LIBCX))
# The number after .so is the interface's: it moves with the first part of VERSION.
CX_VERSION := $(shell cat VERSION)
CX_SONAME := libcx.so.$(firstword $(subst ., ,$(CX_VERSION)))
LIBCX_SO := $(B)/libcx.so.$(CX_VERSION)
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
STACK_CASES := $(B)/tests/stack/migrate_cases $(B)/tests/stack/kafka_mock
GRPC_SRC := $(wildcard tests/grpc/*.c)
GRPC := $(call bin,$(GRPC_SRC))
CODE_OBJ := $(call obj,$(CX_SRC) $(APP_SRC) $(MAIN_SRC))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.PHONY: FORCE all release debug run test check check-asan check-tsan stress sim sim-selftest mutants fuzz bench \
	bench-runtime bench-grpc bench-structures conformance e2e e2e-stack run-stack fault test-faults models stack-test modes-test \
	grpc-test kafka-test lint format \
	check-headers check-install docs deps library man install install-library uninstall clean help \
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
	$(call stamp,$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) / $(TEST_FLAGS) $(LTO) $(shell $(CC) -dumpfullversion) / $(LDFLAGS_ALL) $(LIBS))
$(B)/files: FORCE
	$(call stamp,$(CX_SRC) $(APP_SRC) $(SUPPORT_SRC) $(MIGRATIONS) $(PROTO_SRC))
$(B)/version: FORCE
	$(call stamp,$(shell ops/version.sh))
FORCE:

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(call say,PROTO,$<)
	$(Q)protoc-c -Iproto --c_out=$(B)/gen $<
$(B)/gen/descriptors.bin: $(PROTO_SRC)
	@mkdir -p $(@D)
	$(call say,PROTO,$@)
	$(Q)protoc -Iproto --include_imports --descriptor_set_out=$@ $(PROTO_SRC)
$(B)/gen/grpc_descriptors.c: $(B)/gen/descriptors.bin
	$(Q){ echo '#include "wire/grpc_reflection.h"'; \
		echo 'const uint8_t grpc_descriptor_set[] = {'; \
		od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; echo '};'; \
		echo 'const size_t grpc_descriptor_set_len = sizeof(grpc_descriptor_set);'; } >$@
# Not our text: its warnings are not asked for.
$(GEN_OBJ): %.o: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -w -c -o $@ $<

# Warnings are kept beside the object: a later WERROR=1 finds them without compiling again.
define compile
@mkdir -p $(@D)
$(call say,CC,$<)
$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(EXTRA) $(WERROR_FLAG) -MMD -MP -c -o $@ $< 2>$@.warn; \
	rc=$$?; cat $@.warn >&2; exit $$rc
endef
# The library alone is built without protoc-c.
$(B)/obj/src/runtime/%.o: src/runtime/%.c $(B)/flags
	$(compile)
$(B)/obj/bench/runtime/%.o: EXTRA = $(LTO)
$(B)/obj/%.o: %.c $(B)/flags | $(GEN_HDR)
	$(compile)

# The same sources twice more, for libcx_lto.a and libcx.so.
$(B)/lto/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,LTO,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(LTO) $(CFLAGS_ALL) $(WERROR_FLAG) -MMD -MP -c -o $@ $< 2>$@.warn; \
		rc=$$?; cat $@.warn >&2; exit $$rc
$(B)/pic/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,PIC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(LTO) $(CFLAGS_ALL) -fno-PIE -fPIC $(WERROR_FLAG) -MMD -MP -c -o $@ $< 2>$@.warn; \
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
$(B)/libcx_lto.a: $(call lto,$(CX_SRC)) $(B)/files
	$(archive)
# -Bsymbolic-functions: the library's calls of itself go straight.  Data stays open, so that a
# program's copy of cx_supervisor_type is the one that all see.
$(LIBCX_SO): $(call pic,$(CX_SRC)) $(B)/files ops/cx.map
	$(call say,LINK,$@)
	$(Q)$(CC) $(LTO_LINK) $(filter-out -pie,$(LDFLAGS_ALL)) -fPIC -shared -Wl,-soname,$(CX_SONAME) \
		-Wl,--version-script=ops/cx.map -Wl,-Bsymbolic-functions -Wl,-z,relro,-z,now \
		-o $@ $(filter %.o,$^) -lpthread
$(MIGRATIONS_C): $(MIGRATIONS) ops/embed-migrations.sh $(B)/files
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)ops/embed-migrations.sh $(MIGRATIONS) >$@
$(MIGRATIONS_OBJ): $(MIGRATIONS_C) src/io/postgres_migrations.h src/io/postgres_migrate.h $(B)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Werror -c -o $@ $<
$(LIBAPP): $(call obj,$(APP_SRC)) $(MIGRATIONS_OBJ) $(GEN_OBJ) $(B)/files
	$(archive)
$(B)/libtestsupport.a: $(call obj,$(SUPPORT_SRC)) $(B)/files
	$(archive)

define link
@mkdir -p $(@D)
$(call say,LINK,$@)
$(Q)$(CC) $(1) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(2) $(LIBS)
endef
$(PROGRAM): $(call obj,$(MAIN_SRC)) $(LIBAPP) $(LIBCX_FAST)
	$(call link,$(LTO_LINK))
$(LINKS): $(PROGRAM)
	@ln -sf construct $@
$(UNIT): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link,,-lcriterion)
$(STRESS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link)
$(SIM): $(call obj,$(SIM_SRC)) $(LIBAPP) $(LIBCX)
	$(call link)
$(STACK_CASES): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBAPP) $(LIBCX)
	$(call link)
$(FUZZ): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link,-fsanitize=fuzzer)
$(BENCH): $(B)/bench/%: $(B)/obj/bench/%.o $(LIBAPP) $(LIBCX)
	$(call link)
$(GRPC): $(B)/tests/%: $(B)/obj/tests/%.o $(LIBSUPPORT) $(LIBAPP) $(LIBCX)
	$(call link)
# The library alone, as another program would link it.
$(BENCH_RUNTIME): $(call obj,$(BENCH_RUNTIME_SRC)) $(LIBCX_FAST)
	$(call link,$(LTO_LINK))

-include $(shell find $(B)/obj $(B)/pic $(B)/lto -name '*.d' 2>/dev/null)

library: $(LIBCX) $(LIBCX_LTO) $(LIBCX_SO)
	$(call warnings_clean,$(call obj,$(CX_SRC)) $(call pic,$(CX_SRC)) $(if $(LTO),$(call lto,$(CX_SRC))))
tests-build: $(UNIT) $(STACK_CASES)
	$(call warnings_clean,$(call obj,$(UNIT_SRC) $(SUPPORT_SRC) tests/stack/migrate_cases.c tests/stack/kafka_mock.c))
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
# not make, which would call the clean end an error.  When make itself is ended it must not run on alone.
run:
	@ops/install-deps.sh run
	@$(MAKE) --no-print-directory -j$(JOBS) CONF=release all
	@if [ -t 0 ]; then exec bash -mc 'setpriv --pdeathsig TERM build/release/construct all; exit $$?'; \
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

# Do they report what fails, and is a run its seed alone?
sim-selftest: $(SIM)
	@tests/sim/selftest.sh $(SIM)

# Bugs planted on purpose, each to be found by the simulator.
mutants: $(SIM)
	@python3 tests/sim/mutants.py $(B)

# The algorithms of the lock-free parts, searched exhaustively.  MODEL=wake: only this one.
models:
	@tests/models/run.sh $(MODEL)

fuzz:
	@$(MAKE) --no-print-directory CONF=fuzz fuzz-build
	@FUZZ_SECS=$(FUZZ_SECS) JOBS=$(JOBS) tests/run-fuzz.sh build/fuzz $(patsubst %.c,build/fuzz/%,$(FUZZ_SRC))

bench: all bench-build
	@bench/run.sh $(PROGRAM)

# ARGS: see bench/run_runtime.py --help
bench-runtime: $(BENCH_RUNTIME) $(B)/bench/bench_hardware
	@python3 bench/run_runtime.py $(ARGS)

# Mailbox, run queue, pool and wake-up, each beside what the machine allows.
STRUCTURES := $(addprefix $(B)/bench/bench_,hardware deque pool mailbox wake)
bench-structures: $(STRUCTURES)
	@python3 bench/structures.py $(B)/bench

# h2load and our client against our server, beside nghttp2's own.
bench-grpc: $(GRPC)
	@python3 bench/grpc.py $(B)/tests/grpc

conformance: all
	@tests/conformance/run.sh $(PROGRAM)

# KAFKA_BROKERS=host:port,...: real brokers; without it says so and does nothing.
kafka-test: $(B)/tests/io/test_kafka_producer $(B)/tests/io/test_kafka_consumer
	@tests/kafka/run.sh $(B)

e2e: all
	@tests/e2e/run.sh $(PROGRAM)

# The same on a deployment: 2 servers, 2 gateways, 2 workers on real backends.
e2e-stack: all $(STACK_CASES)
	@tests/e2e/stack.sh $(PROGRAM)

# A deployment on this machine, with a probe from one server to the other; Ctrl-C ends it.
run-stack:
	@ops/install-deps.sh run stack
	@$(MAKE) --no-print-directory -j$(JOBS) CONF=release all
	@if [ -t 0 ]; then exec bash -mc 'setpriv --pdeathsig TERM ops/run-stack.sh; exit $$?'; else exec ops/run-stack.sh; fi

# Stock clients of gRPC against our server.
grpc-test: $(GRPC)
	$(call warnings_clean,$(call obj,$(GRPC_SRC) $(SUPPORT_SRC)))
	@tests/grpc/run.sh $(B)/tests/grpc/grpc_echo

fault: all
	@$(MAKE) --no-print-directory CONF=asan all
	@tests/fault/run.sh $(PROGRAM)

# The same on a deployment: FAULT_SECS=n (900), FAULT_SEED=n repeats a schedule of faults.
test-faults: all
	@tests/fault/stack.sh $(PROGRAM)

# Real Kafka, PostgreSQL and Redis: ops/install-deps.sh stack
stack-test: all $(STACK_CASES)
	@tests/stack/run.sh $(B)

# Each row of docs/failure-modes.md, on backends of its own: 5 minutes.
modes-test: all
	@tests/modes/run.sh $(PROGRAM)

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
check-install: all library
	@MAKE='$(MAKE)' tests/install.sh $(B)

docs: all
	@mkdir -p docs
	@$(PROGRAM) --params-md >docs/params.md.tmp && mv docs/params.md.tmp docs/params.md
	@$(PROGRAM) --env-example >.env.example.tmp && mv .env.example.tmp .env.example

# --- install ---------------------------------------------------------------------------------

bindir = $(DESTDIR)$(PREFIX)/bin
libdir = $(DESTDIR)$(PREFIX)/lib
incdir = $(DESTDIR)$(PREFIX)/include/cx
mandir = $(DESTDIR)$(PREFIX)/share/man
unitdir = $(DESTDIR)$(PREFIX)/lib/systemd/system
CX_HEADERS := $(wildcard include/cx/*.h include/cx/*.def)
UNITS := construct.service construct@.service
MAN := $(B)/man

# Section 3 is made from the headers' comments, section 7 is written by hand.
$(MAN)/stamp: ops/man.py docs/man/cx.7 $(CX_HEADERS) VERSION
	@rm -rf $(MAN) && mkdir -p $(MAN)
	$(call say,MAN,$(MAN))
	$(Q)python3 ops/man.py $(MAN) && touch $@
man: $(MAN)/stamp

install: all install-library
	install -d $(bindir)
	install -m 755 $(PROGRAM) $(bindir)/construct
	for l in $(notdir $(LINKS)); do ln -sf construct $(bindir)/$$l; done
	install -d $(unitdir)
	@echo 'install ops/systemd/*.service $(unitdir)'
	@for u in $(UNITS); do \
		sed 's|/usr/local/bin/|$(PREFIX)/bin/|' ops/systemd/$$u >$(unitdir)/$$u && chmod 644 $(unitdir)/$$u || exit 1; done

# Alone it needs a compiler, Concurrency Kit and python3: nothing of the relay's.
install-library: library man
	install -d $(libdir)/pkgconfig $(incdir) $(mandir)/man3 $(mandir)/man7
	install -m 644 $(LIBCX) $(LIBCX_LTO) $(libdir)
	install -m 755 $(LIBCX_SO) $(libdir)
	ln -sf $(notdir $(LIBCX_SO)) $(libdir)/$(CX_SONAME)
	ln -sf $(CX_SONAME) $(libdir)/libcx.so
	install -m 644 $(CX_HEADERS) $(incdir)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(CX_VERSION)|' ops/cx.pc.in >$(libdir)/pkgconfig/cx.pc
	chmod 644 $(libdir)/pkgconfig/cx.pc
	install -m 644 $(MAN)/man7/cx.7 $(mandir)/man7
	@echo 'install man3/* $(mandir)/man3'
	@for page in $(MAN)/man3/*; do \
		if [ -L $$page ]; then ln -sf $$(readlink $$page) $(mandir)/man3/$${page##*/}; \
		else install -m 644 $$page $(mandir)/man3; fi || exit 1; done

# What install put there, and folders of ours that are empty then; needs the same PREFIX and DESTDIR.
uninstall: man
	rm -f $(addprefix $(bindir)/,construct $(notdir $(LINKS)))
	rm -f $(addprefix $(unitdir)/,$(UNITS))
	rm -f $(addprefix $(libdir)/,libcx.a libcx_lto.a libcx.so $(CX_SONAME) $(notdir $(LIBCX_SO)) pkgconfig/cx.pc)
	rm -f $(addprefix $(incdir)/,$(notdir $(CX_HEADERS)))
	for page in $(MAN)/man3/*; do rm -f $(mandir)/man3/$${page##*/}; done
	rm -f $(mandir)/man7/cx.7
	[ ! -d $(incdir) ] || rmdir $(incdir)

clean:
	rm -rf build

# Fly.io, Docker, the roles here.
include ops/deploy.mk

help:
	@echo 'Build        make                   the program, build/release/construct'
	@echo '             make CONF=debug        debug, asan or tsan instead; CC=clang; V=1; WERROR=1'
	@echo '             make install           PREFIX=/usr/local, DESTDIR: program, systemd units, library, man pages'
	@echo '             make install-library   the library and its man pages alone'
	@echo '             make uninstall         takes all of it away'
	@echo '             make library           build/release/libcx.a, libcx_lto.a (gcc) and libcx.so.VERSION'
	@echo '             make clean'
	@echo 'Run          make run               install what is missing, build, serve on this machine'
	@echo '             make run-stack         a deployment: 2 servers, 2 gateways, 2 workers on real backends'
	@echo 'Everything   make test              all of the below, in the order CI does it'
	@echo '             make test STAGES="lint unit-asan"    only these (unknown name: lists them)'
	@echo 'Tests        make check             unit tests          (check-asan: with sanitizers)'
	@echo '             make stress            runtime stress      (check-tsan: with ThreadSanitizer)'
	@echo '             make sim               SEEDS=1000: the whole relay, simulated with faults'
	@echo '             make sim-selftest      does it report what fails?'
	@echo '             make models            the lock-free parts as models, searched exhaustively'
	@echo '             make mutants           planted bugs, each found by the simulator'
	@echo '             make fuzz              FUZZ_SECS=5 each, clang'
	@echo '             make kafka-test        KAFKA_BROKERS=...: the Kafka adapters on real brokers'
	@echo '             make e2e               protocol, with clients that are not ours'
	@echo '             make e2e-stack         the same on 2 servers, 2 gateways, 2 workers with real backends'
	@echo '             make grpc-test         stock gRPC clients against our server'
	@echo '             make conformance       Autobahn Testsuite against the echo role'
	@echo '             make fault             kill -9, SIGTERM, slow readers, hostile input'
	@echo '             make test-faults       15 minutes of faults in each role and backend of a deployment'
	@echo '             make modes-test        what docs/failure-modes.md says of failing backends'
	@echo '             make stack-test        ops/stack.sh and migrations on a real Kafka, PostgreSQL, Redis'
	@echo 'Code         make lint              include rules, formatting, house rules (tests itself first)'
	@echo '             make format            clang-format over tracked C files'
	@echo '             make check-headers     each header compiles alone'
	@echo '             make check-install     the installed library serves examples, C and C++; man pages'
	@echo '             make docs              docs/params.md and .env.example from the table'
	@echo 'Measure      make bench             benchmarks with their peers; see docs/benchmarks.md'
	@echo '             make bench-grpc        calls of gRPC, beside h2load and nghttpd'
	@echo '             make bench-structures  mailbox, run queue, pool, wake-up, beside the hardware'
	@echo '             make bench-runtime     libcx beside CAF, Erlang, Actix, goroutines; ARGS="--help"'
	@$(MAKE) --no-print-directory deploy-help
