"""The notes' UDP client that waits for an answer. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    text = input()
    if text == "exit":
        break
    udp_socket.sendto(text.encode(encoding), ("127.0.0.1", port))
    recv_data = udp_socket.recv(1024)
    print(recv_data.hex(), "=", recv_data.decode(encoding), flush=True)
udp_socket.close()
