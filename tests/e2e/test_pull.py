# SPDX-License-Identifier: GPL-2.0-or-later
"""Images from registries: Debian's docker-registry, and one made here that is hard to deal with."""
import base64
import contextlib
import crypt
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from conftest import free_port
from images import Image, busybox_layer, digest, entry, layer
from patience import deadline, patience

LIMIT = 60
TOKEN = "a.token-of_ours"


def ok(abyme, *args):
    status, out, err = abyme(*args, seconds=LIMIT)
    assert status == 0, (args, out, err)
    return out


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        s = self.server
        auth = self.headers.get("Authorization", "")
        s.seen.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/token"):
            good = not s.login or auth == "Basic " + base64.b64encode(s.login.encode()).decode()
            return self.answer(200 if good else 401, json.dumps({"token": TOKEN}).encode())
        if s.want_token and auth != f"Bearer {TOKEN}":
            return self.answer(401, WWW_Authenticate=f'Bearer realm="http://127.0.0.1:{s.server_port}/token",service="us",scope="x"')
        name = self.path.split("/")[-1]
        body = s.content.get(name)
        if body is None:
            return self.answer(404)
        at = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if name in s.breaks and len(body) - at > s.breaks[name]:
            self.send_response(206 if at else 200)
            self.send_header("Content-Length", str(len(body) - at))
            self.end_headers()
            self.wfile.write(body[at:at + s.breaks[name]])
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        return self.answer(206 if at else 200, body[at:])


@pytest.fixture
def registry():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s.content, s.breaks, s.seen, s.want_token, s.login = {}, {}, [], False, None
    thread = threading.Thread(target=s.serve_forever)
    thread.start()

    def offer(image, tag="1"):
        files = image.files()
        index = json.loads(files["index.json"])
        s.content = {"sha256:" + n.split("/")[-1]: b for n, b in files.items() if n.startswith("blobs/")}
        s.content[tag] = s.content[index["manifests"][0]["digest"]]
        return f"127.0.0.1:{s.server_port}/team/app:{tag}"
    s.offer = offer
    yield s
    s.shutdown()
    thread.join()
    s.server_close()


def test_pull_and_run(abyme, registry, tmp_path):
    name = registry.offer(Image(busybox_layer(), Cmd=["echo", "pulled"]))
    assert ok(abyme, "pull", name) == name + "\n"
    assert not registry.seen[-1][0].startswith("/token")
    fetched = len(registry.seen)
    ok(abyme, "pull", name)
    assert len(registry.seen) == fetched + 1, "what is here is not fetched again"
    if os.geteuid() == 0:
        assert ok(abyme, "run", "--rm", name) == "pulled\n"


def test_login_and_breaks(abyme, registry, tmp_path):
    image = Image(layer(entry("big", os.urandom(300000))), compress=None)
    name = registry.offer(image)
    registry.want_token, registry.login = True, "me:secret"
    registry.breaks = {digest(image.blobs[0]): 100000}
    status, _, err = abyme("pull", name)
    assert status == 1 and "--credentials" in err, err
    (tmp_path / "login").write_text("me:secret\n")
    ok(abyme, "pull", "--credentials", str(tmp_path / "login"), name)
    ranges = [r for p, r in registry.seen if p.endswith(digest(image.blobs[0]))]
    assert ranges[-1] == "bytes=300000-" or any(r and r != "bytes=0-" for r in ranges), ranges


def test_index(abyme, registry):
    name = registry.offer(Image(layer(entry("f", b"1"))))
    mine = registry.content["1"]
    index = {"schemaVersion": 2, "manifests": [
        {"digest": digest(b"other"), "size": 5, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": digest(mine), "size": len(mine), "platform": {"os": "linux", "architecture": "amd64"}}]}
    registry.content["1"] = json.dumps(index).encode()
    ok(abyme, "pull", name)
    index["manifests"].pop()
    registry.content["1"] = json.dumps(index).encode()
    status, _, err = abyme("pull", name)
    assert status == 1 and "linux/arm64" in err, err


def test_hostile(abyme, registry):
    image = Image(layer(entry("f", b"x" * 1000)))
    blob = digest(image.blobs[0])
    for change in ({blob: b"short"}, {blob: image.blobs[0] + b"more"}, {blob: bytes(len(image.blobs[0]))}, {"1": b"{"},
                   {"1": b"[]"}, {"1": b"\0" * (5 << 20)}, {"1": None}, {blob: None}):
        name = registry.offer(image)
        registry.content.update(change)
        status, out, err = abyme("pull", name, seconds=LIMIT)
        assert status == 1 and not out and len(err.strip().splitlines()) == 1, (change, err)
        assert not os.listdir(f"{abyme.state}/images/refs") + os.listdir(f"{abyme.state}/images/tmp"), change
    name = registry.offer(image)
    status, _, err = abyme("pull", name.replace(":1", "@" + digest(b"no")))
    assert status == 1, err
    status, _, err = abyme("pull", "127.0.0.1:1/x")
    assert status == 1 and "cannot reach" in err, err


def start_registry(program, tmp_path, more):
    """(process, port), or None where somebody else got the port first."""
    port = free_port()
    (tmp_path / "config.yml").write_text(json.dumps({
        "version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": f"{tmp_path}/data"}},
        "http": {"addr": f"127.0.0.1:{port}"}, **more}))
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen([program, "serve", str(tmp_path / "config.yml")], stdout=log, stderr=log)
    end = deadline(LIMIT)
    while server.poll() is None and time.monotonic() < end:
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                return server, port
        time.sleep(0.1)
    server.kill()
    server.wait()
    return None


@contextlib.contextmanager
def debians_registry(tmp_path, **more):
    """Its address."""
    program = shutil.which("docker-registry")
    if not program or not shutil.which("skopeo"):
        pytest.skip("docker-registry and skopeo are needed: scripts/deps.sh")
    started = next(filter(None, (start_registry(program, tmp_path, more) for _ in range(5))), None)
    assert started, (tmp_path / "log").read_text()
    server, port = started
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(patience(LIMIT))


def test_debians_registry(abyme, tmp_path):
    image = Image(layer(entry("a", b"1")), layer(entry("b", b"2")))
    with debians_registry(tmp_path) as at:
        name = f"{at}/some/app:v1"
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{image.layout(tmp_path / 'oci')}",
                        f"docker://{name}"], check=True, timeout=patience(LIMIT))
        assert ok(abyme, "pull", name) == name + "\n"
        assert json.loads(ok(abyme, "image", "inspect", name))["config"]["rootfs"]["diff_ids"] == [digest(t) for t in image.tars]
        other = f"{at}/other/place:v2"
        assert ok(abyme, "push", name, other) == other + "\n"
        ok(abyme, "push", name, other)        # all is there
        pushed = [i for i in json.loads(ok(abyme, "images", "--format", "json")) if i["name"] == name]
        ok(abyme, "rmi", name)
        assert ok(abyme, "pull", other) == other + "\n"
        again = [i for i in json.loads(ok(abyme, "images", "--format", "json")) if i["name"] == other]
        assert again[0]["digest"] == pushed[0]["digest"], "it is the same, byte for byte"
        for to, word in ((f"{at}/UPPER", "name"), ("127.0.0.1:1/x", "cannot reach"), (f"{other}@{digest(b'x')}", "tag")):
            status, _, err = abyme("push", other, to)
            assert status == 1 and word in err and len(err.strip().splitlines()) == 1, err


def test_push_with_login(abyme, tmp_path):
    """A registry that wants a password for everything: without the right one nothing goes there."""
    hashed = crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
    (tmp_path / "users").write_text(f"me:{hashed}\n")
    image = Image(layer(entry("a", b"1")), tag="own")
    ok(abyme, "load", image.tar(tmp_path / "own.tar"))
    for name, text in (("right", "me:secret\n"), ("wrong", "me:guess\n"), ("nobody", "you:secret\n")):
        (tmp_path / name).write_text(text)
    with debians_registry(tmp_path, auth={"htpasswd": {"realm": "here", "path": f"{tmp_path}/users"}}) as at:
        to = f"{at}/own/app:v1"
        for more, word in (((), "--credentials"), (("--credentials", str(tmp_path / "wrong")), "does not let us have"),
                           (("--credentials", str(tmp_path / "nobody")), "does not let us have")):
            status, out, err = abyme("push", *more, "own", to, seconds=LIMIT)
            assert status == 1 and not out and word in err and len(err.strip().splitlines()) == 1, (more, err)
            assert "secret" not in err and "guess" not in err
        assert not os.path.exists(tmp_path / "data/docker/registry/v2/repositories/own")
        right = ("--credentials", str(tmp_path / "right"))
        assert ok(abyme, "push", *right, "own", to) == to + "\n"
        assert abyme("pull", to, seconds=LIMIT)[0] == 1, "without a name it is not told either"
        ok(abyme, "rmi", "own")
        assert ok(abyme, "pull", *right, to) == to + "\n"
        assert json.loads(ok(abyme, "image", "inspect", to))["config"]["rootfs"]["diff_ids"] == [digest(t) for t in image.tars]
