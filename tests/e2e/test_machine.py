# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme machine import and export, and disks in the formats of others."""
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import time
import xml.etree.ElementTree as ET

import pytest

from conftest import ABYME
from patience import deadline, patience
from test_disks import ok
from test_nbd import tool

NS = ('xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" '
      'xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" '
      'xmlns:sasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_StorageAllocationSettingData.xsd" '
      'xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" '
      'xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vbox="http://www.virtualbox.org/ovf/machine"')


def items(kind, *rows):
    out = ""
    for row in rows:
        out += f"<{kind[0]}>" + "".join(f"<{kind[1]}:{k}>{v}</{kind[1]}:{k}>" for k, v in row.items()) + f"</{kind[0]}>\n"
    return out


def descriptor(family, hardware, more="", capacity=33554432, units="", href="it-disk1.vmdk"):
    return f"""<?xml version="1.0"?>
<Envelope ovf:version="1.0" {NS}>
  <References><File ovf:id="file1" ovf:href="{href}"/></References>
  <DiskSection><Info>i</Info><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{capacity}" {units}/>
    <Disk ovf:diskId="empty" ovf:capacity="2" ovf:capacityAllocationUnits="byte * 2^30"/></DiskSection>
  <VirtualSystem ovf:id="my machine"><Info>i</Info>
    <VirtualHardwareSection><Info>i</Info><System><vssd:VirtualSystemType>{family}</vssd:VirtualSystemType></System>
{hardware}</VirtualHardwareSection>{more}</VirtualSystem>
</Envelope>"""


VIRTUALBOX = descriptor("virtualbox-2.2", items(
    ("Item", "rasd"), {"InstanceID": 1, "ResourceType": 3, "VirtualQuantity": 2},
    {"AllocationUnits": "MegaBytes", "InstanceID": 2, "ResourceType": 4, "VirtualQuantity": 512},
    {"InstanceID": 4, "ResourceSubType": "PIIX4", "ResourceType": 5},
    {"InstanceID": 6, "ResourceSubType": "82540EM", "ResourceType": 10}) + items(
    ("StorageItem", "sasd"), {"InstanceID": 3, "ResourceSubType": "AHCI", "ResourceType": 20},
    {"HostResource": "/disk/vmdisk1", "InstanceID": 7, "Parent": 3, "ResourceType": 17},
    {"HostResource": "ovf:/disk/empty", "InstanceID": 8, "Parent": 4, "ResourceType": 17}),
    '<vbox:Machine><Hardware><Firmware type="EFI"/></Hardware></vbox:Machine>')
VMWARE = descriptor("vmx-13", items(
    ("Item", "rasd"), {"AllocationUnits": "hertz * 10^6", "InstanceID": 1, "ResourceType": 3, "VirtualQuantity": 1},
    {"AllocationUnits": "byte * 2^20", "InstanceID": 2, "ResourceType": 4, "VirtualQuantity": 768},
    {"InstanceID": 3, "ResourceSubType": "VirtualSCSI", "ResourceType": 6},
    {"HostResource": "ovf:/disk/vmdisk1", "InstanceID": 9, "Parent": 3, "ResourceType": 17},
    {"InstanceID": 6, "ResourceSubType": "VmxNet3", "ResourceType": 10}) +
    '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/>', capacity=32,
    units='ovf:capacityAllocationUnits="byte * 2^20"')


def model(tmp_path):
    raw, vmdk = tmp_path / "model.img", tmp_path / "it-disk1.vmdk"
    raw.write_bytes(random.Random(3).randbytes(700000) + bytes((32 << 20) - 700000))
    if not vmdk.exists():
        tool("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, vmdk)
    return raw, vmdk


def pack(path, *members):
    with tarfile.open(path, "w") as t:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def manifest(algorithm, *members):
    return "".join(f"{algorithm.upper()}({n})= {hashlib.new(algorithm, d).hexdigest()}\n" for n, d in members).encode()


@pytest.mark.parametrize("text,algorithm,want", [
    (VIRTUALBOX, "sha1", {"vcpus": 2, "memory": "512M", "firmware": "uefi", "disks": ["ahci", "ide"]}),
    (VMWARE, "sha256", {"vcpus": 1, "memory": "768M", "firmware": "bios", "disks": ["ahci"]})])
def test_import(abyme, tmp_path, text, algorithm, want):
    raw, vmdk = model(tmp_path)
    members = [("it.ovf", text.encode()), ("it-disk1.vmdk", vmdk.read_bytes())]
    ova = pack(tmp_path / "it.ova", members[0], ("it.mf", manifest(algorithm, *members)), members[1])
    assert ok(abyme, "machine", "import", "--output", str(tmp_path), str(ova)) == "my-machine\n"
    d = json.loads(ok(abyme, "inspect", "--format", "json", "my-machine"))["definition"]
    assert d["vcpus"] == want["vcpus"] and d["memory"] == want["memory"] and d["firmware"] == want["firmware"]
    assert [x["bus"] for x in d["disks"]] == want["disks"] and d["net"][0]["model"] == "e1000"
    assert ok(abyme, "disk", "compare", str(raw), d["disks"][0]["file"]) == "equal\n"
    assert not list(tmp_path.glob(".import-*"))
    # beside its files, not packed
    (tmp_path / "it.ovf").write_bytes(text.encode())
    assert ok(abyme, "machine", "import", "--name", "second", "--output", str(tmp_path), str(tmp_path / "it.ovf")) == "second\n"
    # one flipped bit, and names already there
    bad = bytearray(members[1][1])
    bad[5000] ^= 1
    pack(tmp_path / "bad.ova", members[0], ("it.mf", manifest(algorithm, *members)), ("it-disk1.vmdk", bytes(bad)))
    for file, word in (("bad.ova", "manifest"), ("it.ova", "exists already")):
        code, _, err = abyme("machine", "import", "--output", str(tmp_path), str(tmp_path / file))
        assert code == 1 and word in err, err
    for name in ("my-machine", "second"):
        abyme("rm", name)


def waits_for(task, path):
    """Does it wait in a read() of this file? By then it is where it wants to be."""
    try:
        with open(f"/proc/{task}/syscall", encoding="ascii") as f:
            words = f.read().split()
        return words[0] == "0" and os.path.samestat(os.stat(f"/proc/{task}/fd/{int(words[1], 16)}"), os.stat(path))
    except OSError:
        return False


def reader_of(path, p):
    """Whoever waits for the file's bytes, once somebody does."""
    end = deadline(30)
    while time.monotonic() < end:
        for task in filter(str.isdigit, os.listdir("/proc")):
            if waits_for(task, path):
                return int(task)
        assert p.poll() is None, "the import ended before it read its file"
        time.sleep(0.02)
    raise AssertionError("nobody reads the archive")


def test_reader_is_jailed(abyme, tmp_path):
    """What parses an archive has nothing but that and a place to unpack to: seen while it waits for the archive's bytes."""
    _, vmdk = model(tmp_path)
    ova = pack(tmp_path / "it.ova", ("it.ovf", VMWARE.encode()), ("it-disk1.vmdk", vmdk.read_bytes()))
    pipe = tmp_path / "pipe.ova"
    os.mkfifo(pipe)
    end = os.fdopen(os.open(pipe, os.O_RDWR), "wb")      # whoever opens the other one does not wait
    p = subprocess.Popen([ABYME, "machine", "import", "--output", tmp_path, pipe], env=abyme.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        reader = reader_of(pipe, p)
        with open(f"/proc/{reader}/status") as f:
            status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        assert sorted(os.listdir(f"/proc/{reader}/root")) == ["in.ova", "out"]
        assert os.readlink(f"/proc/{reader}/ns/net") != os.readlink("/proc/self/ns/net")
        end.write(ova.read_bytes())
        end.close()
        out, err = p.communicate(timeout=patience(60))
        assert (p.returncode, out) == (0, "my-machine\n"), err
    finally:
        p.kill()
        p.wait()
    abyme("rm", "my-machine")


def test_export(abyme, tmp_path):
    """Out and in again; for VMware, whose hardware family VirtualBox takes too, or for VirtualBox."""
    raw, _ = model(tmp_path)
    disk = tmp_path / "disk.qcow2"
    ok(abyme, "disk", "convert", str(raw), str(disk))
    ok(abyme, "create", "--name", "origin", "--vcpus", "2", "--memory", "384M", "--firmware", "uefi", "--net", "user",
       "--disk", f"{disk},format=qcow2")
    for family, word in (("vmware", "vmx-10"), ("virtualbox", "virtualbox-2.2")):
        ova = tmp_path / f"{family}.ova"
        ok(abyme, "machine", "export", "--family", family, "origin", str(ova))
        with tarfile.open(ova) as t:
            assert t.getnames() == ["origin.ovf", "origin.mf", "origin-disk1.vmdk"]
            text = t.extractfile("origin.ovf").read().decode()
            t.extractall(tmp_path / family)
        ET.fromstring(text)
        assert word in text
        tool("qemu-img", "compare", tmp_path / family / "origin-disk1.vmdk", raw)
        ok(abyme, "machine", "import", "--name", family, "--output", str(tmp_path), str(ova))
        d = json.loads(ok(abyme, "inspect", "--format", "json", family))["definition"]
        assert d["vcpus"] == 2 and d["memory"] == "384M" and d["firmware"] == ("uefi" if family == "vmware" else "bios")
        assert ok(abyme, "disk", "compare", str(raw), d["disks"][0]["file"]) == "equal\n"
        abyme("rm", family)
    code, _, err = abyme("machine", "export", "origin", str(ova))
    assert code == 1 and "there already" in err
    abyme("rm", "origin")


def test_refuses(abyme, tmp_path):
    _, vmdk = model(tmp_path)
    data, good = vmdk.read_bytes(), VMWARE.encode()
    bomb = (b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
            b'<Envelope>&b;</Envelope>')
    outside = tmp_path / "outside"
    cases = [([("it.ovf", b"<html/>")], "Envelope"), ([("it.ovf", b"no xml")], "not XML"), ([("readme", b"")], "no descriptor"),
             ([("../outside", b"x"), ("it.ovf", good)], "plain file"), ([("/etc/x", b"x")], "plain file"),
             ([("it.ovf", bomb)], "document type"), ([("it.ovf", good)], "it-disk1.vmdk"),
             ([("it.ovf", good.replace(b"it-disk1.vmdk", b"../../etc/passwd"))], "directory"),
             ([("it.ovf", good.replace(b">768<", b">999999999999999999<"))], "memory"),
             ([("it.ovf", good.replace(b"vmdisk1</", b"vmdisk7</"))], "no file"),
             ([("it.ovf", good), ("it-disk1.vmdk", data[:70000])], "it-disk1.vmdk")]
    for n, (members, word) in enumerate(cases):
        ova = pack(tmp_path / f"{n}.ova", *members)
        code, out, err = abyme("machine", "import", "--output", str(tmp_path), str(ova))
        assert code == 1 and word in err and err.count("\n") == 1, (n, out, err)
    cut = tmp_path / "cut.ova"
    cut.write_bytes(pack(tmp_path / "whole.ova", ("it.ovf", good), ("it-disk1.vmdk", data)).read_bytes()[:100000])
    assert abyme("machine", "import", "--output", str(tmp_path), str(cut))[0] == 1
    assert not outside.exists() and not list(tmp_path.glob(".import-*")) and not list(tmp_path.glob("*.qcow2"))
    assert abyme("ls", "--quiet")[1] == ""


def test_formats_of_others(abyme, tmp_path):
    """To each and back; VHDX too."""
    raw, _ = model(tmp_path)
    for name in ("a.vmdk", "a.vdi", "a.vhd", "a.vhdx"):
        ok(abyme, "disk", "convert", str(raw), str(tmp_path / name))
        ok(abyme, "disk", "convert", str(tmp_path / name), str(tmp_path / "back.qcow2"))
        assert ok(abyme, "disk", "compare", str(raw), str(tmp_path / "back.qcow2")) == "equal\n", name
        (tmp_path / "back.qcow2").unlink()
    ok(abyme, "disk", "convert", "--format", "vmdk-stream", str(raw), str(tmp_path / "s.vmdk"))
    assert (tmp_path / "s.vmdk").stat().st_size < 2 << 20
    assert ok(abyme, "disk", "compare", str(raw), str(tmp_path / "s.vmdk")) == "equal\n"
