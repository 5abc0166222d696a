/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel High Definition Audio controller (ICH6's ids; specification 1.0a, chapter 3):
 * command rings, immediate commands, one output stream.  All under the board lock.
 *
 * The registers are bytes with masks (writable, cleared by writing one); what a write
 * sets off follows it.  While the stream runs, a timer moves what its rate makes due.
 * Sound that nobody can hear need not be on time: the stream waits, instead of
 * playing on, while the guest has not taken its last interrupt, or was not running.
 */
#include "device/hda/hda.h"

#include "device/pci.h"
#include "machine/machine.h"

enum { GCAP = 0x00, VMAJ = 0x03, OUTPAY = 0x04, INPAY = 0x06, GCTL = 0x08, WAKEEN = 0x0c, STATESTS = 0x0e, INTCTL = 0x20,
       INTSTS = 0x24, WALCLK = 0x30, SSYNC = 0x38, CORBBASE = 0x40, CORBWP = 0x48, CORBRP = 0x4a, CORBCTL = 0x4c,
       CORBSTS = 0x4d, CORBSIZE = 0x4e, RIRBBASE = 0x50, RIRBWP = 0x58, RINTCNT = 0x5a, RIRBCTL = 0x5c, RIRBSTS = 0x5d,
       RIRBSIZE = 0x5e, ICOI = 0x60, ICII = 0x64, ICIS = 0x68, DPBASE = 0x70,
       SD_CTL = 0x80, SD_STS = 0x83, SD_LPIB = 0x84, SD_CBL = 0x88, SD_LVI = 0x8c, SD_FIFOS = 0x90, SD_FMT = 0x92,
       SD_BDP = 0x98, REGISTERS = 0xa0, BAR_SIZE = 0x4000 };
enum { GCTL_CRST = 1, CTL_RUN = 2, CTL_INT = 1, ICIS_BUSY = 1, ICIS_VALID = 2, RP_RESET = 0x8000, RING = 256 };
enum { STS_RESPONSE = 1, SD_SRST = 1, SD_RUN = 2, SD_IOCE = 4, SD_BCIS = 4, SD_READY = 0x20, BDLE_IOC = 1 };
#define INT_GLOBAL BIT(31)
#define INT_CONTROLLER BIT(30)
enum { INT_STREAM = 1 };
#define TICK_NS 5000000ull        /* how often the stream moves */
#define LAG_NS 50000000ull        /* and how much at most */
#define WALL_HZ 24000000ull

struct hda {
	struct pci_function fn;   /* first */
	uint8_t reg[REGISTERS];
	struct hda_codec codec;
	struct wav wav;
	struct clock_timer timer;
	uint64_t moved;           /* machine time up to which the stream has been moved */
	uint16_t entry;           /* of the buffer list, and how far into it */
	uint32_t offset;
};

/* What a guest may write, what it clears by writing ones, and what reset leaves. */
struct mask { uint8_t at, size; uint32_t writable, clears, reset; };
static const struct mask masks[] = {
	{ GCAP, 2, 0, 0, 0x1001 }, { VMAJ, 1, 0, 0, 1 }, { OUTPAY, 2, 0, 0, 0x3c }, { INPAY, 2, 0, 0, 0x1d },
	{ GCTL, 4, 0x103, 0, 0 }, { WAKEEN, 2, 1, 0, 0 }, { STATESTS, 2, 0, 1, 0 }, { INTCTL, 4, 0xc0000001, 0, 0 },
	{ SSYNC, 4, 1, 0, 0 }, { CORBBASE, 4, ~0x7fu, 0, 0 }, { CORBBASE + 4, 4, ~0u, 0, 0 }, { CORBWP, 2, 0xff, 0, 0 },
	{ CORBRP, 2, 0x8000, 0, 0 }, { CORBCTL, 1, 3, 0, 0 }, { CORBSTS, 1, 0, 1, 0 }, { CORBSIZE, 1, 0, 0, 0x42 },
	{ RIRBBASE, 4, ~0x7fu, 0, 0 }, { RIRBBASE + 4, 4, ~0u, 0, 0 }, { RINTCNT, 2, 0xff, 0, 0 }, { RIRBCTL, 1, 7, 0, 0 },
	{ RIRBSTS, 1, 0, 5, 0 }, { RIRBSIZE, 1, 0, 0, 0x42 }, { ICOI, 4, ~0u, 0, 0 }, { ICIS, 2, 0, 2, 0 },
	{ DPBASE, 4, ~0x7eu, 0, 0 }, { DPBASE + 4, 4, ~0u, 0, 0 }, { SD_CTL, 3, 0xf0001f, 0, 0x040000 },
	{ SD_STS, 1, 0, 0x1c, 0 }, { SD_CBL, 4, ~0u, 0, 0 }, { SD_LVI, 2, 0xff, 0, 0 }, { SD_FIFOS, 2, 0, 0, 0xbf },
	{ SD_FMT, 2, 0x7f7f, 0, 0 }, { SD_BDP, 4, ~0x7fu, 0, 0 }, { SD_BDP + 4, 4, ~0u, 0, 0 },
};

static struct hda *from_device(struct device *d) { return container_of(d, struct hda, fn.dev); }
static struct memory *memory_of(const struct hda *h) { return h->fn.dev.machine->memory; }
static uint16_t get16(const struct hda *h, unsigned at) { return le16_get(h->reg + at); }
static uint32_t get32(const struct hda *h, unsigned at) { return le32_get(h->reg + at); }
static uint64_t get64(const struct hda *h, unsigned at) { return le64_get(h->reg + at); }

static void put(struct hda *h, unsigned at, uint32_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++, v >>= 8)
		h->reg[at + i] = (uint8_t)v;
}

/* --- interrupts -------------------------------------------------------------------- */
static uint32_t causes(const struct hda *h)
{
	uint32_t v = h->reg[SD_CTL] & h->reg[SD_STS] & SD_IOCE ? INT_STREAM : 0;
	if ((h->reg[RIRBSTS] & h->reg[RIRBCTL] & STS_RESPONSE) || (h->reg[STATESTS] & h->reg[WAKEEN]))
		v |= INT_CONTROLLER;
	return v;
}

static void update_irq(struct hda *h)
{
	uint32_t v = causes(h), enabled = get32(h, INTCTL);
	bool level = (v & enabled) && (enabled & INT_GLOBAL);
	put(h, INTSTS, v | (level ? (uint32_t)INT_GLOBAL : 0), 4);
	pci_intx(&h->fn, level);
}

/* --- commands ------------------------------------------------------------------------- */
static void respond(struct hda *h, uint32_t response)
{
	uint8_t b[8] = { 0 };             /* the other half: from codec 0, and solicited */
	uint16_t wp = (get16(h, RIRBWP) + 1) % RING;
	le32_put(b, response);
	memory_dma_write(memory_of(h), get64(h, RIRBBASE) + wp * 8u, b, sizeof(b));
	put(h, RIRBWP, wp, 2);
	h->reg[RIRBSTS] |= STS_RESPONSE;
}

/* 4.4.1: from behind the read pointer up to the write pointer. A response interrupt
 * comes when no more responses do, which is at once. */
static void run_commands(struct hda *h)
{
	if (!(h->reg[CORBCTL] & CTL_RUN) || !(h->reg[RIRBCTL] & CTL_RUN) || !pci_bus_master(&h->fn))
		return;
	for (uint16_t rp = get16(h, CORBRP) % RING; rp != get16(h, CORBWP) % RING; put(h, CORBRP, rp, 2)) {
		uint8_t b[4];
		rp = (rp + 1) % RING;
		memory_dma_read(memory_of(h), get64(h, CORBBASE) + rp * 4u, b, sizeof(b));
		respond(h, hda_codec_verb(&h->codec, le32_get(b)));
	}
}

/* 3.4.3: a command without rings. */
static void immediate(struct hda *h)
{
	put(h, ICII, hda_codec_verb(&h->codec, get32(h, ICOI)), 4);
	h->reg[ICIS] = ICIS_VALID;
}

/* --- the stream ------------------------------------------------------------------------- */
static bool running(const struct hda *h) { return (h->reg[SD_CTL] & SD_RUN) && (h->reg[GCTL] & GCTL_CRST); }

/* 3.7.1: base rate, multiple, divisor, size of a sample, channels. */
static uint64_t bytes_a_second(uint16_t format)
{
	static const uint8_t sample[8] = { 1, 2, 4, 4, 4, 4, 4, 4 };
	unsigned multiple = 1 + (format >> 11 & 7), divisor = 1 + (format >> 8 & 7);
	return (format & 0x4000 ? 44100 : 48000) * multiple / divisor * sample[format >> 4 & 7] * (1 + (format & 15));
}

static void play(struct hda *h, uint64_t gpa, uint32_t n)
{
	uint8_t buf[4096];
	unsigned stream = h->reg[SD_CTL + 2] >> 4;
	bool heard = hda_codec_plays(&h->codec, stream, get16(h, SD_FMT));
	for (uint32_t k; heard && n; gpa += k, n -= k) {
		k = MIN(n, (uint32_t)sizeof(buf));
		memory_dma_read(memory_of(h), gpa, buf, k);
		wav_write(&h->wav, buf, k);
	}
}

static void tell_position(struct hda *h, uint32_t n)
{
	uint32_t length = get32(h, SD_CBL);
	uint64_t at = get32(h, SD_LPIB) + (uint64_t)n, base = get64(h, DPBASE);
	uint8_t b[8] = { 0 };
	put(h, SD_LPIB, (uint32_t)(length ? at % length : at), 4);
	le32_put(b, get32(h, SD_LPIB));
	if (base & 1)
		memory_dma_write(memory_of(h), base & ~127ull, b, sizeof(b));
}

/* An entry has been played; false if the stream waits for the guest to see it. */
static bool end_entry(struct hda *h, uint32_t flags)
{
	h->offset = 0;
	h->entry = h->entry >= (get16(h, SD_LVI) & 0xff) ? 0 : h->entry + 1;
	if (!(flags & BDLE_IOC))
		return true;
	h->reg[SD_STS] |= SD_BCIS;
	return false;
}

static bool waits_for_guest(const struct hda *h)
{
	uint32_t both = INT_GLOBAL | INT_STREAM;
	return (h->reg[SD_STS] & SD_BCIS) && (h->reg[SD_CTL] & SD_IOCE) && (get32(h, INTCTL) & both) == both;
}

/* Up to `due` bytes, entry by entry; entries may be empty, so their number is bounded. */
static uint32_t move(struct hda *h, uint32_t due)
{
	uint32_t done = 0;
	for (unsigned turns = 0; turns < RING && done < due; turns++) {
		uint8_t b[16];
		memory_dma_read(memory_of(h), get64(h, SD_BDP) + h->entry * 16u, b, sizeof(b));
		uint32_t length = le32_get(b + 8);
		uint32_t n = h->offset < length ? MIN(due - done, length - h->offset) : 0;
		play(h, le64_get(b) + h->offset, n);
		tell_position(h, n);
		h->offset += n;
		done += n;
		if (h->offset >= length && !end_entry(h, le32_get(b + 12)))
			break;
	}
	return done;
}

static void tick(struct hda *h)
{
	uint64_t now = clock_now(h->fn.dev.machine->clock), rate = bytes_a_second(get16(h, SD_FMT));
	if (now - h->moved > LAG_NS)
		h->moved = now - LAG_NS;
	uint32_t due = (uint32_t)muldiv64(now - h->moved, rate, 1000000000) & ~(HDA_FRAME - 1u);
	if (waits_for_guest(h) || !pci_bus_master(&h->fn) || !rate)
		h->moved = now;
	else
		h->moved += muldiv64(move(h, due), 1000000000, rate);
	update_irq(h);
	clock_timer_again(&h->timer, now + TICK_NS);
}

static void timer_fired(void *opaque)
{
	struct hda *h = opaque;
	board_lock(h->fn.dev.machine);
	if (running(h))
		tick(h);
	board_unlock(h->fn.dev.machine);
}

static void start_or_stop(struct hda *h, bool ran)
{
	uint64_t now = clock_now(h->fn.dev.machine->clock);
	h->reg[SD_STS] = (uint8_t)((h->reg[SD_STS] & ~SD_READY) | (running(h) ? SD_READY : 0));
	if (running(h) && !ran) {
		h->moved = now;
		clock_timer_set(&h->timer, now + TICK_NS);
	} else if (ran && !running(h)) {
		clock_timer_cancel(&h->timer);
		wav_finish(&h->wav);
	}
}

/* 3.3.35: the stream's registers as after power-on, but that the reset shows. */
static void reset_stream(struct hda *h)
{
	memset(h->reg + SD_CTL, 0, REGISTERS - SD_CTL);
	put(h, SD_CTL, 0x040000 | SD_SRST, 3);
	put(h, SD_FIFOS, 0xbf, 2);
	h->entry = 0;
	h->offset = 0;
}

/* --- registers ---------------------------------------------------------------------------- */
static void reset_registers(struct hda *h)
{
	memset(h->reg, 0, sizeof(h->reg));
	for (unsigned i = 0; i < ARRAY_SIZE(masks); i++)
		put(h, masks[i].at, masks[i].reset, masks[i].size);
	h->entry = 0;
	h->offset = 0;
	hda_codec_reset(&h->codec);
}

static void write_control(struct hda *h, uint8_t old)
{
	bool up = h->reg[GCTL] & GCTL_CRST;
	if (!up)
		reset_registers(h);
	else if (!(old & GCTL_CRST))
		h->reg[STATESTS] |= 1;    /* codec 0 has spoken up */
}

static void write_pointer(struct hda *h, unsigned at, uint16_t v)
{
	if (at == RIRBWP && v & RP_RESET)
		put(h, RIRBWP, 0, 2);
	if (at == CORBRP && v & RP_RESET)
		put(h, CORBRP, RP_RESET, 2);      /* shows until it is written as 0 */
	if (at == CORBRP && !(v & RP_RESET))
		put(h, CORBRP, get16(h, CORBRP) & 0xff, 2);
}

/* The bytes of one register that a write covers. */
static void write_bytes(struct hda *h, const struct mask *m, unsigned at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < m->size; i++) {
		unsigned byte = m->at + i;
		if (byte < at || byte >= at + size)
			continue;
		uint8_t v = (uint8_t)(value >> (byte - at) * 8), w = (uint8_t)(m->writable >> i * 8);
		h->reg[byte] = (uint8_t)((h->reg[byte] & ~w) | (v & w));
		h->reg[byte] &= (uint8_t)~(v & (m->clears >> i * 8));
	}
}

static bool covers(unsigned at, unsigned size, unsigned reg) { return reg >= at && reg < at + size; }

static void after_write(struct hda *h, unsigned at, uint64_t value, unsigned size, uint8_t control, bool ran)
{
	if (covers(at, size, GCTL))
		write_control(h, control);
	if (covers(at, size, RIRBWP + 1) && covers(at, size, RIRBWP))
		write_pointer(h, RIRBWP, (uint16_t)(value >> (RIRBWP - at) * 8));
	if (covers(at, size, CORBRP + 1) && covers(at, size, CORBRP))
		write_pointer(h, CORBRP, (uint16_t)(value >> (CORBRP - at) * 8));
	if (covers(at, size, CORBWP) || covers(at, size, CORBCTL) || covers(at, size, RIRBCTL))
		run_commands(h);
	if (covers(at, size, ICIS) && value >> (ICIS - at) * 8 & ICIS_BUSY)
		immediate(h);
	if (covers(at, size, SD_CTL) && h->reg[SD_CTL] & SD_SRST)
		reset_stream(h);
	start_or_stop(h, ran);
	update_irq(h);
}

static void hda_write(void *opaque, uint64_t where, uint64_t value, unsigned size)
{
	struct hda *h = opaque;
	unsigned at = (unsigned)where;
	uint8_t control = h->reg[GCTL];
	bool ran = running(h);
	if (at >= REGISTERS || (!(control & GCTL_CRST) && at != GCTL))
		return;                   /* in reset, nothing else is written: 3.3.7 */
	for (unsigned i = 0; i < ARRAY_SIZE(masks); i++)
		write_bytes(h, &masks[i], at, value, size);
	after_write(h, at, value, size, control, ran);
}

static uint64_t hda_read(void *opaque, uint64_t at, unsigned size)
{
	struct hda *h = opaque;
	uint64_t v = 0;
	if (at >= REGISTERS)
		return 0;
	put(h, WALCLK, (uint32_t)muldiv64(clock_now(h->fn.dev.machine->clock), WALL_HZ, 1000000000), 4);
	memcpy(&v, h->reg + at, size);    /* aligned: within */
	return v;
}

/* --- the device ---------------------------------------------------------------------------- */
static void hda_reset(struct device *d)
{
	struct hda *h = from_device(d);
	bool ran = running(h);
	pci_function_reset(&h->fn);
	reset_registers(h);
	start_or_stop(h, ran);
	update_irq(h);
}

static bool hda_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct hda *h = from_device(d);
	put(h, WALCLK, 0, 4);             /* is computed */
	pci_xfer(&h->fn, s);
	xfer_bytes(s, h->reg, sizeof(h->reg));
	hda_codec_xfer(&h->codec, s);
	xfer_u64(s, &h->moved);
	xfer_u16_max(s, &h->entry, RING - 1);
	xfer_u32(s, &h->offset);
	if (!state_loading(s))
		wav_finish(&h->wav);
	return state_ok(s);
}

static void hda_loaded(struct device *d)
{
	struct hda *h = from_device(d);
	uint64_t now = clock_now(d->machine->clock);
	h->moved = MIN(h->moved, now);
	if (running(h))
		clock_timer_set(&h->timer, now + TICK_NS);
	update_irq(h);
}

static void hda_destroy(struct device *d)
{
	struct hda *h = from_device(d);
	clock_timer_cancel(&h->timer);
	wav_finish(&h->wav);
	free(h);
}

static const struct io_ops hda_io = { hda_read, hda_write, 1, 4 };
static const struct device_ops hda_ops = {
	.name = "hda", .version = 1, .reset = hda_reset, .xfer = hda_xfer, .loaded = hda_loaded, .destroy = hda_destroy,
};

bool hda_create(struct machine *m, int fd, struct error *err)
{
	static const struct pci_ids ids = { 0x8086, 0x2668, 0x1af4, 0x1100, 0x04030001 };
	struct hda *h = xnew(struct hda);
	if (!pci_function_init(m, &h->fn, -1, &ids, &hda_ops, "hda", err)) {
		free(h);
		return false;
	}
	pci_bar_add(&h->fn, 0, BAR_SIZE, 0, &hda_io, h);
	clock_timer_init(&h->timer, m->clock, timer_fired, h);
	wav_open(&h->wav, fd);
	reset_registers(h);
	return true;
}
