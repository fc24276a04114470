"""The notes' sender of broadcasts. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
while True:
    text = input()
    udp_socket.sendto(text.encode(encoding), ("127.255.255.255", port))
    if text == "exit":
        break
udp_socket.close()
