/** Logging in over SSH: the server shows its key, then the user shows keys, answers and passwords. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { AnyAuthMethod, ParsedKey, Prompt } from "ssh2";
import { failAs, Failure } from "../../../lib/failure.ts";
import { hint, report, visible } from "../../../lib/program.ts";
import {
  algorithms,
  fingerprint,
  judge,
  keyType,
  type KnownKey,
  knownKeys,
  readKnownHosts,
  remember,
  typeName,
} from "./known-hosts.ts";
import { parseKey } from "./parse-key.ts";
import type { Prompter } from "./prompt.ts";

/** How often a password or a passphrase is asked for. */
const TRIES = 3;

/** How many questions of a server are answered, which may ask for ever, and how many characters of each are shown. */
const MOST_QUESTIONS = 20;
const LONGEST_QUESTION = 1000;

/** How many steps of a login begin anew. */
const MOST_STEPS = 5;

/** The usual files of keys. */
const DEFAULT_KEYS = ["id_ed25519", "id_ecdsa", "id_rsa"];

/** A private key as it is in its file: perhaps encrypted. */
type KeyFile = { file: string; text: Buffer };

type Options = {
  user: string;
  /** The server, by the name that it has among the known ones. */
  server: string;
  /** The file of known keys. */
  knownHosts: string;
  /** The file of the user's key. */
  identity?: string;
  keyboard: Prompter;
  /** Told why the login cannot go on. */
  fail: (error: unknown) => void;
};

/** One login. `verify` and `next` are the two questions that ssh2 asks on the way. */
export class Login {
  readonly #options: Options;
  readonly #known: KnownKey[];
  readonly #keys: KeyFile[];
  #methods: AsyncGenerator<AnyAuthMethod>;
  #steps = 0;
  #accepted: string[] = [];
  #trusted: Buffer | undefined;
  #isNew = false;
  #questions = 0;

  private constructor(options: Options, known: KnownKey[], keys: KeyFile[]) {
    this.#options = options;
    this.#known = known;
    this.#keys = keys;
    this.#methods = this.#logins();
  }

  /** Reads the known keys and the user's. @throws Failure for a file that cannot be read, or is not a key */
  static async prepare(options: Options): Promise<Login> {
    const known = knownKeys(await readKnownHosts(options.knownHosts), options.server);
    return new Login(options, known, await readKeys(options.identity));
  }

  /** The signatures to ask the server for. */
  get hostKeyAlgorithms() {
    return algorithms(this.#known);
  }

  /** ssh2 asks whether the key of the server is right: at the start, and again when the secret is renewed. */
  verify = (key: Buffer, answer: (isRight: boolean) => void): void => {
    if (this.#trusted) return answer(key.equals(this.#trusted));
    this.#trust(key).then(() => setImmediate(answer, true)).catch((error) => {
      this.#options.fail(error);
      setImmediate(answer, false); // ssh2 wants it now or later, but not while it is at work (Deno 2.9)
    });
  };

  /** ssh2 asks how to try to log in next. */
  next = (
    accepted: string[] | null,
    isPartial: boolean | null,
    answer: (method: AnyAuthMethod) => void,
  ): void => {
    this.#accepted = accepted ?? [];
    // One step is done, and the server wants another one (RFC 4252, section 5.1): what it did not take before, it may now.
    if (isPartial && this.#steps++ < MOST_STEPS) this.#methods = this.#logins(true);
    this.#nextMethod().then(answer, this.#options.fail);
  };

  async #nextMethod(): Promise<AnyAuthMethod> {
    const { user, server, knownHosts } = this.#options;
    // The server has signed by now: the key is its own.
    if (this.#isNew && this.#trusted) await remember(knownHosts, server, this.#trusted).catch(report);
    this.#isNew = false;
    const { value } = await this.#methods.next();
    if (value) return value;
    throw new Failure(`${user}@${server}`, "login refused", "EACCES");
  }

  /**
   * Checks the key that the server shows against the known ones. Only an unknown one is asked about; a changed one
   * is what an impostor would show.
   * @throws Failure EKEYREJECTED, EKEYREVOKED
   */
  async #trust(key: Buffer): Promise<void> {
    const { server, knownHosts, keyboard } = this.#options;
    const verdict = judge(this.#known, key);
    const shown = fingerprint(key);
    const kind = typeName(keyType(key));
    const place = `${knownHosts}, line ${verdict.line}`;
    if (verdict.kind === "revoked") {
      throw new Failure(server, `its ${kind} key is revoked in ${place}`, "EKEYREVOKED");
    }
    if (verdict.kind === "changed") {
      throw new Failure(server, `its ${kind} key is now ${shown}, not the one in ${place}`, "EKEYREJECTED", {
        hint: `another machine may pretend to be the server; if its key has really changed: ` +
          `ssh-keygen -f ${knownHosts} -R '${server}'`,
      });
    }
    if (verdict.kind === "unknown") {
      await keyboard.tell(`${visible(server)} is unknown; its ${kind} key is\n${shown}`);
      if (verdict.line > 0) await hint(`another type of key is known, in ${place}; why is it not shown?`);
      await keyboard.tell("is this the right key? answer yes, or the fingerprint itself");
      const answer = (await keyboard.ask("> "))?.trim();
      if (answer !== "yes" && answer !== shown) {
        throw new Failure(server, "its key is not trusted", "EKEYREJECTED");
      }
      this.#isNew = true;
    }
    this.#trusted = key;
  }

  /**
   * The ways to log in, one after another while the server refuses: a named key, the keys of the agent
   * (ssh-agent(1)), the usual keys, a password, answers to questions.
   * @param isKnown whether the server has told what it accepts
   */
  async *#logins(isKnown = false): AsyncGenerator<AnyAuthMethod> {
    const { user: username, identity } = this.#options;
    const accepts = (method: string) => this.#accepted.includes(method);
    const agent = process.env.SSH_AUTH_SOCK;
    if (!isKnown) yield { type: "none", username }; // the refusal tells what the server accepts
    if (agent && !identity && accepts("publickey")) yield { type: "agent", username, agent };
    for (const { file, text } of this.#keys) {
      if (!accepts("publickey")) break;
      const key = await this.#unlock(file, text);
      if (key) yield { type: "publickey", username, key };
    }
    if (agent && identity && accepts("publickey")) yield { type: "agent", username, agent };
    for (let tries = 0; tries < TRIES && accepts("password"); tries++) {
      if (tries > 0) await this.#refused();
      const password = await this.#ask("password");
      if (password === undefined) return;
      yield { type: "password", username, password };
    }
    for (let tries = 0; tries < TRIES && accepts("keyboard-interactive"); tries++) {
      const asked = this.#questions;
      if (tries > 0) await this.#refused();
      yield { type: "keyboard-interactive", username, prompt: this.#answer };
      if (this.#questions === asked) return; // it was refused without a question
    }
  }

  #refused = () =>
    report(new Failure(`${this.#options.user}@${this.#options.server}`, "wrong password", "EACCES"));

  #ask(what: string): Promise<string | undefined> {
    const { user, server, keyboard } = this.#options;
    return keyboard.askUnseen(`${what} of ${visible(`${user}@${server}`)}: `);
  }

  /** Asks the user what the server asks: for a password or a code, mostly (RFC 4256). */
  #answer = (
    name: string,
    instructions: string,
    _: string,
    prompts: Prompt[],
    answer: (answers: string[]) => void,
  ): void => {
    const { server, keyboard, fail } = this.#options;
    const ask = async () => {
      this.#questions += prompts.length + 1; // a round without questions counts too
      if (this.#questions > MOST_QUESTIONS) throw new Failure(server, "asks without end", "EPROTO");
      const shown = (text: string) => visible(text.slice(0, LONGEST_QUESTION).trimEnd());
      for (const text of [name, instructions]) if (text.trim()) await keyboard.tell(shown(text));
      const answers: string[] = [];
      for (const { prompt, echo } of prompts) {
        const question = `${shown(prompt)} `;
        const text = await (echo ? keyboard.ask(question) : keyboard.askUnseen(question));
        if (text === undefined) {
          throw new Failure(`${this.#options.user}@${server}`, "login refused", "EACCES");
        }
        answers.push(text);
      }
      return answers;
    };
    ask().then(answer, fail);
  };

  /** Reads a key, and asks for the passphrase of one that is encrypted. */
  async #unlock(file: string, text: Buffer): Promise<ParsedKey | undefined> {
    const { keyboard, identity } = this.#options;
    let key = parseKey(text);
    // Piped lines are the password and the commands: only for a key that was named, the first one is its passphrase.
    if (!keyboard.isTerminal && identity === undefined && key instanceof Error) return undefined;
    for (let tries = 0; tries < TRIES && key instanceof Error && isEncrypted(key); tries++) {
      const passphrase = await keyboard.askUnseen(`passphrase of ${visible(file)}: `);
      if (passphrase === undefined) return undefined;
      key = parseKey(text, passphrase);
      if (key instanceof Error) await report(new Failure(file, "wrong passphrase", "EACCES"));
    }
    return key instanceof Error || !key.isPrivateKey() ? undefined : key;
  }
}

/**
 * Reads the key that was named or else those of the usual files that exist.
 * @throws Failure for a named file that cannot be read, or is not a key
 */
async function readKeys(named: string | undefined): Promise<KeyFile[]> {
  if (named !== undefined) {
    const text = await readFile(named).catch(failAs(named));
    const key = parseKey(text);
    if (key instanceof Error && !isEncrypted(key)) throw new Failure(named, key.message, "EINVAL");
    if (!(key instanceof Error) && !key.isPrivateKey()) {
      throw new Failure(named, "not a private key", "EINVAL");
    }
    return [{ file: named, text }];
  }
  const files = DEFAULT_KEYS.map((name) => join(homedir(), ".ssh", name));
  const found = files.map((file) =>
    readFile(file).then((text) => [{ file, text }], async (error) => {
      if (!["ENOENT", "ENOTDIR"].includes(error.code)) await report(error);
      return [];
    })
  );
  return (await Promise.all(found)).flat();
}

/** Whether a key was not read because its passphrase is missing or wrong. */
const isEncrypted = (error: Error) => /encrypted|passphrase/i.test(error.message);
