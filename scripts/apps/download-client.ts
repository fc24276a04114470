#!/usr/bin/env bun
/**
 * 4.2 Fetch files reliably: whole or not at all; the next run resumes.
 * 中文 可靠的文件下载：要么完整，要么没有；中断后下次接着下。
 *
 * terminal 1
 *   $ bun scripts/apps/download-server.ts --root .
 *   listening on 127.0.0.1:11501
 *   127.0.0.1:50001 gets LICENSE
 *   127.0.0.1:50001 has LICENSE, 928 bytes
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   127.0.0.1:50002 gets LICENSE
 *   127.0.0.1:50002 has LICENSE, 928 bytes
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies
 *   saved 928 bytes as copies/LICENSE
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies
 *   error: copies/LICENSE: exists already, and is not overwritten (EEXIST)
 *   hint: --force overwrites
 *   [exit 1]
 *   $ bun scripts/apps/download-client.ts LICENSE --out copies --force
 *   saved 928 bytes as copies/LICENSE
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   $ bun scripts/apps/download-client.ts --list LICENSE
 *            928  LICENSE
 *
 * Python     s.connect((host, port))    ->  connect({ host, port, onread })
 *            s.recv_into(buffer)        ->  buffers.reads(socket)
 *            hashlib.sha256()           ->  createHash("sha256")
 *            f.write(data)              ->  part.append(frame.bytes), which wraps
 *                                           file.appendFile(bytes)
 *            os.replace(part, name)     ->  part.finish(time, isForced), which
 *                                           wraps rename(path, target)
 * Watch out  A partial download (.part) belongs to one version of the file: its
 *            name holds a hash of the file's size and time. Before it resumes, the
 *            server checks the SHA-256 of the bytes that are already here.
 *            A list has at most 1,000,000 files, and 67 million characters.
 * Try        --recursive scripts. --limit-rate 100K, Ctrl-C, and again without it.
 * 注意       未完成的部分属于文件的某一个状态。它的名字里有大小和时间的散列；接
 *            着传之前，服务器会核对已有部分的 SHA-256。一份清单最多 1,000,000
 *            个文件、6700 万个字符。
 * 试试       --recursive scripts。--limit-rate 100K，按 Ctrl-C，再不加它运行一
 *            次。
 */
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { lstatSync, type Stats } from "node:fs";
import { lstat, mkdir, utimes } from "node:fs/promises";
import { connect } from "node:net";
import { basename } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { openFile, taken } from "../../lib/files.ts";
import { closeOnStop, limitIdle } from "../../lib/tcp.ts";
import { hint, print, report, run, visible } from "../../lib/program.ts";
import { DoubleBuffer } from "./download/double-buffer.ts";
import { type Part, Parts, SMALL, SmallPart } from "./download/part.ts";
import {
  byteCount,
  FrameStream,
  type Message,
  milliseconds,
  throwError,
  VERSION,
} from "./download/protocol.ts";
import { makeWay, placeOf } from "./download/way.ts";
import { Progress } from "./progress.ts";
import { replaceable } from "./replace.ts";

/** How long the server may be silent, in milliseconds. */
const PATIENCE = 60_000;

/** The lowest rate, in bytes a second: at a lower one, a piece takes so long that both ends are silent. */
const SLOWEST = 4096;

/** How many files a list may have, and how many characters their names. */
const LONGEST_LIST = 1_000_000;
const LONGEST_NAMES = 2 ** 26;

/** Two times this close are the same one: not every runtime and file system keeps the milliseconds exactly. */
const SAME_TIME = 2;

/** So many small files of a folder are asked for ahead; when half of them are here, for as many more. */
const MOST_AHEAD = 128;

type Options = { out: string; force: boolean; checksum: boolean; quiet: boolean; rate: number };

/** A file that the server has; its time in milliseconds since 1970. */
type Listed = { name: string; size: number; time: number };

type Fetched = { size: number; sha256: string };

/** A file that was asked for ahead. */
type Asked = { listed: Listed; place: string; transfer: Transfer };

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 11501,
    words: "[NAME...]",
    flags: {
      out: { kind: "text", default: ".", help: "the folder to save in | 保存到哪个文件夹" },
      list: {
        kind: "switch",
        help: "show what there is; also without any NAME | 列出有什么；不写 NAME 也一样",
      },
      recursive: { kind: "switch", help: "folders with all that is in them | 文件夹连同里面的一切" },
      force: { kind: "switch", help: "overwrite | 覆盖" },
      checksum: {
        kind: "switch",
        help:
          "with --recursive: skip by SHA-256, not by size and time | 配合 --recursive：按 SHA-256 跳过，不看大小和时间",
      },
      limitRate: {
        kind: "text",
        help: "at most so many bytes a second: 500K, 2M | 每秒最多多少字节：500K、2M",
      },
      quiet: { kind: "switch", help: "errors only | 只显示错误" },
    },
  });
  const rate = bytesPerSecond(options.limitRate);

  const { host, port } = options;
  const buffers = new DoubleBuffer();
  const { onread } = buffers;
  await using socket = closeOnStop(connect({ host, port, onread }), stop);
  await once(socket, "connect");
  limitIdle(socket, PATIENCE, () => buffers.hasMoved());
  const frames = new FrameStream(socket, endpoint(host, port), { chunks: buffers.reads(socket) });
  const downloads = new Downloads(frames, { ...options, rate }, stop);

  if (options.list || options.words.length === 0) {
    for (const name of options.words.length > 0 ? options.words : [""]) {
      await downloads.show(name, options.recursive);
    }
    return;
  }
  await mkdir(options.out, { recursive: true });
  try {
    for (const name of options.words) {
      if (options.recursive) await downloads.fetchFolder(name);
      else await downloads.fetchFile(name, basename(name));
    }
  } finally {
    await downloads.summary();
  }
}

/** What one run asks for, one request after another. */
class Downloads {
  readonly #frames: FrameStream;
  readonly #options: Options;
  readonly #stop: AbortSignal;
  readonly #parts = new Parts();
  /** Whether the server takes requests ahead: it says so at the end of a list. */
  #mayAskAhead = false;
  #asked: Asked[] = [];
  /** Of the folders that were asked for: how many files they have, and how many of these were here already. */
  #listed = 0;
  #skipped = 0;
  #current: Transfer | undefined;

  constructor(frames: FrameStream, options: Options, stop: AbortSignal) {
    this.#frames = frames;
    this.#options = options;
    this.#stop = stop;
  }

  /** Shows what there is. */
  show(path: string, recursive: boolean): Promise<void> {
    return this.#tryOne(path, async () => {
      for (const { name, size } of await this.#list(path, recursive)) {
        await print(`${String(size).padStart(12)}  ${visible(name)}`);
      }
    });
  }

  /** Fetches the files below a folder, except those that are here already. */
  fetchFolder(folder: string): Promise<void> {
    return this.#tryOne(folder, async () => {
      for (const listed of await this.#list(folder, true)) {
        this.#listed++;
        const place = placeOf(listed.name, folder, this.#frames.peer);
        if (this.#mayAskAhead && this.#askAhead(listed, place)) {
          if (this.#asked.length === MOST_AHEAD) await this.#fetchAsked(MOST_AHEAD / 2);
        } else {
          await this.#fetchAsked(0);
          await this.fetchFile(listed.name, place, listed);
        }
      }
      await this.#fetchAsked(0);
    });
  }

  /**
   * Asks for a file, and does not wait for it: of a small file, the way there and back takes longer than its bytes.
   * @returns false for one that is here, or was begun, or cannot be saved: that takes a conversation
   */
  #askAhead(listed: Listed, place: string): boolean {
    try {
      const target = makeWay(this.#options.out, place);
      if (lstatSync(target, { throwIfNoEntry: false }) || this.#parts.hasLeft(target)) return false;
      const transfer = new Transfer(this.#frames, listed.name, target, this.#options, this.#stop);
      transfer.askAhead();
      this.#asked.push({ listed, place, transfer });
      return true;
    } catch {
      return false; // it is told then
    }
  }

  /** Fetches what was asked for ahead, until so many are left. */
  async #fetchAsked(left: number): Promise<void> {
    // Not awaited: the server may read the requests only when we read its answers. An error shows there, too.
    this.#frames.flush().catch(() => {});
    while (this.#asked.length > left) {
      const { listed, place, transfer } = this.#asked.shift() as Asked;
      await this.#tryOne(listed.name, async () => {
        this.#current = transfer;
        try {
          await this.#sayIsSaved(transfer.target, await transfer.run(this.#parts));
        } catch (error) {
          if ((error as Failure).code !== "EEXIST") throw error;
          await this.#fetchAsked(0); // another run was faster: a question about it comes behind their answers
          await this.fetchFile(listed.name, place, listed);
        }
      });
    }
  }

  /**
   * Fetches a file.
   * @param place where it is saved, below --out
   * @param listed the same file in a list: then it is skipped if it is here already
   */
  fetchFile(path: string, place: string, listed?: Listed): Promise<void> {
    return this.#tryOne(path, async () => {
      const target = makeWay(this.#options.out, place);
      const isHere = async () => listed !== undefined && await this.#isHere(listed, target);
      const fetched = await isHere() ? undefined : await this.#fetch(path, target).catch(async (error) => {
        if (error.code === "EEXIST" && await isHere()) return undefined; // another run was faster
        throw error;
      });
      await this.#parts.remove(target, listed === undefined); // a look for each file of a large folder is too much
      if (!fetched) this.#skipped++;
      else await this.#sayIsSaved(target, fetched);
    });
  }

  #sayIsSaved(target: string, { size, sha256 }: Fetched): Promise<void> {
    return this.#say(`saved ${size} bytes as ${visible(target)}\n  SHA-256 ${sha256}`);
  }

  /** Tells what was skipped and, after Ctrl-C, what is kept. */
  async summary(): Promise<void> {
    if (this.#skipped > 0) {
      await this.#say(`already here and skipped: ${this.#skipped} of ${this.#listed} files`);
    }
    const part = this.#current?.part;
    if (!this.#stop.aborted || !part?.size) return;
    await hint(`${part.size} bytes of ${part.target} are kept; the same command goes on from there`);
  }

  #fetch(path: string, target: string): Promise<Fetched> {
    this.#current = new Transfer(this.#frames, path, target, this.#options, this.#stop);
    return this.#current.run(this.#parts);
  }

  /** Whether a file is here already: of the same size and time, or else with the same SHA-256. */
  async #isHere({ name, size, time }: Listed, target: string): Promise<boolean> {
    const stat = await lstat(target).catch(() => undefined);
    if (!stat?.isFile() || stat.size !== size) return false;
    if (!this.#options.checksum && Math.abs(stat.mtimeMs - time) < SAME_TIME) return true;
    await using file = await openFile(target);
    const sha256 = (await this.#frames.hashStart(file, size)).digest("hex");
    await this.#frames.send({ version: VERSION, check: name, size, sha256 });
    this.#frames.allowWait(size);
    const { same } = await this.#frames.expect("same");
    if (same === true) await utimes(target, new Date(), new Date(time)).catch(() => {}); // so that the next run is quick
    return same === true;
  }

  /** Reports what is wrong with one file, and goes on with the next. What is wrong with the connection ends all. */
  async #tryOne(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { socket, peer } = this.#frames;
      const failure = explain(error);
      if (!failure || socket.destroyed || ["EPROTO", "EMSGSIZE"].includes(failure.code)) throw error;
      const advice = { EEXIST: "--force overwrites", EISDIR: "--recursive fetches folders" }[failure.code];
      const what = failure.what === peer ? name : failure.what;
      await report(new Failure(what, failure.why, failure.code, { hint: failure.hint ?? advice }));
      process.exitCode = 1;
    }
  }

  /** Asks what there is. A list has an end, whoever sends it. */
  async #list(path: string, recursive: boolean): Promise<Listed[]> {
    const { peer } = this.#frames;
    await this.#frames.send({ version: VERSION, list: path, recursive });
    this.#frames.allowWait(0); // others may be first
    const entries: Listed[] = [];
    let length = 0;
    for (let count = 0;; count++) {
      const { end, ahead, entry } = await this.#frames.expect("entry", "end");
      if (end === true) {
        this.#mayAskAhead = ahead === true;
        return entries;
      }
      const { name, size, time, error, code } = (entry ?? {}) as Message;
      if (typeof name !== "string") throw new Failure(peer, "sent a broken list", "EPROTO");
      length += name.length;
      if (count === LONGEST_LIST || length > LONGEST_NAMES) {
        throw new Failure(peer, "sent a list without end", "EPROTO");
      }
      if (error !== undefined) await this.#tryOne(name, () => Promise.try(throwError, { error, code }, peer));
      else entries.push({ name, size: byteCount(size, peer), time: milliseconds(time, peer) });
    }
  }

  async #say(text: string): Promise<void> {
    if (!this.#options.quiet) await print(text);
  }
}

/**
 * One file on its way: behind the bytes that an earlier run left in its part, into the part. When all are there and
 * their hash is right, the file gets its name.
 */
class Transfer {
  readonly #frames: FrameStream;
  readonly #path: string;
  readonly target: string;
  readonly #options: Options;
  readonly #stop: AbortSignal;
  part: Part | undefined;
  #isAsked = false;

  /** @param target where it is saved */
  constructor(frames: FrameStream, path: string, target: string, options: Options, stop: AbortSignal) {
    this.#frames = frames;
    this.#path = path;
    this.target = target;
    this.#options = options;
    this.#stop = stop;
  }

  /** Asks for all of the file, which is not here, when the next requests are sent. */
  askAhead(): void {
    this.#isAsked = true;
    this.#frames.hold({ version: VERSION, get: this.#path, from: 0 });
  }

  /** @throws Failure EEXIST, EISDIR before anything is fetched; EBADMSG; what the server tells, EPROTO, ... */
  async run(parts: Parts): Promise<Fetched> {
    const { peer } = this.#frames;
    const isForced = this.#options.force;
    const replaced = this.#isAsked ? undefined : await replaceable(this.target);
    if (replaced && !isForced) throw taken(this.target);

    if (!this.#isAsked) await this.#frames.send({ version: VERSION, get: this.#path });
    const file = ((await this.#frames.expect("file")).file ?? {}) as Message;
    const [size, time] = [byteCount(file.size, peer), milliseconds(file.time, peer)];
    const state = `${this.#path}\n${size}\n${time}`;
    if (this.#isAsked && size <= SMALL) {
      return await this.#finish(new SmallPart(this.target, state), size, time);
    }
    await using part = await this.#openPart(parts, state, replaced);
    if (part.size > size) await part.restart();
    return await this.#finish(part, size, time);
  }

  /** Receives the bytes, and compares their hash. */
  async #finish(part: Part | SmallPart, size: number, time: number): Promise<Fetched> {
    const hash = await this.#agreeOnStart(part);
    await this.#receive(part, hash, size);
    const { sha256 } = await this.#frames.expect("sha256");
    if (hash.digest("hex") !== sha256) {
      await part.discard();
      throw new Failure(this.target, "arrived damaged", "EBADMSG");
    }
    await part.finish(time, this.#options.force);
    return { size, sha256: sha256 as string };
  }

  async #openPart(parts: Parts, state: string, replaced?: Stats): Promise<Part> {
    try {
      const { part, hadOther } = await parts.open(this.target, state, replaced);
      this.part = part;
      if (hadOther) await this.#say(`${visible(this.target)} has changed on the server: starting afresh`);
      return part;
    } catch (error) {
      if (this.#isAsked) await this.#skip();
      else await this.#frames.send({ cancel: true });
      throw error;
    }
  }

  /** Lets pass what was asked for ahead and cannot be saved. */
  async #skip(): Promise<void> {
    for (let isOver = false; !isOver;) {
      const frame = await this.#frames.receive();
      if (!frame) throw new Failure(this.#frames.peer, "closed the connection too early", "ECONNRESET");
      isOver = frame.kind === "message" && ["sha256", "error"].some((field) => field in frame.message);
    }
  }

  /**
   * Tells the server what is here already.
   * @returns the SHA-256 of the bytes in the part: all that were there, or none when the server has others
   */
  async #agreeOnStart(part: Part | SmallPart): Promise<Hash> {
    const { peer } = this.#frames;
    if (part instanceof SmallPart) {
      if (byteCount((await this.#frames.expect("from")).from, peer) === 0) return createHash("sha256");
      throw new Failure(peer, "goes on at another place", "EPROTO");
    }
    if (this.#isAsked && part.size > 0) await part.restart();
    const hash = await this.#frames.hashStart(part.file, part.size);
    if (!this.#isAsked) {
      await this.#frames.send({ from: part.size, sha256: hash.copy().digest("hex") });
      this.#frames.allowWait(part.size);
    }
    const from = byteCount((await this.#frames.expect("from")).from, peer);
    if (from > 0 && from !== part.size) throw new Failure(peer, "goes on at another place", "EPROTO");
    if (from > 0) await this.#say(`going on with ${visible(this.target)} at byte ${from}`);
    if (from === part.size) return hash;
    await part.restart();
    return createHash("sha256");
  }

  /** Adds pieces to a part until it has all its bytes. */
  async #receive(part: Part | SmallPart, hash: Hash, size: number): Promise<void> {
    const { socket, peer } = this.#frames;
    const { rate, quiet } = this.#options;
    using progress = new Progress(basename(this.target), quiet ? 0 : size, part.size);
    const begin = performance.now();
    let writing = Promise.resolve();
    let missing = size - part.size;
    try {
      for (let received = 0; missing > 0;) {
        // While a piece comes, the one before goes to the disk.
        const [frame] = await Promise.all([this.#frames.receive(writing), writing]);
        if (!frame) throw new Failure(peer, "closed the connection too early", "ECONNRESET");
        if (frame.kind === "message") throwError(frame.message, peer);
        if (frame.kind !== "piece" || frame.bytes.length === 0 || frame.bytes.length > missing) {
          throw new Failure(peer, "sent something that is not the next piece", "EPROTO");
        }
        hash.update(frame.bytes);
        writing = part.append(frame.bytes).catch((error) => {
          socket.destroy(); // the disk is full, say: the rest of the answer is of no use
          throw error;
        });
        writing.catch(() => {}); // it is heard of above, maybe after a pause
        missing -= frame.bytes.length;
        received += frame.bytes.length;
        progress.step(frame.bytes.length);
        const early = received / rate * 1000 - (performance.now() - begin);
        if (early > 1) await this.#frames.keepWaiting(sleep(early, undefined, { signal: this.#stop }));
      }
      await writing;
    } finally {
      await Promise.allSettled([writing]);
    }
  }

  async #say(text: string): Promise<void> {
    if (!this.#options.quiet) await print(text);
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
