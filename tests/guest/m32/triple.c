/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fault during a double fault is a shutdown, which resets the machine (SDM 3A
 * 6.15). Nothing after it may be printed. */
#include "guest.h"

int main(void)
{
	struct dtr none = { 0, 0 };

	say("before\n");
	__asm__ volatile("lidt %0; ud2" :: "m"(none));
	say("after\n");
	return 1;
}
