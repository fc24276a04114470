/** The keys of an SSH server: its own, by which it is known again, and those of the people who may log in. */
import { createHash, generateKeyPairSync, randomBytes, timingSafeEqual } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import process from "node:process";
import ssh2, { type ParsedKey, type PublicKeyAuthContext } from "ssh2";
import { explain, failAs, Failure } from "../../../lib/failure.ts";
import { openFile } from "../../../lib/files.ts";
import { fingerprint } from "./known-hosts.ts";

/** What a login may be signed with: RSA, but not with SHA-1. */
const TYPES = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/**
 * Reads the host key, and makes one, an ed25519 key in OpenSSH's format, where there is none yet.
 * @returns it as text, and its fingerprint as OpenSSH shows it
 * @throws Failure EACCES for one that others can read, EINVAL for what is no key; the errors of open(2)
 */
export async function readHostKey(path: string): Promise<{ text: string; fingerprint: string }> {
  const fresh = await open(path, "wx", 0o600).catch((error) => { // x: never over a file that is there
    if (error.code === "EEXIST") return undefined;
    throw explain(error, path) ?? error;
  });
  if (fresh) {
    await using made = fresh;
    await made.writeFile(newKey());
  }
  await using file = await openFile(path);
  const { mode } = await file.stat();
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new Failure(path, "others can read this private key, so it is not used", "EACCES", {
      hint: `chmod 600 ${path}, if nobody has read it; else remove it, and a new one is made`,
    });
  }
  const text = await file.readFile("utf8");
  const key = parse(text);
  if (!key?.isPrivateKey()) {
    throw new Failure(path, "is no private key, or has a passphrase", "EINVAL");
  }
  return { text, fingerprint: `${fingerprint(key.getPublicSSH())} (${key.type})` };
}

/**
 * Makes an ed25519 key in the format of OpenSSH (its file PROTOCOL.key): of strings behind their lengths, once the
 * public half, and once both. (That of ssh2 1.17 is one time in 300 a key that nobody can read: of a number that
 * begins with a zero byte it drops that.)
 */
function newKey(): string {
  const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const [open, secret] = [x, d].map((half) => Buffer.from(half, "base64url"));
  const number = (value: number) => Buffer.from([0, 0, value >> 8, value & 0xff]);
  const string = (value: string | Buffer) =>
    Buffer.concat([number(Buffer.byteLength(value)), Buffer.from(value)]);
  const half = [string("ssh-ed25519"), string(open)];
  const check = randomBytes(4); // twice, so that one who decrypts with a wrong passphrase sees it
  const both = [check, check, ...half, string(Buffer.concat([secret, open])), string("sockets by example")];
  const length = Buffer.concat(both).length;
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, -length & 7));
  const bytes = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...["none", "none", ""].map(string), // no passphrase
    number(1),
    string(Buffer.concat(half)),
    string(Buffer.concat([...both, padding])),
  ]);
  const lines = bytes.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join(
    "\n",
  );
}

/**
 * Reads a file of public keys, one a line, as ~/.ssh/authorized_keys has them.
 * @throws Failure EINVAL for a line that is no key, or that begins with options: they forbid something, and
 *   here nobody would obey
 */
export async function readAuthorizedKeys(path: string): Promise<ParsedKey[]> {
  const text = await readFile(path, "utf8").catch(failAs(path));
  return text.split("\n").flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return [];
    const key = parse(line.trim());
    if (key && TYPES.includes(key.type) && !key.isPrivateKey()) return key;
    throw new Failure(`${path}, line ${index + 1}`, `is no key of ${TYPES.join(", ")}`, "EINVAL", {
      hint: "options before a key are not understood, and so not accepted",
    });
  });
}

/** ssh2 gives an error, a key, or, for a private one, a list with one key. */
function parse(text: string): ParsedKey | undefined {
  try {
    const key = [ssh2.utils.parseKey(text)].flat()[0];
    return key instanceof Error ? undefined : key;
  } catch {
    return undefined;
  }
}

/**
 * Whether a login is one with a key of the list: first a client asks if a key would do, and then it comes with a
 * signature, which only who has the private half can make, over this very connection.
 */
export function isAuthorized(context: PublicKeyAuthContext, keys: ParsedKey[]): boolean {
  const { algo, data } = context.key;
  const key = keys.find((known) => known.type === algo && data.equals(known.getPublicSSH()));
  if (!key || (algo === "ssh-rsa" && !context.hashAlgo)) return false; // without a name of the hash it is SHA-1
  const { signature, blob, hashAlgo } = context;
  return !signature || !blob ? !signature : key.verify(blob, signature, hashAlgo) === true;
}

/** Compares texts in a time that tells nothing about where they differ, or how long they are. */
export function isSame(given: unknown, expected: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return typeof given === "string" && timingSafeEqual(digest(given), digest(expected));
}

/** After so many milliseconds of peace, an address has no wrong passwords any more. */
const FORGOTTEN = 600_000;

/** Of how many addresses wrong passwords are remembered. */
const MOST_ADDRESSES = 10_000;

/** The longest that an answer is held back, in milliseconds. */
const LONGEST_WAIT = 5_000;

/**
 * Makes guessing slow: with each wrong password of an address, over all its connections, the answers to the next
 * ones come later, 0.5 s, 1 s, 2 s, 4 s, 5 s. A right one waits too, or being quick would tell it apart.
 */
export class WrongPasswords {
  readonly #wrong = new Map<string, { count: number; time: number }>();

  /** @returns how long the answer must wait, in milliseconds */
  wait(address: string, isRight: boolean): number {
    const known = this.#wrong.get(address);
    const before = known && Date.now() - known.time < FORGOTTEN ? known.count : 0;
    const count = isRight ? before : before + 1;
    this.#wrong.delete(address);
    // Counted now, not after the wait: hanging up early helps nobody.
    if (!isRight) this.#wrong.set(address, { count, time: Date.now() });
    if (this.#wrong.size > MOST_ADDRESSES) this.#wrong.delete(`${this.#wrong.keys().next().value}`);
    return count === 0 ? 0 : Math.min(LONGEST_WAIT, 500 * 2 ** (count - 1));
  }
}
