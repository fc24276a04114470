"""The notes' server that gives a picture to every caller, each in a thread. Arguments: port, encoding, file."""
import base64
import json
import os
import socket
import sys
from threading import Thread

port, encoding, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def send_picture(connection):
    with open(path, "rb") as f:
        text = base64.b64encode(f.read()).decode()
    picture = {"filename": os.path.basename(path), "filedata": text}
    connection.sendall(json.dumps(picture).encode(encoding))
    connection.close()


server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind(("127.0.0.1", port))
server_socket.listen(128)
print("listening on %s:%d" % server_socket.getsockname(), flush=True)
while True:
    client_socket, client_addr = server_socket.accept()
    Thread(target=send_picture, args=(client_socket,)).start()
