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
 *                                                  folder that cannot be read; then {"end":true}
 *     {"version":1,"get":PATH}                     {"file":{"size":S,"time":T}}
 *     {"from":N,"sha256":OF_THE_FIRST_N_BYTES}     {"from":N}, or {"from":0} when its first N bytes are others;
 *                                                  pieces, S - N bytes in all; {"sha256":OF_THE_WHOLE_FILE}
 *     or {"cancel":true}                           nothing: the next request may follow
 *     {"version":1,"check":PATH,"size":S,          {"same":true}, or {"same":false} when its file is another
 *      "sha256":OF_THE_WHOLE_FILE}
 *                                                  at any time {"error":WHY,"code":CODE}: this request failed
 *     {"wait":true}, from either end before its "from" or "same": I am still reading a file, to compare it;
 *                    from a client among the pieces: I am not ready for the next one yet
 *
 * PATH is relative, with `/`. T is the time of the last change, in milliseconds since 1970 (negative before that).
 * Further requests follow on the same connection. A client that has none left closes it.
 */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { failAs, Failure } from "../../../lib/failure.ts";
import { LIMIT } from "../../../lib/framing.ts";
import { sent } from "../../../lib/socket.ts";
import { unframe } from "../unframe.ts";

export const VERSION = 1;

/** The longest piece of a file, in bytes. */
export const LONGEST_PIECE = LIMIT - 1;

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
export type Frame = { kind: "message"; message: Message } | { kind: "piece"; bytes: Buffer };

/** One end of a connection: sends frames, and receives them. */
export class FrameStream {
  readonly socket: Socket;
  /** The endpoint of the other end, for errors. */
  readonly peer: string;
  readonly #incoming: AsyncGenerator<Frame>;
  readonly #moved: () => void;
  readonly #longestFrame: number;
  /** Since when the next frame is waited for. */
  #since = 0;
  #mayWaitUntil = 0;

  /**
   * @param longestFrame how long the other end may take to send one frame, in milliseconds: single bytes, now and
   *   then, would keep a place for ever
   * @param moved is called for each whole frame that was received or sent
   */
  constructor(socket: Socket, peer: string, longestFrame = Infinity, moved = () => {}) {
    this.socket = socket;
    this.peer = peer;
    this.#longestFrame = longestFrame;
    this.#moved = moved;
    this.#incoming = this.#frames();
  }

  /** Sends a message. @throws what the connection throws */
  send(message: Message): Promise<void> {
    return this.#send(MESSAGE, Buffer.from(JSON.stringify(message)));
  }

  /** Sends a piece of a file, at most LONGEST_PIECE bytes. @throws what the connection throws */
  sendPiece(bytes: Uint8Array): Promise<void> {
    return this.#send(PIECE, bytes);
  }

  #send(kind: number, payload: Uint8Array): Promise<void> {
    const header = Buffer.alloc(5);
    header.writeUInt32BE(1 + payload.length, 0);
    header.writeUInt8(kind, 4);
    const frame = Buffer.concat([header, payload]); // two writes would be two packets
    return sent((done) => this.socket.write(frame, done)).then(this.#moved, (error) => {
      failAs(this.peer)(this.socket.errored ?? error); // why it was closed, rather than that it is
    });
  }

  /**
   * The next frame; undefined when the other end has closed the connection.
   * @throws Failure EMSGSIZE for a frame above the limit, EPROTO for anything else; what the connection throws
   */
  async receive(): Promise<Frame | undefined> {
    this.#since = performance.now();
    const { value } = await this.#incoming.next().catch(failAs(this.peer));
    if (value) this.#moved();
    return value;
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

  async *#frames(): AsyncGenerator<Frame> {
    for await (const bytes of unframe(this.#chunks(), "length", this.peer)) {
      this.#since = performance.now();
      const payload = bytes.subarray(1);
      if (bytes[0] === PIECE) yield { kind: "piece", bytes: payload };
      else if (bytes[0] !== MESSAGE) throw new Failure(this.peer, "sent an unknown kind of frame", "EPROTO");
      else {
        const message = this.#parse(payload);
        if (message.wait !== true) yield { kind: "message", message };
        else if (performance.now() > this.#mayWaitUntil) {
          const failure = new Failure(this.peer, "keeps us waiting for nothing", "ETIMEDOUT");
          this.socket.destroy(failure); // there is no way on
          throw failure;
        }
      }
    }
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    for await (const chunk of this.socket.iterator({ destroyOnReturn: false })) {
      if (performance.now() - this.#since > this.#longestFrame) {
        throw new Failure(
          this.peer,
          `sent no whole frame in ${this.#longestFrame / 1000} seconds`,
          "ETIMEDOUT",
        );
      }
      yield chunk;
    }
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
      if (this.socket.writableLength === 0) this.send({ wait: true }).catch(() => {}); // seen above, next time
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
