/** The host key of an SSH server, by which its clients know it again. */
import { open, rm } from "node:fs/promises";
import process from "node:process";
import ssh2 from "ssh2";
import { failAs, Failure } from "../../../lib/failure.ts";
import { openFile } from "../../../lib/files.ts";
import { fingerprint } from "./known-hosts.ts";
import { parseKey } from "./parse-key.ts";

/**
 * Reads the host key. Where there is none yet, an ed25519 key in OpenSSH's format is made.
 * @returns its text, and its fingerprint as OpenSSH shows it
 * @throws Failure EACCES for a key that another user owns or can read, EINVAL for a file that is no key; the errors
 *   of open(2)
 */
export async function readHostKey(path: string): Promise<{ text: string; fingerprint: string }> {
  const fresh = await open(path, "wx", 0o600).catch((error) => { // x: never over a file that is there
    if (error.code !== "EEXIST") failAs(path)(error);
  });
  if (fresh) {
    await using made = fresh;
    await made.writeFile(newKey()).catch(async (error) => {
      await rm(path, { force: true }); // the disk is full, say: half a key would be in the way of the next start
      failAs(path)(error);
    });
  }
  await using file = await openFile(path);
  const { mode, uid } = await file.stat();
  if (process.platform !== "win32" && uid !== process.geteuid?.()) {
    throw new Failure(path, "this private key belongs to another user, so it is not used", "EACCES", {
      hint: "its owner knows the key, and could pretend to be this server; choose another with --host-key",
    });
  }
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new Failure(path, "others can read this private key, so it is not used", "EACCES", {
      hint: `if nobody has read it: chmod 600 ${path}; else remove it, and a new one is made`,
    });
  }
  const text = await file.readFile("utf8");
  const key = parseKey(text);
  if (key instanceof Error || !key.isPrivateKey()) {
    throw new Failure(path, "is not a private key, or has a passphrase", "EINVAL");
  }
  return { text, fingerprint: `${fingerprint(key.getPublicSSH())} (${key.type})` };
}

/** Makes a key. ssh2 1.17 drops a zero byte at its start, and one key in some hundred cannot be read: try again. */
function newKey(): string {
  const { private: text } = ssh2.utils.generateKeyPairSync("ed25519", { comment: "sockets by example" });
  return parseKey(text) instanceof Error ? newKey() : text;
}
