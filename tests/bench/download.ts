/**
 * The downloaders of lessons 4.1 and 4.2 with a file of 1 GiB, beside `nc` and beside `curl` from
 * `python3 -m http.server`, in one run: the median of five, time of the client and peak memory of both
 * ends. Then 4.2 with 4 GiB. Linux, with netcat-openbsd, curl and Python.
 */
import { randomBytes } from "node:crypto";
import { open, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";
import { cost, highWater, medianOf } from "./measure.ts";

const MIB = 1 << 20;
const RUNS = 5;
const folder = (await temporaryFolder()).path;
const options = { cwd: folder, limit: 300_000 };

/** Measures a client against a server that is running, and checks the copy. */
async function measure(title: string, server: Program, copy: string, client: () => Program, times = RUNS) {
  const { seconds, peak } = await medianOf(times, async () => {
    await rm(join(folder, copy), { force: true });
    await using program = client();
    return await cost(program);
  });
  await using same = start(["cmp", title.includes("4 GiB") ? "large" : "file", copy], options);
  if (await same.ended() !== 0) throw new Error(`${title}: the copy differs`);
  const ends = `client ${peak} MB, server ${highWater(server.pid)} MB`;
  console.log(`${title.padEnd(30)} ${seconds.toFixed(2)} s   ${ends}   equal`);
}

try {
  const file = await open(join(folder, "file"), "w");
  for (let written = 0; written < 1024; written++) await file.write(randomBytes(MIB));
  await file.close();
  await writeFile(join(folder, "large"), "");
  await truncate(join(folder, "large"), 4096 * MIB);

  {
    await using server = start(
      ["sh", "-c", "for i in 1 2 3 4 5; do nc -lvN 127.0.0.1 7999 2>&1 <file; done"],
      options,
    );
    await measure(
      "nc",
      server,
      "copy-nc",
      () =>
        start(
          ["sh", "-c", "until nc -d 127.0.0.1 7999 >copy-nc && [ -s copy-nc ]; do sleep 0.01; done"],
          options,
        ),
    );
  }
  {
    await using server = start(["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], options);
    const port = /port (\d+)/.exec(await server.next() ?? "")?.[1];
    await measure(
      "curl, from python3",
      server,
      "copy-curl",
      () => start(["curl", "-s", "-o", "copy-curl", `http://127.0.0.1:${port}/file`], options),
    );
  }
  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    const on = { ...options, runtime };
    {
      await using server = script("apps/download-basic-server", ["--port", "0", "--root", "."], on);
      const port = String(await server.port());
      await measure(
        `4.1 on ${runtime}`,
        server,
        "copy-file",
        () => script("apps/download-basic-client", ["--port", port, "file"], on),
      );
    }
    await using server = script("apps/download-server", ["--port", "0", "--root", "."], on);
    const port = String(await server.port());
    await measure(
      `4.2 on ${runtime}`,
      server,
      "out/file",
      () => script("apps/download-client", ["--port", port, "--out", "out", "file"], on),
    );
    await measure(
      `4.2 on ${runtime}, 4 GiB`,
      server,
      "out/large",
      () => script("apps/download-client", ["--port", port, "--out", "out", "large"], on),
      1,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
