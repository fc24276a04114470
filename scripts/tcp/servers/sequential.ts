#!/usr/bin/env bun
/**
 * 3.8 One at a time: the simplest server serves one caller to the end, and all the others wait.
 * 中文 顺序服务：最简单的服务器，一次只为一个人服务到底，其他人都在等。
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
 *                while data := connection.recv(1024): connection.sendall(data)
 *            ->  for await (const [socket] of callers) await echo(socket)
 * Watch out  Who waits is connected all the same: the system has answered the call and keeps it in a queue,
 *            the backlog. That queue is not the number of clients. One silent caller stops everybody.
 * Try        bun scripts/tcp/load.ts here and at each of the other four; compare the first replies.
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report } from "../../../lib/output.ts";
import { run } from "../../../lib/run.ts";
import { hangUp, peerName, queueOf, sendAll, survive } from "../../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port } = await readArguments(import.meta, { port: 7891 });

  let busy = false;
  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    if (busy) print(`${peerName(socket)} waits`);
  });
  server.maxConnections = 1000; // those who wait cost memory: when 1000 are here, the next is turned away
  const callers = queueOf(server, stop);
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket] of callers) { // accept
    busy = true;
    await echo(socket);
    busy = false;
  }
}

/** Serves one caller, until they hang up. The other servers of this lesson do the same, but elsewhere. */
async function echo(socket: Socket) {
  const caller = peerName(socket);
  try {
    await print(`${caller} connected`);
    for await (const data of socket.iterator({ destroyOnReturn: false })) await sendAll(socket, data);
  } catch (error) {
    await report(error, caller);
  } finally {
    hangUp(socket);
  }
}

if (import.meta.main) run("server", main);
