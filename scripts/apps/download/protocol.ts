/**
 * The protocol of lesson 4.2, version 1. Both ends send frames over one TCP connection, the `length` ones
 * of lib/framing.ts:
 *
 *     0               4      5                4+L
 *     +---------------+------+----------------+
 *     | L, big-endian | kind | payload        |     L: bytes from the kind on, 1 to 131,072
 *     +---------------+------+----------------+
 *
 * kind 0: a message, one JSON object in UTF-8. kind 1: a piece of a file.
 *
 *     client                                       server
 *     {"version":1,"list":PATH,"recursive":true}   {"entry":{"name":PATH,"size":S}} for each file, {"end":true}
 *     {"version":1,"get":PATH}                     {"file":{"size":S,"time":T}}
 *     {"from":N,"sha256":OF_THE_FIRST_N_BYTES}     {"from":N}, or {"from":0} when those bytes are not its own;
 *                                                  pieces, S - N bytes in all; {"sha256":OF_THE_WHOLE_FILE}
 *                                                  at any time {"error":WHY,"code":CODE}: this request failed
 *     {"wait":true}, from either end: I am still reading what is there already
 *
 * PATH is relative, with `/`. T is the time of the last change in milliseconds. Further requests follow on
 * the same connection; whoever has none left hangs up.
 */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { LIMIT, Unframer } from "../../../lib/framing.ts";
import { sendAll } from "../../../lib/tcp.ts";

export const VERSION = 1;

/** The longest piece of a file, in bytes. */
export const LONGEST = LIMIT - 1;

/** How often the other end is told to wait, in milliseconds. */
const WAIT = 500;

const KINDS = ["message", "piece"] as const;

export type Message = Record<string, unknown>;
export type Frame = { kind: "message"; message: Message } | { kind: "piece"; bytes: Buffer };

/** Sends a message. @throws what the connection throws */
export function sendMessage(socket: Socket, message: Message): Promise<void> {
  return sendFrame(socket, 0, Buffer.from(JSON.stringify(message)));
}

/** Sends a piece of a file, at most LONGEST bytes. @throws what the connection throws */
export function sendPiece(socket: Socket, bytes: Uint8Array): Promise<void> {
  return sendFrame(socket, 1, bytes);
}

function sendFrame(socket: Socket, kind: 0 | 1, payload: Uint8Array): Promise<void> {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(1 + payload.length, 0);
  header.writeUInt8(kind, 4);
  return sendAll(socket, Buffer.concat([header, payload]));
}

/**
 * Finds the frames in what a connection brings, until the peer hangs up.
 * @throws Failure EMSGSIZE for one above the limit, EPROTO for what is no frame, and what the connection throws
 */
export async function* frames(socket: Socket, peer: string): AsyncGenerator<Frame> {
  const unframer = new Unframer("length", peer);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    for (const bytes of unframer.messages(chunk)) {
      const kind = KINDS[bytes[0]];
      if (kind === undefined) throw new Failure(peer, "sent what is no frame", "EPROTO");
      const payload = bytes.subarray(1);
      if (kind === "piece") yield { kind, bytes: payload };
      else {
        const message = parse(payload, peer);
        if (message.wait !== true) yield { kind, message };
      }
    }
  }
  if (unframer.pending) throw new Failure(peer, "hung up in the middle of a frame", "EPROTO");
}

function parse(payload: Buffer, peer: string): Message {
  try {
    const message = JSON.parse(payload.toString());
    if (typeof message === "object" && message !== null && !Array.isArray(message)) return message;
  } catch {
    // told below
  }
  throw new Failure(peer, "sent a message that is no JSON object", "EPROTO");
}

/**
 * The next message, of which the field `field` is wanted.
 * @throws Failure with the words of an error message; EPROTO for anything else; ECONNRESET at the end
 */
export async function expectMessage(
  incoming: AsyncGenerator<Frame>,
  field: string,
  peer: string,
): Promise<Message> {
  const { value: frame } = await incoming.next();
  if (!frame) throw new Failure(peer, "hung up too early", "ECONNRESET");
  if (frame.kind === "message") throwError(frame.message, peer);
  if (frame.kind !== "message" || frame.message[field] === undefined) {
    throw new Failure(peer, `sent no ${field}`, "EPROTO");
  }
  return frame.message;
}

/** Throws what a message of the other end tells as an error. */
export function throwError({ error, code }: Message, peer: string): void {
  if (error === undefined) return;
  if (typeof error !== "string" || typeof code !== "string") {
    throw new Failure(peer, "sent a broken error", "EPROTO");
  }
  throw new Failure(peer, error, /^E[A-Z]{1,30}$/.test(code) ? code : "EPROTO");
}

/** Reads a whole number of 0 to 2^53 - 1 from a message. @throws Failure EPROTO */
export function whole(value: unknown, peer: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new Failure(peer, "sent what is no number of bytes", "EPROTO");
}

/**
 * The SHA-256 of the first `length` bytes of a file, to which more can be added. The other end waits meanwhile, and
 * is told so: silence would look like the end of the line.
 * @throws the errors of read(2), and what the connection throws
 */
export async function hashStart(file: FileHandle, length: number, socket: Socket): Promise<Hash> {
  const hash = createHash("sha256");
  const piece = Buffer.alloc(LONGEST);
  let told = performance.now();
  for (let at = 0; at < length;) {
    const { bytesRead } = await file.read(piece, 0, Math.min(LONGEST, length - at), at);
    if (bytesRead === 0) break;
    hash.update(piece.subarray(0, bytesRead));
    at += bytesRead;
    if (performance.now() - told < WAIT) continue;
    await sendMessage(socket, { wait: true });
    told = performance.now();
  }
  return hash;
}
