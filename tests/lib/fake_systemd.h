/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that answers as systemd's bus does, where DBUS_SYSTEM_BUS_ADDRESS then points. */
#ifndef TESTS_FAKE_SYSTEMD_H
#define TESTS_FAKE_SYSTEMD_H

enum fake_mood {
	FAKE_WELL,
	FAKE_HAD_ONE,          /* refuses to start the first: such a unit has failed */
	FAKE_REFUSES,          /* to start any */
	FAKE_FAILS,            /* jobs end as "failed" */
	FAKE_DIES,             /* in the middle of a start */
	FAKE_HAS_NONE,         /* no unit of that name to stop */
	FAKE_MAKES_GROUPS,     /* a real one below /sys/fs/cgroup, with the process in it */
};

struct fake_systemd;
struct fake_systemd *fake_systemd_start(enum fake_mood mood);      /* NULL: no libsystemd */
/* What was asked of it: a line a call, "MEMBER s:text u:1 [ array ] ( struct ) < variant >". */
char *fake_systemd_log(const struct fake_systemd *f);
void fake_systemd_stop(struct fake_systemd *f);

#endif
