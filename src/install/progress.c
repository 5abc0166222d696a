/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text front end of Debian's installer: "Step  ... 10%... 20%... 100%" on one line,
 * and "Prompt:" below a question.
 */
#include "install/install.h"

#include <ctype.h>
#include <stdio.h>

static void end_line(struct progress *p)
{
	size_t have = strlen(p->before), need = p->len + 2;
	if (strstr(p->line, INSTALL_DONE))
		p->done = true;
	if (p->line[strspn(p->line, " -")] && need < sizeof(p->before)) {
		size_t drop = have + need < sizeof(p->before) ? 0 : have + need - sizeof(p->before) + 1;
		memmove(p->before, p->before + drop, have - drop + 1);
		snprintf(p->before + have - drop, need, "%s%s", have ? " " : "", p->line);
	}
	p->len = 0;
	p->line[0] = 0;
}

/* What stands before the two spaces is the step; the last number, how much of it. */
static bool take_percent(struct progress *p)
{
	size_t at = p->len - 1, title = strcspn(p->line, "%");
	char *dots = strstr(p->line, "  ...");
	while (at > 0 && isdigit((unsigned char)p->line[at - 1]))
		at--;
	if (!dots || at == p->len - 1 || p->len - 1 - at > 3)
		return false;
	unsigned percent = (unsigned)atoi(p->line + at);
	char step[sizeof(p->step)];
	title = MIN((size_t)(dots - p->line), sizeof(step) - 1);
	snprintf(step, sizeof(step), "%.*s", (int)title, p->line);
	bool changed = strcmp(step, p->step) || percent != p->percent;
	memcpy(p->step, step, sizeof(step));
	p->percent = MIN(percent, 100u);
	return changed;
}

bool progress_take(struct progress *p, char c)
{
	if (c == '\n') {
		end_line(p);
		return false;
	}
	if ((unsigned char)c < ' ' || p->len == sizeof(p->line) - 1)
		return false;
	p->line[p->len++] = c;
	p->line[p->len] = 0;
	if (c == ':' && !strcmp(p->line, "Prompt:"))
		p->asks = true;
	return c == '%' && take_percent(p);
}
