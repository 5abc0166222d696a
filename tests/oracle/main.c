/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The campaign: cases go round all forms, so that each has its share.
 *   oracle [-e ENGINE] [-n CASES] [-b BEGIN] [-s SEED] [-i INDEX] [-k STEPS] [-c] [-m MAX] [-o OP] [-r RECORD]
 *   oracle -t RECORD...
 * -b begins at that case; -i runs one; -k instructions in a case; -c prints the
 * coverage table; -m ends after that many failures; -o only forms of that op first;
 * -r keeps progress in a file and goes on from it; -t sums such files.  Cases run in
 * a child, so that wild code costs one case and not the campaign.  Without options:
 * the short fixed run that belongs to the tests, over every engine.
 */
#include "oracle/oracle.h"
#include <asm/ldt.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { FLAT_SELECTOR = 0x2b };

struct options {
	const char *engine, *op, *record;
	uint64_t end, begin, seed;
	unsigned steps, most;
	bool coverage, single, sum;
};

static struct guest *guest;
static uint8_t *native_data;
static uint64_t faults;                 /* cases that ended in an exception on the host */

/* An LDT entry like the data segment, but for its base; in force while native code runs. */
static bool make_segment(struct error *err)
{
	struct user_desc d = { .entry_number = SEGMENT_SELECTOR >> 3, .base_addr = SEGMENT_BASE, .limit = 0xfffff,
			       .seg_32bit = 1, .limit_in_pages = 1, .useable = 1 };

	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) == 0 ||
	       error_set(err, errno, "cannot make a segment in the LDT");
}

static void load_segments(uint16_t selector)
{
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" :: "r"(selector));
}

bool case_run(struct oracle_case *c, char *text, size_t n)
{
	struct outcome host = { .data = native_data }, engine = { .data = guest_data(guest) };
	struct error err;

	memcpy(native_data, c->data, DATA_SIZE);
	memcpy(guest_data(guest), c->data, DATA_SIZE);
	host.state = engine.state = c->in;
	load_segments(c->segmented ? SEGMENT_SELECTOR : FLAT_SELECTOR);
	native_run(&host.state, c->code, c->n, c->mode == 8 ? NATIVE_64 : c->mode == 4 ? NATIVE_32 : NATIVE_16);
	load_segments(FLAT_SELECTOR);
	faults += host.state.signal != 0;
	enum guest_mode mode = c->mode == 8 ? GUEST_64 : c->mode == 2 ? GUEST_16 :
			       c->segmented ? GUEST_32_SEGMENTED : GUEST_32;
	if (!guest_run(guest, &engine.state, c->code, c->n, mode, &err)) {
		snprintf(text, n, "%.250s", err.text);
		return false;
	}
	mask_environment(c, native_data, guest_data(guest));
	return outcomes_equal(c, &host, &engine, text, n);
}

enum { SKIPPED = 77 };

/* 0, or the exit status: without an LDT there is no oracle for 16-bit code. */
static int set_up(const struct options *o, const struct x86_model *model, struct error *err)
{
	void *at = (void *)DATA_BASE;

	if (!native_init(err))
		return 2;
	if (!native_init_16(err) || !make_segment(err))
		return SKIPPED;
	/* the engine's handlers come later and pass on what is not theirs */
	if (!(guest = guest_new(o->engine, model, err)))
		return 2;
	native_data = mmap(at, DATA_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (native_data != at) {
		error_set(err, errno, "cannot map data at 0x%llx", DATA_BASE);
		return 2;
	}
	return 0;
}

static void one_case(struct oracle_case *c, const struct options *o, struct record *r)
{
	char text[256];
	struct form *first = &r->forms[c->index % r->count];

	if (o->op && strcmp(o->op, x86_op_info[first->op].name))
		return;
	if (!case_make(c, r->forms, r->count, first, o->steps)) {
		r->skipped++;
		return;
	}
	for (unsigned n = 0; n < c->steps; n++)
		c->step[n].form->cases++;
	if (o->single || !case_run(c, text, sizeof(text))) {
		case_shrink_and_print(c);
		r->failures++;
	}
}

static bool goes_on(const struct options *o, const struct record *r)
{
	return r->next < o->end && r->failures < o->most;
}

static int run_child(const struct options *o, struct record *r)
{
	static struct oracle_case c;
	struct error err;
	const struct x86_model *model = x86_model_find("max", NULL);

	int status = set_up(o, model, &err);

	if (status) {
		fprintf(stderr, "oracle: %s\n", err.text);
		return status;
	}
	c.model = model;
	c.lazy_flags = strncmp(o->engine, "jit", 3) == 0;
	c.seed = o->seed;
	while (goes_on(o, r)) {
		if ((c.index = r->next++) % 8192 == 0)
			record_progress(r, o->end);
		one_case(&c, o, r);
		r->faults += faults;
		faults = 0;
	}
	record_progress(r, o->end);
	return 0;
}

/* A child that dies loses a case: say which, go on behind it. */
static int campaign(const struct options *o, struct record *r)
{
	if (o->single)
		return run_child(o, r);         /* for the debugger */
	while (goes_on(o, r)) {
		int status;
		fflush(stdout);
		pid_t pid = fork();

		if (pid == 0)
			_exit(run_child(o, r));
		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status)) {
			printf("case %lu of seed 0x%lx: died of signal %d (%s)\n", r->next - 1, o->seed,
			       WTERMSIG(status), x86_op_info[r->forms[(r->next - 1) % r->count].op].name);
			r->failures++;
		}
	}
	return 0;
}

static struct options parse(int argc, char **argv)
{
	struct options o = { .engine = "interp", .end = 300000, .seed = 1, .steps = 1, .most = 20 };
	int opt;

	while ((opt = getopt(argc, argv, "e:n:b:s:i:k:m:o:r:ct")) != -1)
		switch (opt) {
		case 'e': o.engine = optarg; break;
		case 'n': o.end = strtoull(optarg, NULL, 0); break;
		case 'b': o.begin = strtoull(optarg, NULL, 0); break;
		case 's': o.seed = strtoull(optarg, NULL, 0); break;
		case 'i': o.begin = strtoull(optarg, NULL, 0); o.single = true; break;
		case 'k': o.steps = MIN(strtoul(optarg, NULL, 0), (unsigned long)CASE_STEPS); break;
		case 'm': o.most = strtoul(optarg, NULL, 0); break;
		case 'o': o.op = optarg; break;
		case 'r': o.record = optarg; break;
		case 'c': o.coverage = true; break;
		case 't': o.sum = true; break;
		default: exit(2);
		}
	o.end = o.single ? o.begin + 1 : o.begin + o.end;
	return o;
}

static void report(const struct record *r, const char *what, bool coverage)
{
	if (coverage)
		forms_print_coverage(r->forms, r->count, 1000);
	printf("oracle: engine %s, %s, %lu cases of %u forms, %lu not built, %lu faulted, %lu failures, %lu s\n",
	       r->engine, what, r->next - r->begin, r->count, r->skipped, r->faults, r->failures, r->ms / 1000);
}

static int run(struct options o, const struct form *forms, unsigned count)
{
	struct record *r, want = { .seed = o.seed, .begin = o.begin, .next = o.begin, .steps = o.steps };
	struct error err;
	char what[80];
	int status;

	snprintf(want.engine, sizeof(want.engine), "%s", o.engine);
	if (!(r = record_open(o.record, &want, forms, count, &err)))
		return fprintf(stderr, "oracle: %s\n", err.text), 2;
	status = campaign(&o, r);
	snprintf(what, sizeof(what), "seed 0x%lx from %lu, %u at a time", o.seed, o.begin, o.steps);
	report(r, what, o.coverage);
	return status ? status : r->failures != 0;
}

static int sum(char *const *paths, const struct form *forms, unsigned count)
{
	struct error err;
	struct record *r = record_sum(paths, forms, count, &err);

	if (!r)
		return fprintf(stderr, "oracle: %s\n", err.text), 2;
	report(r, "sum", true);
	return r->failures != 0;
}

static int run_short(const struct form *forms, unsigned count)
{
	static const char *const engines[] = { "interp", "jit", "jit,eager" };
	int status = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(engines); n++)
		for (unsigned steps = 1; steps <= 6; steps += 5)
			status |= run((struct options){ .engine = engines[n], .end = count, .seed = 2026,
							.steps = steps, .most = 10 }, forms, count);
	return status;
}

int main(int argc, char **argv)
{
	unsigned count;
	auto_free struct form *forms = forms_enumerate(x86_model_find("max", NULL), &count);
	struct options o = parse(argc, argv);

	if (o.sum)
		return sum(argv + optind, forms, count);
	return argc > 1 ? run(o, forms, count) : run_short(forms, count);
}
