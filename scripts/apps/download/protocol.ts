/**
 * The protocol of lesson 4.2, version 1. Both ends send frames over one TCP connection: messages of the `length`
 * framing (lib/framing.ts), whose first byte is the kind.
 *
 *     0               4      5                4+L
 *     +---------------+------+----------------+
 *     | L, big-endian | kind | payload        |     L: bytes from the kind on, 1 to 131,072
 *     +---------------+------+----------------+
 *
 * kind 0: a message, one JSON object in UTF-8. kind 1: a piece of a file.
 *
 *     client                                       server
 *     {"version":1,"list":PATH,"recursive":true}   {"entry":{"name":PATH,"size":S,"time":T}} for each file,
 *                                                  {"entry":{"name":PATH,"error":WHY,"code":CODE}} for a
 *                                                  folder that cannot be read; then {"end":true,"ahead":true}
 *     {"version":1,"get":PATH}                     {"file":{"size":S,"time":T}}
 *     {"from":N,"sha256":OF_THE_FIRST_N_BYTES}     {"from":N}, or {"from":0} when its first N bytes are others;
 *                                                  pieces, S - N bytes in all; {"sha256":OF_THE_WHOLE_FILE}
 *     or {"cancel":true}                           nothing: the next request may follow
 *     {"version":1,"check":PATH,"size":S,          {"same":true}, or {"same":false} when its file is another
 *      "sha256":OF_THE_WHOLE_FILE}
 *                                                  at any time {"error":WHY,"code":CODE}: this request failed
 *     {"wait":true}, from either end before its "from" or "same": I am still reading a file, to compare it;
 *                    from a server before a list: others of your address are first;
 *                    from a client among the pieces: I am not ready for the next one yet
 *
 * {"version":1,"get":PATH,"from":N,"sha256":...} asks for the same in one message: the answers follow each other at
 * once. So a client can ask for many small files ahead, and need not wait for each. A server that takes this says
 * "ahead" at the end of a list. Servers and clients from before know neither, and never meet it.
 *
 * PATH is relative, with `/`. T is the time of the last change, in milliseconds since 1970 (negative before that).
 * Further requests follow on the same connection. A client that has none left closes it.
 */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { failAs, Failure } from "../../../lib/failure.ts";
import { LIMIT, Unframer } from "../../../lib/framing.ts";
import { sent } from "../../../lib/socket.ts";

export const VERSION = 1;

/** The longest piece of a file, in bytes. */
export const LONGEST_PIECE = LIMIT - 1;

/** What comes before a payload: its length and kind, in bytes. */
export const HEADER = 5;

/** At so many bytes, or after so many milliseconds, frames that are held back should leave. */
const MUCH = 65_536;
const LONG = 100;

/** How often the other end is told to wait, in milliseconds. */
const WAIT = 500;

/**
 * How long the other end may say so: ten minutes, in which it may have to wait its turn, and the time that reading
 * takes at 10 MB/s. In milliseconds.
 */
const longestWait = (bytes: number) => 600_000 + bytes / 10_000;

const MESSAGE = 0;
const PIECE = 1;

/** The fields of a message. What comes from the network can have any. */
export type Message = Record<string, unknown>;
/** A message; or bytes of a piece, as many as one read has brought. */
export type Frame = { kind: "message"; message: Message } | { kind: "piece"; bytes: Buffer };

/** One end of a connection: sends frames, and receives them. */
export class FrameStream {
  readonly socket: Socket;
  /** The endpoint of the other end, for errors. */
  readonly peer: string;
  readonly #chunks: AsyncIterator<Buffer>;
  /** The header of the frame that is coming, and how much of it has come. */
  readonly #header = Buffer.alloc(HEADER);
  #headerBytes = 0;
  /** How many bytes of its payload are still missing. */
  #missing = 0;
  readonly #unframer: Unframer;
  /** The frames of the last chunk that have not been received yet. */
  #frames: Iterator<Frame> = [].values();
  readonly #moved: () => void;
  readonly #longestFrame: number;
  readonly #longestWrite: number;
  /** Since when the next frame is waited for. */
  #since = 0;
  #mayWaitUntil = 0;
  /** Frames that are not sent yet, their bytes, and since when they wait. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #heldSince = 0;

  /**
   * @param chunks what each read brings. Its bytes may be overwritten when the next chunk but one is asked for: a
   *   message is copied, and the bytes of a piece must be used by then
   * @param longestFrame how long the other end may take to send one frame, in milliseconds: single bytes, now and
   *   then, would keep a place for ever
   * @param longestWrite how long it may take to read what was sent at once, in milliseconds: it can keep a connection
   *   from being silent without reading anything
   * @param moved is called for each frame that was received or sent
   */
  constructor(socket: Socket, peer: string, {
    chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>,
    longestFrame = Infinity,
    longestWrite = Infinity,
    moved = () => {},
  } = {}) {
    this.socket = socket;
    this.peer = peer;
    this.#longestFrame = longestFrame;
    this.#longestWrite = longestWrite;
    this.#moved = moved;
    this.#chunks = chunks;
    this.#unframer = new Unframer("length", peer);
  }

  /** Sends a message, behind those that are held back. @throws what the connection throws */
  send(message: Message): Promise<void> {
    this.hold(message);
    return this.flush();
  }

  /**
   * Holds a message back until the next `send` or `flush`: each write is a system call here and a packet there.
   * @returns whether many wait, or one waits for long
   */
  hold(message: Message): boolean {
    const text = JSON.stringify(message);
    const frame = Buffer.allocUnsafe(HEADER + Buffer.byteLength(text));
    frame.write(text, HEADER);
    this.#hold(MESSAGE, frame);
    return this.#heldBytes >= MUCH || performance.now() - this.#heldSince >= LONG;
  }

  /**
   * Holds a piece of a file back, too.
   * @param buffer HEADER bytes of room, then the bytes: at most LONGEST_PIECE
   */
  holdPiece(buffer: Buffer): void {
    this.#hold(PIECE, buffer);
  }

  #hold(kind: number, frame: Buffer): void {
    frame.writeUInt32BE(frame.length - HEADER + 1, 0);
    frame.writeUInt8(kind, HEADER - 1);
    if (this.#held.length === 0) this.#heldSince = performance.now();
    this.#held.push(frame);
    this.#heldBytes += frame.length;
  }

  /**
   * Sends what is held back, in one write: two would be two packets.
   * @param moves whether that is an achievement of the other end
   * @throws what the connection throws
   */
  async flush(moves = true): Promise<void> {
    if (this.#held.length === 0) return;
    const bytes = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    const timer = this.#longestWrite < Infinity && setTimeout(() => this.#isTooSlow(), this.#longestWrite);
    await sent((done) => this.socket.write(bytes, done)).catch((error) => {
      failAs(this.peer)(this.socket.errored ?? error); // why it was closed, rather than that it is
    }).finally(() => timer && clearTimeout(timer));
    if (moves) this.#moved();
  }

  #isTooSlow(): void {
    const why = `did not take what was sent in ${this.#longestWrite / 1000} seconds`;
    this.socket.destroy(new Failure(this.peer, why, "ETIMEDOUT"));
  }

  /**
   * The next frame; undefined when the other end has closed the connection.
   * @param use what still uses the bytes of the piece before: a second read, which overwrites them, waits for it
   * @throws Failure EMSGSIZE for a frame above the limit, EPROTO for anything else; what the connection throws
   */
  async receive(use?: Promise<unknown>): Promise<Frame | undefined> {
    this.#since = performance.now();
    const frame = await this.#next(use).catch((error) => failAs(this.peer)(this.socket.errored ?? error));
    if (frame) this.#moved();
    else if (this.socket.errored) throw this.socket.errored; // we have broken it off: no close of the other end
    return frame;
  }

  /** From now on the other end may say that it is reading so many bytes. */
  allowWait(bytes: number): void {
    this.#mayWaitUntil = performance.now() + longestWait(bytes);
  }

  /**
   * Receives the next frame, which must be a message with one of these fields.
   * @throws Failure with the words of an error message; EPROTO for anything else; ECONNRESET at the end
   */
  async expect(...fields: string[]): Promise<Message> {
    const frame = await this.receive();
    if (!frame) throw this.#gone();
    if (frame.kind === "message") throwError(frame.message, this.peer);
    const message = frame.kind === "message" ? frame.message : {};
    if (fields.every((field) => message[field] === undefined)) {
      throw new Failure(this.peer, `sent no ${fields[0]}`, "EPROTO");
    }
    return message;
  }

  async #next(use?: Promise<unknown>): Promise<Frame | undefined> {
    for (let reads = 0;; reads++) {
      const { value: frame } = this.#frames.next();
      if (frame) return frame;
      // Asked when a chunk holds no whole frame, and not when it comes: we may have stood still ourselves until then.
      if (reads > 0 && performance.now() - this.#since > this.#longestFrame) {
        const why = `sent no whole frame in ${this.#longestFrame / 1000} seconds`;
        throw new Failure(this.peer, why, "ETIMEDOUT");
      }
      if (reads === 1) await use?.catch(() => {}); // its owner hears of an error
      if (!await this.#nextChunk()) return undefined;
    }
  }

  /**
   * The frames of a chunk. A message is put together; the bytes of a piece are not copied, but come as the reads have
   * cut them.
   */
  *#framesOf(chunk: Buffer): Generator<Frame> {
    for (let at = 0; at < chunk.length;) {
      if (this.#headerBytes < HEADER) {
        at += this.#readHeader(chunk.subarray(at));
        if (this.#headerBytes < HEADER || this.#missing > 0) continue;
      }
      const bytes = chunk.subarray(at, at + this.#missing);
      at += bytes.length;
      this.#missing -= bytes.length;
      if (this.#missing === 0) this.#headerBytes = 0;
      if (this.#header[HEADER - 1] === PIECE) yield { kind: "piece", bytes };
      else for (const whole of this.#unframer.messages(bytes)) yield* this.#readMessage(whole);
    }
  }

  /** Reads the header of a frame, or what has come of it. @returns how many bytes that is */
  #readHeader(bytes: Buffer): number {
    const count = bytes.copy(this.#header, this.#headerBytes);
    this.#headerBytes += count;
    if (this.#headerBytes < HEADER - 1) return count;
    const length = this.#header.readUInt32BE();
    if (length > LIMIT) {
      throw new Failure(this.peer, `announces a frame of ${length} bytes; the limit is ${LIMIT}`, "EMSGSIZE");
    }
    const kind = this.#headerBytes === HEADER ? this.#header[HEADER - 1] : MESSAGE;
    if (length === 0 || kind > PIECE) throw new Failure(this.peer, "sent an unknown kind of frame", "EPROTO");
    if (this.#headerBytes < HEADER) return count;
    if (kind === MESSAGE) {
      for (const whole of this.#unframer.messages(this.#header)) this.#readMessage(whole); // an empty one throws
    }
    this.#missing = length - 1;
    return count;
  }

  /** @returns nothing for one that says to wait */
  #readMessage(bytes: Buffer): Frame[] {
    this.#since = performance.now();
    const message = this.#parse(bytes.subarray(1));
    if (message.wait !== true) return [{ kind: "message", message }];
    if (performance.now() <= this.#mayWaitUntil) return [];
    const failure = new Failure(this.peer, "keeps us waiting for nothing", "ETIMEDOUT");
    this.socket.destroy(failure); // there is no way on
    throw failure;
  }

  /** @returns false at the end of the stream */
  async #nextChunk(): Promise<boolean> {
    const { value, done } = await this.#chunks.next();
    if (done) {
      if (this.#headerBytes === 0) return false;
      throw new Failure(this.peer, "closed the connection inside a message", "EPROTO");
    }
    this.#frames = this.#framesOf(value);
    return true;
  }

  #parse(payload: Buffer): Message {
    try {
      const message = JSON.parse(payload.toString());
      if (typeof message === "object" && message !== null && !Array.isArray(message)) return message;
    } catch {
      // told below
    }
    throw new Failure(this.peer, "sent a message that is not a JSON object", "EPROTO");
  }

  /**
   * Waits for something else, and tells the other end meanwhile, which may not read it for a while: then it is not
   * told again.
   * @throws what the connection throws
   */
  async keepWaiting(work: Promise<unknown>): Promise<void> {
    let isDone = false;
    const done = work.then(() => (isDone = true));
    done.catch(() => {}); // it is heard of below, as long as this waits
    while (true) {
      await Promise.race([done, sleep(WAIT)]);
      if (isDone) return;
      if (this.socket.destroyed) throw this.#gone();
      if (this.socket.writableLength > 0) continue;
      this.hold({ wait: true });
      this.flush(false).catch(() => {}); // seen above, next time
    }
  }

  #gone(): Error {
    return this.socket.errored ?? new Failure(this.peer, "closed the connection too early", "ECONNRESET");
  }

  /**
   * The SHA-256 of the first `length` bytes of a file, to which more can be added. The other end is told meanwhile
   * that this takes time: a silent connection would look like a broken one.
   * @throws the errors of read(2), and what the connection throws
   */
  async hashStart(file: FileHandle, length: number): Promise<Hash> {
    const hash = createHash("sha256");
    const piece = Buffer.alloc(Math.min(LONGEST_PIECE, length));
    let told = performance.now();
    for (let at = 0; at < length;) {
      const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, length - at), at);
      if (bytesRead === 0) break;
      hash.update(piece.subarray(0, bytesRead));
      at += bytesRead;
      if (this.socket.destroyed) throw this.#gone(); // nobody waits for the result any more
      if (performance.now() - told < WAIT) continue;
      await this.send({ wait: true });
      told = performance.now();
    }
    return hash;
  }
}

/** Throws the error that a message of the other end tells. */
export function throwError({ error, code }: Message, peer: string): void {
  if (error === undefined) return;
  if (typeof error !== "string" || typeof code !== "string") {
    throw new Failure(peer, "sent a broken error", "EPROTO");
  }
  throw new Failure(peer, error, /^E[A-Z]{1,30}$/.test(code) ? code : "EPROTO");
}

/** Reads a number of bytes from a message: 0 to 2^53 - 1. @throws Failure EPROTO */
export function byteCount(value: unknown, peer: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new Failure(peer, "sent something that is not a number of bytes", "EPROTO");
}

/** Reads a time from a message, in milliseconds since 1970; there are files from before. @throws Failure EPROTO */
export function milliseconds(value: unknown, peer: string): number {
  if (Number.isSafeInteger(value)) return value as number;
  throw new Failure(peer, "sent something that is not a time", "EPROTO");
}
