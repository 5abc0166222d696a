/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions come from users' files and from state files. */
#include "instance/definition.h"
#include "lib/fuzz.h"

static const char *const texts[] = {
	"version: 1\nname: web\nmemory: 512M\ncpus: 2\nkernel: /boot/vmlinuz\nappend: console=ttyS0\n"
	"disks:\n- file: /a\n  readonly: true\n- {file: /b, format: raw}\nnet:\n- name: user\n  mac: 02:00:00:00:00:01\n"
	"publish: ['8080:80', '127.0.0.1:53:53/udp']\nshares:\n- {dir: /srv, tag: data}\nvsock: 3\n",
	"version: 1\nserial: file:/tmp/x\non-reboot: exit\nclock: continue\njail: none\ndebug-exit: true\n",
};

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= ARRAY_SIZE(texts))
		return 0;
	memcpy(buf, texts[n], strlen(texts[n]));
	return strlen(texts[n]);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct error err;
	char why[160];
	struct definition *d = definition_parse((const char *)data, size, "input", &err);
	if (!d)
		return;
	struct definition *copy = definition_copy(d);
	definition_resolve(d, why, &err);
	definition_free(copy);
	definition_free(d);
}
