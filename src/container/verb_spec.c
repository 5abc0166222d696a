/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spec: a config.json to start from; features: what this runtime can do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "container/caps.h"
#include "container/mount_options.h"
#include "container/verbs.h"

#define CAPS "[\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]"
static const char head[] =
	"{\n"
	"\t\"ociVersion\": \"1.1.0\",\n"
	"\t\"process\": {\n"
	"\t\t\"terminal\": true,\n"
	"\t\t\"user\": { \"uid\": 0, \"gid\": 0 },\n"
	"\t\t\"args\": [\"sh\"],\n"
	"\t\t\"env\": [\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\", \"TERM=xterm\"],\n"
	"\t\t\"cwd\": \"/\",\n"
	"\t\t\"capabilities\": {\n"
	"\t\t\t\"bounding\": " CAPS ",\n"
	"\t\t\t\"effective\": " CAPS ",\n"
	"\t\t\t\"permitted\": " CAPS "\n"
	"\t\t},\n"
	"\t\t\"rlimits\": [{ \"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024 }],\n"
	"\t\t\"noNewPrivileges\": true\n"
	"\t},\n"
	"\t\"root\": { \"path\": \"rootfs\", \"readonly\": true },\n"
	"\t\"hostname\": \"abyme\",\n"
	"\t\"mounts\": [\n"
	"\t\t{ \"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\" },\n"
	"\t\t{ \"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
	"\t\t\t\"options\": [\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\"] },\n"
	"\t\t{ \"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
	"\t\t\t\"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", \"mode=0620\"%s] },\n"
	"\t\t{ \"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
	"\t\t\t\"options\": [\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"] },\n"
	"\t\t{ \"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
	"\t\t\t\"options\": [\"nosuid\", \"noexec\", \"nodev\"] },\n"
	"\t\t{ \"destination\": \"/sys\", %s,\n"
	"\t\t\t\"options\": [%s\"nosuid\", \"noexec\", \"nodev\", \"ro\"] }%s\n"
	"\t],\n"
	"\t\"linux\": {\n";
static const char cgroup_mount[] = ",\n"
	"\t\t{ \"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
	"\t\t\t\"options\": [\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\"] }";
static const char maps[] =
	"\t\t\"uidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n"
	"\t\t\"gidMappings\": [{ \"containerID\": 0, \"hostID\": %u, \"size\": 1 }],\n";
static const char tail[] =
	"\t\t\"namespaces\": [\n"
	"\t\t\t{ \"type\": \"pid\" }, { \"type\": \"ipc\" }, { \"type\": \"uts\" }, { \"type\": \"mount\" }, { \"type\": \"cgroup\" },\n"
	"\t\t\t%s\n"
	"\t\t],\n"
	"\t\t\"maskedPaths\": [\n"
	"\t\t\t\"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\", \"/proc/latency_stats\", \"/proc/timer_list\",\n"
	"\t\t\t\"/proc/timer_stats\", \"/proc/sched_debug\", \"/sys/firmware\", \"/proc/scsi\"\n"
	"\t\t],\n"
	"\t\t\"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\", \"/proc/sysrq-trigger\"]\n"
	"\t}\n"
	"}\n";

static void write_spec(FILE *f, bool rootless)
{
	fprintf(f, head, rootless ? "" : ", \"gid=5\"",
		rootless ? "\"type\": \"none\", \"source\": \"/sys\"" : "\"type\": \"sysfs\", \"source\": \"sysfs\"",
		rootless ? "\"rbind\", " : "", rootless ? "" : cgroup_mount);
	if (rootless)
		fprintf(f, maps, geteuid(), getegid());
	fprintf(f, tail, rootless ? "{ \"type\": \"user\" }" : "{ \"type\": \"network\" }");
}

int oci_spec(struct oci *o, int argc, char **argv, struct error *err)
{
	bool rootless = false;
	const char *bundle = ".";
	int at = 1;
	char path[4096];
	const struct arg table[] = { { "rootless", 0, ARG_FLAG, &rootless }, { "bundle", 'b', ARG_TEXT, &bundle }, { NULL } };
	if (!args_parse(table, argc, argv, &at, err))
		return -1;
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return error_minus(err, errno, "cannot make '%s'", path);
	write_spec(f, rootless);
	return fclose(f) ? error_minus(err, errno, "cannot write '%s'", path) : 0;
}

static void each_option(void *arg, const char *name)
{
	json_put_str(arg, NULL, name);
}

static void put_list(struct json_out *out, const char *key, const char *const *words, unsigned n)
{
	json_open(out, key, '[');
	for (unsigned i = 0; i < n; i++)
		json_put_str(out, NULL, words[i]);
	json_close(out, ']');
}

static void put_switch(struct json_out *out, const char *key, const char *word, bool value)
{
	json_open(out, key, '{');
	json_put_bool(out, word, value);
	json_close(out, '}');
}

static void put_seccomp(struct json_out *out)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
		"SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP" };
	static const char *const operators[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
		"SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE" };
	static const char *const archs[] = { "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64" };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" };
	json_open(out, "seccomp", '{');
	json_put_bool(out, "enabled", true);
	put_list(out, "actions", actions, ARRAY_SIZE(actions));
	put_list(out, "operators", operators, ARRAY_SIZE(operators));
	put_list(out, "archs", archs, ARRAY_SIZE(archs));
	put_list(out, "knownFlags", flags, ARRAY_SIZE(flags));
	put_list(out, "supportedFlags", flags, ARRAY_SIZE(flags));
	json_close(out, '}');
}

static void put_caps(struct json_out *out)
{
	char name[40];
	json_open(out, "capabilities", '[');
	for (int i = 0; i <= caps_last() && caps_name(i); i++) {
		snprintf(name, sizeof(name), "CAP_%s", caps_name(i));
		json_put_str(out, NULL, name);
	}
	json_close(out, ']');
}

static void put_cgroup(struct json_out *out)
{
	json_open(out, "cgroup", '{');
	json_put_bool(out, "v1", true);
	json_put_bool(out, "v2", true);
	json_put_bool(out, "systemd", true);
	json_put_bool(out, "systemdUser", true);
	json_put_bool(out, "rdma", false);
	json_close(out, '}');
}

int oci_features(struct oci *o, int argc, char **argv, struct error *err)
{
	static const char *const hooks[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
		"poststop" };
	struct json_out out = { 0 };
	json_open(&out, NULL, '{');
	json_put_str(&out, "ociVersionMin", "1.0.0");
	json_put_str(&out, "ociVersionMax", "1.1.0");
	put_list(&out, "hooks", hooks, ARRAY_SIZE(hooks));
	json_open(&out, "mountOptions", '[');
	mount_option_names(each_option, &out);
	json_close(&out, ']');
	json_open(&out, "linux", '{');
	put_list(&out, "namespaces", ns_words, NS_COUNT);
	put_caps(&out);
	put_cgroup(&out);
	put_seccomp(&out);
	put_switch(&out, "apparmor", "enabled", true);
	put_switch(&out, "selinux", "enabled", true);
	put_switch(&out, "intelRdt", "enabled", false);
	json_open(&out, "mountExtensions", '{');
	put_switch(&out, "idmap", "enabled", true);
	json_close(&out, '}');
	json_close(&out, '}');
	json_close(&out, '}');
	printf("%s\n", out.text);
	json_out_free(&out);
	return 0;
}
