"""A client that sends lines. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
while True:
    text = input()
    if text == "exit":
        break
    tcp_socket.sendall(text.encode(encoding) + b"\n")
tcp_socket.close()
