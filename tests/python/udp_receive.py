"""The notes' UDP receiver. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.bind(("127.0.0.1", port))
print("listening on %s:%d" % udp_socket.getsockname(), flush=True)
while True:
    recv_data, send_addr = udp_socket.recvfrom(1024)
    text = recv_data.decode(encoding)
    print("%s:%d > %s = %s" % (*send_addr, recv_data.hex(), text), flush=True)
    if text == "exit":
        break
udp_socket.close()
