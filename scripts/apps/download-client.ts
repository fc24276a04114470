#!/usr/bin/env bun
/**
 * 4.2 Fetch files that one can rely on: interrupted anywhere, the next run goes on; whole, or not at all.
 * 中文 可靠的文件下载：随时中断，下次接着下；要么完整，要么没有。
 *
 * terminal 1
 *   $ bun scripts/apps/download-server.ts --root .
 *   listening on 127.0.0.1:11501
 *   127.0.0.1:50001 gets LICENSE
 *   127.0.0.1:50001 has LICENSE, 928 bytes
 *   127.0.0.1:50002 gets LICENSE
 *   127.0.0.1:50002 has LICENSE, 928 bytes
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies
 *   saved 928 bytes as copies/LICENSE
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies
 *   error: copies/LICENSE: exists already, and is not overwritten (EEXIST)
 *   hint: --force overwrites
 *   [exit 1]
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies --force
 *   saved 928 bytes as copies/LICENSE
 *   $ bun scripts/apps/download-client.ts --list LICENSE
 *            928  LICENSE
 *
 * Python     open(part, "ab")                    ->  await open(part, O_RDWR | O_CREAT | O_NOFOLLOW)
 *            os.replace(part, name)              ->  await rename(part, name)
 * Watch out  The part belongs to one state of the file: its name holds a fingerprint of size and time, and
 *            the server compares the hash of its bytes before it goes on behind them.
 * Try        --recursive scripts. --limit-rate 100K, Ctrl-C, and again without it.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import {
  expectMessage,
  type Frame,
  frames,
  hashStart,
  type Message,
  sendMessage,
  throwError,
  VERSION,
  whole,
} from "./download/protocol.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { taken } from "../../lib/files.ts";
import { makeWay } from "./download/way.ts";
import { print, report, visible } from "../../lib/output.ts";
import { Progress } from "./progress.ts";
import { run } from "../../lib/run.ts";
import { limitIdle, survive } from "../../lib/tcp.ts";

/** How long the server may be silent, in milliseconds. */
const PATIENCE = 60_000;

/** The lowest rate, in bytes a second: at a lower one, a piece takes so long that both ends are silent. */
const SLOWEST = 4096;

/** How many files a list may have, and how many characters their names. */
const LONGEST_LIST = 100_000;
const LONGEST_NAMES = 2 ** 24;

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 11501,
    words: "[NAME...]",
    flags: {
      out: { kind: "text", default: ".", help: "the folder to save in" },
      list: { kind: "switch", help: "show what there is; also without any NAME" },
      recursive: { kind: "switch", help: "folders with all that is in them" },
      force: { kind: "switch", help: "overwrite" },
      limitRate: { kind: "text", help: "at most so many bytes a second: 500K, 2M" },
      quiet: { kind: "switch", help: "errors only" },
    },
  });
  const rate = bytesPerSecond(options.limitRate);
  const server = endpoint(options.host, options.port);

  await using socket = survive(connect({ host: options.host, port: options.port }), stop);
  await once(socket, "connect");
  limitIdle(socket, PATIENCE);
  const line: Line = { socket, server, incoming: frames(socket, server), stop };

  await mkdir(options.out, { recursive: true });
  const isList = options.list || options.words.length === 0;
  for (const name of options.words.length > 0 ? options.words : [""]) {
    await oneByOne(name, async () => {
      if (!isList && !options.recursive) return await save(name, basename(name));
      for (const entry of await list(line, name, options.recursive)) {
        if (isList) await print(`${String(entry.size).padStart(12)}  ${visible(entry.name)}`);
        else await oneByOne(entry.name, () => save(entry.name, placeOf(entry.name, name, server)));
      }
    });
  }

  /** Reports what is wrong with one file, and goes on with the next; what is wrong with the line ends all. */
  async function oneByOne(name: string, work: () => Promise<void>) {
    try {
      await work();
    } catch (error) {
      const failure = explain(error);
      if (!failure || socket.destroyed || ["EPROTO", "EMSGSIZE"].includes(failure.code)) throw error;
      const hint = { EEXIST: "--force overwrites", EISDIR: "--recursive fetches folders" }[failure.code] ??
        failure.hint;
      const what = failure.what === server ? name : failure.what;
      await report(new Failure(what, failure.why, failure.code, { hint }));
      process.exitCode = 1;
    }
  }

  async function save(path: string, place: string) {
    const target = await makeWay(options.out, place);
    const size = await fetch(line, path, target, options, rate, say).catch((error) => {
      if (error instanceof Failure || socket.destroyed) throw error; // told by the server, or the line is broken
      socket.destroy(); // this machine has failed, and the server is in the middle of its answer
      throw explain(error, target) ?? error;
    });
    await say(`saved ${size} bytes as ${visible(target)}`);
  }

  async function say(text: string) {
    if (!options.quiet) await print(text);
  }
}

/** The connection to the server. */
type Line = { socket: Socket; server: string; incoming: AsyncGenerator<Frame>; stop: AbortSignal };

/** Asks what there is. A list has an end, whoever sends it. */
async function list({ socket, server, incoming }: Line, path: string, recursive: boolean) {
  await sendMessage(socket, { version: VERSION, list: path, recursive });
  const entries: { name: string; size: number }[] = [];
  let length = 0;
  while (true) {
    const { value: frame } = await incoming.next();
    if (frame?.kind !== "message") throw new Failure(server, "sent no list", "EPROTO");
    throwError(frame.message, server);
    if (frame.message.end === true) return entries;
    const entry = frame.message.entry as Message | undefined;
    if (typeof entry?.name !== "string") throw new Failure(server, "sent no list", "EPROTO");
    length += entry.name.length;
    if (entries.length === LONGEST_LIST || length > LONGEST_NAMES) {
      throw new Failure(server, "sent a list without end", "EPROTO");
    }
    entries.push({ name: entry.name, size: whole(entry.size, server) });
  }
}

/** Where a file of a folder goes, below the folder that was asked for. What is not below it was not asked for. */
function placeOf(path: string, asked: string, server: string): string {
  const folder = asked.split("/").filter((part) => part !== "" && part !== ".");
  const parts = path.split("/");
  if (folder.some((part, index) => part !== parts[index])) {
    throw new Failure(server, "sent a file that was not asked for", "EPROTO");
  }
  return parts.slice(Math.max(0, folder.length - 1)).join("/");
}

/**
 * Fetches one file: behind the bytes that an earlier run left in its part, into the part, and when all are there
 * and their hash is right, the file gets its name.
 */
async function fetch(
  { socket, server, incoming, stop }: Line,
  path: string,
  target: string,
  { force, quiet }: { force: boolean; quiet: boolean },
  rate: number,
  say: (text: string) => Promise<void>,
): Promise<number> {
  const isFree = () => lstat(target).then(() => false, () => true);
  if (!force && !await isFree()) throw taken(target);
  await sendMessage(socket, { version: VERSION, get: path });
  const { size, time } = ((await expectMessage(incoming, "file", server)).file ?? {}) as Message;
  const total = whole(size, server);
  const part = await partOf(target, `${path}\n${total}\n${whole(time, server)}`, say);
  const file = await open(part, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0));
  let at = Math.min((await file.stat()).size, total);
  let writing = Promise.resolve();
  try {
    let hash = await hashStart(file, at, socket);
    await sendMessage(socket, { from: at, sha256: hash.copy().digest("hex") });
    const from = whole((await expectMessage(incoming, "from", server)).from, server);
    if (from !== at && from !== 0) throw new Failure(server, "goes on at another place", "EPROTO");
    if (from > 0) await say(`going on with ${visible(target)} at byte ${from}`);
    if (from !== at) hash = createHash("sha256");
    at = from;
    await file.truncate(at);
    using progress = new Progress(basename(target), quiet ? 0 : total, at);
    const begin = performance.now();
    while (at < total) {
      // While a piece comes, the one before goes to the disk.
      const [{ value: frame }] = await Promise.all([incoming.next(), writing]);
      if (!frame) throw new Failure(server, "hung up too early", "ECONNRESET");
      if (frame.kind === "message") throwError(frame.message, server);
      if (frame.kind === "message" || frame.bytes.length > total - at) {
        throw new Failure(server, "sent no piece of the file", "EPROTO");
      }
      writing = writeAll(file, frame.bytes, at);
      hash.update(frame.bytes);
      at += frame.bytes.length;
      progress.step(frame.bytes.length);
      const tooFast = (at - from) / rate - (performance.now() - begin) / 1000;
      if (tooFast > 0) await Promise.all([sleep(tooFast * 1000, undefined, { signal: stop }), writing]);
    }
    const [{ sha256 }] = await Promise.all([expectMessage(incoming, "sha256", server), writing]);
    if (sha256 !== hash.digest("hex")) {
      at = 0; // what is here is worth nothing
      throw new Failure(target, "arrived damaged", "EBADMSG");
    }
  } finally {
    await Promise.allSettled([writing]);
    await file.close();
    if (at === 0 && total > 0) await rm(part, { force: true });
  }
  if (!force && !await isFree()) throw taken(target); // it has come meanwhile
  await rename(part, target).catch(failAs(target));
  return total;
}

/**
 * The path of the part of a file: beside it, with a fingerprint of the state of the file on the server. The part of an
 * earlier state is of no use any more.
 */
async function partOf(target: string, state: string, say: (text: string) => Promise<void>): Promise<string> {
  const fingerprint = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 10);
  const name = basename(target);
  const start = name.length <= 60 ? `${name}.` : `${name.slice(0, 50).toWellFormed()}.${fingerprint(name)}.`;
  const part = `${start}${fingerprint(state)}.part`;
  for (const other of await readdir(dirname(target))) {
    if (
      other === part || !other.startsWith(start) || !/^[0-9a-f]{10}\.part$/.test(other.slice(start.length))
    ) {
      continue;
    }
    await say(`${visible(target)} has changed on the server: starting afresh`);
    await rm(join(dirname(target), other));
  }
  return join(dirname(target), part);
}

/** Writes all the bytes at a place in a file: one write(2) may take only some of them. */
async function writeAll(file: FileHandle, bytes: Uint8Array, place: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await file.write(bytes, done, bytes.length - done, place + done)).bytesWritten;
  }
}

/** Reads a rate such as 500K or 2M, as curl does. */
function bytesPerSecond(text: string | undefined): number {
  if (text === undefined) return Infinity;
  const [, number, unit = ""] = /^(\d{1,10})([KMG]?)$/i.exec(text) ?? [];
  const rate = Number(number) * 1024 ** ["", "K", "M", "G"].indexOf(unit.toUpperCase());
  if (rate >= SLOWEST) return rate;
  throw new Failure(`--limit-rate ${text}`, "it is a number of bytes: 500K, 2M; at least 4K", "EINVAL", {
    exitCode: 2,
  });
}

if (import.meta.main) run("client", main);
