/** The logins of an SSH server: by its password, or by a key of a list. */
import { createHash, timingSafeEqual } from "node:crypto";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { AuthContext, AuthenticationType, ParsedKey, PublicKeyAuthContext } from "ssh2";
import { Failure } from "../../../lib/failure.ts";
import { openFile } from "../../../lib/files.ts";
import { report } from "../../../lib/program.ts";
import type { Caller } from "./callers.ts";
import { parseKey } from "./parse-key.ts";

/** The types of keys that may log in. RSA signs with SHA-2 only. */
const TYPES = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

type User = { name: string; password?: string; keys: ParsedKey[] };

/** Decides about logins of the one user that a server has. */
export class Authentication {
  /** The methods by which one can log in. */
  readonly methods: AuthenticationType[];
  readonly #user: User;
  readonly #passwords = new WrongPasswords();

  constructor(user: User) {
    this.#user = user;
    this.methods = [
      ...(user.keys.length > 0 ? ["publickey" as const] : []),
      ...(user.password === undefined ? [] : ["password" as const]),
    ];
  }

  /**
   * Whether a login is right. The answer to a password takes its time.
   * @throws Failure EAGAIN when too many passwords of its source wait: this one is not even looked at
   */
  async isRight(context: AuthContext, caller: Pick<Caller, "name" | "source" | "gone">): Promise<boolean> {
    const { name, password, keys } = this.#user;
    if (context.method === "publickey") return context.username === name && isAuthorized(context, keys);
    if (context.method !== "password" || password === undefined) return false;
    if (this.#passwords.isFull(caller.source)) {
      throw new Failure(caller.name, "too many passwords of its address wait for an answer", "EAGAIN");
    }
    const isRight = isSame(context.password, password) && isSame(context.username, name);
    const turn = this.#passwords.turn(caller.source, isRight, caller.gone);
    if (!isRight) {
      await report(new Failure(`${caller.name} as ${context.username}`, "wrong password", "EACCES"));
    }
    await turn;
    return isRight;
  }
}

/**
 * Reads a file of public keys, one a line, as ~/.ssh/authorized_keys has them.
 * @throws Failure EACCES for a file that others can write; EINVAL for a line that is not a key, or that has options
 *   in front: they restrict the key, and this server would not obey them
 */
export async function readAuthorizedKeys(path: string): Promise<ParsedKey[]> {
  await using file = await openFile(path);
  const { uid, mode } = await file.stat();
  const isOurs = process.platform === "win32" || uid === 0 || uid === process.geteuid?.();
  if (!isOurs || (process.platform !== "win32" && (mode & 0o022) !== 0)) {
    throw new Failure(path, "another user could add a key to it, so it is not used", "EACCES", {
      hint: isOurs ? `chmod go-w ${path}` : undefined,
    });
  }
  return (await file.readFile("utf8")).split("\n").flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return [];
    const key = parseKey(line.trim());
    if (!(key instanceof Error) && TYPES.includes(key.type) && !key.isPrivateKey()) return key;
    throw new Failure(`${path}, line ${index + 1}`, `not a key of ${TYPES.join(", ")}`, "EINVAL", {
      hint: "options before a key are not understood, and so not accepted",
    });
  });
}

/**
 * Whether a login is one with a key of the list. A client first asks whether a key would do; then it sends a
 * signature over this very connection, which only the owner of the private half can make.
 */
function isAuthorized(context: PublicKeyAuthContext, keys: ParsedKey[]): boolean {
  const { algo, data } = context.key;
  const key = keys.find((known) => known.type === algo && data.equals(known.getPublicSSH()));
  if (!key || (algo === "ssh-rsa" && !context.hashAlgo)) return false; // without the name of a hash it is SHA-1
  const { signature, blob, hashAlgo } = context;
  return !signature || !blob ? !signature : key.verify(blob, signature, hashAlgo) === true;
}

/** Compares texts in a time that does not tell where they differ, or how long they are. */
function isSame(given: unknown, expected: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return typeof given === "string" && timingSafeEqual(digest(given), digest(expected));
}

/** After this time without a wrong password, those of a source are forgotten, in milliseconds. */
const FORGOTTEN = 600_000;

/** How many sources are remembered. */
const MOST_SOURCES = 10_000;

/** The longest wait for one answer, in milliseconds. */
const LONGEST_WAIT = 5_000;

/** How many passwords of one source may wait for their answers: the last answer comes within 25 s. */
const MOST_TURNS = 5;

/** The pause after a wrong password, for all sources together, in milliseconds. */
const PAUSE = 100;

/** The longest wait for these pauses, in milliseconds: however many sources guess, the others can log in. */
const LONGEST_FOR_OTHERS = 1000;

/**
 * Makes guessing slow. With each wrong password of a source, over all its connections, the next answer to it comes
 * later: after 0.5 s, 1 s, 2 s, 4 s, 5 s. A right password waits too, or a quick answer would give it away. One source
 * gets one answer at a time, however many connections it has.
 */
export class WrongPasswords {
  readonly #wrong = new Map<string, { count: number; time: number }>();
  /** Those of a source that wait for their turns: the first one has it. */
  readonly #turns = new Map<string, (() => void)[]>();
  #next = 0;

  /** Whether a source must not send another password before one of its earlier ones is answered. */
  isFull(source: string): boolean {
    return (this.#turns.get(source)?.length ?? 0) >= MOST_TURNS;
  }

  /** Resolves when the answer may be given, or when its connection has gone: then nothing waits for it. */
  async turn(source: string, isRight: boolean, gone: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const turns = this.#turns.get(source) ?? [];
    this.#turns.set(source, turns);
    if (turns.push(resolve) === 1) resolve();
    gone.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    await this.#pause(this.wait(source, isRight), isRight, gone).catch(() => {}); // it has gone
    if (isRight && !gone.aborted) this.#wrong.delete(source);
    turns.splice(turns.indexOf(resolve), 1);
    if (turns.length === 0) this.#turns.delete(source);
    else turns[0]();
  }

  /** @returns how long the answer to a password must wait, in milliseconds */
  wait(source: string, isRight: boolean): number {
    const known = this.#wrong.get(source);
    const before = known && Date.now() - known.time < FORGOTTEN ? known.count : 0;
    const count = isRight ? before : before + 1;
    this.#wrong.delete(source);
    // Counted now, not after the wait, and a right one too until it is answered: a caller that closes early gains
    // nothing, and learns nothing from how long its other connections wait.
    this.#wrong.set(source, { count: before + 1, time: Date.now() });
    if (this.#wrong.size > MOST_SOURCES) this.#wrong.delete(`${this.#wrong.keys().next().value}`);
    return count === 0 ? 0 : Math.min(LONGEST_WAIT, 500 * 2 ** (count - 1));
  }

  async #pause(wait: number, isRight: boolean, signal: AbortSignal): Promise<void> {
    await sleep(wait, undefined, { signal });
    const now = Date.now();
    const turn = Math.min(Math.max(now, this.#next), now + LONGEST_FOR_OTHERS);
    if (!isRight) this.#next = turn + PAUSE;
    if (turn > now) await sleep(turn - now, undefined, { signal });
  }
}
