"""The notes' TCP client: one request, one reply. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
tcp_socket.send(input().encode(encoding))
recv_data = tcp_socket.recv(1024)
print(recv_data.hex(), "=", recv_data.decode(encoding), flush=True)
tcp_socket.close()
