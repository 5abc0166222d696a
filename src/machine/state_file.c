/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state file as a container (abyme-state(5)); see state_file.h. */
#include "machine/state_file.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/crc32c.h"

#define STATE_MAGIC "ABYMEST1"
enum { HEADER_SIZE = 64, SECTIONS_MAX = 256 << 20, FILE_VERSION = 2, RECORD_VERSION = 1 };

/* --- header --------------------------------------------------------------- */

/* FNV-1a: guards the header only. */
static uint64_t header_sum(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ull;
	while (n--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

bool state_header_write(int fd, const struct state_header *h, struct error *err)
{
	uint8_t b[HEADER_SIZE] = STATE_MAGIC;
	le32_put(b + 8, FILE_VERSION);
	le64_put(b + 16, h->ram_offset);
	le64_put(b + 24, h->ram_size);
	le64_put(b + 32, h->state_offset);
	le64_put(b + 40, h->state_size);
	le64_put(b + 56, header_sum(b, 56));
	if (!fd_pwrite_full(fd, b, sizeof(b), 0) || fsync(fd))
		return error_set(err, errno, "cannot write the state file");
	return true;
}

static bool layout_good(const struct state_header *h, uint64_t size)
{
	return h->ram_offset == STATE_RAM_OFFSET && h->ram_size % 4096 == 0 && h->ram_size <= BIT(46) &&
	       h->state_offset == STATE_RAM_OFFSET + h->ram_size && h->state_size <= SECTIONS_MAX &&
	       h->state_offset <= size && size - h->state_offset == h->state_size;
}

bool state_header_read(int fd, struct state_header *h, struct error *err)
{
	uint8_t b[HEADER_SIZE];
	struct stat st;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return error_set(err, 0, "the state file is not a regular file");
	if (!fd_pread_full(fd, b, sizeof(b), 0) || memcmp(b, STATE_MAGIC, 8))
		return error_set(err, 0, "this is not an Abyme state file, or its writing was cut short");
	if (le64_get(b + 56) != header_sum(b, 56))
		return error_set(err, 0, "the state file's header is damaged");
	if (le32_get(b + 8) != FILE_VERSION)
		return error_set(err, 0, "the state file has version %u; this program reads version %d",
				 le32_get(b + 8), FILE_VERSION);
	*h = (struct state_header){ le64_get(b + 16), le64_get(b + 24), le64_get(b + 32), le64_get(b + 40) };
	return layout_good(h, (uint64_t)st.st_size) ||
	       error_set(err, 0, "the state file is cut short or damaged: its size is not what its header says");
}

void *state_sections_read(int fd, struct state_header *h, struct error *err)
{
	if (!state_header_read(fd, h, err))
		return NULL;
	void *p = xmalloc(h->state_size + 1);
	if (fd_pread_full(fd, p, h->state_size, h->state_offset))
		return p;
	free(p);
	return error_null(err, errno, "cannot read the state file");
}

/* --- sums of RAM ------------------------------------------------------------ */

static uint64_t chunks(uint64_t ram_size)
{
	return (ram_size + STATE_CHUNK - 1) / STATE_CHUNK;
}

bool ram_sums_init(struct ram_sums *r, uint64_t ram_size)
{
	uint64_t n = chunks(ram_size);
	if (n * sizeof(*r->sum) > SECTIONS_MAX)
		return false;
	*r = (struct ram_sums){ xcalloc(n + 1, sizeof(*r->sum)), (uint32_t)n };
	return true;
}

void ram_sums_free(struct ram_sums *r)
{
	free(r->sum);
	r->sum = NULL;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && !memcmp(p, p + 1, n - 1);
}

uint32_t ram_sum(const void *p, size_t n)
{
	if (all_zero(p, n))
		return 0;
	uint32_t c = crc32c(0, p, n);
	return c ? c : 1;
}

static void xfer_sums(struct ram_sums *r, struct state *s)
{
	xfer_check_u64(s, STATE_CHUNK, "the size of a chunk");
	xfer_check_u64(s, r->count, "the number of chunks");
	for (uint32_t i = 0; i < r->count && state_ok(s); i++)
		xfer_u32(s, &r->sum[i]);
}

void ram_sums_save(const struct ram_sums *r, struct state *s)
{
	struct ram_sums copy = *r;
	state_begin(s, "ram", RECORD_VERSION, 0);
	xfer_sums(&copy, s);
	state_end(s);
}

/* --- checking --------------------------------------------------------------- */

/* Every section's own sum, and the section "ram" among them. */
static bool find_sums(struct state *s, struct ram_sums *r)
{
	struct state_section sec;
	bool found = false;
	while (state_next(s, &sec)) {
		if (strcmp(sec.name, "ram")) {
			state_skip(s);
			continue;
		}
		xfer_sums(r, s);
		state_end(s);
		found = true;
	}
	return state_ok(s) && (found || state_fail(s, "the sums of memory are missing"));
}

static bool sums_read(int fd, struct state_header *h, struct ram_sums *r, struct error *err)
{
	auto_free void *bytes = state_sections_read(fd, h, err);
	if (!bytes)
		return false;
	if (!ram_sums_init(r, h->ram_size))
		return error_set(err, 0, "the state file is damaged: its size of memory makes no sense");
	struct state *s = state_load_new(bytes, h->state_size);
	bool ok = find_sums(s, r);
	if (!ok)
		*err = *state_error(s);
	state_free(s);
	return ok;
}

/* Where the next data lies at or behind `pos`; holes read as zero. */
static uint64_t next_data(int fd, uint64_t pos, uint64_t end)
{
	off_t at = lseek(fd, (off_t)pos, SEEK_DATA);
	if (at < 0)
		return errno == ENXIO ? end : pos;
	return MIN((uint64_t)at, end);
}

static bool check_ram(int fd, const struct state_header *h, const struct ram_sums *r, struct error *err)
{
	auto_free uint8_t *buf = xmalloc(STATE_CHUNK);
	uint64_t data = 0;
	for (uint64_t i = 0, pos = 0; i < r->count; i++, pos += STATE_CHUNK) {
		uint64_t n = MIN((uint64_t)STATE_CHUNK, h->ram_size - pos), at = h->ram_offset + pos;
		uint32_t sum = 0;
		if (data < at + n)
			data = next_data(fd, MAX(data, at), h->state_offset);
		if (data < at + n) {
			if (!fd_pread_full(fd, buf, n, at))
				return error_set(err, errno, "cannot read the state file");
			sum = ram_sum(buf, n);
			data = at + n;
		}
		if (sum != r->sum[i])
			return error_set(err, 0, "the state file is damaged: memory differs from its checksum in "
					 "bytes %llu to %llu", (unsigned long long)at, (unsigned long long)(at + n - 1));
	}
	return true;
}

/* Between header and RAM lies nothing. */
static bool check_gap(int fd, struct error *err)
{
	uint8_t b[STATE_RAM_OFFSET - HEADER_SIZE];
	if (!fd_pread_full(fd, b, sizeof(b), HEADER_SIZE))
		return error_set(err, errno, "cannot read the state file");
	return all_zero(b, sizeof(b)) || error_set(err, 0, "the state file is damaged behind its header");
}

bool machine_state_check(int fd, bool ram, struct error *err)
{
	struct state_header h;
	struct ram_sums r = { 0 };
	bool ok = sums_read(fd, &h, &r, err) && check_gap(fd, err) && (!ram || check_ram(fd, &h, &r, err));
	ram_sums_free(&r);
	return ok;
}
