/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state directory: see place.h. */
#include "base/place.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char *state_path(struct error *err)
{
	const char *own = getenv("ABYME_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (own && *own)
		return xstrdup(own);
	if (geteuid() == 0 && !(xdg && *xdg))
		return xstrdup("/var/lib/abyme");
	if (xdg && *xdg)
		return xasprintf("%s/abyme", xdg);
	if (home && *home)
		return xasprintf("%s/.local/state/abyme", home);
	return error_null(err, 0, "HOME is not set: set ABYME_STATE to a directory for what Abyme keeps");
}

static bool make_directories(char *path, struct error *err)
{
	for (char *p = path + 1; ; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return error_set(err, errno, "cannot create '%s' (ABYME_STATE chooses another place)", path);
		*p = c;
		if (!c)
			return true;
	}
}

int place_open(const char *name, struct error *err)
{
	auto_free char *state = state_path(err);
	if (!state)
		return -1;
	auto_free char *path = xasprintf("%s/%s", state, name);
	if (!make_directories(path, err))
		return -1;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot open '%s'", path);
}
