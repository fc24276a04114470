/**
 * Framing: how messages are marked in a stream, which keeps no trace of the calls that sent them (RFC 1122, section
 * 4.2.2.2).
 *
 *     line     +----------------- - -+------+    A message ends with a line feed, and can contain none. Cutting at
 *              | 0 to LIMIT bytes    | 0x0A |    0x0A is safe before decoding: in UTF-8 every byte of a longer
 *              +----------------- - -+------+    character is above 0x7F, in GBK the second byte is 0x40 or more.
 *
 *               0    1    2    3    4
 *     length   +----+----+----+----+--------- - -+    A message comes after its number of bytes, 0 to LIMIT, in
 *              |  number of bytes  | as many     |    network byte order (Python's struct.pack("!I", n)), and can
 *              +----+----+----+----+--------- - -+    contain anything.
 *
 *     none     The bytes alone. What one read brings passes for a message.
 *
 * A message of more than LIMIT bytes, and a stream that ends inside a message, are errors.
 */
import { Failure } from "./failure.ts";

export const FRAMINGS = ["none", "line", "length"] as const;
export type Framing = (typeof FRAMINGS)[number];

/** The longest message, in bytes: what one caller can make a receiver keep in memory. */
export const LIMIT = 131_072;

const LINE_FEED = 0x0a;
const HEADER = 4;

/**
 * Marks a message for the stream.
 * @throws Failure EMSGSIZE for one above the limit, EINVAL for a line feed in a line
 */
export function frame(message: Uint8Array, framing: Framing): Buffer {
  if (framing === "none") return Buffer.from(message);
  if (message.length > LIMIT) throw tooLong("the message", `has ${message.length} bytes`);
  if (framing === "line") {
    const why = "contains a line end, so it cannot be sent as a line";
    if (message.includes(LINE_FEED)) throw new Failure("the message", why, "EINVAL", { exitCode: 2 });
    return Buffer.concat([message, Buffer.of(LINE_FEED)]);
  }
  const header = Buffer.alloc(HEADER);
  header.writeUInt32BE(message.length);
  return Buffer.concat([header, message]);
}

/**
 * Finds the messages in a stream again, however the reads cut it. Every byte is looked at once, and
 * memory is taken for bytes that have come, never for bytes that are promised.
 */
export class Unframer {
  readonly framing: Framing;
  readonly #from: string;
  #part: Buffer = Buffer.alloc(0); // the beginning of a message, in the first #length bytes
  #length = 0;
  #promised: number | undefined; // how many bytes the message has, once its header has come

  /** @param from whose stream it is, for the errors */
  constructor(framing: Framing, from: string) {
    this.framing = framing;
    this.#from = from;
  }

  /** Whether the stream, if it ended now, would end inside a message. */
  get pending(): boolean {
    return this.#length > 0 || this.#promised !== undefined;
  }

  /**
   * Gives the messages that are complete with these bytes, one by one.
   * @throws Failure EMSGSIZE for a message above the limit, as soon as that is known
   */
  *messages(bytes: Buffer): Generator<Buffer> {
    if (this.framing === "none") yield bytes;
    if (this.framing === "line") yield* this.#lines(bytes);
    if (this.framing === "length") yield* this.#lengths(bytes);
  }

  *#lines(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(LINE_FEED, at);
      const piece = bytes.subarray(at, end < 0 ? bytes.length : end);
      if (this.#length + piece.length > LIMIT) throw tooLong(this.#from, "sends a line without an end");
      if (end < 0) return this.#keep(piece);
      yield this.#complete(piece);
      at = end + 1;
    }
  }

  *#lengths(bytes: Buffer): Generator<Buffer> {
    for (let at = 0;;) {
      const missing = (this.#promised ?? HEADER) - this.#length;
      const piece = bytes.subarray(at, at + missing);
      if (piece.length < missing) return this.#keep(piece);
      at += missing;
      const whole = this.#complete(piece);
      if (this.#promised !== undefined) {
        this.#promised = undefined;
        yield whole;
      } else {
        const length = whole.readUInt32BE();
        if (length > LIMIT) throw tooLong(this.#from, `announces a message of ${length} bytes`);
        this.#promised = length;
      }
    }
  }

  /** Keeps a piece of a message until the rest comes. */
  #keep(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#part.length) {
      // Twice as large each time it is full, so that single bytes do not copy the whole each time.
      const larger = Buffer.alloc(Math.min(Math.max(length, 2 * this.#part.length), LIMIT));
      this.#part.copy(larger, 0, 0, this.#length);
      this.#part = larger;
    }
    piece.copy(this.#part, this.#length);
    this.#length = length;
  }

  /** The message that ends with a piece. */
  #complete(piece: Buffer): Buffer {
    if (this.#length === 0) return piece;
    this.#keep(piece);
    const whole = this.#part.subarray(0, this.#length);
    this.#part = Buffer.alloc(0);
    this.#length = 0;
    return whole;
  }
}

function tooLong(what: string, why: string): Failure {
  return new Failure(what, `${why}; the limit is ${LIMIT}`, "EMSGSIZE");
}
