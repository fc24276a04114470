#!/usr/bin/env bun
/**
 * 3.8 One at a time: the simplest server serves one connection to its end, and all
 * other clients wait.
 * 中文 一次一个：最简单的服务器把一个连接服务到底，其他客户端都得等。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/sequential.ts
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 我先来的
 *   我先来的
 * terminal 3
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 有人吗？
 * terminal 1
 *   127.0.0.1:50002 waits
 * terminal 2
 *   > 我还没说完
 *   我还没说完
 *   ^D
 * terminal 3
 *   有人吗？
 *   ^D
 * terminal 1
 *   127.0.0.1:50002 connected
 *   ^C
 *
 * Python     while True: connection, peer = s.accept()
 *            ->  for await (const [socket, peer] of accepted)
 *            while data := connection.recv(1024): connection.sendall(data)
 *            ->  for await (const data of reads), socket.write(data, done)
 * Watch out  The waiting clients are already connected: the runtime has accepted
 *            them, and they wait in a queue of this program. The backlog is
 *            another queue, in the system, for those not accepted yet.
 *            This server costs least, in code and in memory. But one silent client
 *            stops everybody for as long as it likes, and when 1,000 are
 *            connected, the next one is turned away.
 * Try        Run load.ts against this server and against each of the other four;
 *            compare the line "first reply".
 * 注意       等待的客户端其实已经连上：运行时已经接受了它们，它们排在本程序自己的
 *            队列里。backlog 是另一个队列，在系统里，放还没被接受的连接。
 *            这个服务器代码最少，内存也最省。但是一个不说话的客户端想拖多久就能让
 *            大家停多久；连上 1000 个以后，下一个会被拒绝。
 * 试试       用 load.ts 测这个服务器和另外四个，比较 "first reply" 那一行。
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report, run } from "../../../lib/program.ts";
import { sent } from "../../../lib/socket.ts";
import { linger } from "../../../lib/tcp.ts";
import { accept } from "../accept.ts";

async function main(stop: AbortSignal) {
  const { host, port } = await readArguments(import.meta, { port: 7891 });

  // allowHalfOpen: a client that closes its sending half still gets the rest of its echo.
  await using server = createServer({ allowHalfOpen: true });
  // The runtime accepts at once, also while our loop is busy. When 1,000 are connected, the next one is closed.
  const accepted = accept(server, stop, (peer) => print(`${peer} waits`));
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket, peer] of accepted) { // the next one in the queue
    await echo(socket, peer); // await: this is what makes the others wait
  }
}

/** Serves one connection until its client closes it. The other servers of 3.8 do the same, in other places. */
async function echo(socket: Socket, peer: string) {
  const reads = socket.iterator({ destroyOnReturn: false }); // at the end of the loop our half is still open
  try {
    await print(`${peer} connected`);
    for await (const data of reads) { // waits for bytes; ends with the client's FIN
      await sent((done) => socket.write(data, done)); // waits until the system has taken them
    }
  } catch (error) {
    await report(error, peer);
  } finally {
    socket.end(); // FIN: our half is closed as well
    linger(socket);
  }
}

if (import.meta.main) run("server", main);
