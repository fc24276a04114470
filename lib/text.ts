/** Text on the wire: characters and bytes, in the two encodings that the course speaks. */
import { isUtf8 } from "node:buffer";
import type { Socket } from "node:net";
import iconv from "iconv-lite";
import { Failure } from "./failure.ts";
import { report } from "./output.ts";

export const ENCODINGS = ["utf-8", "gbk"] as const;

/** UTF-8 (RFC 3629), or GBK, which Chinese Windows terminals speak. */
export type Encoding = (typeof ENCODINGS)[number];

/**
 * Characters that iconv-lite writes in GBK because Windows' code page 936 and GB 18030 have them, but
 * that Python's `gbk` codec cannot read: they are not sent.
 */
const NOT_IN_GBK = /[\u01F9\u1E3F\u20AC\u2E80-\u2FFF\u303E\u3400-\u4DBF\uE000-\uF8FF]/;

/** A text whose last character stays incomplete is not collected beyond so many characters. */
const LONGEST = 65_536;

/**
 * Turns text into bytes, as Python's `text.encode(encoding)` does.
 * @throws Failure EILSEQ that names the first character which the encoding does not have
 */
export function encode(text: string, encoding: Encoding): Buffer {
  const bytes = iconv.encode(text, encoding);
  if (has(encoding, text)) return bytes;
  for (const character of text) { // slow, but only to name the one
    if (has(encoding, character)) continue;
    const point = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
    throw new Failure(
      `${character.toWellFormed()} (U+${point})`,
      `not a character of ${encoding}; nothing was sent`,
      "EILSEQ",
      { hint: encoding === "gbk" ? "utf-8 has every character: --encoding utf-8 at both ends" : undefined },
    );
  }
  return bytes;
}

/** Whether the encoding has every character of a text. */
function has(encoding: Encoding, text: string): boolean {
  if (encoding === "utf-8") return text.isWellFormed();
  if (NOT_IN_GBK.test(text)) return false;
  return iconv.decode(iconv.encode(text, encoding), encoding, { stripBOM: false }) === text;
}

/**
 * Turns bytes into text. Bytes that are not valid text become U+FFFD, which is reported on stderr once.
 * It works as TextDecoder does, but agrees with Python's `gbk` codec on every valid text, and no input
 * makes it throw.
 */
export class Decoder {
  readonly encoding: Encoding;
  #rest: Buffer = Buffer.alloc(0);
  #reported = false;

  constructor(encoding: Encoding) {
    this.encoding = encoding;
  }

  /** Whether the last read ended inside a character. */
  get pending(): boolean {
    return this.#rest.length > 0;
  }

  /**
   * @param from whose bytes these are, for the report
   * @param stream true when more bytes follow: an incomplete last character waits for them
   */
  decode(bytes: Uint8Array, from: string, { stream = false } = {}): string {
    const all = Buffer.concat([this.#rest, bytes]);
    const whole = all.length - (stream ? incomplete(all, this.encoding) : 0);
    this.#rest = all.subarray(whole);
    const text = iconv.decode(all.subarray(0, whole), this.encoding, { stripBOM: false });
    if (!this.#reported && !isValid(text, all.subarray(0, whole), this.encoding)) {
      this.#reported = true;
      report(new Failure(from, `bytes that are not valid ${this.encoding}, shown as \uFFFD`, "EILSEQ"));
    }
    return text;
  }
}

/**
 * Turns bytes into text, all of them or none, as Python's `data.decode(encoding)` does.
 * @param from whose bytes these are
 * @throws Failure EILSEQ for bytes that are not valid text
 */
export function decode(bytes: Buffer, encoding: Encoding, from: string): string {
  const text = iconv.decode(bytes, encoding, { stripBOM: false });
  if (isValid(text, bytes, encoding)) return text;
  throw new Failure(from, `bytes that are not valid ${encoding}`, "EILSEQ");
}

/** Whether a decoded text is what the bytes say. UTF-8 can carry the character U+FFFD itself; GBK cannot. */
function isValid(text: string, bytes: Buffer, encoding: Encoding): boolean {
  return !text.includes("\uFFFD") || (encoding === "utf-8" && Buffer.from(text).equals(bytes));
}

/**
 * Cuts what a connection brings into texts: one for each read (`recv`), until the peer hangs up. A
 * read that ends inside a character is joined with the next one. Leaving the loop does not close the
 * socket.
 * @throws the error that broke the connection, ECONNRESET for example
 */
export async function* texts(socket: Socket, encoding: Encoding, from: string): AsyncGenerator<string> {
  const decoder = new Decoder(encoding);
  let text = "";
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += decoder.decode(chunk, from, { stream: true });
    if (decoder.pending && text.length < LONGEST) continue;
    yield text;
    text = "";
  }
  text += decoder.decode(Buffer.alloc(0), from);
  if (text) yield text;
}

/** How many bytes at the end of `bytes` begin a character that is not complete: 0 to 3. */
function incomplete(bytes: Buffer, encoding: Encoding): number {
  if (encoding === "gbk") {
    let at = 0;
    while (at < bytes.length) {
      const isLead = bytes[at] >= 0x81 && bytes[at] <= 0xfe;
      if (isLead && at + 1 === bytes.length) return 1;
      at += isLead && bytes[at + 1] >= 0x40 ? 2 : 1;
    }
    return 0;
  }
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0x80 && byte < 0xc0) continue; // 10xxxxxx: not the first byte of a character
    const missing = (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1) - back;
    const begun = bytes.subarray(bytes.length - back);
    const canEnd = (last: number) => isUtf8(Buffer.concat([begun, Buffer.alloc(missing, last)]));
    return missing > 0 && (canEnd(0x80) || canEnd(0xbf)) ? back : 0; // else no byte can make it a character
  }
  return 0;
}
