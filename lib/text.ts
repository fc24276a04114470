/** Text on the wire: characters and bytes, in the two encodings that the course speaks. */
import { isUtf8 } from "node:buffer";
import { createRequire } from "node:module";
import { Failure } from "./failure.ts";
import { report } from "./program.ts";

export const ENCODINGS = ["utf-8", "gbk"] as const;

/** UTF-8 (RFC 3629), or GBK, which Windows terminals in Chinese speak. */
export type Encoding = (typeof ENCODINGS)[number];

/** Loaded, with its package, only where GBK is spoken. */
const require = createRequire(import.meta.url);
const gbk = () => require("./gbk.ts") as typeof import("./gbk.ts");

const LONGEST = 65_536; // how long a text may wait for its last character, in characters

/**
 * Turns text into bytes, as Python's `text.encode(encoding)` does.
 * @throws Failure EILSEQ that names the first character which the encoding does not have
 */
export function encode(text: string, encoding: Encoding): Buffer {
  const has = encoding === "utf-8" ? (part: string) => part.isWellFormed() : gbk().has;
  const lacks = has(text) ? undefined : Array.from(text).find((character) => !has(character));
  if (lacks === undefined) return encoding === "utf-8" ? Buffer.from(text) : gbk().encode(text);
  const point = lacks.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
  const hint = encoding === "gbk" ? "utf-8 has every character: --encoding utf-8 at both ends" : undefined;
  const what = `${lacks.toWellFormed()} (U+${point})`;
  throw new Failure(what, `not a character of ${encoding}; nothing was sent`, "EILSEQ", { hint });
}

/** Bytes that are not valid text become U+FFFD. UTF-8 can carry that character itself; GBK cannot. */
function toText(bytes: Buffer, encoding: Encoding): { text: string; isValid: boolean } {
  const text = encoding === "utf-8" ? bytes.toString() : gbk().decode(bytes);
  return { text, isValid: encoding === "utf-8" ? isUtf8(bytes) : !text.includes("\uFFFD") };
}

/**
 * Turns bytes into text. Bytes that are not valid text become U+FFFD, which is reported on stderr once. It agrees
 * with Python's `gbk` codec on every valid text, and no input makes it throw.
 */
export class Decoder {
  readonly #encoding: Encoding;
  readonly #isChosen: boolean;
  #begun = "";
  #rest: Buffer = Buffer.alloc(0);
  #isReported = false;

  /** @param isChosen whether --encoding chooses it, so that a hint may say so */
  constructor(encoding: Encoding, isChosen = true) {
    this.#encoding = encoding;
    this.#isChosen = isChosen;
  }

  /** Whether the bytes so far end inside a character. */
  get pending(): boolean {
    return this.#rest.length > 0;
  }

  /**
   * @param from whose bytes these are, for the report
   * @param stream true when more bytes follow: an incomplete last character waits for them
   */
  decode(bytes: Uint8Array, from: string, { stream = false } = {}): string {
    const all = Buffer.concat([this.#rest, bytes]);
    const whole = all.subarray(0, all.length - (stream ? incomplete(all, this.#encoding) : 0));
    this.#rest = Buffer.from(all.subarray(whole.length)); // a copy: a part of it would keep all in memory
    const { text, isValid } = toText(whole, this.#encoding);
    if (!isValid && !this.#isReported) {
      this.#isReported = true;
      report(notValid(from, this.#encoding, ", shown as \uFFFD", this.#isChosen));
    }
    return text;
  }

  /** The text that a read (`recv`) brings. A read that ends inside a character gives "", and comes with the next one. */
  read(bytes: Uint8Array, from: string): string {
    const text = this.#begun + this.decode(bytes, from, { stream: true });
    this.#begun = this.pending && text.length < LONGEST ? text : "";
    return this.#begun ? "" : text;
  }

  /** What is left when the stream has ended: "", or a text whose last character was never completed. */
  end(from: string): string {
    return this.#begun + this.decode(Buffer.alloc(0), from);
  }
}

/**
 * Turns bytes into text, all of them or none, as Python's `data.decode(encoding)` does.
 * @param from whose bytes these are
 * @param isChosen whether --encoding chooses the encoding, so that a hint may say so
 * @throws Failure EILSEQ for bytes that are not valid text
 */
export function decode(bytes: Buffer, encoding: Encoding, from: string, isChosen = true): string {
  const { text, isValid } = toText(bytes, encoding);
  if (isValid) return text;
  throw notValid(from, encoding, "", isChosen);
}

function notValid(from: string, encoding: Encoding, shown: string, isChosen: boolean): Failure {
  const [other] = ENCODINGS.filter((one) => one !== encoding);
  const hint = isChosen ? `if the other end speaks ${other}, use --encoding ${other} here` : undefined;
  return new Failure(from, `bytes that are not valid ${encoding}${shown}`, "EILSEQ", { hint });
}

/** Whether a typed or received text asks to end the loop: `exit` or `exit()`. */
export const isExit = (text: string) => text === "exit" || text === "exit()";

/** How many bytes at the end begin a character that more bytes can complete: 0 to 3. */
function incomplete(bytes: Buffer, encoding: Encoding): number {
  if (encoding === "gbk") return gbk().incomplete(bytes);
  const decoder = new TextDecoder();
  decoder.decode(bytes.subarray(-3), { stream: true });
  if (decoder.decode() === "") return 0; // it had kept nothing back
  return bytes.length - bytes.findLastIndex((byte) => byte >= 0xc0);
}
