#!/usr/bin/env bun
/**
 * 4.2 Serve files reliably: the size first, errors in words, a hash at the end.
 * 中文 可靠的文件服务器：先告知大小，出错给出说明，最后附上校验值。
 *
 * terminal 1
 *   $ bun scripts/apps/download-server.ts --root .
 *   listening on 127.0.0.1:11501
 *   127.0.0.1:50001 gets LICENSE
 *   127.0.0.1:50001 has LICENSE, 928 bytes
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   error: ../secret: not inside the served folder (EACCES)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-client.ts LICENSE ../secret --out copies
 *   saved 928 bytes as copies/LICENSE
 *     SHA-256 e222902037bb775355c37c1c37d6f16975b34d08a12cbdf91e47e4c3dd1fb8a1
 *   error: ../secret: not inside the served folder (EACCES)
 *   [exit 1]
 *
 * Python     connection.recv(1024)      ->  this.#frames.receive(), which wraps
 *                                           socket.iterator()
 *            connection.sendall(data)   ->  this.#frames.flush(), which wraps
 *                                           socket.write(bytes, done)
 *            f.readinto(buffer)         ->  file.read(buffer, ...)
 *            hashlib.sha256()           ->  createHash("sha256")
 * Watch out  A stream has no messages: download/protocol.ts cuts it into frames,
 *            and shows their bytes. Callers are served side by side; one that is
 *            silent for a minute is disconnected.
 * Try        --list. Press Ctrl-C in the client in the middle of a large file, and
 *            run it again.
 * 注意       流里没有消息：download/protocol.ts 把它切成帧，并画出了字节。来访
 *            者同时得到服务；沉默一分钟的会被断开。
 * 试试       --list。下载大文件时中途在客户端按 Ctrl-C，再运行一次。
 */
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { fstatSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { createServer } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { closeOnStop, limitIdle, linger, peerName } from "../../lib/tcp.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { Callers } from "./download/callers.ts";
import { Comparisons } from "./download/comparisons.ts";
import { Lists } from "./download/lists.ts";
import { Memory } from "./download/memory.ts";
import { byteCount, FrameStream, HEADER, LONGEST_PIECE, type Message, VERSION } from "./download/protocol.ts";
import { ServedFolder } from "./served-folder.ts";

/** A file of so many bytes is read and sent at once, when it is asked for ahead. */
const SMALL = 16_384;

/**
 * How long a caller may take to read what was sent at once, in milliseconds. At --limit-rate 4K this takes seven minutes:
 * Linux lets us send again when a third of its own buffer is empty, which has 4 MB, or more where somebody has set it.
 */
const LONGEST_WRITE = 1_800_000;

async function main(stop: AbortSignal) {
  const { host, port, root, idle } = await readArguments(import.meta, {
    port: 11501,
    flags: {
      root: { kind: "text", required: true, help: "the folder whose files are served | 对外提供的文件夹" },
      idle: {
        kind: "number",
        default: 60,
        min: 1,
        max: 86_400,
        help: "disconnect after so many silent seconds | 沉默多少秒就断开",
      },
    },
  });
  const folder = await ServedFolder.at(root);
  const callers = new Callers();
  const shared = { folder, comparisons: new Comparisons(), lists: new Lists(), memory: new Memory() };

  await using server = createServer({ allowHalfOpen: true }, async (socket) => {
    closeOnStop(socket, stop, "reset");
    if (!callers.admit(socket)) return;
    // Where a file goes out, nothing is read: when what a slow caller says meanwhile has filled the buffer, no byte moves.
    limitIdle(socket, idle * 1000, () => socket.readableLength >= socket.readableHighWaterMark);
    const moved = () => {
      callers.moved(socket);
      shared.lists.moved(socket);
    };
    const limits = { longestFrame: idle * 1000, longestWrite: Math.max(LONGEST_WRITE, idle * 1000) };
    const session = new Session(new FrameStream(socket, peerName(socket), { ...limits, moved }), shared);
    try {
      await session.serve();
    } catch (error) {
      if (!stop.aborted) await report(error, session.caller);
    } finally {
      socket.end();
      linger(socket);
    }
  });
  server.listen({ host, port, backlog: callers.most, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");
}

/** What all callers share. */
type Shared = { folder: ServedFolder; comparisons: Comparisons; lists: Lists; memory: Memory };

/** One caller: request after request, until they close the connection. */
class Session {
  readonly caller: string;
  readonly #frames: FrameStream;
  readonly #folder: ServedFolder;
  readonly #comparisons: Comparisons;
  readonly #lists: Lists;
  readonly #memory: Memory;
  /** The size of the largest file that was listed. */
  #largest = 0;

  constructor(frames: FrameStream, { folder, comparisons, lists, memory }: Shared) {
    this.caller = frames.peer;
    this.#frames = frames;
    this.#folder = folder;
    this.#comparisons = comparisons;
    this.#lists = lists;
    this.#memory = memory;
  }

  /** @throws Failure EPROTO, EMSGSIZE for what is not the protocol; what the connection throws */
  async serve(): Promise<void> {
    for (let frame = await this.#frames.receive(); frame; frame = await this.#frames.receive()) {
      try {
        await this.#answer(frame.kind === "message" ? frame.message : {});
      } catch (error) {
        // Trouble with a file is told to the caller, who may ask for the next one.
        const failure = explain(error);
        if (!failure || this.#frames.socket.destroyed) throw error;
        await this.#frames.send({ error: failure.why, code: failure.code });
        if (failure.code === "EPROTO") throw error;
        await report(failure);
      }
      // A slow client has said so among the pieces, where nobody read it; or reads a file that it will ask to compare.
      this.#frames.allowWait(this.#largest);
    }
  }

  async #answer(request: Message): Promise<void> {
    const { version, get, list, check } = request;
    if (version !== VERSION) {
      throw new Failure(this.caller, `this server speaks version ${VERSION}`, "EPROTO");
    }
    if (typeof get === "string") await this.#send(get, request);
    else if (typeof list === "string") await this.#list(list, request.recursive === true);
    else if (typeof check === "string") await this.#compare(check, request);
    else throw new Failure(this.caller, "sent an unknown request", "EPROTO");
  }

  async #list(path: string, recursive: boolean): Promise<void> {
    const { socket } = this.#frames;
    await this.#frames.keepWaiting(this.#lists.begin(socket));
    try {
      for await (const { name, size, time, failure } of this.#folder.list(path, recursive)) {
        this.#largest = Math.max(this.#largest, size);
        const entry = failure ? { name, error: failure.why, code: failure.code } : { name, size, time };
        if (this.#frames.hold({ entry })) await this.#frames.flush();
      }
    } finally {
      this.#lists.end(socket);
    }
    await this.#frames.send({ end: true, ahead: true });
  }

  /** Tells whether a file is the one that the caller has. */
  async #compare(path: string, { size, sha256 }: Message): Promise<void> {
    await using file = await this.#folder.open(path);
    const stat = await file.stat();
    if (stat.size !== byteCount(size, this.caller)) return await this.#frames.send({ same: false });
    const hash = () => this.#frames.hashStart(file, stat.size);
    const { same } = await this.#comparisons.compare(this.#frames, hash, (digest) => digest === sha256, true);
    await this.#frames.send({ same });
  }

  /**
   * Sends a file, behind the bytes that the caller has already, if they are its own.
   * @param request says, as `from`, how many these are; or else the next message does
   */
  async #send(path: string, request: Message): Promise<void> {
    const small = request.from === 0 ? this.#folder.readSmall(path, SMALL, HEADER) : undefined;
    if (small) return await this.#sendSmall(path, small.bytes, small.stat.mtimeMs);
    await using file = await this.#folder.open(path);
    const { size, mtimeMs } = fstatSync(file.fd);
    this.#frames.hold({ file: { size, time: Math.trunc(mtimeMs) } });
    const wish = request.from === undefined ? await this.#wish(size) : request;
    if (wish.cancel) return;
    const length = Math.min(byteCount(wish.from, this.caller), size);
    const { from, hash } = await this.#startOf(file, length, wish.sha256);
    await print(`${this.caller} gets ${visible(path)}${from > 0 ? ` from byte ${from}` : ""}`);
    this.#frames.hold({ from });
    await this.#sendPieces(file, from, size, hash);

    const now = fstatSync(file.fd);
    if (now.size !== size || now.mtimeMs !== mtimeMs) {
      throw new Failure(path, "changed while it was sent", "ESTALE");
    }
    const sha256 = hash.digest("hex");
    await this.#frames.send({ sha256 });
    await print(this.#hasAll(path, size, sha256));
  }

  /** Sends a file that was asked for ahead, in one write. @param frame its bytes, behind HEADER bytes of room */
  async #sendSmall(path: string, frame: Buffer, time: number): Promise<void> {
    const bytes = frame.subarray(HEADER);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    this.#frames.hold({ file: { size: bytes.length, time: Math.trunc(time) } });
    this.#frames.hold({ from: 0 });
    if (bytes.length > 0) this.#frames.holdPiece(frame);
    await this.#frames.send({ sha256 });
    await print(`${this.caller} gets ${visible(path)}\n${this.#hasAll(path, bytes.length, sha256)}`);
  }

  #hasAll(path: string, size: number, sha256: string): string {
    return `${this.caller} has ${visible(path)}, ${size} bytes\n  SHA-256 ${sha256}`;
  }

  async #wish(size: number): Promise<Message> {
    await this.#frames.flush();
    this.#frames.allowWait(size);
    return await this.#frames.expect("from", "cancel");
  }

  /** Where to go on, and the hash of what is before it: from the beginning, unless the caller has the same bytes. */
  async #startOf(file: FileHandle, length: number, sha256: unknown): Promise<{ from: number; hash: Hash }> {
    if (length === 0) return { from: 0, hash: createHash("sha256") };
    const start = () => this.#frames.hashStart(file, length);
    const { same, hash } = await this.#comparisons.compare(
      this.#frames,
      start,
      (digest) => digest === sha256,
    );
    return same ? { from: length, hash } : { from: 0, hash: createHash("sha256") };
  }

  /** While a piece is on its way, it is hashed, and the next one is read. The last one leaves with the SHA-256. */
  async #sendPieces(file: FileHandle, from: number, size: number, hash: Hash): Promise<void> {
    using longest = this.#memory.take(Math.min(LONGEST_PIECE, size - from));
    const read = async (buffer: Buffer, at: number) => {
      const { bytesRead } = await file.read(buffer, HEADER, Math.min(longest.length, size - at), at);
      return buffer.subarray(0, HEADER + bytesRead);
    };
    const [one, other] = [0, 1].map(() => Buffer.allocUnsafe(HEADER + longest.length));
    let [piece, spare] = [await read(one, from), other];
    for (let at = from; piece.length > HEADER;) {
      at += piece.length - HEADER;
      this.#frames.holdPiece(piece);
      const bytes = piece.subarray(HEADER);
      if (at >= size) return void hash.update(bytes);
      [piece] = await Promise.all([read(spare, at), this.#frames.flush(), hash.update(bytes)]);
      spare = spare === one ? other : one;
    }
  }
}

if (import.meta.main) run("server", main);
