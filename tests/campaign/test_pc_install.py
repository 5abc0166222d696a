# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian installed by its own installers, from the mirror that this host's apt uses.

    make campaign-pc
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import netboot  # noqa: E402  pylint: disable=wrong-import-position
from conftest import abyme  # noqa: E402, F401  pylint: disable=unused-import,wrong-import-position


@pytest.mark.parametrize("system,suite,package", [("debian", "bookworm", "debian-installer-12-netboot-amd64"),
                                                  ("debian-13", "trixie", "debian-installer-13-netboot-amd64")])
def test_install_debian(abyme, tmp_path, system, suite, package):  # noqa: F811
    """A disk that starts by firmware to a login, and root gets in with the password that was asked for."""
    mirror = netboot.host_mirror()
    if not mirror:
        pytest.skip("this host's apt has no mirror")
    try:
        folder = netboot.make(mirror, suite, package)
    except netboot.Lacking as e:
        pytest.skip(f"the mirror's index names what it has not: {e}")
    (tmp_path / "password").write_text("opensesame\n")
    status, out, text = abyme("machine", "install", "--name", "box", "--disk", f"{tmp_path}/box.qcow2,size=4G", "--installer", folder,
                              "--mirror", mirror, "--password-file", str(tmp_path / "password"), system, seconds=5400)
    print(text)
    assert status == 0 and out == "box\n", text
    m = abyme.start("start", "--attach", "box")
    m.expect("box login: ", 900)
    m.send("root\n")
    m.expect("Password: ", 120)
    m.send("opensesame\n")
    m.expect(r"root@box:~.*# ", 120)
    m.send("findmnt -no FSTYPE / && poweroff\n")
    m.expect(r"ext4\s", 60)
    assert m.wait(600) == 0
