/**
 * Lesson 4.1 with a file of 1 GiB: SHA-256, time and peak memory of both ends, beside `nc` on the same
 * file in the same run. Linux, with netcat-openbsd.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Program, type Runtime, RUNTIMES, script, start } from "../program.ts";

const MIB = 1 << 20;
const folder = await mkdtemp(join(tmpdir(), "sockets-"));
const limit = 120_000;
try {
  const file = await open(join(folder, "file"), "w");
  for (let written = 0; written < 1024; written++) await file.write(randomBytes(MIB));
  await file.close();
  const original = await sha256("file");

  const nc = await time(async () => {
    await using server = start(["sh", "-c", "nc -lvN 127.0.0.1 0 2>&1 <file"], { cwd: folder, limit });
    const port = /(\d+)$/.exec(await server.next() ?? "")?.[1] ?? "";
    await using client = start(["sh", "-c", `nc -d 127.0.0.1 ${port} >copy-nc`], { cwd: folder, limit });
    await client.ended();
  });
  console.log(
    `nc                ${nc.toFixed(2)} s   ${await sha256("copy-nc") === original ? "equal" : "DIFFERENT"}`,
  );

  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    await using server = script("apps/download-basic-server", ["--port", "0", "--root", "."], {
      cwd: folder,
      runtime,
      limit,
    });
    const port = await server.port();
    let peak = "";
    const seconds = await time(async () => {
      const words = ["--port", String(port), "file"];
      await using client = script("apps/download-basic-client", words, { cwd: folder, runtime, limit });
      peak = await peaks(client, server);
    });
    const equal = await sha256("copy-file") === original ? "equal" : "DIFFERENT";
    console.log(
      `${runtime.padEnd(17)} ${seconds.toFixed(2)} s   ${equal}   ${
        (seconds / nc).toFixed(1)
      } x nc   ${peak}`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function time(work: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

/** The peak memory of both ends when the client has ended (VmHWM, man 5 proc), looked at every 20 ms. */
async function peaks(client: Program, server: Program): Promise<string> {
  let peak = 0;
  const look = setInterval(() => (peak = Math.max(peak, highWater(client.pid))), 20);
  await client.ended();
  clearInterval(look);
  return `client ${peak} MB, server ${highWater(server.pid)} MB`;
}

function highWater(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024 / 1e6);
  } catch {
    return 0;
  }
}

async function sha256(name: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(join(folder, name), { highWaterMark: MIB }), hash);
  return hash.digest("hex");
}
