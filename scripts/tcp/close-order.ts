#!/usr/bin/env bun
/**
 * 3.5 Close, and what closes: a server holds a listening socket and one socket for each caller, and closing
 * each of them ends something else.
 * 中文 关闭，关的是什么：服务器有一个监听套接字，每个来电另有一个；关哪一个，结束的事情各不相同。
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
 * Python     listener.close()                    ->  server.close()
 *            connection.close()                  ->  socket.destroy()
 *            connection.shutdown(SHUT_WR)        ->  socket.end(), with allowHalfOpen: true
 *            SO_LINGER of 0 seconds, then close  ->  socket.resetAndDestroy()
 *            b"" from connection.recv(1024)      ->  for await (const data of socket) ends
 *            ConnectionResetError                ->  for await (const data of socket) throws ECONNRESET
 * Watch out  Closing the listening socket refuses new callers and keeps the connected ones; closing an
 *            accepted socket ends that caller only; a peer's close is an empty read, because nobody can
 *            send nothing. A close comes after all that was sent before it; a reset drops what is still
 *            under way, and closing a socket with unread bytes is a reset too (RFC 1122, section 4.2.2.13).
 * Try        Take out allowHalfOpen below: server (B) can no longer answer, its half closed with B's.
 */
import { on, once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { explain } from "../../lib/failure.ts";
import { print, ready, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { peerName, sendAll, survive } from "../../lib/tcp.ts";
import { encode, texts } from "../../lib/text.ts";

/** One end of a connection, and what each of its reads brings. */
type End = { name: string; socket: Socket; reads: AsyncGenerator<string> };

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 0 });

  await using opened = new AsyncDisposableStack(); // closed at the end, the last one first
  const server = opened.use(createServer({ allowHalfOpen: true }, (socket) => survive(socket, stop)));
  const callers = on(server, "connection", { signal: stop });
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  const listening = server.address() as AddressInfo;
  await ready(listening);

  const [a, serverA] = await call("A");
  const [b, serverB] = await call("B");
  const [c, serverC] = await call("C");

  await print("1. the server closes the listening socket");
  server.close();
  await call("D").catch((error) => tell("D cannot connect", error));
  await send(a, "I am still here");
  await read(serverA);

  await print("2. the server closes the accepted socket of A");
  serverA.socket.destroy();
  await read(a);
  await send(b, "So am I");
  await read(serverB);

  await print("3. B closes its sending half");
  b.socket.end(); // FIN: the server reads the end, and may go on sending
  await read(serverB);
  await send(serverB, "Goodbye then");
  await read(b);
  await print("server (B) closes");
  serverB.socket.destroy();
  await read(b);

  await print("4. C resets the connection");
  const reading = read(serverC);
  c.socket.resetAndDestroy(); // RST instead of FIN
  await reading;

  /** Calls the server, and gives both ends of the connection. */
  async function call(name: string): Promise<[caller: End, accepted: End]> {
    const socket = survive(connect({ host, port: listening.port }), stop);
    opened.defer(() => void socket.destroy());
    await once(socket, "connect");
    const { value: [accepted] = [] } = await callers.next(); // accept
    await print(`${name} connects from ${peerName(accepted)}`);
    const end = (name: string, socket: Socket) => ({ name, socket, reads: texts(socket, encoding, name) });
    return [end(name, socket), end(`server (${name})`, accepted)];
  }

  async function send({ name, socket }: End, text: string) {
    await print(`${name} sends "${text}"`);
    await sendAll(socket, encode(text, encoding));
  }
}

/** Reads once (recv), and says what came. */
async function read({ name, reads }: End) {
  try {
    const { value, done } = await reads.next();
    await print(
      done ? `${name} reads nothing: the other side has closed` : `${name} reads "${visible(value)}"`,
    );
  } catch (error) {
    await tell(`${name} cannot read`, error);
  }
}

async function tell(what: string, error: unknown) {
  const failure = explain(error);
  if (!failure) throw error;
  await print(`${what}: ${failure.why} (${failure.code})`);
}

if (import.meta.main) run("client", main);
