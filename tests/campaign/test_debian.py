# SPDX-License-Identifier: GPL-2.0-or-later
"""make campaign-debian: a whole Debian at work: packages, a compiler, 1 GiB on disk, the network.

It makes the guest of ./try if the cache has none, and works on a copy of it.
"""
import http.server
import os
import re
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from conftest import TOP, abyme, free_port  # noqa: E402,F401  pylint: disable=unused-import,wrong-import-position
from test_devices import Hello, ask  # noqa: E402  pylint: disable=wrong-import-position

PROMPT = r"root@abyme:\S*# "
TROUBLE = re.compile(r"BUG:|WARNING:|Oops|soft lockup|unstable|hung_task|blocked for more")


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    p = subprocess.run(["sh", f"{TOP}/scripts/guest.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if p.returncode:
        pytest.skip("the Debian guest cannot be made here")
    folder = p.stdout.strip()
    disk = tmp_path_factory.mktemp("debian") / "disk.img"
    subprocess.run(["cp", "--sparse=always", f"{folder}/disk.img", str(disk)], check=True)
    return ["--memory", "1G", "--kernel", f"{folder}/vmlinuz", "--initrd", f"{folder}/initrd.img",
            "--append", "root=/dev/vda rw console=ttyS0", "--disk", str(disk), "--net", "user"]


def run(m, command, seconds):
    """Its status and output."""
    tag = f"end-{time.monotonic_ns()}"
    m.send(f"{command}; echo {tag[:4]}''{tag[4:]}=$?\n")
    start = m.seen
    got = m.expect(rf"{tag}=(\d+)", seconds)
    m.expect(PROMPT, 30)
    return int(got.group(1)), m.text[start:got.start()]


@pytest.mark.parametrize("vcpus", [1, 2])
def test_work(abyme, debian, vcpus):  # noqa: F811
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    m = abyme.start("run", "--rm", "--engine", "jit", "--vcpus", str(vcpus), *debian, "--publish", f"{port}:7000")
    m.expect("abyme login: ", 240)
    m.send("root\n")
    m.expect("Password: ", 60)
    m.send("abyme\n")
    m.expect(PROMPT, 60)
    assert run(m, f"wget -qO- http://10.0.2.2:{server.server_address[1]}/ | wc -c | grep -x {1 << 20}", 60)[0] == 0
    assert run(m, "apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev "
               ">/var/log/install 2>&1", 900)[0] == 0
    run(m, r"printf '#include <stdio.h>\nint main(void){for(int i=0;i<3;i++)printf(\"%%d-\",i*21);return 0;}\n' >/tmp/a.c", 20)
    status, text = run(m, "gcc -O2 -o /tmp/a /tmp/a.c && /tmp/a && echo", 120)
    assert status == 0 and "0-21-42-" in text
    assert run(m, "head -c 67108864 /dev/urandom >/seed; for i in $(seq 16); do cat /seed; done >/giant; sync; "
               "sha256sum /giant >/sum; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /sum; r=$?; rm /giant; "
               "(exit $r)", 600)[0] == 0
    m.send("perl -MIO::Socket -e '$s=IO::Socket::INET->new(Listen=>1,LocalPort=>7000,ReuseAddr=>1);"
           "$c=$s->accept;print $c \"from-guest\\n\"'\n")
    assert ask(port, 60).strip() == b"from-guest"
    m.expect(PROMPT, 30)
    status, text = run(m, "dmesg", 60)
    assert not TROUBLE.search(text), TROUBLE.search(text).group(0)
    m.send("poweroff\n")
    assert m.wait(120) == 0
    server.shutdown()


def test_power_button(abyme, debian):  # noqa: F811
    status, name, err = abyme("run", "--detach", "--rm", *debian)
    assert status == 0, err
    name = name.strip()
    end = time.monotonic() + 240
    while "login:" not in abyme("logs", name)[1] and time.monotonic() < end:
        time.sleep(1)
    assert abyme("stop", "--timeout", "120", name, seconds=150)[0] == 0
