# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-user back end written from the specification: a port of a machine becomes the
TAP interface eth0 of the namespace that this runs in.

    vhost_peer.py SOCKET [plain|offload]

SIGUSR1: return a buffer that was never lent. Says what it does on its standard output.
"""
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys

FEATURES = {"plain": 1 << 32 | 1 << 30, "offload": 1 << 32 | 1 << 30 | 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12}
TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD = 0x400454ca, 0x400454d8, 0x400454d0
TAP = 0x0002 | 0x1000 | 0x4000     # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR


def tap(offload):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"eth0", TAP))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    fcntl.ioctl(fd, TUNSETOFFLOAD, 7 if offload else 0)
    return fd


class Queue:
    def __init__(self):
        self.size = self.last = self.used_at = self.avail_at = self.desc_at = 0
        self.kick = self.call = None
        self.enabled = False


class Peer:
    def __init__(self, path, mode):
        self.features = FEATURES[mode]
        self.tap = tap(mode == "offload")
        self.listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self.listener.bind(path)
        self.listener.listen(4)

    # ---- protocol ----

    def begin(self):
        self.sock = self.listener.accept()[0]
        self.memory = None
        self.queues = [Queue(), Queue()]
        self.garbage = False

    def reply(self, request, value):
        self.sock.sendall(struct.pack("<IIIQ", request, 5, 8, value))

    def at(self, user):
        assert self.base <= user < self.base + self.size
        return user - self.base + self.offset

    def set_memory(self, payload, fds):
        assert struct.unpack_from("<I", payload)[0] == 1 and len(fds) == 1
        self.gpa, self.size, self.base, self.offset = struct.unpack_from("<QQQQ", payload, 8)
        self.memory = mmap.mmap(fds[0], self.size + self.offset)
        self.words = memoryview(self.memory).cast("H")
        os.close(fds[0])

    def set_address(self, payload):
        index, _, desc, used, avail, _ = struct.unpack("<IIQQQQ", payload)
        q = self.queues[index]
        q.desc_at, q.used_at, q.avail_at = self.at(desc), self.at(used), self.at(avail)

    def message(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 12, 8)
        if len(data) < 12:
            return False
        request, flags, size = struct.unpack("<III", data)
        payload = self.sock.recv(size, socket.MSG_WAITALL) if size else b""
        value = struct.unpack_from("<Q", payload)[0] if size >= 8 else 0
        index, number = struct.unpack_from("<II", payload) if size >= 8 else (0, 0)
        q = self.queues[index & 1]
        if request == 1:
            self.reply(1, self.features)
        elif request == 2:
            assert not value & ~self.features, hex(value)
        elif request == 5:
            self.set_memory(payload, fds)
        elif request == 8:
            q.size = number
        elif request == 9:
            self.set_address(payload)
        elif request == 10:
            q.last = number
        elif request == 12:
            q.kick = fds[0]
        elif request == 13:
            q.call = fds[0]
        elif request == 15:
            self.reply(15, 1 << 3)
        elif request == 18:
            q.enabled = bool(number)
            if all(x.enabled for x in self.queues):
                print("running", flush=True)
        else:
            assert request in (3, 16), request
        if flags & 8 and request not in (1, 15):
            self.reply(request, 0)
        return True

    # ---- queues ----

    def take(self, q):
        """(slot, address, length) of the next buffer, or None."""
        if not q.enabled or self.words[q.avail_at // 2 + 1] == q.last & 0xffff:
            return None
        slot = struct.unpack_from("<H", self.memory, q.avail_at + 4 + 2 * (q.last % q.size))[0]
        address, length, flags, _ = struct.unpack_from("<QIHH", self.memory, q.desc_at + 16 * slot)
        assert not flags & 1, "this front end sends no chains"
        return slot, address - self.gpa + self.offset, length

    def give(self, q, slot, length):
        struct.pack_into("<II", self.memory, q.used_at + 4 + 8 * (q.last % q.size), slot, length)
        q.last += 1
        self.words[q.used_at // 2 + 1] = q.last & 0xffff     # in one store: pack_into() writes zeros first
        if not struct.unpack_from("<H", self.memory, q.avail_at)[0] & 1:
            os.write(q.call, struct.pack("Q", 1))

    def transmit(self):
        while got := self.take(self.queues[1]):
            slot, at, length = got
            try:
                os.write(self.tap, self.memory[at:at + length])
            except OSError:
                pass      # the interface is down
            self.give(self.queues[1], slot, 0)

    def receive(self):
        while got := self.take(self.queues[0]):
            slot, at, length = got
            try:
                frame = os.read(self.tap, 65562)
            except BlockingIOError:
                return
            assert len(frame) <= length
            self.memory[at:at + len(frame)] = frame
            self.give(self.queues[0], slot, len(frame))

    def turn(self):
        kicks = [q.kick for q in self.queues if q.kick is not None]
        ready = select.select([self.sock, self.tap, *kicks], [], [])[0]
        if self.sock in ready and not self.message():
            return False
        for k in kicks:
            if k in ready:
                os.read(k, 8)
        if self.garbage:
            self.garbage = False
            self.give(self.queues[0], 70000, 1 << 31)
        if all(q.enabled for q in self.queues):
            self.transmit()
            self.receive()
        return True

    def serve(self):
        while True:
            self.begin()
            print("connected", flush=True)
            try:
                while self.turn():
                    pass
            except ConnectionError:
                pass
            print("left", flush=True)

    def break_rules(self, *_):
        self.garbage = True


if __name__ == "__main__":
    peer = Peer(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "offload")
    signal.signal(signal.SIGUSR1, peer.break_rules)
    print("listening", flush=True)
    peer.serve()
