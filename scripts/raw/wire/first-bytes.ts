/** The first bytes of a payload, as text. */
import { isUtf8 } from "node:buffer";
import { visible } from "../../../lib/program.ts";

/** How many bytes are looked at. */
const MOST = 64;

/**
 * Shows bytes as text: UTF-8 characters, control characters as `\n`, and all other bytes as `\xff`. A character that
 * MOST cuts is left out.
 */
export function firstBytes(payload: Buffer): string {
  const bytes = payload.subarray(0, MOST);
  const latin = bytes.toString("latin1");
  if (/^[\x20-\x7e]*$/.test(latin)) return latin;
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = bytes[at] < 0xc0 ? 1 : bytes[at] < 0xe0 ? 2 : bytes[at] < 0xf0 ? 3 : 4; // RFC 3629
    const character = bytes.subarray(at, at + length);
    if (character.length < length && payload.length > MOST) break;
    const isText = character.length === length && isUtf8(character);
    text += isText ? visible(character.toString()) : `\\x${bytes[at].toString(16).padStart(2, "0")}`;
    at += isText ? length : 1;
  }
  return text;
}
