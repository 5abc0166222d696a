/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware (ACPI 6.5 4.8) where the ICH9 has it, at BOARD_PM_BASE:
 * PM1a events and control, the 24-bit PM timer at 3.579545 MHz, 16 general
 * purpose events, the SCI; and the APM ports 0xb2/0xb3.  There is no legacy
 * mode: SCI_EN is always on.
 */
#include "device/chipset.h"
#include "machine/machine.h"

#define PM_TIMER_HZ 3579545u
enum { R_STS = 0, R_EN = 2, R_CNT = 4, R_TIMER = 8, R_GPE_STS = 0x20, R_GPE_EN = 0x28,
       R_SMI_EN = 0x30, PM_SIZE = 0x80 };
enum { STS_TIMER = 1, STS_POWER = 0x100, STS_SLEEP = 0x200, STS_WAKE = 0x8000 };
enum { STS_MASK = STS_TIMER | 0x20 | STS_POWER | STS_SLEEP | 0x400 | STS_WAKE,
       CNT_SCI_EN = 1, CNT_SLP_EN = 0x2000, SMI_EN_APMC = 0x20 };

struct acpi_pm {
	struct device dev;
	uint16_t sts, en, cnt;
	uint16_t gpe_sts, gpe_en;
	uint32_t smi_en;
	uint8_t apm[2];
	uint64_t carry;           /* machine ns when the timer's top bit changes next */
	struct clock_timer timer;
	struct irq_line sci;
};

static uint64_t timer_ticks(const struct acpi_pm *p)
{
	return muldiv64(clock_now(p->dev.machine->clock), PM_TIMER_HZ, 1000000000u);
}

/* TIMER_STS is set whenever bit 23 of the timer changes (4.8.2.1). */
static void arm_carry(struct acpi_pm *p)
{
	uint64_t next = (timer_ticks(p) / 0x800000 + 1) * 0x800000;
	p->carry = muldiv64(next, 1000000000u, PM_TIMER_HZ) + 1;
	if (p->en & STS_TIMER)
		clock_timer_set(&p->timer, p->carry);
	else
		clock_timer_cancel(&p->timer);
}

static void update(struct acpi_pm *p)
{
	if (clock_now(p->dev.machine->clock) >= p->carry) {
		p->sts |= STS_TIMER;
		arm_carry(p);
	}
	irq_set(&p->sci, (p->sts & p->en) || (p->gpe_sts & p->gpe_en));
}

static void timer_fired(void *opaque)
{
	struct acpi_pm *p = opaque;
	board_lock(p->dev.machine);
	update(p);
	board_unlock(p->dev.machine);
}

void acpi_pm_power_button(struct machine *m)
{
	struct acpi_pm *p = m->board_data->pm;
	p->sts |= STS_POWER;
	update(p);
}

void acpi_pm_gpe(struct machine *m, unsigned bit)
{
	struct acpi_pm *p = m->board_data->pm;
	p->gpe_sts |= (uint16_t)BIT(bit & 15);
	update(p);
}

/* SLP_TYP 0 is S5 on this board, as \_S5 says. */
static void sleep_request(struct acpi_pm *p)
{
	if ((p->cnt >> 10 & 7) == 0)
		machine_end_request(p->dev.machine, END_POWEROFF, 0);
	p->cnt &= (uint16_t)~CNT_SLP_EN;
}

/* Registers are bytes: guests use every width. */
static uint64_t pm_read(void *opaque, uint64_t at, unsigned size)
{
	struct acpi_pm *p = opaque;
	unsigned shift = at & 1 ? 8 : 0;
	update(p);
	switch (at & ~1ull) {
	case R_STS:
		return p->sts >> shift & 0xff;
	case R_EN:
		return p->en >> shift & 0xff;
	case R_CNT:
		return p->cnt >> shift & 0xff;
	case R_GPE_STS:
		return p->gpe_sts >> shift & 0xff;
	case R_GPE_EN:
		return p->gpe_en >> shift & 0xff;
	case R_SMI_EN:
	case R_SMI_EN + 2:
		return p->smi_en >> (at & 3) * 8 & 0xff;
	}
	return 0;
}

static void pm_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct acpi_pm *p = opaque;
	unsigned shift = at & 1 ? 8 : 0;
	uint16_t v = (uint16_t)((value & 0xff) << shift), keep = (uint16_t)~(0xff << shift);
	update(p);
	switch (at & ~1ull) {
	case R_STS:
		p->sts &= (uint16_t)~v;
		break;
	case R_EN:
		p->en = ((p->en & keep) | v) & (STS_TIMER | 0x20 | STS_POWER | STS_SLEEP | 0x400);
		arm_carry(p);
		break;
	case R_CNT:
		p->cnt = (p->cnt & keep) | v | CNT_SCI_EN;
		if (shift && p->cnt & CNT_SLP_EN)
			sleep_request(p);
		break;
	case R_GPE_STS:
		p->gpe_sts &= (uint16_t)~v;
		break;
	case R_GPE_EN:
		p->gpe_en = (p->gpe_en & keep) | v;
		break;
	case R_SMI_EN:
	case R_SMI_EN + 2:
		p->smi_en &= ~(0xffu << (at & 3) * 8);
		p->smi_en |= (uint32_t)(value & 0xff) << (at & 3) * 8;
	}
	update(p);
}

static uint64_t timer_read(void *opaque, uint64_t at, unsigned size)
{
	return timer_ticks(opaque) & 0xffffff;
}

static void timer_write(void *opaque, uint64_t at, uint64_t value, unsigned size) { }

static uint64_t apm_read(void *opaque, uint64_t at, unsigned size)
{
	struct acpi_pm *p = opaque;
	return p->apm[at & 1];
}

static void apm_write(void *opaque, uint64_t at, uint64_t value, unsigned size)
{
	struct acpi_pm *p = opaque;
	p->apm[at & 1] = (uint8_t)value;
}

static void acpi_pm_reset(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);
	p->sts = p->en = p->gpe_sts = p->gpe_en = 0;
	p->cnt = CNT_SCI_EN;
	p->smi_en = SMI_EN_APMC;          /* firmware reads it as: no SMM to set up */
	p->apm[0] = p->apm[1] = 0;
	arm_carry(p);
	irq_set(&p->sci, false);
}

static bool acpi_pm_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);
	uint16_t *regs[] = { &p->sts, &p->en, &p->cnt, &p->gpe_sts, &p->gpe_en };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u16(s, regs[i]);
	xfer_u32(s, &p->smi_en);
	xfer_bytes(s, p->apm, sizeof(p->apm));
	xfer_u64(s, &p->carry);
	return state_ok(s);
}

static void acpi_pm_loaded(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);
	if (p->en & STS_TIMER)
		clock_timer_set(&p->timer, p->carry);
}

static void acpi_pm_destroy(struct device *d)
{
	struct acpi_pm *p = container_of(d, struct acpi_pm, dev);
	clock_timer_cancel(&p->timer);
	free(p);
}

static const struct io_ops pm_io = { pm_read, pm_write, 1, 1 };
static const struct io_ops pm_timer_io = { timer_read, timer_write, 4, 4, true };
static const struct io_ops apm_io = { apm_read, apm_write, 1, 1 };
static const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm", .version = 1, .reset = acpi_pm_reset, .xfer = acpi_pm_xfer,
	.loaded = acpi_pm_loaded, .destroy = acpi_pm_destroy,
};

bool acpi_pm_create(struct machine *m, struct error *err)
{
	struct acpi_pm *p = xnew(struct acpi_pm);
	m->board_data->pm = p;
	p->sci = board_gsi(m, BOARD_SCI);
	clock_timer_init(&p->timer, m->clock, timer_fired, p);
	device_add(m, &p->dev, &acpi_pm_ops, "acpi-pm");
	acpi_pm_reset(&p->dev);
	memory_add_io(m->ports, "acpi-pm", BOARD_PM_BASE, PM_SIZE, 0, &pm_io, p);
	memory_add_io(m->ports, "acpi-timer", BOARD_PM_BASE + R_TIMER, 4, 1, &pm_timer_io, p);
	memory_add_io(m->ports, "apm", 0xb2, 2, 0, &apm_io, p);
	return true;
}
