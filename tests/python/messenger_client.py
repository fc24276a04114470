"""A client of lesson 4.4, written from the figures in messenger/protocol.ts and registration.ts alone. Arguments: port, encoding, name.

It logs in and registers by UDP; answers each private message with its text in upper case; prints what it gets,
and which of its messages are acknowledged; leaves after the message "bye".
"""
import json
import os
import socket
import struct
import sys

port, encoding, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]

tcp = socket.create_connection(("127.0.0.1", port))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)


def send(**message):
    data = json.dumps(message, ensure_ascii=False).encode(encoding)
    tcp.sendall(struct.pack("!I", len(data)) + data)


def take(count):
    data = b""
    while len(data) < count:
        piece = tcp.recv(count - len(data))
        if not piece:
            sys.exit("hung up")
        data += piece
    return data


def receive():
    (length,) = struct.unpack("!I", take(4))
    return json.loads(take(length).decode(encoding))


def mapped(address):
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address)


send(type="login", version=1, name=name, secret=os.urandom(16).hex())
welcome = receive()
token = bytes.fromhex(welcome["token"])
cookie = bytes(8)
for _ in range(2):  # the second time with the cookie of the answer
    question = b"SbE\x01\x01" + token + cookie + struct.pack("!H", 0) + mapped("127.0.0.1") + name.encode()
    udp.sendto(question, ("127.0.0.1", port))
    answer = udp.recv(2048)
    right = answer[:21] == b"SbE\x01\x02" + token and answer[31:] == mapped("127.0.0.1")
    cookie = answer[21:29]
right = right and len(answer) <= len(question) and question[21:29] == cookie
print("seen", right and struct.unpack("!H", answer[29:31])[0] == udp.getsockname()[1], flush=True)

number = 0
waiting = set()
leaving = False
while not leaving or waiting:
    message = receive()
    if message["type"] == "message":
        print(message["from"], ">", message["text"], flush=True)
        send(type="have", id=message["id"], **{"from": message["from"]}, instance=message["instance"])
        leaving = leaving or message["text"] == "bye"
        if not message["all"]:
            number += 1
            waiting.add(number)
            send(type="send", id=number, to=message["from"], text=message["text"].upper(), also=[])
    elif message["type"] == "had":
        waiting.discard(message["id"])
        print("had", message["id"], message["name"], flush=True)
