"""The notes' client that fetches a picture into the folder album. Arguments: port, encoding."""
import base64
import json
import os
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
answer = b""
while True:
    recv_data = tcp_socket.recv(1024)
    if not recv_data:
        break
    answer += recv_data
tcp_socket.close()
picture = json.loads(answer.decode(encoding))
data = base64.b64decode(picture["filedata"])
os.makedirs("album", exist_ok=True)
path = os.path.join("album", picture["filename"])
with open(path, "wb") as f:
    f.write(data)
print("saved %d bytes as %s" % (len(data), path), flush=True)
