#!/usr/bin/env bun
/**
 * 3.8 Threads for the work: one thread keeps all the sockets, and gives the
 * computing to others.
 * 中文 工作线程：一个线程管所有套接字，要计算的活交给别的线程。
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
 * Python     Thread(target=echo, args=(connection,)).start()
 *            ->  new Worker(...), and a MessageChannel for each connection
 *            queue.put(data); answer = answers.get()
 *            ->  here.postMessage(buffer, [buffer]), once(here, "message", ...)
 * Watch out  Python's threads share every socket. Here a socket stays with the
 *            thread that accepted it, and only bytes are handed over. For a mere
 *            echo that costs more than it brings: each read wakes two threads, and
 *            the rate is less than half of event-loop.ts. Threads pay when there
 *            is something to compute, up to the number of processors.
 * Try        Run load.ts against this server and event-loop.ts, both without and
 *            with --work 20000.
 * 注意       Python 的线程共享所有套接字。这里的套接字留在接受它的线程里，交出
 *            去的只是字节。单纯的回显这样做得不偿失：每读一次要唤醒两个线程，速
 *            度不到 event-loop.ts 的一半。有东西要计算时线程才划算，数量到处理
 *            器的个数为止。
 * 试试       用 load.ts 分别测这个服务器和 event-loop.ts，不带和带 --work 20000
 *            各一次。
 */
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { isMainThread, MessageChannel, type MessagePort, parentPort, Worker } from "node:worker_threads";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report, run } from "../../../lib/program.ts";
import { sent } from "../../../lib/socket.ts";
import { closeOnStop, linger, peerName } from "../../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, workers, work } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      workers: {
        kind: "number",
        min: 1,
        max: 64,
        default: 2,
        help: "how many threads compute | 有多少个线程计算",
      },
      work: {
        kind: "number",
        min: 0,
        max: 10_000_000,
        default: 0,
        help: "rounds of hashing for each read | 每读一次计算多少轮散列",
      },
    },
  });
  const threads = Array.from({ length: workers }, () => new Worker(new URL(import.meta.url))); // this file, again
  let connections = 0;

  // allowHalfOpen: a client that closes its sending half still gets the rest of its echo.
  await using server = createServer({ allowHalfOpen: true }, (socket) => { // accept
    closeOnStop(socket, stop);
    echo(socket, connections++ % workers); // the threads take turns
  });
  server.maxConnections = 1000; // each one costs memory, an open file and a channel
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function echo(socket: Socket, number: number) {
    const peer = peerName(socket);
    const reads = socket.iterator({ destroyOnReturn: false }); // at the end of the loop our half is still open
    const { port1: here, port2: there } = new MessageChannel(); // its two ends, one for each thread
    threads[number].postMessage({ there, work }, [there]);
    try {
      await print(`${peer} connected, for thread ${number + 1}`);
      for await (const data of reads) { // waits for bytes; meanwhile the other connections are served
        const { buffer } = new Uint8Array(data);
        here.postMessage(buffer, [buffer]); // the memory moves to the thread; this one can no longer read it
        const [answer] = await once(here, "message", { signal: stop });
        await sent((done) => socket.write(new Uint8Array(answer), done));
      }
    } catch (error) {
      await report(error, peer);
    } finally {
      socket.end(); // FIN: our half is closed as well
      linger(socket);
      here.close();
    }
  }
}

/** What the other threads do: they answer each connection for which they are given the end of a channel. */
function compute() {
  parentPort?.on("message", ({ there, work }: { there: MessagePort; work: number }) => {
    there.on("message", (data: ArrayBuffer) => {
      if (work > 0) pbkdf2Sync(data, "salt", work, 32, "sha256"); // as a log-in checks a password
      there.postMessage(data, [data]);
    });
  });
}

if (!isMainThread) compute();
else if (import.meta.main) run("server", main);
