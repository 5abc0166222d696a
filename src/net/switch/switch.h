/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch: learns where stations are, forwards frames between ports, and
 * drops what has no business there, each drop under a name that is counted.  No
 * input or output of its own: ports give frames by sw_input() and take them
 * through their ops; time comes from outside.  Single-threaded.
 */
#ifndef NET_SWITCH_SWITCH_H
#define NET_SWITCH_SWITCH_H

#include "net/switch/fdb.h"
#include "net/switch/frame.h"

enum { SW_MAX_PORTS = 4096, SW_NAME = 96, SW_MTU_MAX = 65520, SW_PORT_MACS = 256, SW_UPLINK_MACS = 8192,
       SW_AGE_SECONDS = 300, SW_MOVES_PER_SECOND = 32, SW_LOOP_SECONDS = 10,
       SW_FLOOD_PER_SECOND = 8000, SW_FLOOD_BURST = 4000 };

/* Why a frame went nowhere: name of the counter, and the words of a trace. */
#define SW_DROPS(X) \
	X(malformed, "the frame is malformed") \
	X(size, "the frame is longer than the network's MTU allows") \
	X(vlan, "the port is not in this VLAN") \
	X(source, "the source address is a group address or another port's") \
	X(spoofed, "the source is not the address that this port was given") \
	X(rule, "a rule denies it") \
	X(rate, "the port's rate limit is reached") \
	X(storm, "too many floods from this port") \
	X(loop, "stations move to this port too often: there is a loop") \
	X(isolated, "both ports are isolated from each other") \
	X(nowhere, "no other port is there to take it") \
	X(full, "the receiver does not keep up") \
	X(reserved, "the address is reserved for bridges")
enum sw_drop { SW_PASS,
#define X(name, text) SW_DROP_##name,
	SW_DROPS(X)
#undef X
	SW_DROP_COUNT };
extern const char *const sw_drop_name[SW_DROP_COUNT], *const sw_drop_text[SW_DROP_COUNT];

struct sw; struct sw_port;
struct sw_link_ops {
	/* False: no room.  Called in batches, ended by flush. */
	bool (*put)(struct sw_port *p, const struct frame *f, bool tagged);
	void (*flush)(struct sw_port *p);
};

/* A token bucket; rate 0: no limit. */
struct sw_bucket { uint64_t rate, burst, tokens, last_ns; };
bool sw_bucket_take(struct sw_bucket *b, uint64_t now_ns, uint64_t n);
void sw_bucket_set(struct sw_bucket *b, uint64_t rate, uint64_t burst);

struct sw_port_config {
	char name[SW_NAME];                 /* "web" or "web.1" for a second interface */
	char group[SW_NAME];
	bool uplink;                        /* leads elsewhere: many stations, no guard */
	bool trunk, isolated;
	bool guard;                         /* only its own MAC and addresses */
	uint16_t vid;                       /* access VLAN, or the untagged one of a trunk (0: none) */
	uint64_t vlans[VLANS / 64];         /* of a trunk */
	uint8_t mac[6];
	bool has_ip, has_ip6;
	uint32_t ip;
	struct addr ip6;
	uint64_t rate_in, burst_in, rate_out, burst_out;   /* bytes a second, bytes */
};

struct sw_port {
	struct sw *sw;
	uint16_t index;
	const struct sw_link_ops *ops;
	void *link;
	struct sw_port_config c;
	struct sw_bucket in, out, flood;
	unsigned stations, moves;
	uint64_t blocked_until_ns;
	bool dirty;
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, drops[SW_DROP_COUNT];
};

/* What else looks at frames (services, rules, capture); NULL: nothing. */
struct sw_hooks {
	enum sw_drop (*in)(struct sw *s, struct sw_port *from, struct frame *f, bool dry);
	enum sw_drop (*out)(struct sw *s, struct sw_port *from, struct sw_port *to, struct frame *f, bool dry);
	bool (*local)(struct sw *s, struct sw_port *from, struct frame *f);      /* taken */
	/* Ports that want a group's frames; NULL: all. */
	const uint64_t *(*listeners)(struct sw *s, const struct frame *f);
	void (*seen)(struct sw *s, struct sw_port *p, bool out, const struct frame *f, enum sw_drop why);
};

struct sw {
	struct sw_port *ports[SW_MAX_PORTS];
	unsigned nports;                    /* one above the highest index */
	uint64_t now_ns;
	unsigned mtu;
	bool vlan_aware;
	struct sw_hooks hooks;
	void *opaque;                       /* of the hooks */
	struct sw_port *dirty[SW_MAX_PORTS];
	unsigned ndirty;
	uint8_t scratch[TAG + NET_FRAME_MAX + 64];
	struct fdb fdb;
};

struct sw *sw_new(uint64_t secret, unsigned mtu);
void sw_free(struct sw *s);
/* NULL: too many ports. */
struct sw_port *sw_port_add(struct sw *s, const struct sw_port_config *c, const struct sw_link_ops *ops, void *link);
void sw_port_configure(struct sw_port *p, const struct sw_port_config *c);
void sw_port_remove(struct sw_port *p);

/* A frame from a port; f->rest must stay until this returns. */
void sw_input(struct sw_port *from, struct frame *f);
/* A frame of the switch's own to one port, already in its VLAN. */
void sw_output(struct sw_port *to, struct frame *f);
void sw_flush(struct sw *s);
void sw_tick(struct sw *s);                 /* once a second */
void sw_count_drop(struct sw_port *p, enum sw_drop why);

/* Where a frame would go, step by step, changing nothing. */
struct sw_port *sw_lookup(struct sw *s, uint16_t vid, const uint8_t mac[6]);
enum sw_drop sw_check_in(struct sw_port *from, struct frame *f, bool dry);
enum sw_drop sw_check_out(struct sw_port *from, struct sw_port *to, struct frame *f, bool dry);
static inline bool sw_in_vlan(const struct sw_port *p, uint16_t vid)
{ return p->c.trunk ? (p->c.vlans[vid / 64] >> (vid % 64) & 1) || vid == p->c.vid : vid == p->c.vid; }

/* Finish a frame's checksum and segments: emit() for each frame that it becomes,
 * room for `room` bytes at *out, then its length. */
bool sw_finish(struct sw *s, const struct frame *f, bool tagged,
	       uint8_t *(*room)(void *opaque, size_t most), void (*emit)(void *opaque, size_t len), void *opaque);

#endif
