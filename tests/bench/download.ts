/** The downloaders of lessons 4.1 and 4.2, beside nc, curl from Python's web server, and openssl for the hashes. */
import { mkdirSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { freePort } from "../engine/sockets.ts";
import type { Bench, Contestant, Row, Sample } from "./frame.ts";
import { cost, highWater, randomFile } from "./measure.ts";

const LIMIT = 300_000;
const FILES = 10_000;
const runtimes = Object.keys(RUNTIMES) as Runtime[];

/** Runs a client, compares what it saved with the original, and removes it. @throws Error when they differ */
async function fetched(client: Program, copy: string, original: string, server?: Program): Promise<Sample> {
  const { seconds, peak } = await cost(client);
  await using same = start(["diff", "-rq", original, copy], { limit: LIMIT });
  if (await same.ended() !== 0) throw new Error(`${copy} is not ${original}`);
  rmSync(copy, { recursive: true });
  return { seconds, client: peak, server: server && highWater(server.pid) };
}

/** Python's web server. */
async function webServer({ folder, stack }: Bench): Promise<{ server: Program; url: string }> {
  const words = ["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"];
  const server = stack.use(start(words, { cwd: folder.path, limit: LIMIT }));
  const port = /port (\d+)/.exec(await server.next() ?? "")?.[1];
  return { server, url: `http://127.0.0.1:${port}` };
}

/** Our two ends on a runtime. */
async function ours(lesson: "download" | "download-basic", runtime: Runtime, { folder, stack }: Bench) {
  const options = { cwd: folder.path, limit: LIMIT, runtime };
  const server = stack.use(script(`apps/${lesson}-server`, ["--port", "0", "--root", "."], options));
  const port = `${await server.port()}`;
  const client = (...words: string[]) => script(`apps/${lesson}-client`, ["--port", port, ...words], options);
  return { server, client };
}

async function checked(bench: Bench): Promise<Contestant[]> {
  const { folder: { path, at } } = bench;
  await randomFile(at("file"), bench.size);
  const { server, url } = await webServer(bench);
  // What one would do by hand: fetch, and compare the hashes of both ends.
  const hash = (name: string) => `openssl dgst -sha256 -r ${name} | cut -c 1-64`;
  const byHand = `curl -s -o copy ${url}/file && [ "$(${hash("file")})" = "$(${hash("copy")})" ]`;
  const contestants: Contestant[] = [{
    name: "curl, openssl at both ends",
    needs: ["curl", "openssl", "python3"],
    run: () =>
      fetched(start(["sh", "-c", byHand], { cwd: path, limit: LIMIT }), at("copy"), at("file"), server),
  }];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download", runtime, bench);
    const run = () => fetched(client("file", "--out", "out"), at("out/file"), at("file"), server);
    contestants.push({ name: `4.2 on ${runtime}`, run });
  }
  return contestants;
}

async function small(bench: Bench): Promise<Contestant[]> {
  const { folder: { path, at } } = bench;
  await mkdir(at("many"));
  const names = Array.from({ length: FILES }, (_, n) => `many/file-${n}`);
  for (const name of names) await writeFile(at(name), crypto.getRandomValues(new Uint8Array(1000)));
  const { server, url } = await webServer(bench);
  const list = names.map((name) => `url=${url}/${name}\noutput=curled/${name}\n`).join("");
  await writeFile(at("list"), list);
  const contestants: Contestant[] = [{
    name: "curl, one connection",
    needs: ["curl", "python3"],
    run: () => {
      mkdirSync(at("curled/many"), { recursive: true });
      const client = start(["curl", "-s", "-K", "list"], { cwd: path, limit: LIMIT });
      return fetched(client, at("curled/many"), at("many"), server);
    },
  }];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download", runtime, bench);
    const run = () =>
      fetched(client("--recursive", "many", "--out", "out"), at("out/many"), at("many"), server);
    contestants.push({ name: `4.2 on ${runtime}`, run });
  }
  return contestants;
}

async function unchecked(bench: Bench): Promise<Contestant[]> {
  const { folder: { path, at } } = bench;
  await randomFile(at("file"), bench.size);
  const { server, url } = await webServer(bench);
  const options = { cwd: path, limit: LIMIT };
  const contestants: Contestant[] = [{
    name: "curl",
    needs: ["curl", "python3"],
    run: () =>
      fetched(start(["curl", "-s", "-o", "copy", `${url}/file`], options), at("copy"), at("file"), server),
  }, {
    name: "nc",
    needs: ["nc"],
    run: async () => {
      const port = await freePort();
      await using server = start(["sh", "-c", `exec nc -lvN 127.0.0.1 ${port} <file`], options);
      await server.next("stderr"); // it listens
      return await fetched(
        start(["sh", "-c", `nc -d 127.0.0.1 ${port} >copy`], options),
        at("copy"),
        at("file"),
      );
    },
  }];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download-basic", runtime, bench);
    const run = () => fetched(client("file"), join(path, "copy-file"), at("file"), server);
    contestants.push({ name: `4.1 on ${runtime}`, run });
  }
  return contestants;
}

export const rows: Row[] = [
  {
    name: "checked",
    title: "4.2, a large file (SIZE), its SHA-256 compared at both ends",
    needs: ["python3"],
    contestants: checked,
  },
  {
    name: "small",
    title: "4.2, a folder of 10,000 files of 1 KB",
    needs: ["python3"],
    contestants: small,
  },
  {
    name: "unchecked",
    title: "4.1, a large file (SIZE), nothing checked",
    needs: ["python3"],
    contestants: unchecked,
  },
];
