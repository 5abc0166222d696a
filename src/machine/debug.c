/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's end of the debug channel (debug.h), on the I/O loop.  While
 * stopped, it holds one vcpus_quiesce and the clock stands still.
 */
#include "machine/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "engine/soft/mmu.h"
#include "machine/machine.h"

struct debug {
	struct machine *m;
	int fd;
	struct loop_fd *watch;
	bool stopped;
	_Atomic(struct vcpu *) hit;       /* stopped by itself, event not yet sent */
	uint8_t payload[DEBUG_PAYLOAD_MAX];
};

static bool send_msg(struct debug *d, const struct debug_msg *msg, const void *payload)
{
	return fd_write_full(d->fd, msg, sizeof(*msg)) &&
	       (!msg->len || fd_write_full(d->fd, payload, msg->len));
}

static void stop(struct debug *d)
{
	if (d->stopped)
		return;
	vcpus_quiesce(d->m);
	clock_pause(d->m->clock);
	d->stopped = true;
}

static void go(struct debug *d, struct vcpu *only)
{
	if (!d->stopped)
		return;
	d->hit = NULL;
	for (unsigned i = 0; i < d->m->nvcpus; i++) {
		struct vcpu *v = d->m->vcpus[i];
		v->debug.hit = false;
		v->debug.single_step = v == only;
		v->debug.hold = only && v != only;
	}
	d->stopped = false;
	clock_resume(d->m->clock);
	vcpus_release(d->m);
}

static void report_hit(void *opaque)
{
	struct debug *d = opaque;
	struct vcpu *v = d->hit;
	if (!v)
		return;
	stop(d);
	vcpus_release(d->m);          /* the depth that stop_for_debugger added */
	struct debug_msg e = { .op = DEBUG_EVENT, .vcpu = v->index, .kind = v->debug.hit_kind,
			       .addr = v->debug.hit_addr };
	d->hit = NULL;
	send_msg(d, &e, NULL);
}

/* vCPU thread: the first one to stop speaks; others just wait. */
static void on_debug(void *opaque, struct vcpu *v)
{
	struct debug *d = opaque;
	struct vcpu *none = NULL;
	if (atomic_compare_exchange_strong(&d->hit, &none, v))
		loop_post(d->m->loop, report_hit, d);
	else
		vcpus_release(d->m);
}

static void get_regs(const struct x86_cpu *c, struct debug_regs *r)
{
	memcpy(r->gpr, c->gpr, sizeof(r->gpr));
	r->rip = c->rip;
	r->rflags = c->rflags;
	for (unsigned i = 0; i < 6; i++)
		r->seg[i] = c->seg[i].sel;
	r->fs_base = c->seg[FS].base;
	r->gs_base = c->seg[GS].base;
	r->kernel_gs_base = c->kernel_gs_base;
	r->cr0 = c->cr0;
	r->cr2 = c->cr2;
	r->cr3 = c->cr3;
	r->cr4 = c->cr4;
	r->cr8 = c->lapic.tpr >> 4;
	r->efer = c->efer;
	memcpy(r->fxsave, c->xsave.legacy, 512);
}

/* What a debugger may change: general registers, rip, status flags, x87/SSE
 * contents. Selectors and control registers have side effects it cannot mean. */
static void set_regs(struct x86_cpu *c, const struct debug_regs *r)
{
	const uint64_t writable = FL_STATUS | FL_DF | FL_TF | FL_IF;
	memcpy(c->gpr, r->gpr, sizeof(c->gpr));
	c->rip = r->rip;
	c->rflags = (c->rflags & ~writable) | (r->rflags & writable);
	uint32_t mxcsr_mask = c->xsave.mxcsr_mask;
	memcpy(c->xsave.legacy, r->fxsave, 512);
	c->xsave.mxcsr &= 0xffff;
	c->xsave.mxcsr_mask = mxcsr_mask;
	memset(c->xsave.reserved1, 0, sizeof(c->xsave.reserved1));
	c->xsave.xstate_bv |= XFEATURE_X87 | XFEATURE_SSE;
}

/* RAM only: a debugger's look must not disturb a device. */
static uint32_t copy(struct debug *d, struct vcpu *v, uint64_t lin, uint32_t len, bool write)
{
	uint32_t done = 0;
	while (done < len) {
		uint64_t gpa;
		uint32_t n = (uint32_t)MIN((uint64_t)(len - done), PAGE_SIZE - (lin & PAGE_MASK));
		if (!mmu_translate_debug(v, lin, &gpa))
			break;
		const void *p = mem_pin_read(d->m->memory, gpa, n);
		if (!p)
			break;
		if (write)
			memory_write(d->m->memory, gpa, d->payload + done, n);
		else
			memcpy(d->payload + done, p, n);
		done += n;
		lin += n;
	}
	return done;
}

static bool point_add(struct vcpu *v, const struct debug_msg *q)
{
	struct vcpu_debug *g = &v->debug;
	if (g->count == ARRAY_SIZE(g->point) || q->kind < 1 || q->kind > 4)
		return false;
	g->point[g->count].kind = (uint8_t)q->kind;
	g->point[g->count].addr = q->addr;
	g->point[g->count++].len = MAX(q->size, 1u);
	return true;
}

static bool point_del(struct vcpu *v, const struct debug_msg *q)
{
	struct vcpu_debug *g = &v->debug;
	for (unsigned i = 0; i < g->count; i++)
		if (g->point[i].kind == q->kind && g->point[i].addr == q->addr) {
			g->point[i] = g->point[--g->count];
			return true;
		}
	return false;
}

static bool points(struct debug *d, const struct debug_msg *q)
{
	bool ok = true;
	for (unsigned i = 0; i < d->m->nvcpus; i++) {
		struct vcpu *v = d->m->vcpus[i];
		ok &= q->op == DEBUG_POINT_ADD ? point_add(v, q) : point_del(v, q);
		vcpu_request(v, REQ_TLB);     /* watched pages take the slow path */
	}
	return ok;
}

static void access_state(struct debug *d, struct vcpu *v, const struct debug_msg *q, struct debug_msg *r)
{
	struct debug_regs regs;
	switch (q->op) {
	case DEBUG_GET_REGS:
		get_regs(&v->cpu, &regs);
		r->len = sizeof(regs);
		memcpy(d->payload, &regs, sizeof(regs));
		break;
	case DEBUG_SET_REGS:
		if (q->len != sizeof(regs)) {
			r->status = -1;
			break;
		}
		memcpy(&regs, d->payload, sizeof(regs));
		d->m->engine->state_get(v);       /* interrupts may have come in since */
		set_regs(&v->cpu, &regs);
		d->m->engine->state_set(v);
		break;
	case DEBUG_READ:
		r->len = copy(d, v, q->addr, MIN(q->len, (uint32_t)DEBUG_PAYLOAD_MAX), false);
		break;
	case DEBUG_WRITE:
		r->status = copy(d, v, q->addr, q->len, true) == q->len ? 0 : -1;
		break;
	}
}

static void execute(struct debug *d, const struct debug_msg *q, struct debug_msg *r)
{
	struct vcpu *v = d->m->vcpus[q->vcpu];
	switch (q->op) {
	case DEBUG_INFO:
		r->status = (int32_t)d->m->nvcpus;
		break;
	case DEBUG_STOP:
		stop(d);
		break;
	case DEBUG_CONTINUE:
		go(d, NULL);
		break;
	case DEBUG_STEP:
		go(d, v);
		break;
	case DEBUG_POINT_ADD:
	case DEBUG_POINT_DEL:
		r->status = d->stopped && points(d, q) ? 0 : -1;
		break;
	default:
		if (!d->stopped)
			r->status = -1;
		else
			access_state(d, v, q, r);
	}
}

static void channel_closed(struct debug *d)
{
	loop_fd_del(d->watch);
	close(d->fd);
	d->fd = -1;
	for (unsigned i = 0; i < d->m->nvcpus; i++)
		d->m->vcpus[i]->debug.count = 0;
	go(d, NULL);
}

static void readable(void *opaque, int events)
{
	struct debug *d = opaque;
	struct debug_msg q;
	if (!fd_read_full(d->fd, &q, sizeof(q)) || q.vcpu >= d->m->nvcpus ||
	    q.len > DEBUG_PAYLOAD_MAX ||
	    ((q.op == DEBUG_SET_REGS || q.op == DEBUG_WRITE) && q.len &&
	     !fd_read_full(d->fd, d->payload, q.len))) {
		channel_closed(d);
		return;
	}
	struct debug_msg r = { .op = q.op, .vcpu = q.vcpu };
	execute(d, &q, &r);
	if (!send_msg(d, &r, d->payload))
		channel_closed(d);
}

bool debug_serve(struct machine *m, int fd, struct error *err)
{
	struct debug *d = xnew(struct debug);     /* lives as long as the machine process */
	d->m = m;
	d->fd = fd;
	d->watch = loop_fd_add(m->loop, fd, LOOP_READ, readable, d);
	if (!d->watch) {
		free(d);
		return error_set(err, 0, "cannot watch the debug channel");
	}
	machine_on_debug(m, on_debug, d);
	return true;
}
