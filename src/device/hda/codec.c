/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codec: root, one audio function group, one output converter, one line-out jack.
 * Nothing amplifies or mutes, so that what a guest plays is recorded as it is.
 */
#include "device/hda/hda.h"

enum { ROOT, GROUP, CONVERTER, PIN, NODES };
enum { VENDOR = 0x1af40010, REVISION = 0x00100101, SUBSYSTEM = 0x1af40010 };
/* 7.3.4: parameters */
enum { P_VENDOR = 0x00, P_REVISION = 0x02, P_NODES = 0x04, P_GROUP = 0x05, P_WIDGET = 0x09, P_PCM = 0x0a,
       P_FORMATS = 0x0b, P_PIN = 0x0c, P_CONNECTIONS = 0x0e, P_POWER = 0x0f };
/* 7.3.4.6: type in bits 23:20; stereo, own format, connection list, power */
enum { W_STEREO = 1, W_FORMAT = 1 << 4, W_LIST = 1 << 8, W_POWER = 1 << 10, W_PIN = 4 << 20 };
enum { PCM_16_BIT = 1 << 17, PCM_48_KHZ = 1 << 6, PIN_OUTPUT = 1 << 4, PIN_OUT = 0x40 };
/* 7.3.3.31: a jack at the rear, line out, of 3.5 mm, green, that is not sensed; association 1 */
enum { WIRED = 0x01014110 };
/* 7.3.3: verbs of 4 and of 12 bits */
enum { SET_FORMAT = 0x2, GET_FORMAT = 0xa, GET_PARAMETER = 0xf00, GET_LIST = 0xf02, SET_POWER = 0x705, GET_POWER = 0xf05,
       SET_STREAM = 0x706, GET_STREAM = 0xf06, SET_PIN = 0x707, GET_PIN = 0xf07, SET_CONFIG = 0x71c, GET_CONFIG = 0xf1c,
       GET_SUBSYSTEM = 0xf20, RESET = 0x7ff };
enum { D3 = 3 };

void hda_codec_reset(struct hda_codec *c)
{
	*c = (struct hda_codec){ .power = { 0, D3, D3, D3 }, .format = HDA_FORMAT, .pin = PIN_OUT, .config = WIRED };
}

static uint32_t parameter(unsigned node, unsigned which)
{
	static const struct { uint8_t node, which; uint32_t value; } table[] = {
		{ ROOT, P_VENDOR, VENDOR }, { ROOT, P_REVISION, REVISION }, { ROOT, P_NODES, GROUP << 16 | 1 },
		{ GROUP, P_NODES, CONVERTER << 16 | 2 }, { GROUP, P_GROUP, 1 }, { GROUP, P_PCM, PCM_16_BIT | PCM_48_KHZ },
		{ GROUP, P_FORMATS, 1 }, { GROUP, P_POWER, 1 << 0 | 1 << D3 },
		{ CONVERTER, P_WIDGET, W_STEREO | W_FORMAT | W_POWER }, { CONVERTER, P_PCM, PCM_16_BIT | PCM_48_KHZ },
		{ CONVERTER, P_FORMATS, 1 }, { CONVERTER, P_POWER, 1 << 0 | 1 << D3 },
		{ PIN, P_WIDGET, W_PIN | W_STEREO | W_LIST | W_POWER }, { PIN, P_PIN, PIN_OUTPUT },
		{ PIN, P_CONNECTIONS, 1 }, { PIN, P_POWER, 1 << 0 | 1 << D3 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].node == node && table[i].which == which)
			return table[i].value;
	return 0;
}

static uint32_t get(const struct hda_codec *c, unsigned node, unsigned verb, uint8_t payload)
{
	switch (verb) {
	case GET_PARAMETER:
		return parameter(node, payload);
	case GET_LIST:
		return node == PIN && !payload ? CONVERTER : 0;
	case GET_POWER:
		return node ? c->power[node] << 4 | c->power[node] : 0;
	case GET_STREAM:
		return node == CONVERTER ? c->stream : 0;
	case GET_PIN:
		return node == PIN ? c->pin : 0;
	case GET_CONFIG:
		return node == PIN ? c->config : 0;
	case GET_SUBSYSTEM:
		return node == GROUP ? SUBSYSTEM : 0;
	}
	return 0;
}

static void set(struct hda_codec *c, unsigned node, unsigned verb, uint8_t payload)
{
	unsigned shift = (verb & 3) * 8;
	if (verb == SET_POWER && node)
		c->power[node] = payload & 3;
	else if (verb == SET_STREAM && node == CONVERTER)
		c->stream = payload;
	else if (verb == SET_PIN && node == PIN)
		c->pin = payload & PIN_OUT;
	else if ((verb & ~3u) == SET_CONFIG && node == PIN)
		c->config = (c->config & ~(0xffu << shift)) | (uint32_t)payload << shift;
	else if (verb == RESET && node == GROUP)
		hda_codec_reset(c);
}

/* 7.1.2: address, node, then 4 bits of verb with 16 of payload, or 12 with 8. */
uint32_t hda_codec_verb(struct hda_codec *c, uint32_t command)
{
	unsigned address = command >> 28, node = command >> 20 & 0xff, verb = command >> 16 & 0xf;
	if (address || node >= NODES)
		return 0;
	if (verb == SET_FORMAT && node == CONVERTER)
		c->format = (uint16_t)command;
	if (verb == GET_FORMAT)
		return node == CONVERTER ? c->format : 0;
	if (verb == 0xf)
		return get(c, node, command >> 8 & 0xfff, (uint8_t)command);
	if (verb == 0x7)
		set(c, node, command >> 8 & 0xfff, (uint8_t)command);
	return 0;
}

bool hda_codec_plays(const struct hda_codec *c, unsigned stream, uint16_t format)
{
	return stream && c->stream == stream << 4 && format == HDA_FORMAT && c->format == format && (c->pin & PIN_OUT) &&
	       !c->power[GROUP] && !c->power[CONVERTER] && !c->power[PIN];
}

void hda_codec_xfer(struct hda_codec *c, struct state *s)
{
	for (unsigned i = 0; i < NODES; i++)
		xfer_u8_max(s, &c->power[i], D3);
	xfer_u16(s, &c->format);
	xfer_u8(s, &c->stream);
	xfer_u8(s, &c->pin);
	xfer_u32(s, &c->config);
}
