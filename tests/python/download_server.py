"""The notes' file server: reads a name, sends the file below its own folder. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind(("127.0.0.1", port))
server_socket.listen(128)
print("listening on %s:%d" % server_socket.getsockname(), flush=True)
while True:
    client_socket, client_addr = server_socket.accept()
    file_name = client_socket.recv(1024).decode(encoding)
    print(file_name, flush=True)
    try:
        with open(file_name, "rb") as f:
            client_socket.sendall(f.read())
    except FileNotFoundError:
        print("no such file", flush=True)
    client_socket.close()
