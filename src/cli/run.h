/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting an instance from the command line: run, start, resume. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/cli.h"
#include "instance/keeper.h"

/* A resolved definition whose engine stays as asked, to be stored. */
struct definition *definition_to_store(const struct definition *d, struct error *err);

/* Start it and, unless detached, be its terminal until it ends. */
int run_instance(struct instance *i, const struct definition *d, const struct keeper_options *o);

#endif
