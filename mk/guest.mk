# SPDX-License-Identifier: GPL-2.0-or-later
# Guest test programs: tests/guest/m32/*.c and m64/*.c become multiboot-1 ELF32
# files; the compiler's freestanding mode is all they need.
GUEST_CFLAGS := -std=gnu17 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -mgeneral-regs-only -O1 -g0 -Wall -Wextra -Werror -Wno-unused-parameter \
	-fno-strict-aliasing -fno-tree-loop-distribute-patterns -Itests/guest/lib
GUEST_LDFLAGS := -nostdlib -static -no-pie -Wl,--build-id=none,-z,max-page-size=4096,-z,noexecstack,--no-warn-rwx-segments -T tests/guest/lib/link.ld
GUEST_LIB := tests/guest/lib/lib.c $(wildcard tests/guest/lib/*.h) tests/guest/lib/link.ld
GUEST := $(patsubst tests/guest/%.c,$(B)/guest/%.elf,$(wildcard tests/guest/m32/*.c tests/guest/m64/*.c))

.PHONY: guest
guest: $(GUEST) $(B)/guest/kvm_reenter $(B)/guest/kvm_ring
tests: guest
$(B)/guest/m32/%.elf: tests/guest/m32/%.c tests/guest/lib/entry32.S $(GUEST_LIB)
	@mkdir -p $(@D)
	@echo "  GUEST $@"
	@$(CC) -m32 -march=i686 $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@ tests/guest/lib/entry32.S $< tests/guest/lib/lib.c
$(B)/guest/m64/%.elf: tests/guest/m64/%.c tests/guest/lib/entry64.S $(GUEST_LIB)
	@mkdir -p $(@D)
	@echo "  GUEST $@"
	@$(CC) -m64 -mno-red-zone $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@.64 tests/guest/lib/entry64.S $< tests/guest/lib/lib.c
	@objcopy -O elf32-i386 $@.64 $@
	@rm $@.64
# the same at another address
$(B)/guest/m64/lows.elf: tests/guest/m64/hops.c
$(B)/guest/m64/returns_low.elf: tests/guest/m64/returns.c
# for the computer with AMD-V of the nested tests: a program under Linux
$(B)/guest/kvm_ring: tests/e2e/kvm_ring.c $(LIB)
	@mkdir -p $(@D)
	@echo "  GUEST $@"
	@$(CC) $(CFLAGS_ALL) -Itests -o $@ $< $(LIB) -Wl,--as-needed $(LIBS_TEST)
$(B)/guest/kvm_reenter: tests/e2e/kvm_reenter.c
	@mkdir -p $(@D)
	@echo "  GUEST $@"
	@$(CC) $(CFLAGS_ALL) -o $@ $<
