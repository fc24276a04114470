/**
 * GBK, as Python's `gbk` codec knows it. The package iconv-lite has the table. (TextDecoder has it too, but throws on
 * malformed four-byte sequences on Node, and cannot encode.)
 */
import iconv from "iconv-lite";

/** Characters of code page 936 and GB 18030 that iconv-lite takes for GBK, but Python's `gbk` does not. */
const NOT_IN_GBK = /[\u01F9\u1E3F\u20AC\u2E80-\u2FFF\u303E\u3400-\u4DBF\uE000-\uF8FF]/g;

export const encode = (text: string): Buffer => iconv.encode(text, "gbk");

/** Bytes that are not valid text become U+FFFD. */
export const decode = (bytes: Buffer): string =>
  iconv.decode(bytes, "gbk", { stripBOM: false }).replace(NOT_IN_GBK, "\uFFFD");

/** Whether GBK has every character of a text. */
export const has = (text: string): boolean => decode(encode(text)) === text;

/** How many bytes at the end, 0 or 1, begin a character: its first byte is 0x81 to 0xFE, and any byte may follow. */
export function incomplete(bytes: Buffer): number {
  let isLead = false;
  for (const byte of bytes) isLead = !isLead && byte > 0x80 && byte < 0xff;
  return Number(isLead);
}
