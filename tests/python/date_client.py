"""The notes' client that asks for date and time. Arguments: port, encoding."""
import socket
import sys
from datetime import datetime

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
recv_data = tcp_socket.recv(1024)
assert not tcp_socket.recv(1024), "only the time, then the end"
print(datetime.strptime(recv_data.decode(encoding), "%Y-%m-%d %H:%M:%S.%f"), flush=True)
tcp_socket.close()
