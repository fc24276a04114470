"""The notes' UDP server that answers. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.bind(("127.0.0.1", port))
print("listening on %s:%d" % udp_socket.getsockname(), flush=True)
while True:
    recv_data, client_addr = udp_socket.recvfrom(1024)
    print(recv_data.hex(), "=", recv_data.decode(encoding), flush=True)
    udp_socket.sendto(recv_data, client_addr)
