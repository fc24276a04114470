#!/usr/bin/env bun
/**
 * 3.8 Many at once in one loop: whoever has something to say is served, and nobody waits for a silent one.
 * 中文 事件循环：一个线程照顾所有人，谁有话就服务谁，不为沉默的人等待。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/event-loop.ts
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50002 connected
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 我先来的
 *   我先来的
 * terminal 3
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 有人吗？
 *   有人吗？
 *   ^D
 * terminal 2
 *   > 我还没说完
 *   我还没说完
 *   ^D
 *
 * Python     async def echo(reader, writer): ...  and  asyncio.start_server(echo, host, port)
 *            ->  createServer(echo): sequential.ts without the await before echo(socket)
 * Watch out  There is one thread. While it computes for one caller, all the others wait: --work 20000.
 *            Waiting for the network costs it nothing: the system tells which socket has something.
 * Try        bun scripts/tcp/load.ts, then both with --work 20000, then processes.ts in the same way.
 */
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report } from "../../../lib/output.ts";
import { run } from "../../../lib/run.ts";
import { hangUp, peerName, sendAll, survive } from "../../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, work } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      work: { kind: "number", min: 0, max: 10_000_000, default: 0, help: "rounds of hashing for each read" },
    },
  });

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    echo(socket); // no await: the next caller is accepted while this one is served
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function echo(socket: Socket) {
    const caller = peerName(socket);
    try {
      await print(`${caller} connected`);
      for await (const data of socket.iterator({ destroyOnReturn: false })) {
        if (work > 0) pbkdf2Sync(data, "salt", work, 32, "sha256"); // as a log-in checks a password
        await sendAll(socket, data);
      }
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
