/** Reading a key of SSH. */
import ssh2, { type ParsedKey } from "ssh2";

/** Reads a key, private or public. ssh2 gives an error, a key or, for some private ones, a list with one key. */
export function parseKey(text: string | Buffer, passphrase?: string): ParsedKey | Error {
  try {
    const key = ssh2.utils.parseKey(text, passphrase);
    return Array.isArray(key) ? key[0] : key;
  } catch (error) {
    return error as Error;
  }
}
