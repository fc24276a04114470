"""A server that reads lines with makefile(). Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
server_socket.bind(("127.0.0.1", port))
server_socket.listen(128)
print("listening on %s:%d" % server_socket.getsockname(), flush=True)
while True:
    client_socket, client_addr = server_socket.accept()
    peer = "%s:%d" % client_addr
    print(peer, "connected", flush=True)
    with client_socket, client_socket.makefile(encoding=encoding, newline="\n") as lines:
        for line in lines:
            print(peer, ">", line.removesuffix("\n"), flush=True)
    print(peer, "hung up", flush=True)
