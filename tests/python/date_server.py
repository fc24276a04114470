"""The notes' server that tells date and time. Arguments: port, encoding."""
import socket
import sys
from datetime import datetime

port, encoding = int(sys.argv[1]), sys.argv[2]

server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind(("127.0.0.1", port))
server_socket.listen(128)
print("listening on %s:%d" % server_socket.getsockname(), flush=True)
while True:
    client_socket, client_addr = server_socket.accept()
    now = str(datetime.now())
    client_socket.send(now.encode(encoding))
    client_socket.close()
    print(now, flush=True)
