/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 8042 keyboard controller, ports 0x60/0x64, with the two lines that
 * every PC hangs on it: CPU reset and A20; and port 0x92, which drives the same
 * two.  Bytes for the guest wait in one queue, each with the port it comes
 * from, because the controller has one output buffer.  Under the board lock.
 */
#include "device/chipset.h"
#include "device/ps2.h"
#include "machine/machine.h"

enum { ST_OBF = 1, ST_SYS = 4, ST_CMD = 8, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum { CB_KBD_INT = 1, CB_AUX_INT = 2, CB_SYS = 4, CB_KBD_OFF = 0x10, CB_AUX_OFF = 0x20,
       CB_TRANSLATE = 0x40 };
enum { OUT_RESET = 1, OUT_A20 = 2 };
enum { QUEUE = 16 };

struct i8042 {
	struct device dev;
	uint8_t command_byte;
	uint8_t pending;          /* command that waits for its data byte, or 0 */
	uint8_t status;           /* SYS, CMD bits */
	uint8_t output_port;
	uint8_t data;             /* output buffer: what 0x60 gives */
	bool full, from_aux;
	uint8_t reply[QUEUE];     /* the controller's own answers */
	bool reply_aux[QUEUE];
	uint8_t reply_head, reply_count;
	struct ps2_port port[2];  /* keyboard, mouse */
	struct irq_line irq[2];
};

static void set_lines(struct i8042 *k)
{
	bool kbd = k->full && !k->from_aux && (k->command_byte & CB_KBD_INT);
	bool aux = k->full && k->from_aux && (k->command_byte & CB_AUX_INT);
	irq_set(&k->irq[0], kbd);
	irq_set(&k->irq[1], aux);
}

/* Refill the output buffer: the controller's answers first, then the devices. */
static void refill(struct i8042 *k)
{
	static const uint8_t off[2] = { CB_KBD_OFF, CB_AUX_OFF };
	if (!k->full && k->reply_count) {
		k->data = k->reply[k->reply_head];
		k->from_aux = k->reply_aux[k->reply_head];
		k->reply_head = (k->reply_head + 1) % QUEUE;
		k->reply_count--;
		k->full = true;
	}
	for (unsigned i = 0; i < 2 && !k->full; i++) {
		if (k->command_byte & off[i] || !ps2_has_byte(&k->port[i]))
			continue;
		k->data = ps2_take(&k->port[i], i == 0 && k->command_byte & CB_TRANSLATE);
		k->from_aux = i == 1;
		k->full = true;
	}
	set_lines(k);
}

static void answer(struct i8042 *k, uint8_t v, bool aux)
{
	if (k->reply_count < QUEUE) {
		unsigned at = (k->reply_head + k->reply_count++) % QUEUE;
		k->reply[at] = v;
		k->reply_aux[at] = aux;
	}
	refill(k);
}

static void set_output_port(struct i8042 *k, uint8_t v)
{
	if ((v ^ k->output_port) & OUT_A20)
		memory_set_a20(k->dev.machine->memory, v & OUT_A20);
	k->output_port = v;
	if (!(v & OUT_RESET)) {
		k->output_port |= OUT_RESET;
		machine_reset_request(k->dev.machine);
	}
}

static void command(struct i8042 *k, uint8_t v)
{
	switch (v) {
	case 0x20:
		answer(k, k->command_byte, false);
		break;
	case 0x60: case 0xd1: case 0xd2: case 0xd3: case 0xd4:
		k->pending = v;
		break;
	case 0xa7:
		k->command_byte |= CB_AUX_OFF;
		break;
	case 0xa8:
		k->command_byte &= (uint8_t)~CB_AUX_OFF;
		break;
	case 0xa9: case 0xab:
		answer(k, 0x00, false);
		break;
	case 0xaa:
		k->status |= ST_SYS;
		answer(k, 0x55, false);
		break;
	case 0xad:
		k->command_byte |= CB_KBD_OFF;
		break;
	case 0xae:
		k->command_byte &= (uint8_t)~CB_KBD_OFF;
		break;
	case 0xc0:
		answer(k, 0x80, false);
		break;
	case 0xd0:
		answer(k, k->output_port, false);
		break;
	case 0xdd: case 0xdf:
		set_output_port(k, v == 0xdf ? k->output_port | OUT_A20
					     : k->output_port & (uint8_t)~OUT_A20);
		break;
	default:
		if (v >= 0xf0 && !(v & 1))   /* pulse bit 0 of the output port */
			machine_reset_request(k->dev.machine);
	}
	refill(k);
}

static void accept_data(struct i8042 *k, uint8_t v)
{
	uint8_t to = k->pending;
	k->pending = 0;
	switch (to) {
	case 0x60:
		k->command_byte = v;
		break;
	case 0xd1:
		set_output_port(k, v);
		break;
	case 0xd2: case 0xd3:
		answer(k, v, to == 0xd3);
		break;
	case 0xd4:
		ps2_send(&k->port[1], v);
		break;
	default:
		k->command_byte &= (uint8_t)~CB_KBD_OFF;
		ps2_send(&k->port[0], v);
	}
	refill(k);
}

static uint64_t status_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8042 *k = opaque;
	return (uint64_t)(k->status | ST_UNLOCKED | (k->full ? ST_OBF : 0) |
			  (k->full && k->from_aux ? ST_AUX : 0));
}

static uint64_t data_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t v = k->data;
	k->full = false;
	set_lines(k);     /* low, so that the next byte is a new edge */
	refill(k);
	return v;
}

static void command_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	k->status |= ST_CMD;
	command(k, (uint8_t)value);
}

static void data_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	k->status &= (uint8_t)~ST_CMD;
	accept_data(k, (uint8_t)value);
}

static uint64_t port92_read(void *opaque, uint64_t port, unsigned size)
{
	struct i8042 *k = opaque;
	return k->output_port & OUT_A20;
}

static void port92_write(void *opaque, uint64_t port, uint64_t value, unsigned size)
{
	struct i8042 *k = opaque;
	set_output_port(k, (k->output_port & (uint8_t)~OUT_A20) | (value & OUT_A20));
	if (value & 1)
		machine_reset_request(k->dev.machine);
}

void i8042_attach(struct machine *m, unsigned port, const struct ps2_ops *ops, void *opaque)
{
	m->board_data->kbc->port[port].ops = ops;
	m->board_data->kbc->port[port].opaque = opaque;
}

void i8042_poll(struct machine *m)
{
	refill(m->board_data->kbc);
}

bool i8042_has_keyboard(struct machine *m)
{
	return m->board_data->kbc->port[0].ops;
}

static void i8042_reset(struct device *d)
{
	struct i8042 *k = container_of(d, struct i8042, dev);
	k->command_byte = CB_KBD_INT | CB_AUX_INT;
	k->pending = k->status = k->data = 0;
	k->full = k->from_aux = false;
	k->reply_head = k->reply_count = 0;
	k->output_port = OUT_RESET | OUT_A20 | 0xcc;
	memory_set_a20(d->machine->memory, true);
	set_lines(k);
}

static bool i8042_xfer(struct device *d, struct state *s, uint32_t version)
{
	struct i8042 *k = container_of(d, struct i8042, dev);
	uint8_t *regs[] = { &k->command_byte, &k->pending, &k->status, &k->output_port, &k->data };
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		xfer_u8(s, regs[i]);
	xfer_bool(s, &k->full);
	xfer_bool(s, &k->from_aux);
	xfer_bytes(s, k->reply, QUEUE);
	for (unsigned i = 0; i < QUEUE; i++)
		xfer_bool(s, &k->reply_aux[i]);
	xfer_u8_max(s, &k->reply_head, QUEUE - 1);
	xfer_u8_max(s, &k->reply_count, QUEUE);
	return state_ok(s);
}

static void i8042_loaded(struct device *d)
{
	struct i8042 *k = container_of(d, struct i8042, dev);
	memory_set_a20(d->machine->memory, k->output_port & OUT_A20);
	set_lines(k);
}

static void i8042_destroy(struct device *d)
{
	free(container_of(d, struct i8042, dev));
}

static const struct io_ops data_io = { data_read, data_write, 1, 1 };
static const struct io_ops command_io = { status_read, command_write, 1, 1 };
static const struct io_ops port92_io = { port92_read, port92_write, 1, 1 };
static const struct device_ops i8042_ops = {
	.name = "i8042", .version = 1, .reset = i8042_reset, .xfer = i8042_xfer,
	.loaded = i8042_loaded, .destroy = i8042_destroy,
};

bool i8042_create(struct machine *m, struct error *err)
{
	struct i8042 *k = xnew(struct i8042);
	m->board_data->kbc = k;
	k->irq[0] = board_gsi(m, 1);
	k->irq[1] = board_gsi(m, 12);
	device_add(m, &k->dev, &i8042_ops, "i8042");
	i8042_reset(&k->dev);
	/* port 0x61 lies between the two */
	memory_add_io(m->ports, "kbc-data", 0x60, 1, 0, &data_io, k);
	memory_add_io(m->ports, "kbc-command", 0x64, 1, 0, &command_io, k);
	memory_add_io(m->ports, "port92", 0x92, 1, 0, &port92_io, k);
	return true;
}
