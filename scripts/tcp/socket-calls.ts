#!/usr/bin/env bun
/**
 * 3.9 Every call of a Python socket: each beside its counterpart in TypeScript,
 * with what that gives here and now below.
 * 中文 Python 套接字的每个调用：旁边是 TypeScript 的写法，下一行是当场执行的结果。
 *
 * terminal 1
 *   $ bun scripts/tcp/socket-calls.ts
 *   PYTHON                           TYPESCRIPT
 *                                    => what it has given just now
 *   s.bind((host, 0))                server.listen({ host, port: 0 })
 *                                    => 127.0.0.1:50000
 *   s.listen(128)                    the same call, with backlog: 128
 *                                    => listening: true
 *   s.setblocking(False)             none: no call ever waits
 *                                    => still connecting: true
 *   s.connect((host, port))          connect({ host, port }), "connect"
 *                                    => open
 *   s.accept()                       server.on("connection", (socket) => ...)
 *                                    => 127.0.0.1:50001
 *   s.getsockname()                  socket.localAddress, socket.localPort
 *                                    => 127.0.0.1:50001
 *   s.getpeername()                  socket.remoteAddress, socket.remotePort
 *                                    => 127.0.0.1:50000
 *   s.fileno()                       none: only the runtime needs it
 *                                    => "fileno" in socket: false
 *   s.send(data)                     socket.write(data)
 *                                    => true: go on
 *   s.recv(1024)                     for await (const data of socket)
 *                                    => 6 bytes
 *   s.sendall(data)                  socket.write(data), "drain"
 *                                    => false: wait; 16777216 bytes arrived
 *   s.makefile().readline()          createInterface({ input: socket })
 *                                    => one, two
 *   s.settimeout(0.05)               socket.setTimeout(50), "timeout"
 *                                    => timeout; open still
 *   s.gettimeout()                   socket.timeout
 *                                    => 50 ms
 *   s.close()                        socket.destroy()
 *                                    => the peer reads nothing: true
 *   with socket() as s:              await using socket = connect(...)
 *                                    => closed after it: true
 *   s.connect_ex((host, port))       socket.on("error", ({ code }) => ...)
 *                                    => ECONNREFUSED
 *   s.bind((host, 0))                udp.bind(0, host)
 *                                    => 127.0.0.1:50002
 *   s.sendto(data, (host, port))     udp.send(data, port, host)
 *                                    => 6 bytes
 *   s.recvfrom(1024)                 udp.on("message", (data, sender) => ...)
 *                                    => 6 bytes from 127.0.0.1:50003
 *   s.setsockopt(..., SO_RCVBUF, n)  udp.setRecvBufferSize(n)
 *                                    => undefined
 *   s.getsockopt(..., SO_RCVBUF)     udp.getRecvBufferSize()
 *                                    => 131072 bytes
 *
 * Python     socket(AF_INET, SOCK_STREAM)    ->  createServer(), connect()
 *            socket(AF_INET6, SOCK_DGRAM)    ->  createSocket({ type: "udp6" })
 *            socket(AF_UNIX, SOCK_STREAM)    ->  connect({ path }), see 3.10
 *            socket(AF_INET, SOCK_RAW)       ->  none: 5.1 calls the C library
 * Watch out  recv gives data, recvfrom gives data and sender. The backlog is the
 *            queue of the connections that are not accepted yet, not the number of
 *            clients.
 *            A stream gives you what a datagram does not: a connection (both sides
 *            agree to talk), acknowledgement (the receiver says what has arrived),
 *            retransmission (what is not acknowledged is sent again), ordering
 *            (the bytes are numbered), flow control (no more under way than the
 *            receiver has room for) and congestion control (no more than the
 *            network can carry). Both have a checksum: damaged packets are thrown
 *            away.
 *            No call waits, so setblocking has no counterpart: results come later,
 *            as events. The runtime itself watches all descriptors, so you need
 *            neither fileno nor select. A TCP socket has setNoDelay and
 *            setKeepAlive, but no call that reads these.
 *            Bun ignores the backlog and always asks for 512. Linux doubles
 *            SO_RCVBUF for its own use; Deno never sets it, and answers as if it
 *            had.
 * Try        Run it with node, with deno run -A, and with --host ::1: only ports
 *            and addresses differ.
 * 注意       recv 给出数据，recvfrom 给出数据和发送方。backlog 是还没有被接受的
 *            连接的队列，不是客户端的个数。流比数据报多了这些：连接（双方先说好
 *            要通信）、确认（接收方告知收到了什么）、重传（没有确认的再发一次）、
 *            排序（字节有编号）、流量控制（在途的不超过接收方装得下的）和拥塞控
 *            制（不超过网络承受得了的）。两者都有校验和：损坏的报文会被丢弃。没
 *            有哪个调用会停下来等，所以 setblocking 没有对应：结果稍后以事件的
 *            形式到来。运行时自己盯着所有描述符，所以既不需要 fileno，也不需要
 *            select。TCP 套接字有 setNoDelay 和 setKeepAlive，但没有读取它们的
 *            调用。Bun 不理会 backlog，总是要 512。Linux 会把 SO_RCVBUF 加倍自
 *            用；Deno 从不设置，只是照样回答。
 * 试试       分别用 node、deno run -A 和 --host ::1 运行：只有端口和地址不同。
 */
import { createSocket } from "node:dgram";
import { on, once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { print, run } from "../../lib/program.ts";
import { closeOnStop, peerName } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

/** More bytes than the system keeps for a receiver that does not read. */
const MUCH = 1 << 24;

/** A connection, both ends of which are ours, and the server that accepted it. */
type Connection = { host: string; port: number; server: Server; socket: Socket; accepted: Socket };

async function main(stop: AbortSignal) {
  const { host, family, port, encoding } = await readArguments(import.meta, { port: 0 });
  const data = encode("你好", encoding);
  await print(`${"PYTHON".padEnd(33)}TYPESCRIPT`);
  await print(`${" ".repeat(33)}=> what it has given just now`);
  await using opened = new AsyncDisposableStack(); // closes at the end what was put in, the last one first
  const connection = await connectBoth(host, port, opened, stop);
  await transfer(connection, data);
  await close(connection, stop);
  await sendDatagram(host, `udp${family}`, data, stop);
}

/** From bind to accept, and the addresses of both ends. */
async function connectBoth(
  host: string,
  wanted: number,
  opened: AsyncDisposableStack,
  stop: AbortSignal,
): Promise<Connection> {
  const server = opened.use(createServer((socket) => closeOnStop(socket, stop)));
  const connections = on(server, "connection", { signal: stop });
  server.listen({ host, port: wanted, backlog: 128 }); // port 0: the system chooses a free one
  await once(server, "listening", { signal: stop });
  const { address, port } = server.address() as AddressInfo;
  await row("s.bind((host, 0))", "server.listen({ host, port: 0 })", endpoint(address, port));
  await row("s.listen(128)", "the same call, with backlog: 128", `listening: ${server.listening}`);

  const socket = closeOnStop(connect({ host, port }), stop); // sends a SYN
  opened.defer(() => void socket.destroy());
  await row("s.setblocking(False)", "none: no call ever waits", `still connecting: ${socket.connecting}`);
  await once(socket, "connect"); // the SYN-ACK has come
  await row("s.connect((host, port))", 'connect({ host, port }), "connect"', socket.readyState);
  const { value: [accepted] = [] } = await connections.next();
  await row("s.accept()", 'server.on("connection", (socket) => ...)', peerName(accepted));

  const local = endpoint(`${socket.localAddress}`, socket.localPort);
  await row("s.getsockname()", "socket.localAddress, socket.localPort", local);
  const remote = endpoint(`${socket.remoteAddress}`, socket.remotePort);
  await row("s.getpeername()", "socket.remoteAddress, socket.remotePort", remote);
  await row("s.fileno()", "none: only the runtime needs it", `"fileno" in socket: ${"fileno" in socket}`);
  return { host, port, server, socket, accepted };
}

/** Sends and receives, whole or by lines, and waits no longer than a timeout. */
async function transfer({ socket, accepted }: Connection, data: Buffer) {
  const receive = async (least: number) => {
    let received = 0;
    for await (const data of accepted.iterator({ destroyOnReturn: false })) {
      received += data.length;
      if (received >= least) break;
    }
    return received;
  };
  await row("s.send(data)", "socket.write(data)", `${socket.write(data)}: go on`);
  await row("s.recv(1024)", "for await (const data of socket)", `${await receive(data.length)} bytes`);

  const goOn = socket.write(Buffer.alloc(MUCH)); // false: the system has no room, the runtime keeps the rest
  const drained = once(socket, "drain"); // comes when a receiver has read enough
  const [arrived] = await Promise.all([receive(MUCH), drained]);
  await row("s.sendall(data)", 'socket.write(data), "drain"', `${goOn}: wait; ${arrived} bytes arrived`);

  accepted.write("one\ntwo\n");
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const [one, two] = [await lines.next(), await lines.next()];
  await row("s.makefile().readline()", "createInterface({ input: socket })", `${one.value}, ${two.value}`);

  socket.setTimeout(50); // only tells: closing is up to us
  await once(socket, "timeout");
  await row("s.settimeout(0.05)", 'socket.setTimeout(50), "timeout"', `timeout; ${socket.readyState} still`);
  await row("s.gettimeout()", "socket.timeout", `${socket.timeout} ms`);
}

/** What a close does, and what a connection to a closed server gives. */
async function close({ host, port, server, socket, accepted }: Connection, stop: AbortSignal) {
  socket.destroy(); // sends a FIN
  const { done } = await accepted.iterator().next();
  await row("s.close()", "socket.destroy()", `the peer reads nothing: ${done}`);

  let last;
  {
    await using socket = closeOnStop(connect({ host, port }), stop);
    await once(socket, "connect");
    last = socket;
  }
  await row("with socket() as s:", "await using socket = connect(...)", `closed after it: ${last.destroyed}`);

  server.close(); // now the system answers a SYN with a RST
  const refused = connect({ host, port });
  const code = await new Promise<string>((resolve) => {
    refused.on("error", ({ code }: NodeJS.ErrnoException) => resolve(`${code}`));
    refused.on("connect", () => resolve("0"));
  });
  await row("s.connect_ex((host, port))", 'socket.on("error", ({ code }) => ...)', code);
}

/** One datagram from one socket to another, and the size of the receive buffer. */
async function sendDatagram(host: string, type: "udp4" | "udp6", data: Buffer, stop: AbortSignal) {
  await using udp = createSocket({ type, signal: stop });
  udp.bind(0, host);
  await once(udp, "listening", { signal: stop });
  const { address, port } = udp.address();
  await row("s.bind((host, 0))", "udp.bind(0, host)", endpoint(address, port));

  await using other = createSocket({ type, signal: stop });
  const received = once(udp, "message");
  const bytes = await new Promise((resolve, reject) =>
    other.send(data, port, host, (error, bytes) => (error ? reject(error) : resolve(bytes)))
  );
  await row("s.sendto(data, (host, port))", "udp.send(data, port, host)", `${bytes} bytes`);
  const [{ length }, sender] = await received;
  const from = endpoint(sender.address, sender.port);
  await row("s.recvfrom(1024)", 'udp.on("message", (data, sender) => ...)', `${length} bytes from ${from}`);

  const nothing = udp.setRecvBufferSize(65_536);
  await row("s.setsockopt(..., SO_RCVBUF, n)", "udp.setRecvBufferSize(n)", `${nothing}`);
  await row("s.getsockopt(..., SO_RCVBUF)", "udp.getRecvBufferSize()", `${udp.getRecvBufferSize()} bytes`);
}

async function row(python: string, typescript: string, now: string) {
  await print(`${python.padEnd(33)}${typescript}`);
  await print(`${" ".repeat(33)}=> ${now}`);
}

if (import.meta.main) run("client", main);
