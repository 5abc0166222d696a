/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sound card as a driver uses it: rings of commands, a buffer list, the file. */
#include "board_fixture.h"

#include "device/hda/hda.h"

enum { GCTL = 0x08, STATESTS = 0x0e, INTCTL = 0x20, INTSTS = 0x24, CORB = 0x40, CORBWP = 0x48, CORBRP = 0x4a, CORBCTL = 0x4c,
       RIRB = 0x50, RIRBWP = 0x58, RIRBCTL = 0x5c, RIRBSTS = 0x5d, ICOI = 0x60, ICII = 0x64, ICIS = 0x68,
       CTL = 0x80, STS = 0x83, LPIB = 0x84, CBL = 0x88, LVI = 0x8c, FMT = 0x92, BDP = 0x98 };
enum { CORB_AT = 0x10000, RIRB_AT = 0x11000, LIST_AT = 0x12000, SOUND_AT = 0x20000, PART = 9600 };

static uint64_t bar;
static int file;

static uint32_t get(unsigned at, unsigned size) { return (uint32_t)memory_load(fx.m.memory, bar + at, size); }
static void put(unsigned at, uint32_t v, unsigned size) { memory_store(fx.m.memory, bar + at, v, size); }

static struct machine *machine(void)
{
	struct machine *m = fixture_new(4 * MiB);
	file = memfd_create("wav", MFD_CLOEXEC);
	fixture_controllers(m);
	assert_true(pci_host_create(m, NULL) && lpc_create(m, NULL) && hda_create(m, file, NULL));
	pci_assign(m);
	struct device *d = m->devices;
	while (d->next)
		d = d->next;
	struct pci_function *f = container_of(d, struct pci_function, dev);
	pci_config_write(m, f->devfn, 4, 6, 2);
	bar = f->bar[0].base;
	put(GCTL, 1, 4);
	assert_int_equal(get(STATESTS, 2), 1);
	return m;
}

static struct device *card(struct machine *m)
{
	struct device *d = m->devices;
	while (d->next)
		d = d->next;
	return d;
}

static uint32_t command(uint32_t verb)
{
	put(ICOI, verb, 4);
	put(ICIS, 1, 2);
	assert_int_equal(get(ICIS, 2), 2);
	return get(ICII, 4);
}

static void reset_and_masks(void **unused)
{
	struct machine *m = machine();
	put(0, 0xffff, 2);
	assert_int_equal(get(0, 2), 0x1001);
	put(CBL, 1234, 4);
	put(GCTL, 0, 4);
	put(CBL, 99, 4);                  /* in reset: not taken */
	put(GCTL, 1, 4);
	assert_int_equal(get(CBL, 4), 0);
	put(CTL, 1, 1);
	assert_int_equal(get(CTL, 1) & 1, 1);
	put(CTL, 0, 1);
	assert_int_equal(get(CTL, 1) & 1, 0);
	put(CORBRP, 0x8000, 2);
	assert_int_equal(get(CORBRP, 2), 0x8000);
	put(CORBRP, 0, 2);
	assert_int_equal(get(CORBRP, 2), 0);
	fixture_free(m);
	close(file);
}

static void codec_answers(void **unused)
{
	struct machine *m = machine();
	assert_int_equal(command(0x000f0000), 0x1af40010);        /* root: vendor */
	assert_int_equal(command(0x000f0004), 0x00010001);
	assert_int_equal(command(0x001f0005), 1);                 /* group 1: audio */
	assert_int_equal(command(0x003f0200), 2);                 /* pin 3 hears converter 2 */
	command(0x00371c55);
	assert_int_equal(command(0x003f1c00) & 0xff, 0x55);
	assert_int_equal(command(0x100f0000), 0);                 /* no codec 1, no node 99 */
	assert_int_equal(command(0x063f0000), 0);
	fixture_state_round_trip(card(m));
	fixture_free(m);
	close(file);
}

static void rings(void **unused)
{
	struct machine *m = machine();
	put(CORB, CORB_AT, 4);
	put(RIRB, RIRB_AT, 4);
	put(INTCTL, 0xc0000000, 4);
	put(RIRBCTL, 3, 1);
	put(CORBCTL, 2, 1);
	for (unsigned i = 0; i < 300; i++) {      /* all the way round */
		memory_store(m->memory, CORB_AT + (i + 1) % 256 * 4, 0x000f0000, 4);
		put(CORBWP, (i + 1) % 256, 2);
		assert_int_equal(get(CORBRP, 2), (i + 1) % 256);
		assert_int_equal(get(RIRBWP, 2), (i + 1) % 256);
		assert_int_equal(memory_load(m->memory, RIRB_AT + (i + 1) % 256 * 8, 8), 0x1af40010);
		assert_int_equal(get(INTSTS, 4), 0xc0000000);
		put(RIRBSTS, 1, 1);
		assert_int_equal(get(INTSTS, 4), 0);
	}
	put(RIRBWP, 0x8000, 2);
	assert_int_equal(get(RIRBWP, 2), 0);
	fixture_free(m);
	close(file);
}

/* Two parts, each with an interrupt; stream 1. */
static void start_stream(struct machine *m, uint8_t sound[2 * PART])
{
	for (unsigned i = 0; i < 2 * PART; i++)
		sound[i] = (uint8_t)(i * 7 + i / 251);
	memory_write(m->memory, SOUND_AT, sound, 2 * PART);
	for (unsigned i = 0; i < 2; i++) {
		memory_store(m->memory, LIST_AT + i * 16, SOUND_AT + i * PART, 8);
		memory_store(m->memory, LIST_AT + i * 16 + 8, PART | 1ull << 32, 8);
	}
	command(0x00170500);
	command(0x00270500);
	command(0x00370500);
	command(0x00220011);
	command(0x00270610);
	put(BDP, LIST_AT, 4);
	put(CBL, 2 * PART, 4);
	put(LVI, 1, 2);
	put(FMT, 0x11, 2);
	put(INTCTL, 0x80000001, 4);
	put(CTL + 2, 0x10, 1);
	put(CTL, 6, 1);
}

static void run_time(struct machine *m, unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 5) {
		clock_set(m->clock, clock_now(m->clock) + 5000000);
		clock_resume(m->clock);
		fixture_turn(m);
		clock_pause(m->clock);
	}
}

static void played_as_it_is(void **unused)
{
	struct machine *m = machine();
	uint8_t sound[2 * PART], got[2 * PART], header[44];
	start_stream(m, sound);
	run_time(m, 500);
	assert_int_equal(get(STS, 1) & 4, 4);     /* one part of 50 ms, and it waits for us */
	assert_int_equal(get(INTSTS, 4), 0x80000001);
	assert_int_equal(get(LPIB, 4), PART);
	run_time(m, 200);
	assert_int_equal(get(LPIB, 4), PART);
	fixture_state_round_trip(card(m));
	put(STS, 4, 1);
	assert_int_equal(get(INTSTS, 4), 0);
	run_time(m, 500);
	assert_int_equal(get(LPIB, 4), 0);
	put(CTL, 0, 1);
	assert_int_equal(get(STS, 1), 4);         /* no longer ready */
	assert_true(fd_pread_full(file, header, 44, 0) && fd_pread_full(file, got, sizeof(got), 44));
	assert_int_equal(le32_get(header + 40), sizeof(got));
	assert_memory_equal(got, sound, sizeof(got));
	fixture_free(m);
	close(file);
}

static void goes_on_behind(void **unused)
{
	struct wav w;
	uint8_t header[44];
	file = memfd_create("wav", MFD_CLOEXEC);
	wav_open(&w, file);
	wav_write(&w, "12345678", 8);
	wav_open(&w, file);
	wav_write(&w, "abcd", 4);
	wav_finish(&w);
	assert_true(fd_pread_full(file, header, 44, 0));
	assert_int_equal(le32_get(header + 40), 12);
	assert_int_equal(le32_get(header + 4), 36 + 12);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reset_and_masks),
		cmocka_unit_test(codec_answers),
		cmocka_unit_test(rings),
		cmocka_unit_test(played_as_it_is),
		cmocka_unit_test(goes_on_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
