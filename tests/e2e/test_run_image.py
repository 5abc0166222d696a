# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme run IMAGE with the habits of Docker, from image to end, and nothing left behind: the same in a
container and in a micro-VM. ABYME_TEST_ISOLATION=microvm runs all of it in the latter
(make campaign-isolation); otherwise only what is marked `both` is."""
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import time

import pytest

from conftest import ABYME, free_port, vmlinuz
from images import Image, busybox_layer, entry, layer
from patience import deadline, patience, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays and makes control groups as root")
LIMIT = 120


def both(test):
    """It is worth its time in every run."""
    test.both = True
    return test


def container_only(test):
    """It is about what only a container has."""
    test.container_only = True
    return test


def pytest_generate_tests(metafunc):
    if "box" not in metafunc.fixturenames:
        return
    only = hasattr(metafunc.function, "container_only")
    walls = ["container"] if only else ["container", "microvm"] if hasattr(metafunc.function, "both") else ["container"]
    chosen = os.environ.get("ABYME_TEST_ISOLATION")
    if chosen:
        walls = [w for w in chosen.split(",") if w == "container" or not only]
    metafunc.parametrize("box", walls, indirect=True)


class Box:
    """Abyme with an image `box`; what it runs gets the wall that is asked for."""

    def __init__(self, abyme, wall, env):
        self.abyme, self.wall, self.env, self.state = abyme, wall, env, abyme.state

    def argv(self, *args):
        if args[0] in ("run", "create"):
            args = (args[0], "--isolation", self.wall, *args[1:])
        return args

    def __call__(self, *args, **more):
        return self.abyme(*self.argv(*args), **more)

    def popen(self, *args, **more):
        return subprocess.Popen([ABYME, *self.argv(*args)], env=self.env, stdout=subprocess.PIPE, text=True, **more)


def ok(abyme, *args, **more):
    status, out, err = abyme(*args, seconds=LIMIT, **more)
    assert status == 0, (args, status, out, err)
    return out


@pytest.fixture
def box(request, abyme, kernel_tree, tmp_path):
    """A state directory with the image `box`; afterwards nothing may be left."""
    if request.param == "microvm":
        kernel_tree("amd64")
    ok(abyme, "load", Image(busybox_layer(), layer(entry("etc/second", b"2")), tag="box").tar(tmp_path / "box.tar"))
    yield Box(abyme, request.param, abyme.env)
    for name in ok(abyme, "ls", "--quiet").split():
        abyme("rm", "--force", name, seconds=LIMIT)
    assert ok(abyme, "ls", "--quiet") == ""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        assert str(abyme.state) not in f.read()
    groups = [os.path.join(top, d) for top, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d.startswith(("t-", "run-"))]
    assert not [g for g in groups if g.rsplit("/", 1)[1] in names_used], groups


names_used = set()


def named(name):
    full = f"t-{name}-{os.getpid()}"
    names_used.add(full)
    return full


def test_what_a_program_gets(box, tmp_path):
    (tmp_path / "vol").mkdir()
    (tmp_path / "env").write_text("# comment\nFROM_FILE=a b\n")
    status, out, err = box(
        "run", "--rm", "--hostname", "inside", "-e", "A=1", "--env-file", str(tmp_path / "env"), "-w", "/tmp", "-u", "user",
        "-v", f"{tmp_path}/vol:/data", "-v", f"{tmp_path}/env:/ro:ro", "-v", "kept:/named", "--tmpfs", "/scratch:size=1m", "box", "sh", "-c",
        "id; hostname; pwd; echo $A $FROM_FILE; cat /etc/second; ls /; touch /ro /etc/no; mount | grep scratch; echo x >&2; exit 7")
    assert status == 7, err
    assert "uid=1000(user) gid=1000(user) groups=100(users)" in out.replace(",1000(user)", ""), out
    assert "inside\n/tmp\n1 a b\n2" in out and "data" in out and "size=1024k" in out, out
    assert "x" in err and "/ro: Read-only" in err.replace("touch: ", ""), err
    ok(box, "run", "--rm", "-v", "kept:/named", "box", "sh", "-c", "echo stays >/named/file")
    assert ok(box, "run", "--rm", "-v", "kept:/named", "box", "cat", "/named/file") == "stays\n"
    assert ok(box, "run", "--rm", "--read-only", "box", "sh", "-c", "touch /x || echo refused") == "refused\n"


def test_entrypoint_and_command(box, tmp_path):
    image = Image(busybox_layer(), tag="ep", Entrypoint=["echo", "entry"], Cmd=["cmd"], WorkingDir="/tmp", User="1000:100")
    ok(box, "load", image.tar(tmp_path / "ep.tar"))
    assert ok(box, "run", "--rm", "ep") == "entry cmd\n"
    assert ok(box, "run", "--rm", "ep", "-n", "given") == "entry -n given\n"
    assert ok(box, "run", "--rm", "--entrypoint", "id", "ep", "-u") == "1000\n"
    assert ok(box, "run", "--rm", "--entrypoint", "", "ep", "pwd") == "/tmp\n"


def listing(data):
    """{name: (type, mode, content or target)} of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return {m.name: (m.type, m.mode, t.extractfile(m).read() if m.isreg() else m.linkname) for m in t}


def test_copy(box, tmp_path):
    """Both ways, by name and as a stream, over links that lead nowhere near the host's files."""
    name, long = named("copy"), "n" * 120
    ok(box, "run", "-d", "--name", name, "-e", f"LONG={long}", "box", "sh", "-c",
       "mkdir -p /data/sub; echo one >/data/sub/one; echo two >/data/$LONG; ln -s /etc/passwd /data/link; ln -s /etc /data/dir; "
       "mkfifo /data/pipe; cp /bin/busybox /data/set; chmod 4755 /data/set; touch /tmp/ready; sleep 1000")
    wait_for(lambda: box("exec", name, "test", "-e", "/tmp/ready")[0] == 0)
    got = tmp_path / "got"
    ok(box, "cp", f"{name}:/data", str(got))
    assert sorted(os.listdir(got)) == sorted(["sub", long, "link", "dir", "pipe", "set"])
    assert (got / "sub/one").read_text() == "one\n" and os.readlink(got / "link") == "/etc/passwd"
    assert os.stat(got / "set").st_mode & 0o7777 == 0o755, "a set-ID bit is not handed out unasked"
    ok(box, "cp", f"{name}:/data/.", str(tmp_path / "flat"))
    ok(box, "cp", f"{name}:data/sub", str(tmp_path / "flat"))
    assert sorted(os.listdir(tmp_path / "flat")) == sorted(os.listdir(got))
    ok(box, "cp", "-L", f"{name}:/data/link", str(tmp_path / "passwd"))
    assert "user:x:1000" in (tmp_path / "passwd").read_text(), "the container's, not the host's"
    p = subprocess.run([ABYME, "cp", f"{name}:/data", "-"], env=box.env, stdout=subprocess.PIPE, check=True, timeout=patience(LIMIT))
    assert listing(p.stdout)[f"data/{long}"][2] == b"two\n" and listing(p.stdout)["data/set"][1] == 0o4755
    # and in
    ok(box, "cp", str(got), f"{name}:/data/dir")
    ok(box, "cp", str(tmp_path / "passwd"), f"{name}:/data/dir/../sub/")
    ok(box, "cp", str(got / "sub/one"), f"{name}:/etc/hosts")
    assert ok(box, "exec", name, "sh", "-c", "cat /etc/got/sub/one /etc/hosts; wc -l </data/sub/passwd") == "one\none\n2\n"
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=format) as t:
            for info, data in (entry(f"a/{long}/file", b"3"), entry("a/hard", kind=tarfile.LNKTYPE, link=f"a/{long}/file")):
                t.addfile(info, io.BytesIO(data))
        subprocess.run([ABYME, "cp", "-", f"{name}:/tmp"], input=stream.getvalue(), env=box.env, check=True, timeout=patience(LIMIT))
        assert ok(box, "exec", name, "sh", "-c", "cat /tmp/a/hard; rm -r /tmp/a") == "3"
    for words, why in ((("cp", f"{name}:/nothing", str(tmp_path)), "cannot find '/nothing'"),
                       (("cp", str(tmp_path / "nothing"), f"{name}:/tmp"), "nothing': No such file"),
                       (("cp", str(got / "set"), f"{name}:/nowhere/x"), "cannot copy to '/nowhere/x'"),
                       (("cp", str(got), f"{name}:/etc/hosts"), "no directory"),
                       (("cp", f"{name}:/data", str(tmp_path / "passwd")), "no directory"),
                       (("cp", f"{name}:/a", f"{name}:/b"), "by way of the host")):
        status, _, err = box(*words, seconds=LIMIT)
        assert status != 0 and why in err and err.count("\n") == 1, (words, status, err)
    ok(box, "rm", "--force", name)


@both
def test_copy_at_rest(box, tmp_path):
    """Of a container that has ended, that was never started, or whose program is not even there."""
    name, volume = named("rest"), tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "new").write_text("new\n")
    ok(box, "run", "-t", "--name", name, "-v", f"{volume}:/data", "box", "sh", "-c", "echo said; cat /new 2>/dev/null; echo one >/one")
    ok(box, "cp", f"{name}:/one", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "one\n"
    ok(box, "cp", str(tmp_path / "new"), f"{name}:/")
    ok(box, "cp", str(tmp_path / "new"), f"{name}:/data/there")
    assert (volume / "there").read_text() == "new\n", "the volume, not what lies below it"
    p = subprocess.run([ABYME, "cp", f"{name}:/data", "-"], env=box.env, stdout=subprocess.PIPE, check=True, timeout=patience(LIMIT))
    assert listing(p.stdout)["data/there"][2] == b"new\n"
    assert "said" in ok(box, "logs", name), "what it printed stays"
    status, _, err = box("cp", f"{name}:/nothing", str(tmp_path), seconds=LIMIT)
    assert status and "cannot find '/nothing'" in err and err.count("\n") == 1, err
    ok(box, "start", name)
    wait_for(lambda: "new" in box("logs", name)[1])
    absent = named("absent")
    ok(box, "create", "--name", absent, "box", "/no/such/program")
    ok(box, "cp", str(tmp_path / "new"), f"{absent}:/etc/new")
    ok(box, "cp", f"{absent}:/etc/new", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "new\n"
    assert "config.json" not in os.listdir(f"{box.state}/instances/{absent}")
    for each in (name, absent):
        ok(box, "rm", "--force", each)


@both
def test_life(box, tmp_path):
    name = named("life")
    assert ok(box, "run", "-d", "--name", name, "box", "sh", "-c",
              "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done") == name + "\n"
    wait_for(lambda: "up" in ok(box, "logs", name))
    assert name in ok(box, "ps") and "sh -c" in ok(box, "top", name)
    status, out, err = box("exec", "-e", "B=2", "-w", "/tmp", "-u", "1000", "-i", name, "sh", "-c", "cat; pwd; id -u; echo $B; exit 4",
                           text="piped\n")
    assert (status, out) == (4, "piped\n/tmp\n1000\n2\n"), err
    assert box("exec", name, "/nonexistent")[0] == 125
    ok(box, "cp", __file__, f"{name}:/tmp/copied")
    ok(box, "cp", f"{name}:/tmp", str(tmp_path / "back"))
    assert (tmp_path / "back/copied").read_bytes() == open(__file__, "rb").read()
    waiter = subprocess.Popen([ABYME, "wait", name], env=box.env, stdout=subprocess.PIPE, text=True)
    ok(box, "pause", name)
    assert json.loads(ok(box, "ls", "--format", "json"))[0]["state"] == "paused"
    ok(box, "unpause", name)
    ok(box, "exec", "-d", name, "sh", "-c", "echo detached >/tmp/d")
    wait_for(lambda: box("exec", name, "cat", "/tmp/d")[1] == "detached\n")
    ok(box, "stop", "--timeout", "100", name)
    assert waiter.communicate(timeout=patience(LIMIT))[0] == "9\n"
    assert ok(box, "logs", name).endswith("bye\n")
    status, _, err = box("rmi", "box")
    assert status == 0, err
    ok(box, "start", name)            # its image stays as long as it does
    wait_for(lambda: "up" in ok(box, "logs", name).rsplit("bye\n", 1)[-1])      # said in this life: it listens to TERM
    assert ok(box, "exec", name, "cat", "/tmp/d") == "detached\n", "what was written stays"
    ok(box, "kill", "--signal", "TERM", name)
    wait_for(lambda: "stopped" in ok(box, "ls"))
    ok(box, "rm", name)
    ok(box, "image", "prune")
    assert not os.listdir(f"{box.state}/images/layers")


@both
def test_terminal(box):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(ABYME, ["abyme", *box.argv("run", "--rm", "-it", "box", "sh")], box.env)
    seen = b""

    def expect(pattern):
        nonlocal seen
        end = deadline(LIMIT)
        while not re.search(pattern, seen):
            assert time.monotonic() < end, seen
            if select.select([fd], [], [], 1)[0]:
                try:
                    seen += os.read(fd, 4096)
                except OSError:
                    break
        m = re.search(pattern, seen)
        assert m, seen
        seen = seen[m.end():]

    import fcntl
    import termios
    expect(rb"# ")
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    os.write(fd, b"until stty size | grep '33 77'; do sleep 0.1; done; tty\n")
    expect(rb"33 77\r\n(.|\r|\n)*/dev/pts/0|33 77\r\n(.|\r|\n)*/dev/console")
    os.write(fd, b"sh -c 'trap \"echo cau''ght; exit\" INT; echo rea''dy; while :; do sleep 0.1; done'\n")
    expect(rb"ready")
    os.write(fd, b"\x03")
    expect(rb"caught")
    os.write(fd, b"exit 5\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(fd)


def test_foreground_signals_and_death(box):
    p = box.popen("run", "--rm", "--name", named("fg"), "box", "sh", "-c", "trap 'exit 6' INT; echo up; while :; do sleep 0.1; done")
    assert p.stdout.readline() == "up\n"
    p.send_signal(signal.SIGINT)
    assert p.wait(patience(LIMIT)) == 6
    p = box.popen("run", "--rm", "--name", named("fg"), "box", "sh", "-c", "echo up; sleep 1000")
    assert p.stdout.readline() == "up\n"
    p.kill()                          # whoever starts in the foreground takes it along
    p.wait()
    wait_for(lambda: ok(box, "ls", "--quiet") == "")
    for who in ("keeper", "pid"):     # a sudden death of a part; the next start cleans up
        name = named(f"dead-{who}")
        ok(box, "run", "-d", "--name", name, "box", "sleep", "1000")
        facts = json.loads(ok(box, "inspect", "--format", "json", name))["run"]
        os.kill(facts[who], signal.SIGKILL)
        wait_for(lambda: "running" not in ok(box, "ls"))
        ok(box, "start", name)
        ok(box, "kill", name)
        ok(box, "rm", name)


def idle_kernel(path):
    """A bzImage (Linux: boot.rst) that only halts: its machine boots for ever."""
    image = bytearray(0x800)
    image[0x1f1], image[0x211], image[0x234], image[0x236] = 1, 1, 1, 1     # set-up sectors; loaded high, relocatable, 64-bit entry
    struct.pack_into("<H2s4sH", image, 0x1fe, 0xaa55, b"\xeb\x6a", b"HdrS", 0x20f)
    struct.pack_into("<H", image, 0x20e, 0x100)                             # 0x200 below its release
    image[0x300:0x305] = b"idle "
    struct.pack_into("<II", image, 0x22c, 0x7fffffff, 0x200000)
    struct.pack_into("<I", image, 0x238, 1000)
    struct.pack_into("<QI", image, 0x258, 0x1000000, 0x10000)
    image[0x600:0x603] = b"\xf4\xeb\xfd"                                   # hlt; jmp
    path.write_bytes(image)
    return str(path)


@container_only
def test_end_while_it_boots(box, tmp_path):
    """A machine around a program ends at once when it is told to, also before it has come up."""
    kernel = idle_kernel(tmp_path / "vmlinuz-idle")
    run = ["run", "--isolation", "microvm", "--kernel", kernel, "--name"]
    ends = {"kill": lambda name, p: ok(box, "kill", name), "stop": lambda name, p: ok(box, "stop", "--timeout", "100", name),
            "leash": lambda name, p: p.kill()}
    for how, end in ends.items():
        name = named(f"boots-{how}")
        with subprocess.Popen([ABYME, *run, name, "box", "true"], env=box.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            try:
                wait_for(lambda: "restarting" in ok(box, "ls") or p.poll() is not None)      # its keeper answers
                end(name, p)
                _, err = p.communicate(timeout=patience(LIMIT))
            finally:
                p.kill()
        assert how == "leash" or (p.returncode and err == "abyme: killed\n"), (how, p.returncode, err)
        wait_for(lambda: "stopped" in ok(box, "ls"), 10)
        ok(box, "rm", name)


def test_kill_of_a_copy(box):
    """Who copies from a container that does not run holds it; a kill ends that, too."""
    name = named("held")
    ok(box, "create", "--name", name, "box", "true")
    with subprocess.Popen([ABYME, "cp", f"{name}:/bin", "-"], env=box.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        try:
            assert p.stdout.read(512)[257:262] == b"ustar"                  # the rest does not fit into any buffer
            ok(box, "kill", name)
            _, err = p.communicate(timeout=patience(LIMIT))
        finally:
            p.kill()
    assert p.returncode and err.count(b"\n") == 1, (p.returncode, err)
    ok(box, "rm", name)


def test_restart(box):
    name = named("again")
    ok(box, "run", "-d", "--name", name, "--restart", "on-failure:2", "-v", "counts:/counts", "box", "sh", "-c",
       "echo x >>/own; cat /own >/counts/file; exit 3")
    wait_for(lambda: "stopped" in ok(box, "ls"))
    assert ok(box, "run", "--rm", "-v", "counts:/counts", "box", "cat", "/counts/file") == "x\n" * 3, "what it wrote stays"


def test_network(box):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    p = box.popen("run", "--rm", "box", "sh", "-c", f"echo hello | nc 10.0.2.2 {port}")
    server.settimeout(patience(LIMIT))
    assert server.accept()[0].recv(100) == b"hello\n"
    assert p.wait(patience(LIMIT)) == 0
    outside, name = free_port(), named("web")
    ok(box, "run", "-d", "--name", name, "-p", f"{outside}:80", "box", "sh", "-c", "while :; do echo served | nc -l -p 80; done")

    def served():
        try:
            with socket.create_connection(("127.0.0.1", outside), timeout=patience(5)) as s:
                return s.recv(100) == b"served\n"
        except OSError:
            return False
    wait_for(served)
    assert ok(box, "run", "--rm", "--network", "none", "box", "sh", "-c", "ip -o link | wc -l") == "1\n"
    if box.wall == "microvm":
        return
    wait_for(lambda: ok(box, "run", "--rm", "--network", "host", "box", "sh", "-c", "ip -o link | wc -l") ==
             f"{len(os.listdir('/sys/class/net'))}\n")                              # others come and go


def test_switch_network(box):
    net = f"tn{os.getpid()}"
    ok(box, "network", "create", net, "--kind", "nat")
    try:
        name = named("peer")
        ok(box, "run", "-d", "--name", name, "--network", net, "box", "sh", "-c", "while :; do echo from-peer | nc -l -p 7; done")
        address = re.search(r"inet ([0-9.]+)", ok(box, "exec", name, "ip", "addr", "show", "eth0")).group(1)
        assert address in ok(box, "exec", name, "nslookup", name)
        out = ok(box, "run", "--rm", "--network", net, "box", "sh", "-c",
                 f"for i in $(seq 50); do nc {address} 7 && exit 0; sleep 0.2; done; exit 1")
        assert "from-peer" in out
    finally:
        box("rm", "--force", name)
        ok(box, "network", "delete", net)


def test_rights(box):
    caps = "grep CapEff /proc/self/status; unshare -r true && echo unshared; mount -t tmpfs t /tmp && echo mounted; true"
    plain = ok(box, "run", "--rm", "box", "sh", "-c", caps)
    assert "00000000a80425fb" in plain and "unshared" not in plain and "mounted" not in plain, plain
    assert "0000000000000000" in ok(box, "run", "--rm", "--cap-drop", "all", "box", "sh", "-c", caps)
    assert "0000000000000400" in ok(box, "run", "--rm", "--cap-drop", "ALL", "--cap-add", "net_bind_service", "box", "sh", "-c", caps)
    assert "mounted" in ok(box, "run", "--rm", "--privileged", "box", "sh", "-c", caps)
    if box.wall == "microvm":
        status, _, err = box("run", "--rm", "--device", "/dev/zero", "box", "true")
        assert status and "micro-VM" in err, err
        return
    dev = "test -c /dev/mine && head -c 1 /dev/mine | wc -c; head -c 1 /dev/kmsg >/dev/null 2>&1 && echo kmsg; true"
    assert ok(box, "run", "--rm", "--device", "/dev/zero:/dev/mine:r", "box", "sh", "-c", dev) == "1\n"


def test_limits(box):
    """Each is tried to be exceeded."""
    status, _, err = box("run", "--rm", "--pids", "8", "box", "sh", "-c", "(for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done) || exit 44")
    assert status in (2, 44) and "fork" in err, (status, err)
    status, _, err = box("run", "--rm", "--memory", "32M", "box", "sh", "-c", "tail /dev/zero")
    assert status == 137, err
    name = named("cpu")
    start = time.monotonic()
    ok(box, "run", "-d", "--name", name, "--cpus", "0.2", "box", "sh", "-c", "while :; do :; done")
    time.sleep(3)
    used = json.loads(ok(box, "stats", "--format", "json", name))["cpu"]["usage"]["total"] / 1e9
    assert used <= 0.2 * (time.monotonic() - start) + 0.5, used
    ok(box, "update", name, "--cpus", "0.1", "--memory", "64M", "--pids", "20")
    again = json.loads(ok(box, "stats", "--format", "json", name))
    assert again["memory"]["usage"]["limit"] == 64 << 20 and again["pids"]["limit"] == 20, again


def test_first_process(box):
    """--init: signals go on to the program, orphans are taken in, its status is the command's."""
    status, out, err = box("run", "--rm", "--init", "box", "sh", "-c",
                           "tr '\\0' ' ' </proc/1/cmdline; (sleep 0.1 & echo $! >/tmp/orphan); while [ -e /proc/$(cat /tmp/orphan) ]; do sleep 0.1; done; "
                           "exit 5", seconds=LIMIT)                          # a zombie would be there for ever
    assert status == 5 and out.startswith("/dev/init -- sh -c"), (status, out, err)
    name = named("init")
    ok(box, "run", "-d", "--init", "--name", name, "box", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done")
    wait_for(lambda: "up" in ok(box, "logs", name))
    with box.popen("wait", name) as waiter:
        ok(box, "stop", "--timeout", "100", name)
        assert waiter.communicate(timeout=patience(LIMIT))[0] == "9\n"
    assert box("run", "--rm", "--init", "box", "/nonexistent")[0] == 127


@container_only
def test_auto(box):
    status, out, err = box.abyme("run", "--rm", "--isolation", "auto", "box", "echo", "here", seconds=LIMIT)
    assert (status, out) == (0, "here\n") and "isolation container: " in err, err
    for args in (["--engine", "jit"], ["--board", "microvm"]):
        out = ok(box.abyme, "run", "--dry-run", "--format", "json", "--isolation", "auto", *args, "box")
        assert json.loads(out)["isolation"] == "microvm" and "asked for" in json.loads(out)["engine-reason"], out


def test_places(box):
    """--cpuset pins; --io slows down: bytes less what may come at once need their time."""
    last = max(os.sched_getaffinity(0))
    name = named("pin")
    ok(box, "run", "-d", "--name", name, "--cpuset", str(last), "box", "sleep", "1000")
    pid = json.loads(ok(box, "inspect", "--format", "json", name))["run"]["pid"]
    assert os.sched_getaffinity(pid) == {last}
    start = time.monotonic()
    status, _, err = box("run", "--rm", "--io", "1M", "box", "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=4", "oflag=direct")
    if status and "no block device" in err:
        pytest.skip(err)
    assert status == 0 and time.monotonic() - start > 2, err


def test_refusals(box, tmp_path):
    for args, word in ((["nothing"], "no image"), (["-u", "nobody", "box"], "no user"), (["box", "/nonexistent"], "no such file"),
                       (["--isolation", "cage", "box"], "isolation"), (["--restart", "often", "box"], "--restart"),
                       (["--cap-add", "fly", "box"], "capability"), (["-v", "x", "box"], "volume"), (["-e", "=", "box"], "--env"),
                       (["--device", "/dev/nothing", "box"], "device"), (["--network", "nonet", "box"], "network"),
                       (["--memory", "1", "box"], "memory"), (["--pids", "3"], "--pids"), (["Bad Name"], "image")):
        status, _, err = box("run", "--rm", *args)
        assert status and word in err and len(err.strip().splitlines()) == 1, (args, err)
    assert ok(box, "ls", "--quiet") == ""


class SlowRuntime:
    """Abyme with a runtime that takes its time for the nth call of one verb."""

    def __init__(self, where, verb, nth):
        programs, self.calls, self.abyme = os.path.dirname(ABYME), where / "calls", where / "abyme"
        for name in os.listdir(programs):
            if name.startswith("abyme-") and name != "abyme-oci":
                os.symlink(f"{programs}/{name}", where / name)
        shutil.copy(ABYME, self.abyme)
        (where / "abyme-oci").write_text(
            f'#!/bin/sh\nlog={self.calls}\necho "begin: $*" >>$log\n'
            f'case "$*" in *" {verb} "*) echo {verb} >>$log-slow; [ "$(wc -l <$log-slow)" != {nth} ] || sleep 2;; esac\n'
            f'{programs}/abyme-oci "$@"; status=$?\necho "end: $*" >>$log; exit $status\n')
        (where / "abyme-oci").chmod(0o755)

    def begun(self, verb):
        return len(re.findall(rf"begin: .* {verb} ", self.calls.read_text())) if self.calls.exists() else 0

    def at_work(self):
        return self.calls.read_text().count("begin: ") - self.calls.read_text().count("end: ")


@container_only
def test_refusal_leaves_nothing_at_work(box, tmp_path):
    """When run --rm returns, no call of the runtime goes on that could meet the removal, or undo it."""
    slow = SlowRuntime(tmp_path, "delete", 1)
    p = subprocess.run([slow.abyme, *box.argv("run", "--rm", "--network", "none", "box", "/nonexistent")], env=box.env,
                       capture_output=True, text=True, timeout=patience(LIMIT), check=False)
    assert p.returncode and slow.begun("delete"), p.stderr
    assert not slow.at_work(), slow.calls.read_text()
    assert not os.listdir(f"{box.state}/instances")


@container_only
def test_end_while_it_starts_again(box, tmp_path):
    """A kill waits for what is just made for the second time, too: nothing goes on in a directory that is gone."""
    slow, name = SlowRuntime(tmp_path, "create", 2), named("twice")
    subprocess.run([slow.abyme, *box.argv("run", "-d", "--rm", "--restart", "always", "--network", "none", "--name", name, "box", "true")],
                   env=box.env, timeout=patience(LIMIT), check=True)
    wait_for(lambda: slow.begun("create") == 2)
    ok(box, "kill", name)
    wait_for(lambda: not os.listdir(f"{box.state}/instances"))
    assert not slow.at_work(), slow.calls.read_text()


def ordinary_user(home):
    """What runs abyme as somebody with this home and the image; skips where he can make no user namespace."""
    image = Image(busybox_layer(), tag="box").tar(home / "box.tar")
    os.chmod(image, 0o644)
    os.chown(home, 64321, 64321)

    def user(*args, seconds=LIMIT):
        p = subprocess.run([ABYME, *args], env=dict(os.environ, ABYME_STATE=f"{home}/state", HOME=str(home)), user=64321, group=64321,
                           extra_groups=[], capture_output=True, text=True, timeout=patience(seconds), check=False)
        return p.returncode, p.stdout, p.stderr
    status, _, err = user("load", image)
    if status and "user namespace" in err:
        pytest.skip("this host lets an ordinary user make no user namespace")
    assert status == 0, err
    return user


def test_ordinary_user(open_path):
    """No daemon, no privilege: root of a user namespace. A limit that cannot be kept is refused."""
    home = open_path
    user = ordinary_user(home)
    status, out, err = user("run", "--rm", "--network", "none", "box", "sh", "-c", "id -u; echo x >/etc/x; cat /etc/x; exit 3")
    assert (status, out) == (3, "0\nx\n"), err
    status, _, err = user("run", "--rm", "--network", "none", "--memory", "32M", "box", "true")
    assert status and "control group" in err, err
    assert ok(user, "run", "-d", "--name", "mine", "--network", "none", "box", "sleep", "1000") == "mine\n"
    assert ok(user, "exec", "mine", "id", "-u") == "0\n"
    for args in ("kill", "mine"), ("rm", "mine"), ("rmi", "box"):
        ok(user, *args)
    left = [*home.glob("state/instances/*"), *home.glob("state/images/layers/*")]
    assert not left, [(p, (p / "log").read_text() if (p / "log").exists() else "") for p in left]


RANGES = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'


@pytest.mark.skipif(not shutil.which("newuidmap") or not os.path.exists("/etc/subgid"), reason="the package uidmap is needed: scripts/deps.sh")
def test_ordinary_user_with_ranges(open_path, tmp_path):
    """With a range in /etc/subuid there are other users inside, and files of theirs."""
    home = open_path
    image = Image(busybox_layer(entry("etc/of-user", b"1", uid=1000, gid=100)), tag="box").tar(home / "box.tar")
    os.chmod(image, 0o644)
    os.chown(home, 65534, 65534)

    def user(ranges, *args):
        (tmp_path / "ranges").write_text(ranges)
        p = subprocess.run(["unshare", "-m", "sh", "-c", RANGES, str(tmp_path / "ranges"), ABYME, *args],
                           env=dict(os.environ, ABYME_STATE=f"{home}/state", HOME=str(home)), capture_output=True, text=True,
                           timeout=patience(LIMIT), check=False)
        return p.returncode, p.stdout, p.stderr
    status, _, err = user("", "load", image)
    if status and "user namespace" in err:
        pytest.skip("this host lets an ordinary user make no user namespace")
    assert status and "/etc/subuid" in err and len(err.strip().splitlines()) == 1, err
    mine = "someone:100000:65536\nnobody:300000:5000\n"
    status, _, err = user(mine, "load", image)
    assert status == 0, err
    run = ("run", "--network", "none", "--name")
    status, out, err = user(mine, *run, "one", "box", "sh", "-c", "cat /proc/self/uid_map; stat -c %u:%g /etc/of-user; touch /tmp/f; "
                            "chown 1000:4999 /tmp/f; chown 5001 /tmp/f || echo refused")
    assert [int(w) for w in out.split()[:6]] == [0, 65534, 1, 1, 300000, 5000] and out.split()[6:] == ["1000:100", "refused"], (out, err)
    made = os.stat(f"{home}/state/instances/one/upper/tmp/f")
    assert (made.st_uid, made.st_gid) == (300999, 304998), "the host's numbers are those of the range"
    status, out, err = user(mine, *run, "two", "-u", "user", "box", "sh", "-c", "id; echo x >/tmp/g; stat -c %u /tmp/g; touch /etc/x || echo no")
    assert status == 0 and out.startswith("uid=1000(user)") and out.endswith("1000\nno\n"), (out, err)
    for args in (("rm", "one", "two"), ("rmi", "box"), ("image", "prune")):
        status, _, err = user(mine, *args)
        assert status == 0, (args, err)
    left = [*home.glob("state/instances/*"), *home.glob("state/images/layers/*")]
    assert not left, left


MODULES = ("fs/9p", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/overlayfs", "fs/netfs", "fs/fscache", "net/9p", "net/vmw_vsock", "net/core",
           "drivers/virtio", "drivers/block/virtio_blk.ko", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "crypto", "lib")


def copy_kernel(tree, to):
    """A kernel with the few modules that count."""
    release = os.listdir(f"{tree}/lib/modules")[0]
    shutil.copytree(f"{tree}/boot", to / "boot")
    for part in MODULES:
        source, at = f"{tree}/lib/modules/{release}/kernel/{part}", to / f"lib/modules/{release}/kernel/{part}"
        at.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, at)
        elif os.path.exists(source):
            shutil.copy(source, at)


@pytest.mark.skipif("microvm" not in os.environ.get("ABYME_TEST_ISOLATION", ""), reason="make campaign-isolation runs it")
def test_ordinary_user_in_a_machine(kernel_tree, open_path):
    """An ordinary user's limits hold, too: they are those of the machine."""
    home = open_path
    copy_kernel(kernel_tree("amd64"), home)
    user = ordinary_user(home)
    run = ("run", "--rm", "--isolation", "microvm", "--kernel", vmlinuz(str(home)))
    for _ in range(2):           # booted, and from its snapshot
        status, out, err = user(*run, "box", "sh", "-c", "id -u; echo x >/etc/x; cat /etc/x; exit 3")
        assert (status, out) == (3, "0\nx\n") and not err, err
    assert user(*run, "--memory", "32M", "box", "tail", "/dev/zero")[0] == 137
    assert not os.listdir(home / "state/instances")
