"""A sender to a group, as Python's documentation has it. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
udp_socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
while True:
    text = input()
    udp_socket.sendto(text.encode(encoding), ("239.255.0.1", port))
    if text == "exit":
        break
udp_socket.close()
