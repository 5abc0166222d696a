# SPDX-License-Identifier: GPL-2.0-or-later
# The host-CPU oracle (tests/oracle): several files, one program.
ORACLE_OBJS := $(patsubst tests/%.c,$(B)/testobj/%.o,$(wildcard tests/oracle/*.c))
$(B)/testobj/%.o: tests/%.c Makefile mk/rules.mk mk/oracle.mk
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS_ALL) -Itests -c -o $@ $<
$(B)/tests/oracle: $(ORACLE_OBJS) $(TESTLIB) $(LIB)
	@mkdir -p $(@D)
	@echo "  LD   $@"
	@$(CC) $(SAN) -pthread -o $@ $(ORACLE_OBJS) $(TESTLIB) $(LIB) -Wl,--as-needed $(LIBS_TEST)
GUEST_TESTS += $(B)/tests/oracle

# make campaign-oracle ENGINE=jit CASES=100000000 STEPS=1 SEED=...
ENGINE ?= interp
CASES ?= 10000000
STEPS ?= 1
SEED ?= $(shell date +%s)
campaign-oracle: $(B)/tests/oracle
	$(B)/tests/oracle -e $(ENGINE) -n $(CASES) -k $(STEPS) -s $(SEED) -c
campaign-decode: $(B)/tests/decode_test
	DECODE_CASES=100000000 DECODE_SEED=$(SEED) $(B)/tests/decode_test
