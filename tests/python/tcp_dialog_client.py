"""The notes' TCP client: request and reply until exit. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
while True:
    text = input()
    tcp_socket.send(text.encode(encoding))
    recv_data = tcp_socket.recv(1024)
    print(recv_data.hex(), "=", recv_data.decode(encoding), flush=True)
    if text == "exit":
        break
tcp_socket.close()
