# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian installed by its own installer, from the mirror that this host's apt uses.

    make campaign-pc
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from conftest import abyme, debian_package  # noqa: E402, F401  pylint: disable=unused-import,wrong-import-position


def test_install_debian(abyme, tmp_path):  # noqa: F811
    """A disk that starts by firmware to a login, and root gets in with the password that was asked for."""
    folder = f"{debian_package('debian-installer-12-netboot-amd64')}/usr/lib/debian-installer/images/12/amd64/text"
    (tmp_path / "password").write_text("opensesame\n")
    status, out, text = abyme("machine", "install", "--name", "box", "--disk", f"{tmp_path}/box.qcow2,size=4G", "--installer",
                              f"{folder}/debian-installer/amd64", "--password-file", f"{tmp_path}/password", "debian", seconds=3600)
    if status and "failed to download a file from the mirror" in text:
        pytest.skip("the mirror of this host lacks components of the installer that its own index names")
    assert status == 0 and out == "box\n", text
    m = abyme.start("start", "--attach", "box")
    m.expect("box login: ", 900)
    m.send("root\n")
    m.expect("Password: ", 120)
    m.send("opensesame\n")
    m.expect("root@box:~# ", 120)
    m.send("findmnt -no FSTYPE / && poweroff\n")
    m.expect("^ext4", 60)
    assert m.wait(600) == 0
