"""The notes' TCP server: one caller after another, one request each. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind(("127.0.0.1", port))
server_socket.listen(128)
print("listening on %s:%d" % server_socket.getsockname(), flush=True)
while True:
    client_socket, client_addr = server_socket.accept()
    recv_data = client_socket.recv(1024)
    print(recv_data.hex(), "=", recv_data.decode(encoding), flush=True)
    client_socket.send("ok, Processing Request Completion！".encode(encoding))
    client_socket.close()
