/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The target description (org.gnu.gdb.i386.*) and where its registers live. */
#include "gdb/gdb.h"

#include <string.h>

#include "base/util.h"

/* Offsets in an FXSAVE image (SDM 1 10.5.1): FCW 0, FSW 2, FTW 4, MXCSR 24,
 * ST 32, XMM 160. FTW is shown in its abridged form. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24,
       FX_ST = 32, FX_XMM = 160 };

#define R64(n) "<reg name=\"" n "\" bitsize=\"64\" type=\"int64\"/>"
#define R32(n) "<reg name=\"" n "\" bitsize=\"32\" type=\"int32\"/>"
#define RST(n) "<reg name=\"st" n "\" bitsize=\"80\" type=\"i387_ext\"/>"
#define RFP(n) "<reg name=\"" n "\" bitsize=\"32\" type=\"int\" group=\"float\"/>"
#define RX(n) "<reg name=\"xmm" n "\" bitsize=\"128\" type=\"vec128\"/>"

const char gdb_target_xml[] =
"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
"<architecture>i386:x86-64</architecture><feature name=\"org.gnu.gdb.i386.core\">"
R64("rax") R64("rbx") R64("rcx") R64("rdx") R64("rsi") R64("rdi")
"<reg name=\"rbp\" bitsize=\"64\" type=\"data_ptr\"/><reg name=\"rsp\" bitsize=\"64\" type=\"data_ptr\"/>"
R64("r8") R64("r9") R64("r10") R64("r11") R64("r12") R64("r13") R64("r14") R64("r15")
"<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\"/>"
R32("eflags") R32("cs") R32("ss") R32("ds") R32("es") R32("fs") R32("gs")
RST("0") RST("1") RST("2") RST("3") RST("4") RST("5") RST("6") RST("7")
RFP("fctrl") RFP("fstat") RFP("ftag") RFP("fiseg") RFP("fioff") RFP("foseg") RFP("fooff") RFP("fop")
"</feature><feature name=\"org.gnu.gdb.i386.sse\">"
"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
"<field name=\"uint128\" type=\"uint128\"/></union>"
RX("0") RX("1") RX("2") RX("3") RX("4") RX("5") RX("6") RX("7")
RX("8") RX("9") RX("10") RX("11") RX("12") RX("13") RX("14") RX("15")
"<reg name=\"mxcsr\" bitsize=\"32\" type=\"int\" group=\"vector\"/></feature>"
"<feature name=\"org.gnu.gdb.i386.segments\">"
"<reg name=\"fs_base\" bitsize=\"64\" type=\"long\"/><reg name=\"gs_base\" bitsize=\"64\" type=\"long\"/></feature>"
"<feature name=\"abyme.system\">"
R64("k_gs_base") R64("cr0") R64("cr2") R64("cr3") R64("cr4") R64("cr8") R64("efer")
"</feature></target>";

static void fpu_control(struct debug_regs *r, unsigned n, void **p, unsigned *size)
{
	/* gdb shows these as 32-bit; each goes through a scratch cell. */
	static uint32_t cell;
	static const uint16_t at[8] = { FX_FCW, FX_FSW, FX_FTW, 0, FX_FIP, 0, FX_FDP, FX_FOP };
	cell = n == 3 || n == 5 ? 0 : n == 4 || n == 6 ? le32_get(r->fxsave + at[n])
						       : le16_get(r->fxsave + at[n]);
	*p = &cell;
	*size = 4;
}

static bool core(struct debug_regs *r, unsigned n, void **p, unsigned *size)
{
	static const uint8_t gpr[16] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
	static const uint8_t seg[6] = { 1, 2, 3, 0, 4, 5 };
	if (n < 16)
		*p = &r->gpr[gpr[n]];
	else if (n == 16)
		*p = &r->rip;
	else if (n == 17)
		*p = &r->rflags;
	else
		*p = &r->seg[seg[n - 18]];
	*size = n <= 16 ? 8 : 4;
	return true;
}

bool gdb_reg(struct debug_regs *r, unsigned n, void **p, unsigned *size)
{
	uint64_t *const system[9] = { &r->fs_base, &r->gs_base, &r->kernel_gs_base, &r->cr0,
				      &r->cr2, &r->cr3, &r->cr4, &r->cr8, &r->efer };
	if (n < 24)
		return core(r, n, p, size);
	if (n < 32) {
		*p = r->fxsave + FX_ST + (n - 24) * 16;
		*size = 10;
	} else if (n < 40) {
		fpu_control(r, n - 32, p, size);
	} else if (n < 56) {
		*p = r->fxsave + FX_XMM + (n - 40) * 16;
		*size = 16;
	} else if (n == 56) {
		*p = r->fxsave + FX_MXCSR;
		*size = 4;
	} else if (n < GDB_REG_COUNT) {
		*p = system[n - 57];
		*size = 8;
	} else {
		return false;
	}
	return true;
}
