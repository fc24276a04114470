#!/usr/bin/env bun
/**
 * 3.8 Load a server: many clients at once, and how long each of them waits.
 * 中文 给服务器加压：许多客户端同时连接，看看每一个要等多久。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/event-loop.ts
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50002 connected
 *   127.0.0.1:50003 connected
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/load.ts --clients 3 --requests 100
 *   3 clients to 127.0.0.1:7891, 100 requests each, 32 bytes a request
 *   300 replies in 18.21 ms: 16473 requests/s
 *   latency: p50 0.12 ms, p90 0.21 ms, p99 1.38 ms, max 2.95 ms
 *   first reply: p50 3.51 ms, p90 3.92 ms, p99 3.93 ms, max 3.94 ms
 *   0 errors
 *
 * Python     s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
 *            ->  connect({ host, port, noDelay: true })
 *            with ThreadPoolExecutor(n) as pool: pool.map(client, range(n))
 *            ->  Promise.all(Array.from({ length: clients }, ...))
 *            s.sendall(request); reply = s.recv(size)
 *            ->  socket.write(request), socket.on("data", ...)
 * Watch out  An average hides the clients that wait: p99 is the time within which
 *            99 of 100 requests were answered. And a load measures both ends: here
 *            the client and the server share the processors of one machine.
 * Try        Load sequential.ts: the latency is good, but look at "first reply".
 *            Then use --size 1000000.
 * 注意       平均值看不出谁等了很久：p99 是指 100 个请求里有 99 个在这段时间内
 *            得到回答。而且压力测试测的是两端：这里客户端和服务器共用一台机器的
 *            处理器。
 * 试试       测 sequential.ts：延迟很好，但要看 "first reply"。再试 --size
 *            1000000。
 */
import { connect } from "node:net";
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { explain, Failure, isStop } from "../../lib/failure.ts";
import { print, report, run } from "../../lib/program.ts";
import { openFiles } from "../../lib/system.ts";
import { closeOnStop } from "../../lib/tcp.ts";

type Options = { host: string; port: number; requests: number; size: number; timeout: number };

async function main(stop: AbortSignal) {
  const { clients, ...options } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      clients: { kind: "number", min: 1, max: 10_000, default: 50, help: "how many at once | 同时有多少个" },
      requests: {
        kind: "number",
        min: 1,
        max: 10_000_000,
        default: 2000,
        help: "how many each sends | 每个发多少次",
      },
      size: {
        kind: "number",
        min: 1,
        max: 100_000_000,
        default: 32,
        help: "bytes of a request | 每个请求的字节数",
      },
      timeout: {
        kind: "number",
        min: 1,
        max: 3_600_000,
        default: 10_000,
        help: "ms to wait for a reply | 等回复的毫秒数",
      },
    },
  });
  const { requests, size } = options;
  checkOpenFiles(clients);
  const server = endpoint(options.host, options.port);
  const figures = new Figures();
  await print(`${clients} clients to ${server}, ${requests} requests each, ${size} bytes a request`);
  const begin = performance.now();
  await Promise.all(Array.from({ length: clients }, async (_, number) => {
    await client(number, options, figures, stop).catch((error) => figures.addError(error, server));
  }));
  await figures.show(performance.now() - begin, clients);
  if (figures.failed > 0 && !stop.aborted) process.exitCode = 1;
}

/** Each connection is an open file. At the limit, Bun 1.4 would say that the server refuses the connection. */
function checkOpenFiles(clients: number) {
  const { limit, free } = openFiles();
  if (clients <= free) return;
  throw new Failure(`${clients} clients`, `a program may have only ${limit} files open here`, "EMFILE", {
    hint: `each connection is one, and ${free} are free; ulimit -n shows and sets the limit`,
  });
}

/**
 * One client: sends a request, compares each byte of the echo, and sends the next one. It uses events, and not
 * `for await`, which is easier to read, but takes more of the time that is to be measured.
 */
function client(number: number, options: Options, figures: Figures, stop: AbortSignal): Promise<void> {
  const { host, port, requests, size, timeout } = options;
  const server = endpoint(host, port);
  const connected = performance.now();
  const socket = closeOnStop(connect({ host, port, noDelay: true }), stop); // noDelay: a request leaves at once
  let request = Buffer.alloc(0);
  let sentAt = 0;
  let received = 0;
  let replies = 0;

  function ask() {
    request = Buffer.alloc(size, `${number}.${replies} `); // no two are alike, from 8 bytes on
    received = 0;
    sentAt = performance.now();
    socket.write(request); // the echo of a long one begins before all of it is sent
  }
  // Not socket.setTimeout: on Bun 1.4 it does not notice a server that only stops reading.
  const late = new Failure(server, `no reply within ${timeout} ms`, "ETIMEDOUT");
  const timer = setTimeout(() => socket.destroy(late), timeout);
  socket.on("connect", ask);
  socket.on("data", (data: Buffer) => { // a piece of the echo has arrived
    timer.refresh();
    if (!request.subarray(received, received + data.length).equals(data)) {
      socket.destroy(new Failure(server, "the reply is not the echo", "EBADMSG"));
      return;
    }
    received += data.length;
    if (received < size) return;
    const now = performance.now();
    record(figures.latency, now - sentAt);
    if (replies++ === 0) record(figures.firstReply, now - connected);
    if (replies < requests) ask();
    else socket.destroy();
  });
  socket.on(
    "end",
    () => socket.destroy(new Failure(server, "closed the connection without a reply", "ENODATA")),
  );
  socket.on("close", () => clearTimeout(timer));
  return new Promise((resolve, reject) => socket.on("close", resolve).on("error", reject));
}

/** What the clients have measured. Histograms count: a long run takes no more memory than a short one. */
class Figures {
  readonly latency = createHistogram();
  readonly firstReply = createHistogram();
  readonly #errors = new Map<string, { count: number; failure: Failure }>();

  addError(error: unknown, server: string) {
    if (isStop(error)) return;
    const failure = explain(error, server);
    if (!failure) throw error;
    const { count } = this.#errors.get(failure.message) ?? { count: 0 };
    this.#errors.set(failure.message, { failure, count: count + 1 });
  }

  /** How many clients have failed. */
  get failed(): number {
    return this.#errors.values().reduce((sum, { count }) => sum + count, 0);
  }

  /** @param duration of the run, in milliseconds */
  async show(duration: number, clients: number) {
    const { count } = this.latency;
    const rate = Math.round(count / duration * 1000);
    await print(`${count} replies in ${duration.toFixed(2)} ms: ${rate} requests/s`);
    if (count > 0) {
      await print(`latency: ${percentiles(this.latency)}`);
      await print(`first reply: ${percentiles(this.firstReply)}`);
    }
    await print(`${this.failed} errors`);
    for (const { count, failure: { why, code, hint } } of this.#errors.values()) {
      await report(new Failure(`${count} of ${clients} clients`, why, code, { hint }));
    }
  }
}

/** Records a time in milliseconds, as the nanoseconds that a histogram of whole numbers needs. */
function record(histogram: RecordableHistogram, milliseconds: number) {
  histogram.record(Math.max(1, Math.round(milliseconds * 1e6)));
}

/** The times within which 50, 90, 99 and 100 of 100 requests were answered. */
function percentiles(histogram: RecordableHistogram): string {
  const ms = (value: number) => `${(value / 1e6).toFixed(2)} ms`;
  const parts = [50, 90, 99].map((percent) =>
    `p${percent} ${ms(Math.min(histogram.percentile(percent), histogram.max))}`
  );
  return [...parts, `max ${ms(histogram.max)}`].join(", ");
}

if (import.meta.main) run("client", main);
