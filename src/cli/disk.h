/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `abyme disk`: the sub-verbs, one file a group. */
#ifndef CLI_DISK_H
#define CLI_DISK_H

#include "cli/cli.h"
#include "disk/image.h"

struct image *disk_tool_open(const char *path, const char *format, bool readonly, struct error *err);
/* "raw", "qcow2"; NULL given: by the end of the name. */
bool disk_tool_format(const char **format, const char *path, struct error *err);
/* A line on stderr that counts up, if that is a terminal. */
void disk_tool_progress(const char *what, uint64_t done, uint64_t total);

/* Signals that end the program stop the long job that asks; "going on at" for those that were. */
void disk_tool_stop_by_signal(void);
bool disk_tool_stopped(void);
void disk_tool_going_on(uint64_t at, uint64_t size);
/* NULL: no limit. */
bool disk_tool_rate(const char *text, uint64_t *rate, struct error *err);

/* FILE [--format json]: -1 to go on with the image open, else the status to end with. */
int disk_tool_listing(int argc, char **argv, struct image **i, bool *json);

int disk_convert(int argc, char **argv);
int disk_compare(int argc, char **argv);
int disk_scrub(int argc, char **argv);
int disk_serve(int argc, char **argv);
int disk_bitmap(int argc, char **argv);
int disk_bench(int argc, char **argv);

#endif
