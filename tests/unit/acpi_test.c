/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables: checksums and pointers as a guest follows them, and what iasl
 * makes of the DSDT. */
#include "board_fixture.h"

#include "device/acpi/acpi.h"
#include "device/boot/boot.h"
#include "lib/fake_tpm.h"

static uint8_t sum(uint64_t gpa, uint32_t len)
{
	uint8_t s = 0;
	for (uint32_t i = 0; i < len; i++)
		s += (uint8_t)memory_load(fx.m.memory, gpa + i, 1);
	return s;
}

static uint32_t load32(uint64_t gpa) { return (uint32_t)memory_load(fx.m.memory, gpa, 4); }

static uint64_t find_table(const char *sig)
{
	uint64_t xsdt = memory_load(fx.m.memory, ACPI_RSDP + 24, 8);
	for (uint32_t i = 36; i < load32(xsdt + 4); i += 8) {
		uint64_t at = memory_load(fx.m.memory, xsdt + i, 8);
		if (!memcmp(mem_pin_read(fx.m.memory, at, 4), sig, 4))
			return at;
	}
	return 0;
}

static struct fake_tpm tpm;

static struct machine *board(unsigned vcpus)
{
	struct machine *m = fixture_new(256 * MiB);
	fx.config.tpm_fd = tpm.control ? tpm.control : -1;
	fx.config.tpm_data_fd = tpm.data;
	fx.config.disk[0] = (struct disk_config){ .path = (char *)"none", .fd = -1, .bus = (char *)"floppy" };
	fx.config.ndisks = 1;
	board_free(m);
	fx.config.vcpus = vcpus;
	memset(fx.config.vmgenid, 0x5a, 16);
	assert_true(board_create(m, NULL));
	pci_host_shadow_all(m);
	struct error err;
	if (!acpi_place(m, &err))
		fail_msg("%s", err.text);
	return m;
}

static void tables_are_sound(void **unused)
{
	struct machine *m = board(3);
	assert_memory_equal(mem_pin_read(m->memory, ACPI_RSDP, 8), "RSD PTR ", 8);
	assert_int_equal(sum(ACPI_RSDP, 20), 0);
	assert_int_equal(sum(ACPI_RSDP, 36), 0);
	static const char *const sigs[] = { "FACP", "APIC", "HPET", "MCFG", "WAET" };
	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
		uint64_t at = find_table(sigs[i]);
		assert_int_not_equal(at, 0);
		assert_int_equal(sum(at, load32(at + 4)), 0);
	}
	uint64_t fadt = find_table("FACP"), dsdt = memory_load(m->memory, fadt + 140, 8);
	assert_int_equal(load32(fadt + 4), 276);
	assert_int_equal(load32(fadt + 40), dsdt);
	assert_int_equal(sum(dsdt, load32(dsdt + 4)), 0);
	assert_memory_equal(mem_pin_read(m->memory, load32(fadt + 36), 4), "FACS", 4);
	assert_int_equal(load32(fadt + 36) % 64, 0);
	fixture_free(m);
}

static void generation_id_is_published(void **unused)
{
	struct machine *m = board(1);
	assert_memory_equal(mem_pin_read(m->memory, BOARD_TABLES + VMGENID_OFFSET, 16),
			    fx.config.vmgenid, 16);
	fixture_free(m);
}

static void most_cpus_fit(void **unused)
{
	fixture_free(board(MACHINE_MAX_VCPUS));
}

static void write_table(const char *path, uint64_t gpa)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	uint32_t n = load32(gpa + 4);
	assert_int_equal(fwrite(mem_pin_read(fx.m.memory, gpa, n), 1, n, f), n);
	fclose(f);
}

/* Disassembled and compiled again without an error: the AML is well formed. */
static void iasl_agrees(void **unused)
{
	if (system("command -v iasl >/dev/null 2>&1")) {
		print_message("iasl (acpica-tools) is not installed\n");
		skip();
	}
	fake_tpm_start(&tpm);
	struct machine *m = board(2);
	char dir[] = "/tmp/acpi-test-XXXXXX", cmd[256], path[64];
	assert_non_null(mkdtemp(dir));
	static const char *const sigs[] = { "FACP", "APIC", "HPET", "MCFG", "WAET", "TPM2" };
	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
		snprintf(path, sizeof(path), "%s/%s.dat", dir, sigs[i]);
		write_table(path, find_table(sigs[i]));
		snprintf(cmd, sizeof(cmd), "cd %s && iasl -d %s.dat >%s.log 2>&1 && "
			 "! grep -iE 'error|invalid|warning' %s.log", dir, sigs[i], sigs[i], sigs[i]);
		assert_int_equal(system(cmd), 0);
	}
	snprintf(path, sizeof(path), "%s/dsdt.dat", dir);
	write_table(path, memory_load(m->memory, find_table("FACP") + 140, 8));
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -d dsdt.dat >log 2>&1 && iasl dsdt.dsl >log2 2>&1 && "
		 "grep -q 'Device (FDC0)' dsdt.dsl && grep -q 'Device (TPM)' dsdt.dsl && "
		 "grep -q ' 0 Errors' log2 || { cat log log2; false; }", dir);
	assert_int_equal(system(cmd), 0);
	if (!getenv("KEEP")) {
		snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
		assert_int_equal(system(cmd), 0);
	}
	fixture_free(m);
	fake_tpm_end(&tpm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_sound),
		cmocka_unit_test(generation_id_is_published),
		cmocka_unit_test(most_cpus_fit),
		cmocka_unit_test(iasl_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
