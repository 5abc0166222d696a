/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings of frames in shared memory: see ring.h. */
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

bool ring_make(struct ring_fds *fds, struct error *err)
{
	fds->memory = memfd_create("abyme-port", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fds->to_switch = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds->to_port = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fds->memory >= 0 && fds->to_switch >= 0 && fds->to_port >= 0 && !ftruncate(fds->memory, RING_FILE) &&
	    !fcntl(fds->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return true;
	error_set(err, errno, "cannot create the memory of a network port");
	ring_fds_close(fds);
	return false;
}

void ring_fds_close(struct ring_fds *fds)
{
	const int all[] = { fds->memory, fds->to_switch, fds->to_port };
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] >= 0)
			close(all[i]);
	*fds = (struct ring_fds){ -1, -1, -1 };
}

bool ring_set_link(const struct ring_fds *fds, bool up)
{
	uint32_t word = up;
	uint64_t one = 1;
	return fd_pwrite_full(fds->memory, &word, sizeof(word), offsetof(struct ring_shared, link)) &&
		write(fds->to_port, &one, sizeof(one)) == sizeof(one);
}

/* A file that could shrink would be a SIGBUS in whoever maps it. */
static bool sealed(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && seals & F_SEAL_SHRINK && !fstat(fd, &st) && st.st_size == RING_FILE;
}

static bool map_at(uint8_t *at, size_t size, int fd, off_t offset)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset) == at;
}

static bool map_all(struct ring *r, int fd)
{
	size_t whole = RING_PAGE + 4ul * RING_DATA;
	r->map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->map == MAP_FAILED)
		return false;
	uint8_t *d = r->map + RING_PAGE;
	return map_at(r->map, RING_PAGE, fd, 0) &&
		map_at(d, RING_DATA, fd, RING_PAGE) && map_at(d + RING_DATA, RING_DATA, fd, RING_PAGE) &&
		map_at(d + 2 * RING_DATA, RING_DATA, fd, RING_PAGE + RING_DATA) &&
		map_at(d + 3 * RING_DATA, RING_DATA, fd, RING_PAGE + RING_DATA);
}

bool ring_open(struct ring *r, const struct ring_fds *fds, bool switch_side, struct error *err)
{
	unsigned out = switch_side ? RING_FROM_SWITCH : RING_TO_SWITCH;
	*r = (struct ring){ .bell_out = switch_side ? fds->to_port : fds->to_switch,
			    .bell_in = switch_side ? fds->to_switch : fds->to_port };
	if (!sealed(fds->memory))
		return error_set(err, 0, "the memory of a network port is not what it should be");
	if (!map_all(r, fds->memory)) {
		error_set(err, errno, "cannot map the memory of a network port");
		ring_close(r);
		return false;
	}
	r->shared = (struct ring_shared *)(void *)r->map;
	r->tx.way = &r->shared->way[out];
	r->rx.way = &r->shared->way[!out];
	r->tx.data = r->map + RING_PAGE + (out ? 2 * RING_DATA : 0);
	r->rx.data = r->map + RING_PAGE + (out ? 0 : 2 * RING_DATA);
	r->tx.own = r->tx.published = ALIGN_DOWN(atomic_load(&r->tx.way->head), (uint32_t)RING_ALIGN);
	r->tx.seen = atomic_load(&r->tx.way->tail);
	r->rx.own = r->rx.published = ALIGN_DOWN(atomic_load(&r->rx.way->tail), (uint32_t)RING_ALIGN);
	r->rx.seen = r->rx.own;
	return true;
}

void ring_close(struct ring *r)
{
	if (r->map && r->map != MAP_FAILED)
		munmap(r->map, RING_PAGE + 4ul * RING_DATA);
	r->map = NULL;
}

static void ring_bell(int fd)
{
	uint64_t one = 1;
	ssize_t n UNUSED = write(fd, &one, sizeof(one));    /* full means rung already */
}

static uint32_t record_size(size_t len)
{
	return (uint32_t)ALIGN_UP(len + RING_LENGTH, (size_t)RING_ALIGN);
}

/* ---- producer ---- */

uint8_t *ring_reserve(struct ring *r, size_t len)
{
	struct ring_end *e = &r->tx;
	uint32_t need = record_size(len);
	if (len > RING_RECORD_MAX || r->broken)
		return NULL;
	if (RING_DATA - (e->own - e->seen) < need) {
		e->seen = atomic_load_explicit(&e->way->tail, memory_order_acquire);
		if (e->own - e->seen > RING_DATA) {
			r->broken = true;
			return NULL;
		}
		if (RING_DATA - (e->own - e->seen) < need)
			return NULL;
	}
	return e->data + (e->own & (RING_DATA - 1)) + RING_LENGTH;
}

void ring_commit(struct ring *r, size_t len)
{
	struct ring_end *e = &r->tx;
	le32_put(e->data + (e->own & (RING_DATA - 1)), (uint32_t)len);
	e->own += record_size(len);
}

void ring_publish(struct ring *r)
{
	struct ring_end *e = &r->tx;
	if (e->own == e->published)
		return;
	atomic_store_explicit(&e->way->head, e->own, memory_order_release);
	e->published = e->own;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&e->way->sleeping, memory_order_relaxed) &&
	    atomic_exchange(&e->way->sleeping, 0))
		ring_bell(r->bell_out);
}

void ring_want_room(struct ring *r)
{
	atomic_store(&r->tx.way->starved, 1);
}

/* ---- consumer ---- */

const uint8_t *ring_peek(struct ring *r, size_t *len)
{
	struct ring_end *e = &r->rx;
	if (e->own == e->seen) {
		e->seen = atomic_load_explicit(&e->way->head, memory_order_acquire);
		if (e->seen - e->own > RING_DATA)
			r->broken = true;
	}
	if (e->own == e->seen || r->broken)
		return NULL;
	const uint8_t *p = e->data + (e->own & (RING_DATA - 1));
	*len = le32_get(p);
	if (*len > RING_RECORD_MAX || record_size(*len) > e->seen - e->own) {
		r->broken = true;
		return NULL;
	}
	return p + RING_LENGTH;
}

void ring_release(struct ring *r, size_t len)
{
	r->rx.own += record_size(len);
}

void ring_done(struct ring *r)
{
	struct ring_end *e = &r->rx;
	if (e->own == e->published)
		return;
	atomic_store_explicit(&e->way->tail, e->own, memory_order_release);
	e->published = e->own;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&e->way->starved, memory_order_relaxed) &&
	    atomic_exchange(&e->way->starved, 0))
		ring_bell(r->bell_out);
}

bool ring_sleep(struct ring *r)
{
	struct ring_end *e = &r->rx;
	atomic_store(&e->way->sleeping, 1);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&e->way->head, memory_order_relaxed) == e->own || r->broken)
		return true;
	atomic_store_explicit(&e->way->sleeping, 0, memory_order_relaxed);
	return false;
}

void ring_bell_clear(struct ring *r)
{
	uint64_t n;
	ssize_t got UNUSED = read(r->bell_in, &n, sizeof(n));
}

bool ring_stays_awake(struct ring *r, uint32_t least_us)
{
	uint32_t us = MAX(least_us, atomic_load_explicit(&r->shared->poll, memory_order_relaxed));
	if (!us)
		return false;
	uint64_t now = monotonic_ns();
	if (r->rx.own != r->noted)
		r->noted_ns = now;
	r->noted = r->rx.own;
	return now - r->noted_ns < MIN(us, (uint32_t)RING_POLL_MAX) * 1000ull;
}
