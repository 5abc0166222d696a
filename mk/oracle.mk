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

# make campaign-oracle ENGINE=jit CASES=100000000 SEED=1 STEPS=1
# Its record keeps the progress: ended at any time, the same command goes on.
# make campaign-oracle-sum ENGINE=jit: the sum over all seeds' records.
ORACLE = $(B)/tests/oracle -e $(or $(ENGINE),interp) -n $(or $(CASES),10000000) -k $(or $(STEPS),1) -s $(or $(SEED),1) -c
campaign-oracle: $(B)/tests/oracle
	$(ORACLE) -r $(B)/oracle-$(or $(ENGINE),interp)-$(or $(STEPS),1)-$(or $(SEED),1).record
campaign-oracle-sum: $(B)/tests/oracle
	$(B)/tests/oracle -t $(B)/oracle-$(or $(ENGINE),interp)-*.record
campaign-decode: $(B)/tests/decode_test
	DECODE_CASES=100000000 DECODE_SEED=$(or $(SEED),1) $(B)/tests/decode_test
