/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel's 82540EM ("e1000"), shared by its files: registers (e1000.c), EEPROM
 * and PHY (serial.c), sending (tx.c), receiving (rx.c).  Sections cited are of the
 * PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual.
 */
#ifndef DEVICE_E1000_E1000_H
#define DEVICE_E1000_E1000_H

#include <pthread.h>

#include "device/pci.h"
#include "net/port.h"

enum { E1000_REGS = 0x20000 };
/* X(name, offset): what is kept in a plain word and saved with the device */
#define E1000_WORDS(X) \
	X(CTRL, 0x0000) X(EERD, 0x0014) X(CTRL_EXT, 0x0018) X(MDIC, 0x0020) X(FCAL, 0x0028) X(FCAH, 0x002c) \
	X(FCT, 0x0030) X(VET, 0x0038) X(ITR, 0x00c4) X(RCTL, 0x0100) X(FCTTV, 0x0170) \
	X(TXCW, 0x0178) X(TCTL, 0x0400) X(TIPG, 0x0410) X(AIT, 0x0458) X(LEDCTL, 0x0e00) \
	X(PBA, 0x1000) X(FCRTL, 0x2160) X(FCRTH, 0x2168) \
	X(RDBAL, 0x2800) X(RDBAH, 0x2804) X(RDLEN, 0x2808) X(RDH, 0x2810) X(RDT, 0x2818) \
	X(RDTR, 0x2820) X(RXDCTL, 0x2828) X(RADV, 0x282c) \
	X(TDBAL, 0x3800) X(TDBAH, 0x3804) X(TDLEN, 0x3808) X(TDH, 0x3810) X(TDT, 0x3818) \
	X(TIDV, 0x3820) X(TXDCTL, 0x3828) X(TADV, 0x382c) X(TSPMT, 0x3830) \
	X(RXCSUM, 0x5000) X(WUC, 0x5800) X(WUFC, 0x5808) X(MANC, 0x5820)
enum e1000_word {
#define X(name, offset) W_##name,
	E1000_WORDS(X)
#undef X
	W_COUNT
};

enum { CTRL_RST = 1 << 26, CTRL_VME = 1 << 30 };
enum { IRQ_TXDW = 1, IRQ_TXQE = 2, IRQ_LSC = 4, IRQ_RXDMT0 = 0x10, IRQ_RXO = 0x40, IRQ_RXT0 = 0x80,
       IRQ_MDAC = 0x200 };
enum { TX_HEADER_MAX = 256, TX_FRAME_MAX = 65536 + TX_HEADER_MAX };

/* The offload context (3.3.6). */
struct e1000_context {
	uint8_t ipcss, ipcso, tucss, tucso, tucmd, hdrlen;
	uint16_t ipcse, tucse, mss;
	uint32_t paylen;
};

struct e1000_tx {
	struct e1000_context context;
	uint8_t options;          /* POPTS of the frame's first descriptor */
	bool segment, sum, vlan, whole;   /* whole: the frame is complete and goes out */
	uint8_t sum_start, sum_at;        /* of a legacy descriptor */
	uint16_t tag;
	uint32_t len, sent;       /* bytes gathered; payload bytes gone as segments */
	uint8_t data[TX_FRAME_MAX];
};

struct e1000 {
	struct pci_function fn;
	pthread_mutex_t lock;     /* registers; below the board lock */
	uint32_t word[W_COUNT], icr, ims, eecd, io_address;
	uint32_t ra[32], mta[128], vfta[128];
	uint64_t good_rx, good_tx, octets_rx, octets_tx;   /* statistics, cleared by reading */
	uint16_t eeprom[64], phy[32];
	uint16_t ee_in;           /* bits shifted in since chip select */
	uint8_t ee_count;         /* how many; stops at 9 */
	uint16_t ee_out;          /* which bit of the EEPROM goes out next */
	bool work_posted, drained, starved;
	bool tx_reset;            /* what tx has gathered is void */
	struct net_port port;
	uint8_t mac[6];
	struct e1000_tx tx;       /* the loop's thread */
};

/* requires: lock, all of these but where said. */
void e1000_raise(struct e1000 *e, uint32_t causes);
void e1000_post(struct e1000 *e);

/* serial.c */
void e1000_eeprom_init(struct e1000 *e, uint16_t sub_vendor, uint16_t sub_device);
uint32_t e1000_eecd_read(const struct e1000 *e);
void e1000_eecd_write(struct e1000 *e, uint32_t v);
uint32_t e1000_eerd(const struct e1000 *e, uint32_t v);
void e1000_phy_reset(struct e1000 *e);
void e1000_mdic(struct e1000 *e, uint32_t v);
void e1000_link_changed(struct e1000 *e);
bool e1000_link_up(const struct e1000 *e);

/* The loop's thread, lock not held: send what the ring holds; tx.c. */
void e1000_transmit(struct e1000 *e);
/* The same for a frame of the network; false: no descriptors now. rx.c */
bool e1000_receive(struct net_port *p, const struct iovec *iov, unsigned n, size_t len);

/* A ring whose low base register is `low`: where it lies, how many descriptors. */
static inline uint64_t e1000_ring_base(const struct e1000 *e, enum e1000_word low)
{
	return (e->word[low] & ~15u) | (uint64_t)e->word[low + 1] << 32;
}
static inline uint32_t e1000_ring_size(const struct e1000 *e, enum e1000_word low)
{
	return (e->word[low + 2] & 0xfff80) / 16;
}

#endif
