/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile config.json: parsed, its mounts planned, its filter compiled, its limits told to systemd. */
#include "base/log.h"
#include "container/launch.h"
#include "container/lifecycle.h"
#include "lib/fuzz.h"

static const char *const samples[] = {
	"{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":true,\"consoleSize\":{\"width\":80,\"height\":24},\"user\":{\"uid\":1,"
	"\"gid\":2,\"umask\":18,\"additionalGids\":[5,6]},\"args\":[\"sh\",\"-c\"],\"env\":[\"PATH=/bin\",\"A=\\u00e9\\ud83d\\ude00\"],"
	"\"cwd\":\"/\",\"capabilities\":{\"bounding\":[\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\"]},\"rlimits\":[{\"type\":"
	"\"RLIMIT_NOFILE\",\"hard\":18446744073709551615,\"soft\":1}],\"oomScoreAdj\":-5,\"scheduler\":{\"policy\":\"SCHED_FIFO\","
	"\"priority\":1,\"flags\":[]},\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":4}},\"root\":{\"path\":\"r\"},"
	"\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}]}}",
	"{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"r\",\"readonly\":true},\"hostname\":\"h\",\"mounts\":[{\"destination\":\"/a\","
	"\"source\":\"b\",\"type\":\"none\",\"options\":[\"rbind\",\"rro\",\"noatime\",\"shared\",\"idmap\",\"size=5\"],\"uidMappings\":"
	"[{\"containerID\":0,\"hostID\":1,\"size\":4294967295}]},{\"destination\":\"/p\",\"type\":\"proc\"}],\"hooks\":{\"prestart\":"
	"[{\"path\":\"/h\",\"args\":[\"x\"],\"env\":[],\"timeout\":3}]},\"annotations\":{\"org.systemd.property.A\":\"['b', 'c']\"},\"linux\":{\"namespaces\":"
	"[{\"type\":\"mount\"},{\"type\":\"user\"},{\"type\":\"uts\"},{\"type\":\"time\"}],\"uidMappings\":[{\"containerID\":0,"
	"\"hostID\":1,\"size\":1}],\"gidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}],\"timeOffsets\":{\"boottime\":"
	"{\"secs\":-5,\"nanosecs\":7}},\"resources\":{\"memory\":{\"limit\":-1,\"swap\":5},\"devices\":[{\"allow\":false,\"access\":"
	"\"rwm\"}],\"unified\":{\"memory.high\":\"5\",\"cpu.max\":\"max 5\"},"
	"\"cpu\":{\"cpus\":\"0-3,7\",\"quota\":5},\"blockIO\":{\"weight\":10,\"throttleReadBpsDevice\":[{\"major\":1,\"minor\":2,"
	"\"rate\":3}]}},\"sysctl\":{\"net.a\":\"1\"},\"maskedPaths\":[\"/x\"]}}",
	"{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"cgroupsPath\":\"a.slice:b:c\",\"seccomp\":{"
	"\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],"
	"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"listenerPath\":\"/l\",\"syscalls\":[{\"names\":[\"read\",\"clone\"],\"action\":"
	"\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":1,\"op\":\"SCMP_CMP_MASKED_EQ\"},{\"index\":0,"
	"\"value\":1,\"op\":\"SCMP_CMP_GT\"}]},{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_NOTIFY\",\"errnoRet\":1}]}}}",
};

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n >= ARRAY_SIZE(samples))
		return 0;
	memcpy(buf, samples[n], strlen(samples[n]));
	return strlen(samples[n]);
}

static void name_scope(const struct spec *s)
{
	struct error err = { 0 };
	struct scope scope;
	struct arena a = { 0 };
	struct scope_properties p = { .arena = &a };
	if (!scope_name(&scope, s->lnx->cgroups_path, "id", false, &err) && (!err.text[0] || scope.unit))
		abort();
	if (scope.unit && (strlen(scope.unit) > 255 || strpbrk(scope.unit, "/ ") || strpbrk(scope.slice, "/ ")))
		abort();
	scope_basics(&p, &scope, "id", 1);
	if (!scope_resources(&p, s->lnx->resources, NULL, &err) || !scope_annotations(&p, &s->annotations, &err))
		if (!err.text[0])
			abort();
	scope_free(&scope);
	arena_free(&a);
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct error err = { 0 };
	struct launch l;
	log_setup(2, LOG_ERROR);
	launch_init(&l);
	l.spec = spec_parse((const char *)data, size, &err);
	if (!l.spec) {
		if (!err.text[0])
			abort();      /* each refusal has its sentence */
		return;
	}
	l.rootfs.spec = l.spec;
	name_scope(l.spec);
	rootfs_plan(&l.rootfs, &l.spec->arena, &err);
	if (l.spec->lnx->seccomp)
		seccomp_compile(&l.spec->arena, l.spec->lnx->seccomp, &l, &err);
	launch_free(&l);
}
