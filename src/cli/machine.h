/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `abyme machine`: sub-verbs that have a file of their own. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

int machine_install(int argc, char **argv);

#endif
