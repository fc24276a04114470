"""The notes' downloader: sends a name, saves what comes. Arguments: port, encoding."""
import socket
import sys

port, encoding = int(sys.argv[1]), sys.argv[2]

tcp_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp_socket.connect(("127.0.0.1", port))
file_name = input()
tcp_socket.send(file_name.encode(encoding))
recv_data = tcp_socket.recv(1024)
if recv_data:
    with open("copy-" + file_name, "wb") as f:
        while recv_data:
            f.write(recv_data)
            recv_data = tcp_socket.recv(1024)
else:
    print("nothing came", flush=True)
tcp_socket.close()
