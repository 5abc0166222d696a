# SPDX-License-Identifier: GPL-2.0-or-later
# Every src/<room>/**.c goes into libabyme.a, except the mains in src/main/.
comma := ,
SRCS := $(shell find src -name '*.c' -not -path 'src/main/*' | sort)
OBJS := $(SRCS:src/%.c=$(B)/obj/%.o)
LIB := $(B)/libabyme.a
PROGS := $(patsubst src/main/%.c,%,$(wildcard src/main/*.c))
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*.c))
# what tests share
TESTLIB := $(B)/libtest.a
TESTLIB_OBJS := $(patsubst tests/lib/%.c,$(B)/testlib/%.o,$(wildcard tests/lib/*.c))
# what each program links beyond libc
LIBS_abyme := -luv -ljansson -lcyaml -luring -lz -lzstd -llzma -lseccomp -lcap-ng
LIBS_abyme-net-user := -lslirp -lseccomp -lcap-ng -luv
LIBS_abyme-nat := -lslirp -ljansson -lseccomp -lcap-ng
LIBS_abyme-switch := -ljansson -lseccomp -lcap-ng
LIBS_abyme-vhost-user := -ljansson -lseccomp -lcap-ng
LIBS_abyme-gdb := -lseccomp -lcap-ng
LIBS_abyme-vnc := -lvncserver -lgnutls -lseccomp -lcap-ng
LIBS_abyme-tpm := -lseccomp -lcap-ng
LIBS_abyme-9p := -lseccomp -lcap-ng
LIBS_abyme-oci := -lseccomp
# static, whatever the others are: it is alone in its initial RAM disk
LIBS_abyme-init := -lseccomp
LDFLAGS_abyme-init := $(if $(SANITIZE),$(SAN),-static -s)
LIBS_abyme-image := -lcurl -larchive -lcrypto -lseccomp
LIBS_abyme-ovf := -lxml2 -larchive -lcrypto -ljansson -lseccomp -lcap-ng
LIBS_TEST := -lcmocka -lZydis $(LIBS_abyme) -lslirp $(LIBS_abyme-image) -lxml2
CFLAGS_ovf_ovf_parse := -I/usr/include/libxml2
CFLAGS_ovf_ovf_write := -I/usr/include/libxml2

# flags of single files; the MMU's miss path must leave vector registers alone
CFLAGS_engine_soft_walk := -mgeneral-regs-only
CFLAGS_engine_soft_tlb := -mgeneral-regs-only
CFLAGS_engine_soft_access := -mgeneral-regs-only

.PHONY: all clean unit fuzzers tests check fuzz deps bench
all: $(addprefix $(B)/,$(PROGS))

$(B)/obj/%.o: src/%.c Makefile mk/rules.mk
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(subst /,_,$(basename $*))) -c -o $@ $<
$(LIB): $(OBJS)
	@rm -f $@
	@ar rcs $@ $(OBJS)
$(addprefix $(B)/,$(PROGS)): $(B)/%: $(B)/obj/main/%.o $(LIB)
	@echo "  LD   $@"
	@$(CC) $(if $(LDFLAGS_$*),$(LDFLAGS_$*),$(SAN)) -pthread -Wl,--as-needed -o $@ $< $(LIB) $(LIBS_$*)
$(B)/testlib/%.o: tests/lib/%.c Makefile mk/rules.mk
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS_ALL) -Itests -c -o $@ $<
$(TESTLIB): $(TESTLIB_OBJS)
	@rm -f $@
	@ar rcs $@ $^
$(B)/tests/%: tests/unit/%.c $(TESTLIB) $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -Itests -o $@ $< $(TESTLIB) $(LIB) -Wl,--as-needed $(LIBS_TEST)
# it decides which allocations find no memory
$(B)/tests/disk_memory_test: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(B)/fuzz/%: tests/fuzz/%.c $(TESTLIB) $(LIB)
	@mkdir -p $(@D)
	@echo "  FUZZ $@"
	@$(CC) $(CFLAGS_ALL) -Itests -o $@ $< $(TESTLIB) $(LIB) -Wl,--as-needed $(LIBS_TEST)
include mk/oracle.mk
unit: $(UNIT)
fuzzers: $(FUZZ)
tests: unit fuzzers $(GUEST_TESTS)
deps:
	sh scripts/deps.sh
check: all tests
	/usr/bin/python3 tests/run.py --build $(B)
# make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
fuzz: fuzzers
	@for f in $(FUZZ); do $$f $(FUZZ_SECONDS) $$(date +%s) || exit 1; done
# make bench PAIRS=1 for a quick look; tables on the terminal, JSON and plots in build/bench
PAIRS ?= 5
BENCH_RUN = bench/run --kernel "$$(ls "$$(sh scripts/kernel.sh amd64)"/boot/vmlinuz-*)" --pairs $(PAIRS) --tools --timeout 3600
bench: all
	sh bench/boot $(PAIRS)
	$(BENCH_RUN)
	$(BENCH_RUN) --vcpus 2 smp
clean:
	rm -rf build build-san
-include $(shell find $(B) -name '*.d' 2>/dev/null)
# what bench/ runs besides scripts
$(B)/bench/%: bench/%.c $(TESTLIB) $(LIB)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) -Itests -o $@ $< $(TESTLIB) $(LIB) -Wl,--as-needed $(LIBS_abyme)
