"""A server inside one machine, one caller after another. Arguments: path, encoding."""
import socket
import sys

path, encoding = sys.argv[1], sys.argv[2]

server_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server_socket.bind(path)
server_socket.listen(128)
print("listening on", path, flush=True)
number = 0
while True:
    client_socket, _ = server_socket.accept()
    number += 1
    print("caller", number, "connected", flush=True)
    while True:
        recv_data = client_socket.recv(1024)
        if not recv_data:
            break
        print("caller", number, ">", recv_data.decode(encoding), flush=True)
        client_socket.sendall("ok, Processing Request Completion！".encode(encoding))
    client_socket.close()
    print("caller", number, "hung up", flush=True)
