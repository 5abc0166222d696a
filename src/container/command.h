/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What abyme-oci does with its command line; abyme-init is one, too. */
#ifndef CONTAINER_COMMAND_H
#define CONTAINER_COMMAND_H

/* The program's status. */
int oci_command(int argc, char **argv);

#endif
