/**
 * The protocol of lesson 4.4, version 1: messages over TCP. (registration.ts has the datagrams between client and
 * server, direct-datagram.ts those between two clients.)
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
 *     to         a name, or null for all
 *     also       names that a message is meant for, even if this server does not know them, or not yet
 *     secret     32 hexadecimal digits that a client keeps to itself: they prove that it is the same one again
 *     instance   16 hexadecimal digits that the server makes from the secret: with id, they name a message
 *     token      32 hexadecimal digits that prove a registration
 *     side       0: this client asked for the direct way; 1: the other one did
 *     here away  lists of names;  late, all, again: true or false;  time: milliseconds since 1970
 *     why code   an error in words, and as in errno(3)
 *
 * A message is acknowledged (`had`) when the receiving client has shown it (`have`), never by the server: only the
 * two ends know that it has arrived (Saltzer, Reed and Clark, "End-to-end arguments in system design", 1984). A
 * message to all is acknowledged when all clients have it that were on line when the server took it (`here` of
 * `taken`). Until then the sender keeps the message, and sends it once more after each reconnect. A receiver that
 * gets it twice knows it by (instance, id), shows it once, and answers `have` twice. For those who are away the server
 * keeps messages in memory, 100 for each name (and names them as `away` of `taken`, unless the message is to all);
 * being kept is not being acknowledged.
 *
 * A name has 1 to 32 characters (names.ts tells which), a text 1,024 bytes at most. A client may send 50 messages
 * at once, and then 50 a second; all clients of one address together 2,000 at once, and then 100 a second, where a
 * message counts once for every 50 receivers; `have` does not count. Beyond that each message is answered `sorry`, and
 * a client that does not stop is disconnected. From one address 100 callers are let in at once, and then 5 a second;
 * `back` and `away` come 50 at once, and then 5 a second.
 */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { frame, Unframer } from "../../../lib/framing.ts";
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

/** A client sends a `ping` every 10 s; a peer that is silent for 30 s is gone, even if TCP does not know. In milliseconds. */
export const PING = 10_000;
export const SILENCE = 30_000;

/** How often a client sends on each UDP way, in milliseconds: a NAT may forget it after 2 minutes (RFC 4787, REQ-5). */
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

/** The longest name, in characters. */
export const LONGEST_NAME = 32;

/** The values that a field may have, wherever it occurs. */
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

/** The messages to the server and to a client, with their fields. */
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
 * Cuts the bytes of a connection into messages, until the peer closes. Each message is checked field by field, and
 * only the fields of the figure are passed on.
 * @throws Failure EPROTO, EMSGSIZE, EILSEQ for anything else, and the error of the connection
 */
export async function* messages<S extends Shapes>(
  socket: Socket,
  encoding: Encoding,
  shapes: S,
  peer: string,
): AsyncGenerator<Messages<S>> {
  const unframer = new Unframer("length", peer);
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
    for (const payload of unframer.messages(bytes)) {
      if (socket.errored instanceof Failure) throw socket.errored; // we disconnected it, over what came before
      yield readMessage(payload, encoding, shapes, peer);
    }
  }
  if (unframer.pending) throw new Failure(peer, "closed the connection inside a message", "EPROTO");
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
    found = JSON.parse(decode(payload, encoding, peer, false));
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw wrong("something other than JSON");
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
  try { // JSON can name, as \uD83D, what the encoding lacks; it must not fail when it is passed on
    encode(JSON.stringify(message), encoding);
    if (isString(message.text)) checkText(encode(message.text, encoding));
  } catch (error) {
    throw wrong(`a ${type} that cannot be passed on: ${(error as Failure).why}`);
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
