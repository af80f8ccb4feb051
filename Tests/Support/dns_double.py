"""A DNS server on loopback for tests: answers A, AAAA and TXT from a table, `*.name` for what has no row of its own.

RFC 1035: one question, no compression but the pointer to it; a name without rows is NXDOMAIN.
"""

import socket
import struct
import threading

TYPES = {"A": 1, "TXT": 16, "AAAA": 28}


class DNSDouble:
    def __init__(self, rows):
        """`rows` maps (name, type) to a list of texts; it may be changed at any time."""
        self.rows = rows
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        # An empty datagram ends the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            if not question:
                return
            self.socket.sendto(self.answer(question), peer)

    def find(self, name, kind):
        """The rows, and whether the name exists at all."""
        for candidate in (name, "*." + name.partition(".")[2]):
            own = {row_kind: values for (row_name, row_kind), values in self.rows.items() if row_name == candidate}
            if own:
                return own.get(kind, []), True
        return [], False

    def answer(self, question):
        place, labels = 12, []
        while question[place]:
            length = question[place]
            labels.append(question[place + 1:place + 1 + length].decode().lower())
            place += 1 + length
        (number, _) = struct.unpack(">HH", question[place + 1:place + 5])
        kind = {value: key for key, value in TYPES.items()}.get(number)
        values, exists = self.find(".".join(labels), kind)
        records = b""
        for value in values:
            if kind == "TXT":
                data = value.encode()
                data = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
            else:
                data = socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
            records += b"\xc0\x0c" + struct.pack(">HHIH", number, 1, 60, len(data)) + data
        flags = 0x8180 | (0 if exists else 3)
        head = question[:2] + struct.pack(">HHHHH", flags, 1, len(values), 0, 0)
        return head + question[12:place + 5] + records
