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
 * Python     Thread(target=compute, args=(reads, answers)).start()
 *            ->  new Worker(new URL(import.meta.url), { workerData: work })
 *            reads.put(data)
 *            ->  this.#worker.postMessage(batch, [bytes.buffer])
 *            answer = answers.get()
 *            ->  this.#worker.on("message", ...)
 * Watch out  Python's threads share every socket. Here a socket stays with the
 *            thread that accepted it, and only bytes are handed over. Waking a
 *            thread costs more than an echo. So all reads of one turn of the loop
 *            go over in one message, and their answers come back in one. For a
 *            mere echo event-loop.ts is faster still. Threads pay when there is
 *            something to compute, up to the number of processors.
 * Try        Run load.ts against this server and event-loop.ts, both without and
 *            with --work 20000.
 * 注意       Python 的线程共享所有套接字。这里的套接字留在接受它的线程里，交出
 *            去的只是字节。唤醒一个线程比回显本身还贵，所以事件循环一轮里读到的
 *            数据合成一条消息交过去，回答也合成一条消息送回来。单纯的回显还是
 *            event-loop.ts 更快。有东西要计算时线程才划算，数量到处理器的个数为
 *            止。
 * 试试       用 load.ts 分别测这个服务器和 event-loop.ts，不带和带 --work 20000
 *            各一次。
 */
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { finished } from "node:stream/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report, run } from "../../../lib/program.ts";
import { closeOnStop, linger, peerName } from "../../../lib/tcp.ts";

/** How many bytes of one connection its thread may have to answer, beside one more read, and what each read counts. */
const MOST_ASKED = 65_536, EACH = 1_024;

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
  const threads = Array.from({ length: workers }, () => new Thread(work));
  let connections = 0;

  // allowHalfOpen: a client that closes its sending half still gets the rest of its echo.
  await using server = createServer({ allowHalfOpen: true }, (socket) => { // accept
    closeOnStop(socket, stop);
    echo(socket, connections++ % workers); // the threads take turns
  });
  server.maxConnections = 1000; // each one costs memory and an open file
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function echo(socket: Socket, number: number) {
    const peer = peerName(socket);
    const thread = threads[number];
    let asked = 0; // bytes that the thread has to answer
    const flow = () => {
      const isFull = asked > MOST_ASKED || socket.writableNeedDrain;
      if (isFull) socket.pause(); // until there is room we read no more: the client's sending then stands still
      else socket.resume();
    };
    try {
      await print(`${peer} connected, for thread ${number + 1}`);
      socket.on("drain", flow);
      socket.on("data", (data: Buffer) => { // bytes have come; in between, the other connections are served
        const cost = data.length + EACH;
        asked += cost;
        thread.ask(data, (answer) => {
          asked -= cost;
          socket.write(answer);
          flow();
        });
        flow();
      });
      await finished(socket, { writable: false }); // the client's FIN, or an error
      await new Promise((resolve) => thread.ask(new Uint8Array(), resolve)); // its answer is behind all the others
    } catch (error) {
      await report(error, peer);
    } finally {
      socket.end(); // FIN: our half is closed as well
      linger(socket);
    }
  }
}

/** What was read from a connection, and what to do with the answer. */
type Question = { data: Uint8Array; done: (answer: Uint8Array) => void };
/** Questions on their way to a thread: their bytes one after another. */
type Batch = { bytes: Uint8Array; lengths: number[] };

/**
 * A thread that computes. The questions of one turn of the event loop go to it in one message: a message for each took
 * three times the processor time, with 64 clients at once.
 */
class Thread {
  readonly #worker: Worker;
  readonly #asked: Question[][] = []; // it answers them in this order
  #outbox: Question[] = [];

  constructor(work: number) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: work }); // this file, again
    this.#worker.on("message", (bytes: Uint8Array) => {
      const questions = this.#asked.shift() ?? [];
      // Copies: a part of the batch, kept for a client that does not read, would keep the whole batch in memory.
      const answerAt = (at: number, end: number) => questions.length > 1 ? bytes.slice(at, end) : bytes;
      let at = 0;
      for (const { data, done } of questions) done(answerAt(at, at += data.length));
    });
  }

  /** @param done is called with the answer, in the order of the questions */
  ask(data: Uint8Array, done: Question["done"]) {
    if (this.#outbox.length === 0) setImmediate(() => this.#post()); // when all sockets have been read
    this.#outbox.push({ data, done });
  }

  #post() {
    const lengths = this.#outbox.map(({ data }) => data.length);
    const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    for (const { data } of this.#outbox) {
      bytes.set(data, at);
      at += data.length;
    }
    this.#asked.push(this.#outbox);
    this.#outbox = [];
    const batch: Batch = { bytes, lengths };
    this.#worker.postMessage(batch, [bytes.buffer]); // the memory moves to the thread; this one can no longer read it
  }
}

/** What the other threads do. */
function compute() {
  parentPort?.on("message", ({ bytes, lengths }: Batch) => {
    let at = 0;
    for (const length of lengths) {
      const data = bytes.subarray(at, at += length);
      // Computes, as a log-in checks a password; not for a client's end, which is an empty read.
      if (workerData > 0 && length > 0) pbkdf2Sync(data, "salt", workerData, 32, "sha256");
    }
    parentPort?.postMessage(bytes, [bytes.buffer as ArrayBuffer]);
  });
}

if (!isMainThread) compute();
else if (import.meta.main) run("server", main);
