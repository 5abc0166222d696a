/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of config.json, shared by the files that read it. */
#ifndef CONTAINER_SPEC_TABLES_H
#define CONTAINER_SPEC_TABLES_H

#include "container/spec.h"

extern const struct field spec_process_table[], spec_resources_table[], spec_linux_table[], spec_map_table[];

#endif
