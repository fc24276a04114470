/**
 * The keys of the servers that the user trusts, as OpenSSH keeps them: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. There is
 * one line for each key:
 *
 *     [@cert-authority|@revoked] HOSTS KEYTYPE BASE64 [COMMENT]
 *
 * HOSTS is a list such as `server.example,10.0.0.*,!10.0.0.7`, with `*` and `?`, where `!` excludes; a port
 * other than 22 is written `[server.example]:2022`. Or it is one name that the file does not reveal:
 * `|1|SALT|HMAC`, both in Base64, with HMAC = HMAC-SHA1(SALT, name). Names are compared in lower case. Other lines (a
 * comment, an empty line, a broken key) are skipped.
 */
import { createHash, createHmac } from "node:crypto";
import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { failAs } from "../../../lib/failure.ts";
import { matches } from "./glob.ts";

/** A line that is about a host. */
export type KnownKey = { line: number; isRevoked: boolean; type: string; key: Buffer };

/** What a file says about the key that a host shows, and in which line; line 0: in none. */
export type Verdict = { kind: "known" | "changed" | "revoked" | "unknown"; line: number };

/** How the host keys of a type sign, best first; RSA with SHA-1 is no longer trusted (OpenSSH 8.8). */
const ALGORITHMS = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
} as const;

type Algorithm = (typeof ALGORITHMS)[keyof typeof ALGORITHMS][number];

/** The name of a host in the file: `server.example`, or `[server.example]:2022`. */
export function hostName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
}

/** The fingerprint of a key, as `ssh-keygen -l` shows it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type of a key, which stands at its start as a string with its length (RFC 4253, section 6.6). */
export function keyType(key: Buffer): string {
  return key.length < 4 ? "" : key.subarray(4, 4 + key.readUInt32BE(0)).toString("latin1");
}

/** Whether a key ends where its last field does: each is a string with its length, behind its type. */
function isWhole(key: Buffer): boolean {
  let [at, fields] = [0, 0];
  for (; at + 4 <= key.length; fields++) at += 4 + key.readUInt32BE(at);
  return at === key.length && fields > 1;
}

/** ED25519, ECDSA or RSA: a type as people say it. */
export function typeName(type: string): string {
  return type.replace(/^ssh-/, "").replace(/-.*/, "").toUpperCase();
}

/** Reads the file. One that does not exist yet is empty. @throws the errors of read(2) */
export async function readKnownHosts(file: string): Promise<string> {
  return await readFile(file, "utf8").catch((error) => {
    if (error.code === "ENOENT") return "";
    return failAs(file)(error);
  });
}

/** The keys that a file has for a host. */
export function knownKeys(text: string, name: string): KnownKey[] {
  return text.split("\n").flatMap((line, index) => {
    const [, marker, hosts, type, base64] =
      /^[ \t]*(?:(@\S+)[ \t]+)?([^#@\s]\S*)[ \t]+(\S+)[ \t]+(\S+)/.exec(line) ?? [];
    if (hosts === undefined || (marker !== undefined && marker !== "@revoked")) return []; // or @cert-authority
    const key = Buffer.from(base64, "base64");
    if (keyType(key) !== type || !isWhole(key) || !isMeant(hosts, name)) return [];
    return [{ line: index + 1, isRevoked: marker === "@revoked", type, key }];
  });
}

/** Whether HOSTS means a name. */
function isMeant(hosts: string, name: string): boolean {
  if (hosts.startsWith("|")) {
    const [, salt, hash] = /^\|1\|([^|]+)\|([^|]+)$/.exec(hosts) ?? [];
    if (hash === undefined) return false;
    return createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64") === hash;
  }
  const patterns = hosts.split(",");
  const means = (pattern: string) => matches(pattern.toLowerCase().replace(/[[\]\\]/g, "\\$&"), name); // no sets
  return patterns.some((pattern) => !pattern.startsWith("!") && means(pattern)) &&
    !patterns.some((pattern) => pattern.startsWith("!") && means(pattern.slice(1)));
}

/** Judges the key that a host shows. One of another type than the known ones is unknown, and has the line of these. */
export function judge(known: KnownKey[], key: Buffer): Verdict {
  const revoked = known.find((one) => one.isRevoked && one.key.equals(key));
  if (revoked) return { kind: "revoked", line: revoked.line };
  const others = known.filter((one) => !one.isRevoked);
  const same = others.find((one) => one.key.equals(key));
  if (same) return { kind: "known", line: same.line };
  const changed = others.find((one) => one.type === keyType(key));
  if (changed) return { kind: "changed", line: changed.line };
  return { kind: "unknown", line: others[0]?.line ?? 0 };
}

/** The signatures to ask a host for: those of its known keys first, so that it shows one of these. */
export function algorithms(known: KnownKey[]): Algorithm[] {
  const isKnown = (type: string) => known.some((one) => !one.isRevoked && one.type === type);
  const types = Object.keys(ALGORITHMS) as (keyof typeof ALGORITHMS)[];
  return [...types.filter(isKnown), ...types.filter((type) => !isKnown(type))].flatMap((type) =>
    ALGORITHMS[type]
  );
}

/**
 * Adds a key to the file, which only its owner may read, and makes the folder of the file.
 * @throws the errors of open(2) and write(2)
 */
export async function remember(file: string, name: string, key: Buffer): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await using known = await open(file, "a+", 0o600);
    const { size } = await known.stat();
    const last = Buffer.alloc(1, "\n");
    if (size > 0) await known.read(last, 0, 1, size - 1);
    const gap = last.toString() === "\n" ? "" : "\n"; // an editor has left out the last line end
    await known.appendFile(`${gap}${name} ${keyType(key)} ${key.toString("base64")}\n`);
  } catch (error) {
    failAs(file)(error);
  }
}
