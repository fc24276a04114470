/** The calls page: Python's socket calls beside those of Node's modules (which run on all three), Bun and Deno. */
import type { Both } from "./words.ts";

/** `lesson`: the script that teaches it. Empty: there is none. */
export type Call = { python: string; node: string; bun: string; deno: string; lesson: string };

const call = (python: string, node: string, bun: string, deno: string, lesson: string): Call => ({
  python,
  node,
  bun,
  deno,
  lesson,
});

export const CALLS: { title: Both; rows: Call[] }[] = [
  {
    title: { en: "TCP: the server", zh: "TCP：服务器" },
    rows: [
      call(
        "s = socket(AF_INET, SOCK_STREAM)\ns.bind((host, port))\ns.listen(128)",
        "const server = createServer()\nserver.listen({ host, port, backlog: 128 })",
        "const listener = Bun.listen({ hostname, port, socket: { ... } })",
        "const listener = Deno.listen({ hostname, port, tcpBacklog: 128 })",
        "tcp/server",
      ),
      call(
        "connection, peer = s.accept()",
        'server.on("connection", (socket) => ...)',
        "open(socket) { ... }",
        "for await (const connection of listener)",
        "tcp/many-clients-server",
      ),
      call(
        "s.getsockname()",
        "server.address()",
        "listener.hostname, listener.port",
        "listener.addr",
        "tcp/socket-calls",
      ),
      call("s.close()", "server.close()", "listener.stop()", "listener.close()", "tcp/close-order"),
    ],
  },
  {
    title: { en: "TCP: a connection", zh: "TCP：连接" },
    rows: [
      call(
        "s.connect((host, port))",
        'const socket = connect({ host, port })\nawait once(socket, "connect")',
        "const socket = await Bun.connect({ hostname, port, socket: { ... } })",
        "const connection = await Deno.connect({ hostname, port })",
        "tcp/client",
      ),
      call(
        "data = s.recv(1024)",
        "for await (const data of socket)",
        "data(socket, data) { ... }",
        "const count = await connection.read(buffer)",
        "tcp/many-requests-server",
      ),
      call(
        "if not data: break",
        'the loop ends; or socket.on("end", ...)',
        "end(socket) { ... }",
        "count is null",
        "tcp/many-requests-server",
      ),
      call(
        "s.send(data)",
        "socket.write(data)",
        "const sent = socket.write(data)",
        "const sent = await connection.write(data)",
        "tcp/socket-calls",
      ),
      call(
        "s.sendall(data)",
        'if (!socket.write(data)) await once(socket, "drain")',
        "write the rest in drain(socket) { ... }",
        "const writer = connection.writable.getWriter() // once\nawait writer.write(data)",
        "tcp/servers/bun-listen",
      ),
      call(
        "s.shutdown(SHUT_WR)",
        "socket.end()",
        "socket.shutdown()",
        "await connection.closeWrite()",
        "tcp/close-order",
      ),
      call("s.close()", "socket.destroy()", "socket.end()", "connection.close()", "tcp/close-order"),
      call(
        "s.getpeername()",
        "socket.remoteAddress, socket.remotePort",
        "socket.remoteAddress, socket.remotePort",
        "connection.remoteAddr",
        "tcp/socket-calls",
      ),
      call(
        "s.settimeout(seconds)",
        'socket.setTimeout(ms)\nsocket.on("timeout", ...)',
        "socket.timeout(seconds)\ntimeout(socket) { ... }",
        "",
        "tcp/socket-calls",
      ),
      call(
        "s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)",
        "socket.setNoDelay(true)",
        "socket.setNoDelay(true)",
        "connection.setNoDelay(true)",
        "tcp/framing-client",
      ),
      call(
        "s.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)",
        "socket.setKeepAlive(true)",
        "socket.setKeepAlive(true)",
        "connection.setKeepAlive(true)",
        "tcp/socket-calls",
      ),
    ],
  },
  {
    title: { en: "UDP", zh: "UDP" },
    rows: [
      call(
        "s = socket(AF_INET, SOCK_DGRAM)\ns.bind((host, port))",
        'const socket = createSocket("udp4")\nsocket.bind(port, host)',
        "const socket = await Bun.udpSocket({ hostname, port, socket: { ... } })",
        'const socket = Deno.listenDatagram({ transport: "udp", hostname, port })',
        "udp/receive",
      ),
      call(
        "s.sendto(data, (host, port))",
        "socket.send(data, port, host)",
        "socket.send(data, port, host)",
        'await socket.send(data, { transport: "udp", hostname, port })',
        "udp/send",
      ),
      call(
        "data, sender = s.recvfrom(65535)",
        'socket.on("message", (data, sender) => ...)',
        "data(socket, data, port, address) { ... }",
        "const [data, sender] = await socket.receive()",
        "udp/receive",
      ),
      call(
        "s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)",
        "socket.setBroadcast(true)",
        "socket.setBroadcast(true)",
        "",
        "udp/broadcast-send",
      ),
      call(
        "s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, ...)",
        "socket.addMembership(group, card)",
        "socket.addMembership(group, card)",
        "await socket.joinMulticastV4(group, card)",
        "udp/multicast-receive",
      ),
      call(
        "s.setsockopt(SOL_SOCKET, SO_RCVBUF, size)",
        "socket.setRecvBufferSize(size)",
        "",
        "",
        "tcp/socket-calls",
      ),
      call("s.close()", "socket.close()", "socket.close()", "socket.close()", "udp/echo-server"),
    ],
  },
  {
    title: { en: "Inside one machine, and names", zh: "一台机器之内，以及名字" },
    rows: [
      call(
        "s = socket(AF_UNIX, SOCK_STREAM)\ns.bind(path); s.listen()",
        "server.listen({ path })",
        "Bun.listen({ unix: path, socket: { ... } })",
        'Deno.listen({ transport: "unix", path })',
        "unix/server",
      ),
      call(
        "s.connect(path)",
        "connect({ path })",
        "await Bun.connect({ unix: path, socket: { ... } })",
        'await Deno.connect({ transport: "unix", path })',
        "unix/client",
      ),
      call(
        "socket.getaddrinfo(host, port)",
        "await lookup(host, { all: true })",
        "await Bun.dns.lookup(host)",
        'await Deno.resolveDns(host, "A") // asks DNS only, not /etc/hosts',
        "",
      ),
      call("socket.gethostname()", "hostname()", "", "Deno.hostname()", "network/interfaces"),
      call("socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)", "", "dlopen(...), socket(...)", "", "raw/ping"),
    ],
  },
];

/** What the table cannot say. */
export const CALLS_NOTE: Both = {
  en:
    "The handlers of Bun's sockets, such as `open(socket) { ... }`, stand in the object `socket` of the call that made them. Deno's `listenDatagram` needs `--unstable-net`. Where it says none, there is no such call.",
  zh:
    "Bun 套接字的处理函数，例如 `open(socket) { ... }`，写在创建它的那个调用的 `socket` 对象里。Deno 的 `listenDatagram` 需要 `--unstable-net`。写着“没有”的，就是没有这样的调用。",
};
