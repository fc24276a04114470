/**
 * The protocol of lesson 4.4, version 1: messages over TCP, registrations over UDP. (hole-punching.ts has the
 * datagrams of two clients who talk without the server.)
 *
 * Over TCP both ends send frames, each with one JSON object as text, in the encoding of the lesson:
 *
 *      0        1        2        3        4
 *     +--------+--------+--------+--------+------------------------- - -+
 *     |  number of bytes, up to 32,768    |  {"type":"...", ...}        |
 *     +--------+--------+--------+--------+------------------------- - -+
 *
 *     client                                    server
 *     login   version name secret               welcome token here     or  refused why code, and the end
 *     send    id to text also                   taken   id here away         or  sorry   id name why code
 *                                               message id from instance all text time late    (to others)
 *     have    id from instance                  had     id name                                (to the sender)
 *     who                                       people  here away
 *     direct  name                              direct  name instance way side key endpoints   (to both)
 *     ping                                      pong
 *                                               back    name again;  away name;  warning why code
 *
 *     id         1, 2, 3 ... to 4,294,967,295: a client numbers what it sends
 *     to         a name, or null for all;  also: names that it surely goes to, when it is handed in once more
 *     secret     32 hexadecimal digits that a client keeps to itself: with them it returns as the same one
 *     instance   16 hexadecimal digits that the server makes from the secret: with id, which message this is
 *     token      32 hexadecimal digits that prove a registration
 *     here away  lists of names;  late, all, again: true or false;  time: milliseconds since 1970
 *     why code   an error in words, and as in errno(3)
 *
 * A message is acknowledged (`had`) when the client of whom it is for has shown it (`have`), never by the
 * server: only the two ends know that it has arrived (Saltzer, Reed and Clark, "End-to-end arguments in system
 * design", 1984). One to all is acknowledged when every client has it that was on line when the server took it
 * (`here` of `taken`). Until then its sender keeps it, and hands it in again after each reconnect; who gets it
 * twice knows it by (instance, id), shows it once, and says `have` twice. For whom it did not reach, the server
 * keeps it in memory, the last 100 for each name: `away` of `taken`, which is no acknowledgement.
 *
 * A client without fixed port tells its UDP endpoint by the very letters it sends (RFC 5128, section 3.3):
 *
 *      0      1      2      3      4      5                21     23                39
 *     +------+------+------+------+------+------- - -------+------+------- - -------+------- - -----+
 *     | "S"    "b"    "E"    0x01 | type | token: 16 bytes | port | address         | name in UTF-8 |
 *     +------+------+------+------+------+------- - -------+------+------- - -------+------- - -----+
 *
 * type 1, to the server: who I am, and what endpoint my own card has. type 2, the answer, as STUN gives it (RFC
 * 8489): the same without the name, and with the port and the address that the server has seen. So it is always
 * shorter than the question, and nobody can make the server flood a third one by a forged sender. An IPv4 address
 * is ::ffff:a.b.c.d (RFC 4291). A wrong token gets no answer, but the client whose name it was is warned.
 *
 * A name has 1 to 32 characters, a text 1,024 bytes at most. A client may send 50 messages at once, and then 50 a
 * second; `have` for what it got does not count. Who goes on when told `sorry`, too fast, is hung up on.
 */
import type { Socket } from "node:net";
import { endpoint } from "../../../lib/endpoint.ts";
import { Failure } from "../../../lib/failure.ts";
import { frame, Unframer } from "../../../lib/framing.ts";
import { formatIp, parseIp } from "../../../lib/ip.ts";
import { decode, encode, type Encoding } from "../../../lib/text.ts";

export const VERSION = 1;

/** The longest payload of a frame, in bytes: the names of everybody fit in. */
const LONGEST = 32_768;

/**
 * The longest text, in bytes: with 82 of headers (IPv6 40, UDP 8, ours 34) it fits into one datagram of the
 * 1,280 bytes that every IPv6 link carries in one piece (RFC 8200, section 5).
 */
export const LONGEST_TEXT = 1024;

/** How many names a server knows at most: no list is longer. */
export const MOST_NAMES = 200;

/** A client may send so many messages at once, and then so many a second. */
export const BURST = 50;
export const RATE = 50;

/** A `ping` goes every 10 s; who has been silent for 30 s is gone, whether or not TCP knows, in milliseconds. */
export const PING = 10_000;
export const SILENCE = 30_000;

/** How often a client registers, in milliseconds: a NAT may forget it after 2 minutes (RFC 4787, REQ-5). */
export const KEEP_ALIVE = 15_000;

const isString = (value: unknown): value is string => typeof value === "string";
const isFlag = (value: unknown): value is boolean => typeof value === "boolean";
const isTime = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 4e12; // the year 2096
const isNumber = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
const isName = (value: unknown): value is string => isString(value) && value.length <= 2 * LONGEST_NAME;
const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= MOST_NAMES && value.every(isName);
const isHex = (digits: number) => (value: unknown): value is string =>
  isString(value) && value.length === digits && /^[0-9a-f]+$/.test(value);

const LONGEST_NAME = 32;

/** What may stand in a field, wherever the field occurs. */
const FIELDS = {
  version: isNumber,
  name: isName,
  secret: isHex(32),
  instance: isHex(16),
  token: isHex(32),
  id: isNumber,
  from: isName,
  to: (value: unknown): value is string | null => value === null || isName(value),
  text: isString,
  time: isTime,
  late: isFlag,
  all: isFlag,
  again: isFlag,
  also: isStrings,
  here: isStrings,
  away: isStrings,
  endpoints: isStrings,
  way: isNumber,
  side: (value: unknown): value is 0 | 1 => value === 0 || value === 1,
  key: isHex(64),
  why: isString,
  code: (value: unknown): value is string => isString(value) && /^E[A-Z]{1,30}$/.test(value),
};

/** The messages to the server, and to a client, with their fields. */
export const TO_SERVER = {
  login: ["version", "name", "secret"],
  send: ["id", "to", "text", "also"],
  have: ["id", "from", "instance"],
  who: [],
  direct: ["name"],
  ping: [],
} as const;
export const TO_CLIENT = {
  welcome: ["token", "here"],
  refused: ["why", "code"],
  taken: ["id", "here", "away"],
  sorry: ["id", "name", "why", "code"],
  message: ["id", "from", "instance", "all", "text", "time", "late"],
  had: ["id", "name"],
  people: ["here", "away"],
  direct: ["name", "instance", "way", "side", "key", "endpoints"],
  pong: [],
  back: ["name", "again"],
  away: ["name"],
  warning: ["why", "code"],
} as const;

type Shapes = Record<string, readonly (keyof typeof FIELDS)[]>;
type Field<F extends keyof typeof FIELDS> = (typeof FIELDS)[F] extends (value: unknown) => value is infer T
  ? T
  : never;
type Messages<S extends Shapes> = {
  [T in keyof S]: { type: T } & { [F in S[T][number]]: Field<F> };
}[keyof S];

export type ToServer = Messages<typeof TO_SERVER>;
export type ToClient = Messages<typeof TO_CLIENT>;

/** A message as a frame. @throws Failure EILSEQ for a character that the encoding lacks */
export function messageFrame(message: ToServer | ToClient, encoding: Encoding): Buffer {
  return frame(encode(JSON.stringify(message), encoding), "length");
}

/**
 * Cuts what a connection brings into messages, until the peer hangs up. Each is looked at field by field: what is
 * handed on is what the figure says.
 * @throws Failure EPROTO, EMSGSIZE, EILSEQ for what is no message, and what the connection throws
 */
export async function* messages<S extends Shapes>(
  socket: Socket,
  encoding: Encoding,
  shapes: S,
  peer: string,
): AsyncGenerator<Messages<S>> {
  const unframer = new Unframer("length", peer);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    for (const payload of unframer.messages(chunk)) yield readMessage(payload, encoding, shapes, peer);
  }
  if (unframer.pending) throw new Failure(peer, "hung up in the middle of a message", "EPROTO");
}

/** @throws Failure EPROTO, EMSGSIZE, EILSEQ */
export function readMessage<S extends Shapes>(
  payload: Buffer,
  encoding: Encoding,
  shapes: S,
  peer: string,
): Messages<S> {
  if (payload.length > LONGEST) {
    throw new Failure(peer, `sent a message of ${payload.length} bytes; the limit is ${LONGEST}`, "EMSGSIZE");
  }
  const wrong = (what: string) => new Failure(peer, `sent ${what}`, "EPROTO");
  let found: Record<string, unknown>;
  try {
    found = JSON.parse(decode(payload, encoding, peer));
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw wrong("what is no JSON");
  }
  const type = found?.type;
  if (!isString(type) || !Object.hasOwn(shapes, type)) throw wrong("a message of no known type");
  if (type === "login" && isNumber(found.version) && found.version !== VERSION) {
    throw new Failure(peer, `speaks version ${found.version}, and this is version ${VERSION}`, "EPROTO");
  }
  const message: Record<string, unknown> = { type };
  for (const field of shapes[type]) {
    if (!Object.hasOwn(found, field) || !FIELDS[field](found[field])) {
      throw wrong(`a ${type} without its ${field}`);
    }
    message[field] = found[field];
  }
  try { // JSON can name, as \uD83D, what the encoding lacks; it must not fail when it is handed on
    encode(JSON.stringify(message), encoding);
    if (isString(message.text)) checkText(encode(message.text, encoding));
  } catch (error) {
    throw wrong(`a ${type} that cannot be handed on: ${(error as Failure).why}`);
  }
  return message as Messages<S>;
}

/** @throws Failure EMSGSIZE for a text that is too long */
export function checkText(bytes: Uint8Array): void {
  if (bytes.length <= LONGEST_TEXT) return;
  throw new Failure(
    "the message",
    `has ${bytes.length} bytes; the limit is ${LONGEST_TEXT}, so that it fits into one datagram`,
    "EMSGSIZE",
  );
}

/**
 * A name as all compare it: composed (NFC), so that é is é however it was typed.
 * @throws Failure EINVAL, exit code 2, for one that cannot be told from another by looking at it
 */
export function checkName(text: string): string {
  const name = text.normalize("NFC");
  const wrong = (why: string) => new Failure(name || '""', why, "EINVAL", { exitCode: 2 });
  if (name === "" || [...name].length > LONGEST_NAME) {
    throw wrong(`a name has 1 to ${LONGEST_NAME} characters`);
  }
  if (/[\p{C}\p{Z}\p{White_Space}\p{Default_Ignorable_Code_Point}]|^\p{M}/u.test(name)) {
    throw wrong("a name has no space, no control character and nothing invisible");
  }
  return name;
}

/** Tokens that come back with time: who needs one more than there are is too fast. */
export class Bucket {
  readonly #burst: number;
  readonly #rate: number;
  #tokens: number;
  #since = performance.now();

  /** @param burst how many there are at most; @param rate how many come back each second */
  constructor(burst: number, rate: number) {
    this.#burst = this.#tokens = burst;
    this.#rate = rate;
  }

  /** Takes one. @returns whether there was one */
  take(): boolean {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#since) * this.#rate / 1000);
    this.#since = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** Which messages have been shown: the last 1,000 of each of the last 200 senders. */
export class Shown {
  readonly #ids = new Map<string, Set<number>>();

  /** @returns whether it is new */
  add(instance: string, id: number): boolean {
    const ids = this.#ids.get(instance) ?? new Set();
    this.#ids.delete(instance);
    this.#ids.set(instance, ids); // now the youngest
    if (ids.has(id)) return false;
    ids.add(id);
    dropOldest(ids, 1000);
    dropOldest(this.#ids, 200);
    return true;
  }
}

/** Drops what came first, until no more than `most` are left. Maps and Sets know in what order things came. */
export function dropOldest<K>(things: Map<K, unknown> | Set<K>, most: number): void {
  for (const key of things.keys()) {
    if (things.size <= most) return;
    things.delete(key);
  }
}

/** What every datagram of the lesson begins with. */
export const MAGIC = Buffer.from([0x53, 0x62, 0x45, VERSION]);

export type Endpoint = { address: string; port: number };
export type Registration = { token: Buffer; own: Endpoint; name: string };

export function encodeRegistration({ token, own, name }: Registration): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(1), token, packEndpoint(own), Buffer.from(name)]);
}

/** Reads a registration; any other datagram gives undefined. */
export function decodeRegistration(datagram: Buffer): Registration | undefined {
  const name = datagram.toString("utf8", 39);
  if (!isType(datagram, 1) || name === "" || datagram.length > 39 + 4 * LONGEST_NAME) return undefined;
  return { token: datagram.subarray(5, 21), own: unpackEndpoint(datagram.subarray(21, 39)), name };
}

/** The answer to a registration. */
export function encodeSeen(token: Buffer, seen: Endpoint): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(2), token, packEndpoint(seen)]);
}

/** Reads the answer to a registration with this token; any other datagram gives undefined. */
export function decodeSeen(datagram: Buffer, token: Buffer): Endpoint | undefined {
  if (!isType(datagram, 2) || datagram.length !== 39 || !datagram.subarray(5, 21).equals(token)) {
    return undefined;
  }
  return unpackEndpoint(datagram.subarray(21));
}

function isType(datagram: Buffer, type: number): boolean {
  return datagram.subarray(0, 4).equals(MAGIC) && datagram[4] === type;
}

const MAPPED = 0xffffn << 32n;

function packEndpoint({ address, port }: Endpoint): Buffer {
  const ip = parseIp(address.replace(/%.*/, ""));
  const number = ip.version === 4 ? MAPPED | ip.number : ip.number;
  return Buffer.from(port.toString(16).padStart(4, "0") + number.toString(16).padStart(32, "0"), "hex");
}

function unpackEndpoint(bytes: Buffer): Endpoint {
  const number = BigInt(`0x${bytes.toString("hex", 2, 18)}`);
  const address = formatIp({ version: 6, number }).replace(/^::ffff:(?=\d+\.)/, "");
  return { address, port: bytes.readUInt16BE(0) };
}

/** Reads 127.0.0.1:50001 or [::1]:50001, from a peer; anything else gives undefined. */
export function readEndpoint(text: string): Endpoint | undefined {
  const [, address = "", digits] = /^\[?([\da-f.:]+?)\]?:(\d{1,5})$/i.exec(text) ?? [];
  try {
    parseIp(address);
  } catch {
    return undefined;
  }
  const port = Number(digits);
  return port > 0 && port < 65_536 && endpoint(address, port) === text ? { address, port } : undefined;
}
