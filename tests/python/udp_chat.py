"""The notes' UDP chatter: a menu, one thing at a time. Arguments: own port, encoding, the other's port."""
import socket
import sys

port, encoding, other = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp_socket.bind(("127.0.0.1", port))
print("listening on %s:%d" % udp_socket.getsockname(), flush=True)
while True:
    print("1 send, 2 receive, 0 quit", flush=True)
    choice = input()
    if choice == "1":
        print("your message:", flush=True)
        udp_socket.sendto(input().encode(encoding), ("127.0.0.1", other))
    elif choice == "2":
        recv_data, send_addr = udp_socket.recvfrom(1024)
        print("%s:%d > %s" % (*send_addr, recv_data.decode(encoding)), flush=True)
    elif choice == "0":
        break
udp_socket.close()
