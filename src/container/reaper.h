/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `--init` puts before a program: a first process that starts it, passes signals on to
 * it, and takes in whoever is left without a parent; it ends as the program does.
 */
#ifndef CONTAINER_REAPER_H
#define CONTAINER_REAPER_H

int reaper_main(char **argv);

#endif
