#!/usr/bin/env bun
/**
 * 3.8 Load a server: many clients at once, and how long each had to wait.
 * 中文 给服务器加压：许多客户端同时上门，看看每一个要等多久。
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
 * Python     with ThreadPoolExecutor(n) as pool: ...  ->  Promise.all(many promises)
 * Watch out  An average hides those who wait: p99 is what the slowest of a hundred requests took. A slow
 *            client measures itself: this one and its server share the processors of one machine.
 * Try        Load sequential.ts: its latency is fine, but look at the first replies. Then --size 1000000.
 */
import { connect } from "node:net";
import { createHistogram } from "node:perf_hooks";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain, Failure, isStop } from "../../lib/failure.ts";
import { print, report } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { survive } from "../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, clients, requests, size, timeout } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      clients: { kind: "number", min: 1, max: 10_000, default: 50, help: "how many at once" },
      requests: { kind: "number", min: 1, max: 10_000_000, default: 2000, help: "how many each sends" },
      size: { kind: "number", min: 1, max: 100_000_000, default: 32, help: "bytes of a request" },
      timeout: { kind: "number", min: 1, max: 3_600_000, default: 10_000, help: "ms to wait for a reply" },
    },
  });
  const server = endpoint(host, port);
  const latency = createHistogram(); // counts, not values: a long run takes no more memory than a short one
  const firstReply = createHistogram();
  const errors = new Map<string, { count: number; failure: Failure }>();

  /**
   * One client: asks, compares every byte of the echo, asks again. Here with events, not with `for await`,
   * which is easier to read and takes more of the time that is to be measured.
   */
  function client(number: number): Promise<void> {
    const socket = survive(connect({ host, port, noDelay: true }), stop);
    const called = performance.now();
    let asked = 0;
    let question = Buffer.alloc(0);
    let received = 0;
    let replies = 0;

    function ask() {
      question = Buffer.alloc(size, `${number}.${replies} `); // no two are alike
      received = 0;
      asked = performance.now();
      socket.write(question); // the echo of a long one begins before all of it is sent
    }
    // Not socket.setTimeout, which does not see, on Bun, a server that only does not read.
    const late = new Failure(server, `no reply within ${timeout} ms`, "ETIMEDOUT");
    const timer = setTimeout(() => socket.destroy(late), timeout);
    socket.on("connect", ask);
    socket.on("data", (data: Buffer) => { // recv
      timer.refresh();
      if (!question.subarray(received, received + data.length).equals(data)) {
        socket.destroy(new Failure(server, "the reply is not the echo", "EBADMSG"));
        return;
      }
      received += data.length;
      if (received < size) return;
      const replied = performance.now();
      latency.record(nanoseconds(replied - asked));
      if (replies++ === 0) firstReply.record(nanoseconds(replied - called));
      if (replies < requests) ask();
      else socket.destroy();
    });
    socket.on("end", () => socket.destroy(new Failure(server, "hung up without a reply", "ENODATA")));
    socket.on("close", () => clearTimeout(timer));
    return new Promise((resolve, reject) => socket.on("close", resolve).on("error", reject));
  }

  function note(error: unknown) {
    if (isStop(error)) return;
    const failure = explain(error, server);
    if (!failure) throw error;
    errors.set(failure.message, { failure, count: (errors.get(failure.message)?.count ?? 0) + 1 });
  }

  await print(`${clients} clients to ${server}, ${requests} requests each, ${size} bytes a request`);
  const begin = performance.now();
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number).catch(note)));
  const duration = performance.now() - begin;

  const rate = Math.round(latency.count / duration * 1000);
  await print(`${latency.count} replies in ${duration.toFixed(2)} ms: ${rate} requests/s`);
  if (latency.count > 0) await print(`latency: ${percentiles(latency)}`);
  if (firstReply.count > 0) await print(`first reply: ${percentiles(firstReply)}`);
  const failed = errors.values().reduce((sum, { count }) => sum + count, 0);
  await print(`${failed} errors`);
  for (const { count, failure: { why, code, hint } } of errors.values()) {
    await report(new Failure(`${count} of ${clients} clients`, why, code, { hint }));
  }
  if (failed > 0 && !stop.aborted) process.exitCode = 1;
}

/** What 50, 90, 99 and 100 of a hundred stayed below. */
function percentiles(histogram: ReturnType<typeof createHistogram>): string {
  const ms = (value: number) => `${(value / 1e6).toFixed(2)} ms`;
  const parts = [50, 90, 99].map((percent) =>
    `p${percent} ${ms(Math.min(histogram.percentile(percent), histogram.max))}`
  );
  return [...parts, `max ${ms(histogram.max)}`].join(", ");
}

const nanoseconds = (milliseconds: number) => Math.max(1, Math.round(milliseconds * 1e6));

if (import.meta.main) run("client", main);
