"""The notes' UDP sender. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    text = input()
    udp_socket.sendto(text.encode(encoding), ("127.0.0.1", port))
    if text == "exit":
        break
udp_socket.close()
