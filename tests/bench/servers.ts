/**
 * Lesson 3.8: each server under `load.ts` and under an independent client in C (`load.c`, built with
 * gcc), in turns in the same run; then what a second processor gains where there is something to compute.
 */
import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";

const limit = 120_000;
const runtimes = Object.keys(RUNTIMES) as Runtime[];
const folder = (await temporaryFolder()).path;
const load = join(folder, "load");

/** Requests per second, p50, p90, p99 and max in ms. */
type Figures = number[];

try {
  await using compiler = start(["gcc", "-O2", "-o", load, fileURLToPath(new URL("load.c", import.meta.url))]);
  const { code, stderr } = await compiler.result();
  if (code !== 0) throw new Error(`gcc: ${stderr}`);

  console.log("50 clients, 2000 requests each, 32 bytes; median of 3");
  row("", "", ["requests/s", "p50", "p90", "p99", "max ms", "of C's"]);
  for (const name of ["event-loop", "bun-listen", "processes", "worker-threads", "sequential"]) {
    for (const runtime of name === "event-loop" ? runtimes : ["bun" as const]) {
      await using server = script(`tcp/servers/${name}`, ["--port", "0"], { runtime, limit });
      const port = await server.port();
      await inC(port, 50, 1000); // warms up
      const ours: Figures[] = [];
      const theirs: Figures[] = [];
      for (let turn = 0; turn < 3; turn++) {
        theirs.push(await inC(port, 50, 2000));
        ours.push(await inTypeScript(port, 50, 2000));
      }
      const [c, ts] = [median(theirs), median(ours)];
      row(`${name} on ${runtime}`, "C", c);
      row("", "load.ts", [...ts, `${Math.round(ts[0] / c[0] * 100)} %`]);
    }
  }

  console.log(
    `\n8 clients, 50 requests each, --work 20000, ${availableParallelism()} processors; median of 3`,
  );
  for (const runtime of runtimes) {
    let alone = 0;
    for (const name of ["event-loop", "worker-threads", "processes"]) {
      await using server = script(`tcp/servers/${name}`, ["--port", "0", "--work", "20000"], {
        runtime,
        limit,
      });
      const port = await server.port();
      const rates: Figures[] = [];
      for (let turn = 0; turn < 3; turn++) rates.push(await inC(port, 8, 50));
      const [rate] = median(rates);
      alone ||= rate;
      console.log(
        `${`${name} on ${runtime}`.padEnd(26)} ${rate}/s   ${(rate / alone).toFixed(2)} x event-loop`,
      );
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function inC(port: number, clients: number, requests: number): Promise<Figures> {
  await using client = start([load, `${port}`, `${clients}`, `${requests}`, "32"], { limit });
  return (await client.result()).stdout.trim().split(" ").map(Number);
}

async function inTypeScript(port: number, clients: number, requests: number): Promise<Figures> {
  const words = ["--port", `${port}`, "--clients", `${clients}`, "--requests", `${requests}`];
  await using client = script("tcp/load", words, { limit });
  const { stdout } = await client.result();
  const rate = /(\d+) requests\/s/.exec(stdout)?.[1];
  const latency = /^latency: p50 (.*) ms, p90 (.*) ms, p99 (.*) ms, max (.*) ms$/m.exec(stdout) ?? [];
  return [rate, ...latency.slice(1)].map(Number);
}

/** The run whose rate is in the middle. */
function median(runs: Figures[]): Figures {
  return runs.sort(([a], [b]) => a - b)[runs.length >> 1];
}

function row(title: string, client: string, cells: (string | number)[]): void {
  console.log(title.padEnd(26), client.padEnd(8), ...cells.map((cell) => String(cell).padStart(10)));
}
