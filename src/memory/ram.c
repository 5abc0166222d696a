/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What guest RAM is made of, one mapping a slot:
 *   a sealed memfd                 the rule;
 *   anonymous, in huge pages       for engines whose second-level page tables map what the
 *                                  host has mapped (kvm): 512 faults fewer for each of them;
 *   a private mapping of a file    a resumed machine's, from its state file.
 * They differ in how a page is given back and how one knows that none is there.
 */
#include "memory/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

static int ram_memfd(const char *name, uint64_t size, struct error *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return error_minus(err, errno, "cannot create guest memory");
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		error_set(err, errno, "cannot set aside %llu MiB of guest memory; use a smaller --memory",
			  (unsigned long long)(size / MiB));
		close(fd);
		return -1;
	}
	return fd;
}

/* Aligned, so that a huge page here can be one for the guest. */
static void *map_anonymous(uint64_t size)
{
	uint8_t *room = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return MAP_FAILED;
	size_t before = -(uintptr_t)room % HUGE_PAGE;
	if (before)
		munmap(room, before);
	munmap(room + before + size, HUGE_PAGE - before);
	madvise(room + before, size, MADV_HUGEPAGE);      /* where the host has none, small ones */
	return room + before;
}

static bool map(struct ram_slot *s, uint64_t offset, struct error *err)
{
	s->host = s->fd < 0 ? map_anonymous(s->size) :
		  mmap(NULL, s->size, PROT_READ | PROT_WRITE,
		       (s->private_map ? MAP_PRIVATE : MAP_SHARED) | MAP_NORESERVE, s->fd, (off_t)offset);
	if (s->host == MAP_FAILED)
		return error_set(err, errno, "cannot map %llu MiB of guest memory; use a smaller --memory",
				 (unsigned long long)(s->size / MiB));
	/* Anonymous, so that flags of pages never flagged cost nothing. */
	void *flags = mmap(NULL, s->size / PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (flags == MAP_FAILED) {
		munmap(s->host, s->size);
		return error_set(err, errno, "cannot map the page flags of guest memory");
	}
	s->flags = flags;
	return true;
}

struct ram_slot *ram_slot_new(const struct memory *m, const char *name, uint64_t gpa, uint64_t size,
			      bool readonly, int fd, uint64_t offset, struct error *err)
{
	struct ram_slot *s = xnew(struct ram_slot);
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->gpa = gpa;
	s->size = size;
	s->readonly = readonly;
	s->private_map = fd >= 0;
	s->pagemap_fd = m->pagemap_fd;
	bool anonymous = fd < 0 && m->huge_pages && size >= HUGE_PAGE;
	s->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : anonymous ? -1 : ram_memfd(name, size, err);
	if (s->fd < 0 && !anonymous) {
		free(s);
		return NULL;
	}
	if (!map(s, s->private_map ? offset : 0, err)) {
		close_fd(&s->fd);
		free(s);
		return NULL;
	}
	return s;
}

void ram_slot_free(struct ram_slot *s)
{
	munmap(s->host, s->size);
	close_fd(&s->fd);
	munmap((void *)s->flags, s->size / PAGE_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(s->dirty); i++)
		free((void *)s->dirty[i]);
	free(s);
}

void memory_use_huge_pages(struct memory *m, int pagemap_fd)
{
	m->huge_pages = true;
	m->pagemap_fd = pagemap_fd;
}

/* Pages that are neither here nor swapped out (Linux: admin-guide/mm/pagemap.rst). */
static uint64_t next_mapped(const struct ram_slot *s, uint64_t at)
{
	enum { BATCH = 512 };
	uint64_t entry[BATCH];
	const uint64_t somewhere = BIT(63) | BIT(62);
	for (uint64_t page = at / PAGE_SIZE; page < s->size / PAGE_SIZE; page += BATCH) {
		size_t n = MIN(s->size / PAGE_SIZE - page, (uint64_t)BATCH) * sizeof(*entry);
		off_t from = (off_t)(((uintptr_t)s->host / PAGE_SIZE + page) * sizeof(*entry));
		if (pread(s->pagemap_fd, entry, n, from) != (ssize_t)n)
			return at;        /* nobody tells: everything counts */
		for (unsigned i = 0; i < n / sizeof(*entry); i++)
			if (entry[i] & somewhere)
				return MAX(at, (page + i) * PAGE_SIZE);
	}
	return s->size;
}

uint64_t memory_next_data(const struct ram_slot *s, uint64_t at)
{
	if (s->private_map || at >= s->size)
		return at;
	if (s->fd < 0)
		return next_mapped(s, at);
	off_t data = lseek(s->fd, (off_t)at, SEEK_DATA);
	return data >= 0 ? (uint64_t)data : s->size;
}

void ram_slot_discard(struct ram_slot *s, uint64_t off, uint64_t n)
{
	if (s->fd < 0)
		madvise(s->host + off, n, MADV_DONTNEED);
	else if (!s->private_map)
		fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n);
	else    /* dropping a private copy would bring the file's old bytes back */
		mmap(s->host + off, n, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}
