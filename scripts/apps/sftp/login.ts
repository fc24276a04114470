/** Who is who over SSH: the key by which one knows the server, then the keys and passwords by which it knows one. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import ssh2, { type AnyAuthMethod, type ParsedKey } from "ssh2";
import { failAs, Failure } from "../../../lib/failure.ts";
import { fingerprint, judge, keyType, type KnownKey, typeName } from "./known-hosts.ts";
import { hint, print, report, visible } from "../../../lib/output.ts";
import type { Prompter } from "./prompt.ts";

/** How often a password or a passphrase is asked for. */
const TRIES = 3;

/** Where keys are that nobody has named. */
const DEFAULT_KEYS = ["id_ed25519", "id_ecdsa", "id_rsa"];

/** A private key in its file, as it is there: perhaps encrypted. */
type KeyFile = { file: string; text: Buffer };

/**
 * Checks the key that a server shows against the known ones. Only an unknown one is asked about; a changed one
 * is what an impostor would show.
 * @returns whether the key is new, and to be remembered
 * @throws Failure EKEYREJECTED, EKEYREVOKED
 */
export async function trust(
  name: string,
  key: Buffer,
  known: KnownKey[],
  file: string,
  keyboard: Prompter,
): Promise<boolean> {
  const verdict = judge(known, key);
  if (verdict.kind === "known") return false;
  const shown = fingerprint(key);
  const kind = typeName(keyType(key));
  const place = `${file}, line ${verdict.line}`;
  if (verdict.kind === "revoked") {
    throw new Failure(name, `its ${kind} key is revoked in ${place}`, "EKEYREVOKED");
  }
  if (verdict.kind === "changed") {
    throw new Failure(name, `its ${kind} key is now ${shown}, not the one in ${place}`, "EKEYREJECTED", {
      hint:
        `another machine may pretend to be it; if its key has really changed: ssh-keygen -f ${file} -R '${name}'`,
    });
  }
  await print(`${visible(name)} is unknown; its ${kind} key is ${shown}`);
  if (verdict.line > 0) await hint(`a key of another type is known, in ${place}: why is that one not shown?`);
  await print("is this the right key? yes, or the fingerprint itself, goes on");
  const answer = (await keyboard.ask("> "))?.trim();
  if (answer === "yes" || answer === shown) return true;
  throw new Failure(name, "its key is not trusted", "EKEYREJECTED");
}

/**
 * Reads the key that was named or, without, the usual ones that there are.
 * @throws Failure for a named one that cannot be read, or is none
 */
export async function readKeys(named: string | undefined): Promise<KeyFile[]> {
  if (named !== undefined) {
    const text = await readFile(named).catch(failAs(named));
    const key = parse(text);
    if (key instanceof Error && !isEncrypted(key)) throw new Failure(named, key.message, "EINVAL");
    if (!(key instanceof Error) && !key.isPrivateKey()) throw new Failure(named, "no private key", "EINVAL");
    return [{ file: named, text }];
  }
  const files = DEFAULT_KEYS.map((name) => join(homedir(), ".ssh", name));
  const found = files.map((file) => readFile(file).then((text) => [{ file, text }], () => []));
  return (await Promise.all(found)).flat();
}

/**
 * The ways to log in, one after another while the server refuses: a named key, the keys of the agent (ssh-agent(1)),
 * the usual keys, a password.
 * @param accepted what the server says that it accepts
 */
export async function* logins(
  user: string,
  server: string,
  keys: KeyFile[],
  isNamed: boolean,
  accepted: () => string[],
  keyboard: Prompter,
): AsyncGenerator<AnyAuthMethod> {
  const agent = process.env.SSH_AUTH_SOCK;
  yield { type: "none", username: user }; // which tells what the server accepts
  if (agent && !isNamed && accepted().includes("publickey")) yield { type: "agent", username: user, agent };
  for (const { file, text } of keys) {
    if (!accepted().includes("publickey")) break;
    const key = await unlock(file, text, keyboard);
    if (key) yield { type: "publickey", username: user, key };
  }
  if (agent && isNamed && accepted().includes("publickey")) yield { type: "agent", username: user, agent };
  for (let tries = 0; tries < TRIES && accepted().includes("password"); tries++) {
    if (tries > 0) await report(new Failure(`${user}@${server}`, "wrong password", "EACCES"));
    const password = await keyboard.askUnseen(`password of ${visible(`${user}@${server}`)}: `);
    if (password === undefined) return;
    yield { type: "password", username: user, password };
  }
}

/** Reads a key, and asks for the passphrase of one that is encrypted. */
async function unlock(file: string, text: Buffer, keyboard: Prompter): Promise<ParsedKey | undefined> {
  let key = parse(text);
  for (let tries = 0; tries < TRIES && key instanceof Error && isEncrypted(key); tries++) {
    const passphrase = await keyboard.askUnseen(`passphrase of ${visible(file)}: `);
    if (passphrase === undefined) return undefined;
    key = parse(text, passphrase);
    if (key instanceof Error) await report(new Failure(file, "wrong passphrase", "EACCES"));
  }
  return key instanceof Error || !key.isPrivateKey() ? undefined : key;
}

function parse(text: Buffer, passphrase?: string): ParsedKey | Error {
  const key = ssh2.utils.parseKey(text, passphrase);
  return Array.isArray(key) ? key[0] : key;
}

/** Whether a key was not read because its passphrase is missing or wrong. */
function isEncrypted(error: Error): boolean {
  return /encrypted|passphrase/i.test(error.message);
}
