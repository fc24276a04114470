#!/usr/bin/env bun
/**
 * 3.8 Several processes behind one port: each serves its callers alone, on a processor of its own.
 * 中文 多进程：几个进程共用一个端口，各自在自己的处理器上为自己的来客服务。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/processes.ts --workers 2
 *   listening on 127.0.0.1:7891
 *   process 4711: 127.0.0.1:50001 connected
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 你好
 *   你好
 *   ^D
 *
 * Python     if os.fork() == 0: ...              ->  cluster.fork()
 *            (or socketserver.ForkingTCPServer)
 * Watch out  Processes share nothing: what one has in memory, the others do not see. A process that dies
 *            takes only its own callers with it; the parent starts another one.
 * Try        Call several times: who answers? kill -9 one of the processes while it serves.
 *            bun scripts/tcp/load.ts here and at event-loop.ts, both without and with --work 20000.
 */
import cluster, { type Worker } from "node:cluster";
import { pbkdf2Sync } from "node:crypto";
import { on, once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { readArguments } from "../../../lib/arguments.ts";
import { Failure } from "../../../lib/failure.ts";
import { print, ready, report } from "../../../lib/output.ts";
import { run } from "../../../lib/run.ts";
import { hangUp, peerName, sendAll, survive } from "../../../lib/tcp.ts";

const FLAGS = {
  workers: { kind: "number", min: 1, max: 64, default: 2, help: "how many processes serve" },
  work: { kind: "number", min: 0, max: 10_000_000, default: 0, help: "rounds of hashing for each read" },
} as const;

/** The parent listens to nobody: it starts the others, and replaces whoever dies. */
async function parent(stop: AbortSignal) {
  const { workers } = await readArguments(import.meta, { port: 7891, flags: FLAGS });
  cluster.on("fork", (worker) => worker.on("error", () => {})); // it could not be written to: "exit" will tell
  const deaths = on(cluster, "exit", { signal: stop });
  try {
    let address: AddressInfo | null = null;
    for (let started = 0; started < workers; started++) {
      const start = await listening(cluster.fork());
      if (typeof start === "number") { // it has said why
        process.exitCode = start;
        return;
      }
      address = start;
    }
    await ready(address);

    for await (const [{ process: { pid } }, code, signal] of deaths) {
      const isLast = Object.keys(cluster.workers ?? {}).length === 0;
      if (code === 0 && isLast) return;
      if (code === 0) continue; // told to stop: a Ctrl-C reaches every process of the terminal
      await report(new Failure(`process ${pid}`, "died with its callers", signal ?? `exit code ${code}`));
      if (isLast) throw new Failure("the server", "no process is left", "ECHILD");
      cluster.fork();
    }
  } finally {
    await Promise.all(Object.values(cluster.workers ?? {}).map(end));
  }
}

/** Ends a process, and waits for its end: nobody is left behind. */
async function end(worker?: Worker): Promise<void> {
  if (!worker || worker.isDead()) return;
  const ended = once(worker, "exit");
  try {
    process.kill(worker.process.pid as number, "SIGTERM");
  } catch {
    // it has just ended
  }
  await ended;
}

/** Waits until a process listens, and gives its address; or its exit code, when it ends instead. */
function listening(worker: Worker): Promise<AddressInfo | number> {
  return new Promise((resolve) => {
    worker.once("listening", ({ address, port }) => resolve({ address, port, family: "" }));
    worker.once("exit", (code) => resolve(code ?? 0));
  });
}

/** Each of the others is the server of event-loop.ts. They all listen on one port: the parent opens it for them. */
async function child(stop: AbortSignal) {
  const { host, port, work } = await readArguments(import.meta, { port: 7891, flags: FLAGS });

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    echo(socket);
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await once(server, "close");

  async function echo(socket: Socket) {
    const caller = peerName(socket);
    try {
      await print(`process ${process.pid}: ${caller} connected`);
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

if (import.meta.main) run("server", cluster.isPrimary ? parent : child);
