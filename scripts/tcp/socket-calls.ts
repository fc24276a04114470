#!/usr/bin/env bun
/**
 * 3.9 Every call of a Python socket: each is executed here and now, beside its counterpart in TypeScript.
 * 中文 Python 套接字的每个调用：当场执行一遍，旁边是 TypeScript 的对应写法。
 *
 * terminal 1
 *   $ bun scripts/tcp/socket-calls.ts
 *   PYTHON                           TYPESCRIPT                                NOW
 *   s.bind((host, 0))                server.listen({ host, port: 0 })          127.0.0.1:50000
 *   s.listen(128)                    the same call, with backlog: 128          listening: true
 *   s.setblocking(False)             none: no call ever waits                  still connecting: true
 *   s.connect((host, port))          connect({ host, port }), "connect"        open
 *   s.accept()                       server.on("connection", (socket) => ...)  127.0.0.1:50001
 *   s.getsockname()                  socket.localAddress, socket.localPort     127.0.0.1:50001
 *   s.getpeername()                  socket.remoteAddress, socket.remotePort   127.0.0.1:50000
 *   s.fileno()                       none: only the runtime needs it           "fileno" in socket: false
 *   s.send(data)                     socket.write(data)                        true: go on
 *   s.recv(1024)                     for await (const data of socket)          6 bytes
 *   s.sendall(data)                  socket.write(data), "drain"               false: wait; 16777216 bytes arrived
 *   s.makefile().readline()          createInterface({ input: socket })        one, two
 *   s.settimeout(0.05)               socket.setTimeout(50), "timeout"          timeout; open still
 *   s.gettimeout()                   socket.timeout                            50 ms
 *   s.close()                        socket.destroy()                          the peer reads nothing: true
 *   with socket() as s:              await using socket = connect(...)         closed after it: true
 *   s.connect_ex((host, port))       socket.on("error", ({ code }) => ...)     ECONNREFUSED
 *   s.bind((host, 0))                udp.bind(0, host)                         127.0.0.1:50002
 *   s.sendto(data, (host, port))     udp.send(data, port, host)                6 bytes
 *   s.recvfrom(1024)                 udp.on("message", (data, sender) => ...)  6 bytes from 127.0.0.1:50003
 *   s.setsockopt(..., SO_RCVBUF, n)  udp.setRecvBufferSize(n)                  undefined
 *   s.getsockopt(..., SO_RCVBUF)     udp.getRecvBufferSize()                   131072 bytes
 *
 * Python     socket(AF_INET, SOCK_STREAM)        ->  createServer(), connect(): a TCP stream, over IPv4
 *            socket(AF_INET6, SOCK_DGRAM)        ->  createSocket("udp6"): datagrams, over IPv6
 *            socket(AF_UNIX, SOCK_STREAM)        ->  connect({ path }): inside one machine, see 3.10
 *            socket(AF_INET, SOCK_RAW)           ->  none: a raw socket takes bun:ffi, see 5.1
 * Watch out  recv returns data, recvfrom returns data and sender. The backlog is the queue of those who are
 *            not accepted yet, not the number of clients.
 *            What a stream does for you, and a datagram does not: connection (both sides agree to talk),
 *            acknowledgement (the receiver says what has arrived), retransmission (what is not
 *            acknowledged is sent again), ordering (bytes are numbered, and delivered by number), flow
 *            control (no more under way than the receiver has room for), congestion control (nor more than
 *            the network can carry). Both have a checksum: what was damaged on the way is thrown away.
 *            No call waits, so setblocking has no counterpart: a result comes later, as an event. The runtime
 *            watches all descriptors itself, so nobody needs fileno and select. A TCP socket has setNoDelay
 *            and setKeepAlive, but no call that asks for an option.
 *            The backlog is always 512 on Bun, where the number is fixed below node:net. SO_RCVBUF, doubled
 *            by Linux for its own use, stays as it was on Deno, which only remembers what was asked.
 * Try        The same with node, with deno run -A, and with --host ::1: only the ports differ.
 */
import { createSocket } from "node:dgram";
import { on, once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { print } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { peerName, survive } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

/** More bytes than the system keeps for a receiver that does not read. */
const MUCH = 1 << 24;

async function main(stop: AbortSignal) {
  const { host, family, port: wanted, encoding } = await readArguments(import.meta, { port: 0 });
  const data = encode("你好", encoding);
  await using opened = new AsyncDisposableStack(); // closed at the end, the last one first
  await row("PYTHON", "TYPESCRIPT", "NOW");

  const server = opened.use(createServer((socket) => survive(socket, stop)));
  const callers = on(server, "connection", { signal: stop });
  server.listen({ host, port: wanted, backlog: 128 });
  await once(server, "listening", { signal: stop });
  const { address, port } = server.address() as AddressInfo;
  await row("s.bind((host, 0))", "server.listen({ host, port: 0 })", endpoint(address, port));
  await row("s.listen(128)", "the same call, with backlog: 128", `listening: ${server.listening}`);

  const socket = survive(connect({ host, port }), stop);
  opened.defer(() => void socket.destroy());
  await row("s.setblocking(False)", "none: no call ever waits", `still connecting: ${socket.connecting}`);
  await once(socket, "connect");
  await row("s.connect((host, port))", 'connect({ host, port }), "connect"', socket.readyState);
  const { value: [caller] = [] } = await callers.next();
  await row("s.accept()", 'server.on("connection", (socket) => ...)', peerName(caller));
  const { localAddress = "", localPort, remoteAddress = "", remotePort } = socket;
  await row("s.getsockname()", "socket.localAddress, socket.localPort", endpoint(localAddress, localPort));
  await row(
    "s.getpeername()",
    "socket.remoteAddress, socket.remotePort",
    endpoint(remoteAddress, remotePort),
  );
  await row("s.fileno()", "none: only the runtime needs it", `"fileno" in socket: ${"fileno" in socket}`);

  const reads = caller.iterator({ destroyOnReturn: false });
  await row("s.send(data)", "socket.write(data)", `${socket.write(data)}: go on`);
  await row("s.recv(1024)", "for await (const data of socket)", `${await receive(data.length)} bytes`);
  const goOn = socket.write(Buffer.alloc(MUCH));
  const drained = once(socket, "drain"); // which needs a receiver that reads
  const [arrived] = await Promise.all([receive(MUCH), drained]);
  await row("s.sendall(data)", 'socket.write(data), "drain"', `${goOn}: wait; ${arrived} bytes arrived`);

  caller.write("one\ntwo\n");
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const [one, two] = [await lines.next(), await lines.next()];
  await row("s.makefile().readline()", "createInterface({ input: socket })", `${one.value}, ${two.value}`);

  socket.setTimeout(50);
  await once(socket, "timeout");
  await row("s.settimeout(0.05)", 'socket.setTimeout(50), "timeout"', `timeout; ${socket.readyState} still`);
  await row("s.gettimeout()", "socket.timeout", `${socket.timeout} ms`);

  socket.destroy();
  await row("s.close()", "socket.destroy()", `the peer reads nothing: ${(await reads.next()).done}`);
  let last;
  {
    await using inner = survive(connect({ host, port }), stop);
    await once(inner, "connect");
    last = inner;
  }
  await row("with socket() as s:", "await using socket = connect(...)", `closed after it: ${last.destroyed}`);
  server.close();
  const refused = once(connect({ host, port }), "connect");
  const code = await refused.then(() => 0, (error) => error.code);
  await row("s.connect_ex((host, port))", 'socket.on("error", ({ code }) => ...)', code);

  await using udp = createSocket({ type: `udp${family}`, signal: stop });
  udp.bind(0, host);
  await once(udp, "listening", { signal: stop });
  await row("s.bind((host, 0))", "udp.bind(0, host)", endpoint(udp.address().address, udp.address().port));
  await using other = createSocket({ type: `udp${family}`, signal: stop });
  const letter = once(udp, "message");
  const sent = await new Promise((resolve, reject) =>
    other.send(data, udp.address().port, host, (error, bytes) => (error ? reject(error) : resolve(bytes)))
  );
  await row("s.sendto(data, (host, port))", "udp.send(data, port, host)", `${sent} bytes`);
  const [{ length }, sender] = await letter;
  const from = endpoint(sender.address, sender.port);
  await row("s.recvfrom(1024)", 'udp.on("message", (data, sender) => ...)', `${length} bytes from ${from}`);
  const nothing = udp.setRecvBufferSize(65_536);
  await row("s.setsockopt(..., SO_RCVBUF, n)", "udp.setRecvBufferSize(n)", `${nothing}`);
  await row("s.getsockopt(..., SO_RCVBUF)", "udp.getRecvBufferSize()", `${udp.getRecvBufferSize()} bytes`);

  async function receive(least: number): Promise<number> {
    let received = 0;
    while (received < least) received += (await reads.next()).value.length;
    return received;
  }
}

async function row(python: string, typescript: string, now: string) {
  await print(`${python.padEnd(33)}${typescript.padEnd(42)}${now}`);
}

if (import.meta.main) run("client", main);
