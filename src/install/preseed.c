/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers for Debian's installer (its manual, appendix B): the whole disk, the base
 * system, a password for root, a serial console; it powers off when it is done.
 */
#include "install/install.h"

static const char format[] =
	"d-i debian-installer/locale string en_US.UTF-8\n"
	"d-i keyboard-configuration/xkb-keymap select us\n"
	"d-i netcfg/choose_interface select auto\n"
	"d-i netcfg/get_hostname string %1$s\n"
	"d-i netcfg/hostname string %1$s\n"
	"d-i netcfg/get_domain string\n"
	"d-i hw-detect/load_firmware boolean false\n"
	"d-i mirror/country string manual\n"
	"d-i mirror/protocol string %2$s\n"
	"d-i mirror/%2$s/hostname string %3$s\n"
	"d-i mirror/%2$s/directory string %4$s\n"
	"d-i mirror/%2$s/proxy string\n"
	"d-i mirror/suite string %5$s\n"
	"d-i apt-setup/services-select multiselect\n"
	"d-i apt-setup/non-free-firmware boolean false\n"
	"d-i clock-setup/utc boolean true\n"
	"d-i clock-setup/ntp boolean false\n"
	"d-i time/zone string Etc/UTC\n"
	"d-i passwd/root-login boolean true\n"
	"d-i passwd/root-password password %6$s\n"
	"d-i passwd/root-password-again password %6$s\n"
	"d-i passwd/make-user boolean false\n"
	"d-i user-setup/allow-password-weak boolean true\n"
	"d-i partman/early_command string debconf-set partman-auto/disk \"$(list-devices disk | head -n 1)\"\n"
	"d-i partman-auto/method string regular\n"
	"d-i partman-auto/choose_recipe select atomic\n"
	"d-i partman-partitioning/confirm_write_new_label boolean true\n"
	"d-i partman/choose_partition select finish\n"
	"d-i partman/confirm boolean true\n"
	"d-i partman/confirm_nooverwrite boolean true\n"
	"d-i base-installer/install-recommends boolean false\n"
	"d-i base-installer/kernel/image string linux-image-amd64\n"
	"d-i pkgsel/run_tasksel boolean false\n"
	"d-i pkgsel/upgrade select none\n"
	"d-i pkgsel/update-policy select none\n"
	"popularity-contest popularity-contest/participate boolean false\n"
	"d-i grub-installer/only_debian boolean true\n"
	"d-i grub-installer/bootdev string default\n"
	"d-i debian-installer/add-kernel-opts string console=tty0 console=ttyS0\n"
	"d-i finish-install/reboot_in_progress note\n"
	"d-i debian-installer/exit/poweroff boolean true\n"
	"d-i preseed/late_command string echo " INSTALL_DONE " >/dev/ttyS0\n";

char *preseed_text(const struct answers *a)
{
	auto_free char *common = xasprintf(format, a->hostname, a->mirror->protocol, a->mirror->host, a->mirror->directory,
					   a->suite, a->password);
	if (!a->security)
		return move_ptr(common);
	return xasprintf("%sd-i apt-setup/local0/repository string %s %s-security main\n"
			 "d-i apt-setup/local0/comment string security updates\n", common, a->security, a->suite);
}
