"""Sends UDP datagrams on the loopback, as fast as it can, for SECONDS: flood.py SECONDS"""

import socket
import sys
import time

sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("127.0.0.1", 0))
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for _ in range(100):
        sink.sendto(b"flood", sink.getsockname())
