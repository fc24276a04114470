/** The downloaders of lessons 4.1 and 4.2, beside nc, curl from Python's web server, and openssl for the hashes. */
import { mkdirSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { freePort } from "../engine/sockets.ts";
import { type Bench, type Contestant, type Row, type Sample, withLittle } from "./frame.ts";
import { cost, FILES, highWater, makeFiles } from "./measure.ts";

const LIMIT = 300_000;
/** How many small files there are, and, to warm up, a few. */
const NUMBERS = { many: 10_000, few: 100 };
const FOLDERS: ["many", "few"] = ["many", "few"];
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
  await makeFiles(at, bench.size);
  const { server, url } = await webServer(bench);
  const hash = (name: string) => `openssl dgst -sha256 -r ${name} | cut -c 1-64`;
  const byHand = (file: string) => {
    // What one would do: fetch, and compare the hashes of both ends.
    const line = `curl -s -o copy ${url}/${file} && [ "$(${hash(file)})" = "$(${hash("copy")})" ]`;
    return fetched(start(["sh", "-c", line], { cwd: path, limit: LIMIT }), at("copy"), at(file), server);
  };
  const needs = ["curl", "openssl", "python3"];
  const contestants = [withLittle("curl, openssl at both ends", FILES, byHand, needs)];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download", runtime, bench);
    const run = (file: string) => fetched(client(file, "--out", "out"), at("out", file), at(file), server);
    contestants.push(withLittle(`4.2 on ${runtime}`, FILES, run));
  }
  return contestants;
}

async function small(bench: Bench): Promise<Contestant[]> {
  const { folder: { path, at } } = bench;
  const { server, url } = await webServer(bench);
  for (const folder of FOLDERS) {
    await mkdir(at(folder));
    const names = Array.from({ length: NUMBERS[folder] }, (_, n) => `${folder}/file-${n}`);
    for (const name of names) await writeFile(at(name), crypto.getRandomValues(new Uint8Array(1000)));
    const list = names.map((name) => `url=${url}/${name}\noutput=curled/${name}\n`).join("");
    await writeFile(at(`${folder}.list`), list);
  }
  const curl = (folder: string) => {
    mkdirSync(at("curled", folder), { recursive: true });
    const client = start(["curl", "-s", "-K", `${folder}.list`], { cwd: path, limit: LIMIT });
    return fetched(client, at("curled", folder), at(folder), server);
  };
  const contestants = [withLittle("curl, one connection", FOLDERS, curl, ["curl", "python3"])];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download", runtime, bench);
    const run = (folder: string) =>
      fetched(client("--recursive", folder, "--out", "out"), at("out", folder), at(folder), server);
    contestants.push(withLittle(`4.2 on ${runtime}`, FOLDERS, run));
  }
  return contestants;
}

async function unchecked(bench: Bench): Promise<Contestant[]> {
  const { folder: { path, at } } = bench;
  await makeFiles(at, bench.size);
  const { server, url } = await webServer(bench);
  const options = { cwd: path, limit: LIMIT };
  const curl = (file: string) =>
    fetched(start(["curl", "-s", "-o", "copy", `${url}/${file}`], options), at("copy"), at(file), server);
  const nc = async (file: string) => {
    const port = await freePort();
    await using server = start(["sh", "-c", `exec nc -lvN 127.0.0.1 ${port} <${file}`], options);
    await server.next("stderr"); // it listens
    return await fetched(start(["sh", "-c", `nc -d 127.0.0.1 ${port} >copy`], options), at("copy"), at(file));
  };
  const contestants = [
    withLittle("curl", FILES, curl, ["curl", "python3"]),
    withLittle("nc", FILES, nc, ["nc"]),
  ];
  for (const runtime of runtimes) {
    const { server, client } = await ours("download-basic", runtime, bench);
    const run = (file: string) => fetched(client(file), join(path, `copy-${file}`), at(file), server);
    contestants.push(withLittle(`4.1 on ${runtime}`, FILES, run));
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
