#!/usr/bin/env bun
/**
 * 3.8 Several processes behind one port: each serves its connections on a
 * processor of its own.
 * 中文 多进程：几个进程共用一个端口，各自在自己的处理器上服务自己的连接。
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
 * Python     if os.fork() == 0: ...          ->  cluster.fork()
 *            os.waitpid(-1, 0)               ->  on(cluster, "exit", ...)
 *            socketserver.ForkingTCPServer   ->  echo(socket), in each process
 * Watch out  Computing for one client no longer delays the clients of the other
 *            processes. It costs memory: each process is a whole runtime, 40 MB on
 *            Bun, 50 on Deno, 90 on Node. And processes share nothing: what one
 *            remembers, the others do not know. The parent accepts, and hands the
 *            connections out in turn. A process that dies takes only its own
 *            connections with it, and the parent starts another, unless it was
 *            the last one.
 * Try        Connect several times: which process answers? kill -9 one of them
 *            while it serves. Run load.ts against this server and event-loop.ts,
 *            both without and with --work 20000.
 * 注意       为一个客户端计算，不再耽误其他进程的客户端。代价是内存：每个进程都
 *            是一整个运行时，Bun 40 MB，Deno 50，Node 90。进程之间什么都不共享：
 *            一个记住的事，别的不知道。父进程负责接受连接，轮流分给子进程。一个
 *            进程死掉，只带走它自己的连接，父进程会另起一个，除非它是最后一个。
 * 试试       连接几次：是哪个进程在回答？服务中用 kill -9 杀掉其中一个。用
 *            load.ts 分别测这个服务器和 event-loop.ts，不带和带 --work 20000 各
 *            一次。
 */
import cluster, { type Worker } from "node:cluster";
import { pbkdf2Sync } from "node:crypto";
import { on, once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../../lib/arguments.ts";
import { Failure } from "../../../lib/failure.ts";
import { print, ready, report, run } from "../../../lib/program.ts";
import { sent } from "../../../lib/socket.ts";
import { closeOnStop, linger, peerName } from "../../../lib/tcp.ts";

const FLAGS = {
  workers: { kind: "number", min: 1, max: 64, default: 2, help: "how many processes serve | 有多少个进程" },
  work: {
    kind: "number",
    min: 0,
    max: 10_000_000,
    default: 0,
    help: "rounds of hashing for each read | 每读一次计算多少轮散列",
  },
} as const;

/** What Ctrl-C, or its like, sends to every process of the terminal: a process that is only starting ends by it. */
const STOPS = ["SIGINT", "SIGTERM", "SIGHUP"];

/** One that ended by itself, or by one of these, is replaced only after this pause: Ctrl-C may be about to end us, too. */
const PAUSE = 1000;

/** The parent starts the others, gives them the connections in turn, and replaces each one that dies. */
async function parent(stop: AbortSignal) {
  const { workers } = await readArguments(import.meta, { port: 7891, flags: FLAGS });
  cluster.on("fork", (worker) => worker.on("error", () => {})); // "exit" tells what has become of it
  const deaths = on(cluster, "exit", { signal: stop });
  try {
    let address: AddressInfo | null = null;
    for (let started = 0; started < workers; started++) {
      const start = await listening(cluster.fork(), stop);
      if (typeof start === "number") { // it has said why it ended
        process.exitCode = start;
        return;
      }
      address = start;
    }
    await ready(address);

    for await (const [{ process: { pid } }, code, signal] of deaths) {
      if (!signal || STOPS.includes(signal)) await sleep(PAUSE, undefined, { signal: stop });
      const isLast = Object.keys(cluster.workers ?? {}).length === 0;
      const how = signal ?? `exit code ${code}`;
      await report(new Failure(`process ${pid}`, "died with its connections", how));
      if (isLast) throw new Failure("the server", "no process is left", "ECHILD");
      cluster.fork();
    }
  } finally {
    await Promise.all(Object.values(cluster.workers ?? {}).map(end));
  }
}

/** Ends a process, and waits for its end. */
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

/**
 * Waits until a process listens, and gives its address; or its exit code, when it ends instead.
 * @throws Failure when it is killed; AbortError
 */
function listening(worker: Worker, stop: AbortSignal): Promise<AddressInfo | number> {
  return new Promise((resolve, reject) => {
    stop.throwIfAborted();
    stop.addEventListener("abort", () => reject(stop.reason), { once: true });
    worker.once("listening", ({ address, port }) => resolve({ address, port, family: "" }));
    worker.once("exit", (code, signal) => {
      if (!signal || STOPS.includes(signal)) resolve(code ?? 0);
      else reject(new Failure(`process ${worker.process.pid}`, "died before it listened", signal));
    });
  });
}

/** Each of the others is the server of event-loop.ts, but the parent listens and accepts for them all. */
async function child(stop: AbortSignal) {
  const { host, port, work } = await readArguments(import.meta, { port: 7891, flags: FLAGS });

  await using server = createServer({ allowHalfOpen: true }, (socket) => { // the parent has handed one over
    closeOnStop(socket, stop);
    echo(socket);
  });
  server.maxConnections = 1000; // in each process
  Object.assign(server, { dropMaxConnection: true }); // else the parent offers one more again and again, without a pause
  server.listen({ host, port, signal: stop }); // the first process makes the parent listen, the others join
  await once(server, "listening", { signal: stop });
  await once(server, "close");

  async function echo(socket: Socket) {
    const peer = peerName(socket);
    const reads = socket.iterator({ destroyOnReturn: false });
    try {
      await print(`process ${process.pid}: ${peer} connected`);
      for await (const data of reads) { // as in sequential.ts
        if (work > 0) pbkdf2Sync(data, "salt", work, 32, "sha256");
        await sent((done) => socket.write(data, done));
      }
    } catch (error) {
      await report(error, peer);
    } finally {
      socket.end();
      linger(socket);
    }
  }
}

if (import.meta.main) run("server", cluster.isPrimary ? parent : child);
