/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of an option table (cli.h) whose values go into members of a TARGET: define
 * that name, a struct, before the table. CALL's function gets the target. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>

#include "cli/cli.h"

#define TEXT(name, arg, member, help) { name, arg, help, OPTION_STRING, offsetof(TARGET, member) }
#define NUMBER(name, arg, member, help) { name, arg, help, OPTION_UINT, offsetof(TARGET, member) }
#define FLAG(name, member, help) { name, NULL, help, OPTION_FLAG, offsetof(TARGET, member) }
#define CALL(name, arg, fn, help) { name, arg, help, OPTION_CALL, 0, fn }

#endif
