/**
 * The datagrams between two clients of lesson 4.4 that have a direct way (see hole-punching.ts).
 *
 *      0      1      2      3      4      5      6                  10                 14
 *     +------+------+------+------+------+------+------+- - -+------+------+- - -+------+-------- - -+-----------+
 *     | "S"    "b"    "E"    0x01 | type | side | way: 4 bytes      | number: 4 bytes   | payload    | proof: 16 |
 *     +------+------+------+------+------+------+------+- - -+------+------+- - -+------+-------- - -+-----------+
 *
 *     type       payload
 *     3 PROBE    4 bytes 0            asks for an ANSWER, and keeps the NATs open
 *     4 ANSWER   number of the PROBE  the PROBE has arrived; when this arrives too, the way is open
 *     5 MESSAGE  id, text             text in the encoding of the lesson, at most 1,024 bytes
 *     6 ACK      id                   the client has shown the message
 *     7 BYE      1 byte               0: this client leaves; 1: it finds no way
 *
 * The server gives each pair of clients a way and a key; side is 0 for the client that asked, 1 for the other.
 * number grows with each datagram of a side: one that is not above the last is late or a copy, and is dropped.
 * proof is the start of the HMAC-SHA-256 of everything before it, with the key (RFC 2104): nobody else can write
 * such a datagram. But anybody on the path can read it: nothing is encrypted.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { LONGEST_TEXT } from "./protocol.ts";
import { MAGIC } from "./registration.ts";

const TYPES = { 3: "PROBE", 4: "ANSWER", 5: "MESSAGE", 6: "ACK", 7: "BYE" } as const;
const HEADER = 14;
const PROOF = 16;

export type DirectDatagram = {
  type: (typeof TYPES)[keyof typeof TYPES];
  side: 0 | 1;
  way: number;
  number: number;
  payload: Buffer;
};

export function encodeDirect({ type, side, way, number, payload }: DirectDatagram, key: Buffer): Buffer {
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header);
  header[4] = Number(Object.entries(TYPES).find(([, name]) => name === type)?.[0]);
  header[5] = side;
  header.writeUInt32BE(way, 6);
  header.writeUInt32BE(number, 10);
  const claim = Buffer.concat([header, payload]);
  return Buffer.concat([claim, proofOf(claim, key)]);
}

/** Reads a datagram of a direct way; any other one, or one with a wrong proof, gives undefined. */
export function decodeDirect(datagram: Buffer, key: Buffer): DirectDatagram | undefined {
  const type = TYPES[datagram[4] as keyof typeof TYPES];
  if (wayOf(datagram) === undefined || type === undefined) return undefined;
  const end = datagram.length - PROOF;
  if (!timingSafeEqual(proofOf(datagram.subarray(0, end), key), datagram.subarray(end))) return undefined;
  const payload = datagram.subarray(HEADER, end);
  const [least, most] = type === "MESSAGE" ? [4, 4 + LONGEST_TEXT] : type === "BYE" ? [1, 1] : [4, 4];
  if (payload.length < least || payload.length > most) return undefined;
  const side = datagram[5] === 0 ? 0 : 1;
  return { type, side, way: datagram.readUInt32BE(6), number: datagram.readUInt32BE(10), payload };
}

/** The way that a datagram belongs to; undefined for a datagram of another kind. */
export function wayOf(datagram: Buffer): number | undefined {
  const isOurs = datagram.length >= HEADER + PROOF && datagram.subarray(0, 4).equals(MAGIC);
  return isOurs ? datagram.readUInt32BE(6) : undefined;
}

function proofOf(bytes: Buffer, key: Buffer): Buffer {
  return createHmac("sha256", key).update(bytes).digest().subarray(0, PROOF);
}

/** A number as 4 bytes, the highest first. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
