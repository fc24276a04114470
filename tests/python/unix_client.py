"""A client inside one machine: request and reply. Arguments: path, encoding."""
import socket
import sys

path, encoding = sys.argv[1], sys.argv[2]

unix_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
unix_socket.connect(path)
while True:
    unix_socket.sendall(input().encode(encoding))
    print(unix_socket.recv(1024).decode(encoding), flush=True)
