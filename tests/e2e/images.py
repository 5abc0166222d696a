# SPDX-License-Identifier: GPL-2.0-or-later
"""Images made by hand: layers entry by entry, as docker save or OCI layout."""
import gzip
import hashlib
import io
import json
import os
import tarfile

ENV = ["PATH=/bin:/usr/bin"]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, data=None, kind=tarfile.REGTYPE, mode=0o644, link="", **more):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.linkname = kind, mode, link
    t.size = len(data or b"")
    for key, value in more.items():
        setattr(t, key, value)
    return t, data or b""


def directory(name, mode=0o755, **more):
    return entry(name, kind=tarfile.DIRTYPE, mode=mode, **more)


def symlink(name, link):
    return entry(name, kind=tarfile.SYMTYPE, link=link)


def hardlink(name, link):
    return entry(name, kind=tarfile.LNKTYPE, link=link)


def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def busybox_layer(*more):
    with open("/bin/busybox", "rb") as f:
        box = f.read()
    applets = ("sh true false sleep cat ls echo id env touch rm mkdir wc grep kill ps tr stty tty dd test pwd hostname ip nc wget "
               "nslookup sort head tail cut stat mount umount yes date chmod nproc seq printf sync uname mkfifo timeout").split()
    return layer(directory("bin"), directory("tmp", 0o1777), directory("etc"), directory("proc"), directory("dev"), directory("sys"),
                 entry("bin/busybox", box, mode=0o755), *[symlink(f"bin/{a}", "busybox") for a in applets],
                 entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
                 entry("etc/group", b"root:x:0:\nusers:x:100:user\nuser:x:1000:\n"), *more)


class Image:
    """Layers (uncompressed tars) and a configuration."""

    def __init__(self, *layers, tag="test:latest", compress=gzip.compress, **config):
        self.tag = tag
        self.tars = list(layers)
        self.blobs = [compress(x, mtime=0) if compress is gzip.compress else compress(x) if compress else x for x in layers]
        self.config = {"architecture": "amd64", "os": "linux", "config": {"Env": ENV, "Cmd": ["/bin/sh"], **config},
                       "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}
        self.kind = "+gzip" if compress is gzip.compress else ""
        self.change = {}                       # of descriptors: {blob index: {key: value}}

    def describe(self, data, kind, **more):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data), **more}

    def files(self):
        """An OCI layout as {name: bytes}."""
        config = json.dumps(self.config).encode()
        layers = [dict(self.describe(b, f"layer.v1.tar{self.kind}"), **self.change.get(i, {})) for i, b in enumerate(self.blobs)]
        manifest = json.dumps({"schemaVersion": 2, "config": self.describe(config, "config.v1+json"), "layers": layers}).encode()
        index = {"schemaVersion": 2, "manifests": [self.describe(
            manifest, "manifest.v1+json", annotations={"io.containerd.image.name": self.tag})]}
        out = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
        out.update({f"blobs/sha256/{digest(b)[7:]}": b for b in [config, manifest, *self.blobs]})
        return out

    def docker_files(self):
        """docker save's archive of old."""
        config = json.dumps(self.config).encode()
        name = digest(config)[7:] + ".json"
        names = [f"{i}/layer.tar" for i in range(len(self.tars))]
        manifest = [{"Config": name, "RepoTags": [self.tag], "Layers": names}]
        return {name: config, "manifest.json": json.dumps(manifest).encode(), **dict(zip(names, self.tars))}

    def tar(self, path, files=None):
        with tarfile.open(path, "w") as t:
            for name, data in (files or self.files()).items():
                info, body = entry(name, data)
                t.addfile(info, io.BytesIO(body))
        return str(path)

    def layout(self, path):
        for name, data in self.files().items():
            os.makedirs(os.path.dirname(f"{path}/{name}"), exist_ok=True)
            with open(f"{path}/{name}", "wb") as f:
                f.write(data)
        return str(path)
