/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the keeper of a micro-VM and the init in it have agreed on.  The init listens on
 * these vsock ports; each connection is a session of frames (frame.h), begun by the host:
 *
 *     PROGRAM   FRAME_FILE (each file of the bundle), FRAME_START {below}; then the shim's words
 *     EXEC      as a client of exec.sock speaks
 *     RUNTIME   FRAME_FILE (if any), FRAME_START {"args": [...]}: abyme-oci's verb; answered
 *               by FRAME_OUTPUT (its words) and FRAME_EXIT
 *
 * FRAME_START of PROGRAM:
 *     {"terminal": false, "keep": true, "rest": false, "clock": ns since 1970, "seed": "64 hexadecimal digits",
 *      "disk": true,
 *      "shares": [{"tag": "v0", "readonly": false}],   at /volumes/TAG
 *      "nets": [{"mac": "02:...", "ip": "10.0.2.15", "prefix": 24, "gateway": "10.0.2.2", "mtu": 1500}]}
 * "keep" means that the disk outlives the machine.  "rest": the program is not started; an
 * exec client's words follow on the same connection (shim_rest()).
 *
 * With "held": true all is made but the program not started: the init says FRAME_HELD, and
 * waits on port HELD (a snapshot's place) for FRAME_FILE and
 *     FRAME_START {"keep", "clock", "seed", "nets" as above, "args": [...], "env": [...], "hostname": "..."}
 */
#ifndef SESSION_GUEST_H
#define SESSION_GUEST_H

enum { GUEST_PORT_PROGRAM = 1024, GUEST_PORT_EXEC = 1025, GUEST_PORT_RUNTIME = 1026, GUEST_PORT_HELD = 1027 };
/* The init calls the host here once, when it listens. */
enum { HOST_PORT_AWAKE = 1024, GUEST_CID = 3 };

#define GUEST_BUNDLE "/bundle"
#define GUEST_RECORDS "/run/oci"
#define GUEST_ROOT_TAG "root"
#define GUEST_VOLUMES "/volumes"
#define GUEST_PROGRAM "program"   /* the container's name inside */

#endif
