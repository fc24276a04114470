"""Traffic of all kinds on the loopback, between two marks: traffic.py ROUNDS"""

import socket
import struct
import sys
import threading
import time

rounds = int(sys.argv[1])


def mark(text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(text, ("127.0.0.1", 9))



def serve(family, host, handle):
    server = socket.create_server((host, 0), family=family)

    def loop():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            handle(connection)

    threading.Thread(target=loop, daemon=True).start()
    return server.getsockname()


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def drip(connection):  # the peer has closed its half: ours still speaks
    with connection:
        while connection.recv(65536):
            pass
        for index in range(3):
            connection.sendall(b"after your FIN %d" % index)
            time.sleep(0.002)


def deaf(connection):  # reads only when the window has been closed for a while
    with connection:
        time.sleep(0.3)
        while connection.recv(65536):
            pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.recv(100)
    connection.close()


mark(b"begin")
for family, host in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]:
    echoes, drips, deafs, resets = [serve(family, host, handle)[:2] for handle in (echo, drip, deaf, reset)]
    for index in range(rounds):
        with socket.create_connection(echoes) as s:
            for text in ["你好", "hello\r\n", "x" * (1 + index * 100), "\x1b[31mred"]:
                s.sendall(text.encode())
                s.recv(65536)
        with socket.create_connection(drips) as s:
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        with socket.create_connection(resets) as s:
            s.sendall(b"reset me")
            try:
                s.recv(100)
            except ConnectionResetError:
                pass
        with socket.socket(family) as s:
            s.connect_ex((host, 1))  # nobody listens: refused
        with socket.socket(family, socket.SOCK_DGRAM) as s, socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.bind((host, 0))
            for size in (0, 1, 1000, 4000):  # the last one in three fragments
                s.sendto(b"u" * size, peer.getsockname())
            s.sendto("没人".encode(), (host, 1))  # ICMP port unreachable
    with socket.create_connection(deafs) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        s.settimeout(5)
        s.sendall(b"z" * 600_000)
with socket.socket(socket.AF_INET) as s:  # what this port gets is lost now and then: see the test
    s.bind(("127.0.0.1", 7777))
    s.listen()
    lossy = threading.Thread(target=lambda: echo(s.accept()[0]), daemon=True)
    lossy.start()
    with socket.create_connection(("127.0.0.1", 7777)) as c:
        for index in range(4 * rounds):
            c.sendall(b"number %d" % index)
            c.recv(100)
mark(b"that was all")
