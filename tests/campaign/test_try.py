# SPDX-License-Identifier: GPL-2.0-or-later
"""make campaign-try: what a newcomer does. A fresh copy of the tree, ./try on a terminal, a login, the
network, poweroff. Root does it again as the ordinary user that TRY_USER names (with subordinate ids)."""
import http.server
import os
import pwd
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from conftest import TOP  # noqa: E402  pylint: disable=wrong-import-position
from test_devices import Hello  # noqa: E402  pylint: disable=wrong-import-position
from test_terminal import Terminal  # noqa: E402  pylint: disable=wrong-import-position

PROMPT = r"root@abyme:\S*# "


def users():
    named = os.environ.get("TRY_USER")
    return [None] + ([named] if named and os.geteuid() == 0 else [])


@pytest.mark.parametrize("user", users())
def test_try(user, tmp_path_factory):
    folder = tmp_path_factory.mktemp("try")
    env = dict(os.environ)
    argv = ["./try"]
    subprocess.run(f"git archive HEAD | tar -x -C {folder}", shell=True, cwd=TOP, check=True)
    if user:
        home = pwd.getpwnam(user).pw_dir
        for d in [folder, *list(folder.parents)[:2]]:
            d.chmod(0o755)
        subprocess.run(["chown", "-R", user, str(folder)], check=True)
        env = {"HOME": home, "PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "vt100"}
        argv = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups", "./try"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    t = Terminal(argv, env, cwd=str(folder))
    try:
        t.expect("abyme login: ", 1800)
        assert "does not grant" not in t.text, t.text[-2000:]
        t.send(b"root\r")
        t.expect("Password: ", 60)
        t.send(b"abyme\r")
        t.expect(PROMPT, 60)
        t.send(f"wget -qO- http://10.0.2.2:{server.server_address[1]}/ | wc -c\r".encode())
        t.expect(rf"[\r\n]{len(Hello.body)}\b", 60)     # behind bash's "bracketed paste off"
        t.expect(PROMPT, 60)
        t.send(b"poweroff\r")
        assert t.wait(120) == 0, t.text[-2000:]
        assert not t.raw()
    finally:
        t.close()
        server.shutdown()
