"""A member of a group, as Python's documentation has it. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
udp_socket.bind(("239.255.0.1", port))
udp_socket.setsockopt(
    socket.IPPROTO_IP,
    socket.IP_ADD_MEMBERSHIP,
    socket.inet_aton("239.255.0.1") + socket.inet_aton("127.0.0.1"),
)
print("listening on %s:%d" % udp_socket.getsockname(), flush=True)
while True:
    recv_data, send_addr = udp_socket.recvfrom(1024)
    text = recv_data.decode(encoding)
    print("%s:%d > %s" % (*send_addr, text), flush=True)
    if text == "exit":
        break
udp_socket.close()
