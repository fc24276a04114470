#!/usr/bin/env bun
/**
 * 3.5 What a close ends: a server has one listening socket and one socket for each
 * connection, and closing each of them ends something different.
 * 中文 关闭的是什么：监听套接字只有一个，每个连接另有一个；关哪个，就结束哪个。
 *
 * terminal 1
 *   $ bun scripts/tcp/close-order.ts
 *   listening on 127.0.0.1:50000
 *   A connects from 127.0.0.1:50001
 *   B connects from 127.0.0.1:50002
 *   C connects from 127.0.0.1:50003
 *   1. the server closes the listening socket
 *   D cannot connect: connection refused (ECONNREFUSED)
 *   A sends "I am still here"
 *   server (A) reads "I am still here"
 *   2. the server closes the accepted socket of A
 *   A reads nothing: the other side has closed
 *   B sends "So am I"
 *   server (B) reads "So am I"
 *   3. B closes its sending half
 *   server (B) reads nothing: the other side has closed
 *   server (B) sends "Goodbye then"
 *   B reads "Goodbye then"
 *   server (B) closes
 *   B reads nothing: the other side has closed
 *   4. C resets the connection
 *   server (C) cannot read: connection reset by peer (ECONNRESET)
 *
 * Python     listener.close()                ->  server.close()
 *            data = connection.recv(1024)    ->  await reads.next()
 *            if not data: ...                ->  if (done) ...
 *            connection.close()              ->  serverA.socket.destroy()
 *            connection.shutdown(SHUT_WR)    ->  b.socket.end()
 *            SO_LINGER of 0 s, then close()  ->  c.socket.resetAndDestroy()
 *            except ConnectionResetError:    ->  catch (error)
 * Watch out  A closed listening socket refuses new connections; the existing ones
 *            go on. A closed accepted socket ends its own connection only. TCP has
 *            no empty message, so an empty read always means: the peer has closed.
 *            A close arrives after all that was sent before it. A reset discards
 *            what is still on its way; and closing a socket that has unread bytes
 *            is a reset, too (RFC 1122, section 4.2.2.13).
 * Try        Remove allowHalfOpen from createServer below: server (B) can no
 *            longer answer, because its half closes together with B's.
 * 注意       关闭监听套接字，不再接受新连接，已有的连接照常。关闭接受后得到的套
 *            接字，只结束它自己的连接。TCP 没有空消息，所以读到空总是表示：对方
 *            已经关闭。关闭排在之前发送的内容后面到达。复位会丢掉还在路上的内容；
 *            套接字里有没读的字节就关闭，也是复位（RFC 1122 第 4.2.2.13 节）。
 * 试试       去掉下面 createServer 的 allowHalfOpen：服务器 (B) 就不能再回复了，
 *            因为 B 关闭时它这一半也跟着关闭。
 */
import { on, once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { explain } from "../../lib/failure.ts";
import { print, ready, run, visible } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { closeOnStop, peerName } from "../../lib/tcp.ts";
import { Decoder, encode, type Encoding } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 0 });

  await using opened = new AsyncDisposableStack(); // closes at the end what was put in, the last one first
  // allowHalfOpen: when the peer closes its sending half, ours stays open until we close it.
  const server = opened.use(createServer({ allowHalfOpen: true }, (socket) => closeOnStop(socket, stop)));
  const accepted = on(server, "connection", { signal: stop });
  server.listen({ host, port, signal: stop }); // from here on the system answers connection requests
  await once(server, "listening", { signal: stop });
  const listening = server.address() as AddressInfo;
  await ready(listening);

  const [a, serverA] = await open("A");
  const [b, serverB] = await open("B");
  const [c, serverC] = await open("C");

  await print("1. the server closes the listening socket");
  server.close(); // nobody listens at the port any more: the system answers a SYN with a reset
  await open("D").catch((error) => tell("D cannot connect", error));
  await a.send("I am still here");
  await serverA.read();

  await print("2. the server closes the accepted socket of A");
  serverA.socket.destroy(); // a FIN goes to A, and to nobody else
  await a.read();
  await b.send("So am I");
  await serverB.read();

  await print("3. B closes its sending half");
  b.socket.end(); // a FIN says: no more bytes from B; the other direction stays open
  await serverB.read();
  await serverB.send("Goodbye then");
  await b.read();
  await print("server (B) closes");
  serverB.socket.destroy(); // now both directions are closed, and the connection has ended
  await b.read();

  await print("4. C resets the connection");
  const reading = serverC.read();
  c.socket.resetAndDestroy(); // a RST instead of a FIN: it ends both directions at once
  await reading;

  /** Connects to the server, and gives both ends of the connection. */
  async function open(name: string): Promise<[client: End, server: End]> {
    const socket = closeOnStop(connect({ host, port: listening.port }), stop); // sends a SYN
    opened.defer(() => void socket.destroy());
    await once(socket, "connect"); // the SYN-ACK has come
    const { value: [other] = [] } = await accepted.next();
    await print(`${name} connects from ${peerName(other)}`);
    return [new End(name, socket, encoding), new End(`server (${name})`, other, encoding)];
  }
}

/** One end of a connection, which says what it sends and what each of its reads brings. */
class End {
  readonly name: string;
  readonly socket: Socket;
  readonly #reads: AsyncIterator<Buffer>;
  readonly #encoding: Encoding;
  readonly #decoder: Decoder;

  constructor(name: string, socket: Socket, encoding: Encoding) {
    this.name = name;
    this.socket = socket;
    this.#reads = socket.iterator({ destroyOnReturn: false });
    this.#encoding = encoding;
    this.#decoder = new Decoder(encoding);
  }

  async send(text: string) {
    await print(`${this.name} sends "${text}"`);
    const { socket } = this;
    await sent((done) => socket.write(encode(text, this.#encoding), done)); // the system takes the bytes
  }

  /** One read (recv): it waits until bytes have come, or the end. */
  async read() {
    const { name } = this;
    const reads = this.#reads;
    try {
      const { value, done } = await reads.next();
      if (done) return await print(`${name} reads nothing: the other side has closed`);
      await print(`${name} reads "${visible(this.#decoder.decode(value, name))}"`);
    } catch (error) {
      await tell(`${name} cannot read`, error);
    }
  }
}

async function tell(what: string, error: unknown) {
  const failure = explain(error);
  if (!failure) throw error;
  await print(`${what}: ${failure.why} (${failure.code})`);
}

if (import.meta.main) run("client", main);
