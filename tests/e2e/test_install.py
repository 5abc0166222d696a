# SPDX-License-Identifier: GPL-2.0-or-later
"""make install puts everything in its place, it runs from there, and make uninstall takes it away."""
import os
import subprocess

import pytest

from conftest import ABYME, TOP, told
from patience import patience


def make(*words):
    build = os.path.dirname(ABYME)
    p = subprocess.run(["make", "-s", f"B={build}", *words], cwd=TOP, capture_output=True, text=True, check=False)
    assert p.returncode == 0, p.stderr
    return p


def files(folder):
    return sorted(os.path.relpath(os.path.join(root, f), folder) for root, _, names in os.walk(folder) for f in names)


@pytest.fixture(params=["PREFIX", "DESTDIR"])
def installed(request, tmp_path):
    """Where it lies, and the words that make was given."""
    root = tmp_path / "root"
    words = [f"PREFIX={root}"] if request.param == "PREFIX" else [f"DESTDIR={root}", "PREFIX=/usr"]
    make("install", *words)
    yield (root if request.param == "PREFIX" else root / "usr"), words, root
    make("uninstall", *words)
    assert files(root) == []


def test_install(abyme, installed):
    prefix = installed[0]
    program = str(prefix / "bin/abyme")
    verbs = subprocess.run([program, "completion"], capture_output=True, text=True, check=True).stdout.split()
    have = files(prefix)
    for want in ["bin/abyme", "libexec/abyme/abyme-net-user", "libexec/abyme/abyme-9p", "libexec/abyme/abyme-gdb", "libexec/abyme/abyme-image", "libexec/abyme/abyme-ovf",
                 "share/bash-completion/completions/abyme", "share/man/man5/abyme-state.5", "share/man/man1/abyme.1"]:
        assert want in have, have
    for verb in verbs:
        assert f"share/man/man1/abyme-{verb}.1" in have, verb
    # A guest with every helper at work; it ends with status 1 (0 << 1 | 1).
    share = prefix / "share"
    p = subprocess.run([program, "run", "--rm", "--memory", "64M", "--net", "user", "--share", f"{share}:share",
                        "--cpu", "max", "--debug-exit", "--kernel", f"{os.path.dirname(ABYME)}/guest/m64/system.elf"],
                       env=abyme.env, capture_output=True, text=True, timeout=patience(60), check=False)
    assert p.returncode == 1 and not told(p.stderr), (p.returncode, p.stdout[-500:], p.stderr)


def complete(script, env, *words):
    """What bash would offer behind these words."""
    text = f"""compopt() {{ :; }}; . {script}
        COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _abyme; printf '%s\n' "${{COMPREPLY[@]}}" """
    return subprocess.run(["bash", "-c", text], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_completion(abyme):
    script = f"{TOP}/scripts/abyme.bash"
    assert abyme("create", "--name", "sleeper", "--memory", "64M", "--kernel", "/etc/hostname")[0] == 0
    assert complete(script, abyme.env, ABYME, "sus") == ["suspend"]
    assert complete(script, abyme.env, ABYME, "run", "--eng") == ["--engine"]
    assert complete(script, abyme.env, ABYME, "run", "--engine", "''") == ["auto", "kvm", "jit", "interp"]
    assert complete(script, abyme.env, ABYME, "start", "sle") == ["sleeper"]
    assert complete(script, abyme.env, ABYME, "stop", "--f") == ["--force"]
    assert "convert" in complete(script, abyme.env, ABYME, "disk", "c")
    assert "--memory" in complete(script, abyme.env, ABYME, "set", "sleeper", "--m")
    assert abyme("rm", "sleeper")[0] == 0
