#!/usr/bin/env bun
/**
 * 3.8 Threads for the work: one thread keeps all the sockets, and hands what must be computed to others.
 * 中文 工作线程：一个线程管所有套接字，把要计算的活交给别的线程。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/worker-threads.ts --workers 2
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected, for thread 1
 *   127.0.0.1:50002 connected, for thread 2
 *   127.0.0.1:50003 connected, for thread 1
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 一号
 *   一号
 * terminal 3
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 二号
 *   二号
 *   ^D
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 又是一号
 *   又是一号
 *   ^D
 * terminal 2
 *   ^D
 *
 * Python     Thread(target=echo, args=(connection, peer)).start()
 *            ->  new Worker(...), and a MessageChannel for each caller
 * Watch out  Threads of Python share every socket; here a socket stays with the thread that accepted it,
 *            and only bytes are handed over. That way costs more than an echo does: threads pay when there
 *            is something to compute, and at most as many times as the machine has processors.
 * Try        bun scripts/tcp/load.ts here and at event-loop.ts, both without and with --work 20000.
 */
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { isMainThread, MessageChannel, type MessagePort, parentPort, Worker } from "node:worker_threads";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report } from "../../../lib/output.ts";
import { run } from "../../../lib/run.ts";
import { hangUp, peerName, sendAll, survive } from "../../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, workers, work } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      workers: { kind: "number", min: 1, max: 64, default: 2, help: "how many threads compute" },
      work: { kind: "number", min: 0, max: 10_000_000, default: 0, help: "rounds of hashing for each read" },
    },
  });
  const threads = Array.from({ length: workers }, () => new Worker(new URL(import.meta.url)));
  let callers = 0;

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    echo(socket, callers++ % workers); // one thread after the other
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function echo(socket: Socket, number: number) {
    const caller = peerName(socket);
    const { port1: here, port2: there } = new MessageChannel();
    threads[number].postMessage({ there, work }, [there]);
    try {
      await print(`${caller} connected, for thread ${number + 1}`);
      for await (const data of socket.iterator({ destroyOnReturn: false })) {
        const { buffer } = new Uint8Array(data);
        here.postMessage(buffer, [buffer]); // the bytes move to the thread; here they are gone
        const [answer] = await once(here, "message", { signal: stop });
        await sendAll(socket, new Uint8Array(answer));
      }
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
      here.close();
    }
  }
}

/** What the other threads do: answer each caller whose end of a channel they are given. */
function answerCallers() {
  parentPort?.on("message", ({ there, work }: { there: MessagePort; work: number }) => {
    there.on("message", (data: ArrayBuffer) => {
      if (work > 0) pbkdf2Sync(data, "salt", work, 32, "sha256"); // as a log-in checks a password
      there.postMessage(data, [data]);
    });
  });
}

if (!isMainThread) answerCallers();
else if (import.meta.main) run("server", main);
