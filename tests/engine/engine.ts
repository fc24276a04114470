/**
 * The engine: plays the terminals of a head, and compares every line.
 *
 * Sections are played from top to bottom. One that starts a server goes on beside those below it, from
 * its ready line on; any other is played to its end first. A `^C` in the section that started the
 * server is pressed when all the others have come to their end.
 */
import { constants, cpSync, lstatSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Head, Section } from "./head.ts";
import { visible } from "../../lib/program.ts";
import { type Folder, temporaryFolder } from "./files.ts";
import { filesBelow } from "./lessons.ts";
import { type Patience, whenSilent, whenWaiting } from "./asleep.ts";
import { matches, PORT, type Values } from "./normalise.ts";
import {
  Late,
  ON,
  type Program,
  READY,
  ROOT,
  type Runtime,
  RUNTIMES,
  start,
  type Stream,
} from "./program.ts";
import { freePort, keepPort } from "./sockets.ts";

/** What a run shows, as it happens. */
export type Event = {
  terminal: number;
  kind: "command" | "typed" | "exit" | Stream;
  text: string;
};

export type Options = {
  /** What runs the programs that serve, and what runs the others. */
  server?: Runtime;
  client?: Runtime;
  /** How long to wait for a line or an end, in milliseconds. */
  limit?: number;
  /** Ports as the head has them, not of the system's choice: needs a network of its own. */
  asWritten?: boolean;
  /** How long a person takes to type a line, in milliseconds. */
  pace?: number;
  /** To which commands to type as a person does, when they wait; what they print behind prompts is right, too. */
  asPerson?: (command: string) => boolean;
  onEvent?: (event: Event) => void;
  /** Gives the words of a program others: those of a shell that shuts it in, for example. */
  wrap?: (words: string[], command: string) => string[];
  /** How long all programs may be silent while a line or an end is waited for; Linux only. */
  patience?: Patience;
  /** Ends the run at once, with a Mismatch. */
  stop?: AbortSignal;
  /** How much a program may print, in bytes. */
  most?: number;
  /** Where to play; by default, in a copy of the project that is removed at the end. */
  folder?: string;
};

/** A port on which nobody listens, and that no system gives away. */
const NOBODY = "1";

/** The first of the ports that a system gives to whoever asks for any (RFC 6335): in a head they always vary. */
const DYNAMIC = 49152;

/** What asks for a line: on a terminal, the line that is typed ends it. */
const PROMPTS = /^(?:> )+/;

/** The ready line of a receiver of broadcasts or multicasts. */
const SHARED = /^listening on (127\.255\.|2[23]\d\.)/;

/** How long a person waits for a prompt before the first line, in milliseconds. */
const BEGINNING = 100;
/** The same before another line, of a program that has not shown any. */
const ONE_MORE = 20;

/** How many of the processes that a program has left behind are shown. */
const FEW = 3;

/** A word of a command in quotes, as a shell reads it: a path may have a space in it, or a quote. */
export const quoted = (word: string) => `"${word.replaceAll(/["\\]/g, "\\$&")}"`;

/** The words of a command. In quotes, a backslash stands before a quote or a backslash. */
export const wordsOf = (command: string): string[] =>
  Array.from(
    command.matchAll(/"((?:\\["\\]|[^"])*)"|\S+/g),
    ([word, inQuotes]) => inQuotes?.replaceAll(/\\(["\\])/g, "$1") ?? word,
  );

/** Why a program is not what its head says. */
export class Mismatch extends Error {}

/** What all terminals of a run share. */
type Stage = {
  options: Options;
  folder: string;
  values: Values;
  /** Whether a program of this head serves at a port: an AF_UNIX socket has a path. */
  hasPort: boolean;
  /** The port of the last ready line. */
  port: string;
  /** The ports, as the head shows them, of the programs that serve now. */
  serving: Set<string>;
  log: string[];
  /** What each terminal waits for. */
  waits: Map<Terminal, string>;
  /** Ports that are not the system's choice, but ours. */
  chosen: Set<string>;
  /**
   * The ports of programs that have ended, which we keep: what a learner's program still sends there by UDP must not
   * reach whoever gets the port next.
   */
  kept: AsyncDisposableStack;
  /** Nothing more is started. */
  isOver: boolean;
};

/**
 * Plays a head.
 * @throws Mismatch with what was expected, what was seen, and all that was printed until then
 */
export async function play(head: Pick<Head, "sections">, options: Options = {}): Promise<void> {
  const acts = head.sections.map((section, index) => new Act(section, head.sections.slice(index + 1)));
  const own = options.folder === undefined ? copyOfProject() : undefined;
  const folder = options.folder ?? own?.path ?? "";
  const steps = head.sections.flatMap((section) => section.steps);
  const hasPort = steps.some((step) => step.kind === "see" && /:\d+$/.test(READY.exec(step.text)?.[0] ?? ""));
  const stage: Stage = {
    options,
    folder,
    values: new Map(),
    hasPort,
    port: NOBODY,
    serving: new Set(),
    log: [],
    waits: new Map(),
    chosen: new Set(),
    kept: new AsyncDisposableStack(),
    isOver: false,
  };
  const terminals = new Map<number, Terminal>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  if (options.patience) {
    const pids = () =>
      stage.waits.size > 0 ? [...terminals.values()].flatMap((terminal) => terminal.pid ?? []) : undefined;
    const isOver = () => stage.isOver;
    const stir = () => terminals.values().toArray().map((terminal) => terminal.release()).includes(true);
    const { many } = options.patience;
    whenSilent(pids, () => stage.log.length, options.patience, isOver, stir).then((why) => {
      if (stage.waits.size > 0 && !stage.isOver) failed.reject(new Mismatch(stuck(stage.waits, why, many)));
    });
  }
  options.stop?.addEventListener("abort", () => failed.reject(new Mismatch("stopped")));
  try {
    for (const act of acts) {
      const number = act.section.terminal;
      const terminal = terminals.get(number) ?? new Terminal(number, stage);
      terminals.set(number, terminal);
      await Promise.race([terminal.free, failed.promise]);
      terminal.free = act.play(terminal, acts.filter((other) => other !== act));
      terminal.free.catch(failed.reject);
      await Promise.race([act.ready.promise, terminal.free, failed.promise]);
    }
    await Promise.race([Promise.all(Array.from(terminals.values(), ({ free }) => free)), failed.promise]);
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    throw new Mismatch(`${error.message}\n\nUntil then:\n${stage.log.join("\n")}`);
  } finally {
    stage.isOver = true;
    // Those who call end first: afterwards they would send to a port that somebody else may have.
    for (const terminal of [...terminals.values()].reverse()) await terminal.clear();
    await stage.kept.disposeAsync();
    await own?.[Symbol.asyncDispose]();
  }
}

/** What is waited for last. */
const END = "its end";

/** What is said when nothing more comes: a terminal that waits for a line comes first. */
function stuck(waits: Map<Terminal, string>, how: keyof Patience, most: number): string {
  const why = (what: string) => ({
    asleep: `nothing moves any more; still missing: ${what}`,
    awake: `busy, without a word; still missing: ${what}`,
    many: `started more than ${most} processes, and was stopped`,
  }[how]);
  const all = [...waits].map(([terminal, what]) => ({
    text: `${terminal.title}\n${why(what)}`,
    rank: Number(what === END) - (how === "many" ? terminal.processes : 0),
  }));
  return all.toSorted((a, b) => a.rank - b.rank)[0].text;
}

/** A section while it is played. */
class Act {
  readonly section: Section;
  /** Whether it starts a program that serves. */
  readonly serves: boolean;
  readonly #isLast: boolean;
  readonly ready = Promise.withResolvers<void>();
  /** It has come to its end, or to its ^C. */
  readonly quiet = Promise.withResolvers<void>();

  constructor(section: Section, later: Section[]) {
    this.section = section;
    this.serves = section.steps.some((step) => step.kind === "see" && READY.test(step.text));
    this.#isLast = !later.some(({ terminal }) => terminal === section.terminal);
    const interrupts = section.steps.some((step) => step.kind === "key" && step.key === "^C");
    if (this.serves && interrupts && !this.#isLast) {
      throw new Error(`terminal ${section.terminal} goes on after ^C: give that ^C a section of its own`);
    }
  }

  async play(terminal: Terminal, others: Act[]): Promise<void> {
    for (const [index, step] of this.section.steps.entries()) {
      if (step.kind === "run") {
        const next = this.section.steps[index + 1];
        await terminal.run(step.command, next?.kind === "see" ? READY.exec(next.text) : null);
      } else if (step.kind === "type") {
        await terminal.type(step.text);
      } else if (step.kind === "exit") {
        terminal.expectedCode = step.code;
      } else if (step.kind === "see") {
        await terminal.see(step.text);
        if (READY.test(step.text)) this.ready.resolve();
      } else if (step.key === "^D") {
        terminal.endOfInput();
      } else {
        this.quiet.resolve();
        if (this.serves) await Promise.all(others.map(({ quiet }) => quiet.promise));
        terminal.interrupt();
      }
    }
    if (this.#isLast) await terminal.finish();
    this.quiet.resolve();
  }
}

/** A terminal: one program at a time. */
class Terminal {
  readonly #number: number;
  readonly #stage: Stage;
  #program: Program | undefined;
  #command = "";
  /** Whether something was typed, and the input has not ended. */
  #isTyping = false;
  /** How many lines were typed. */
  #typed = 0;
  /** The port of its ready line, as the head shows it. */
  #serves: string | undefined;
  /** When its last section has come to its end. */
  free: Promise<void> = Promise.resolve();
  expectedCode = 0;

  constructor(number: number, stage: Stage) {
    this.#number = number;
    this.#stage = stage;
  }

  /** The number of its process, while it runs. */
  get pid(): number | undefined {
    return this.#program?.code === undefined ? this.#program?.pid : undefined;
  }

  get #hasPrompts(): boolean {
    return this.#stage.options.asPerson?.(this.#command) ?? false;
  }

  /** How many processes its program is now. */
  get processes(): number {
    return this.#program?.orphans().length ?? 0;
  }

  get title(): string {
    return `terminal ${this.#number}: $ ${this.#command}`;
  }

  /** @param ready the ready line, of a program that serves */
  async run(command: string, ready: RegExpExecArray | null): Promise<void> {
    await this.finish();
    this.#isTyping = false;
    this.#typed = 0;
    this.#serves = ready?.[1];
    const words = await this.#words(command, ready);
    if (this.#stage.isOver) return;
    this.#command = command;
    this.#say("command", words.map((word) => (/\s/.test(word) ? `"${word}"` : word)).join(" "));
    const { folder, options } = this.#stage;
    this.#program = start(options.wrap?.(words, command) ?? words, {
      cwd: folder,
      limit: options.limit,
      most: options.most,
      onLine: (kind, line) => this.#say(kind, line),
    });
  }

  async type(text: string): Promise<void> {
    const { pace } = this.#stage.options;
    if (pace) await new Promise((resolve) => setTimeout(resolve, pace));
    if (this.#hasPrompts) await this.#whenAsked();
    this.#mustRun(`"${text}" was typed`);
    this.#enter(text);
  }

  /** Waits until the program has asked for one more line than was typed; one that does not ask, until it waits. */
  async #whenAsked(): Promise<void> {
    const prompts = () => {
      const lines = [...this.#program?.seen.stdout ?? [], this.#program?.unfinished() ?? ""];
      return lines.reduce((sum, line) => sum + (PROMPTS.exec(line)?.[0].length ?? 0) / 2, 0);
    };
    const calm = this.#typed === 0 || prompts() > 0 ? BEGINNING : ONE_MORE;
    await whenWaiting(() => this.pid, calm, () => prompts() > this.#typed);
  }

  #enter(text: string): void {
    this.#typed++;
    this.#say("typed", `> ${text}`);
    this.#isTyping = true;
    this.#program?.type(`${text}\n`);
  }

  endOfInput(): void {
    this.#mustRun("^D");
    this.#say("typed", "^D");
    this.#isTyping = false;
    this.#program?.endOfInput();
  }

  /**
   * A program that has stopped reading its keyboard ends on a terminal; with a pipe for its keyboard, Node and Deno wait
   * for what is still to come. So we type a line, which nobody must read any more, and end the input.
   * @returns whether there was anything to release
   */
  release(): boolean {
    if (this.#stage.waits.get(this) !== END || !this.#isTyping || this.pid === undefined) return false;
    this.#isTyping = false;
    this.#program?.type("still there?\n");
    this.#program?.endOfInput();
    return true;
  }

  interrupt(): void {
    this.#mustRun("^C");
    this.#say("typed", "^C");
    this.#program?.signal("SIGINT");
  }

  /** Waits for the next line, and compares it. Errors and hints come on stderr, all else on stdout. */
  async see(expected: string): Promise<void> {
    const stream = /^(error|hint): /.test(expected) ? "stderr" : "stdout";
    const seen = await this.#inTime(
      (program) => program.next(stream),
      `this line on ${stream}:\n  ${expected}`,
    );
    if (seen === undefined) {
      const code = await this.#inTime((program) => program.ended(), END);
      this.#fail(`ended with exit code ${code} before this line on ${stream}:\n  ${expected}`);
    }
    const { values, serving, options } = this.#stage;
    const ready = READY.exec(expected);
    if (ready && options.asWritten && Number(ready[1]) < DYNAMIC) values.set(ready[1], ready[1]);
    else if (ready && !serving.has(ready[1])) values.delete(ready[1]); // a server that is started anew has a new port
    const plain = this.#hasPrompts ? seen.replace(PROMPTS, "") : seen;
    if (!matches(expected, plain, values)) {
      const real = expected.replace(PORT, (shown) => values.get(shown) ?? shown);
      const note = plain === expected ? `\nbut the port is another one here:\n  ${real}` : "";
      this.#fail(`expected on ${stream}:\n  ${expected}\nbut saw:\n  ${visible(seen)}${note}`);
    }
    if (!ready) return;
    this.#stage.port = values.get(ready[1]) ?? ready[1];
    serving.add(ready[1]);
  }

  /** Waits for the end of the program: no orphan, no line more, its exit code. */
  async finish(): Promise<void> {
    const program = this.#program;
    if (!program) return;
    const code = await this.#inTime(() => program.ended(), END);
    const orphans = program.orphans();
    if (orphans.length > 0) {
      const more = orphans.length > FEW ? `\n  and ${orphans.length - FEW} more` : "";
      const shown = orphans.slice(0, FEW).map(({ command }) => `\n  ${command}`);
      this.#fail(`left a process behind:${shown.join("")}${more}`);
    }
    for (const stream of ["stdout", "stderr"] as const) {
      const extra = await this.#inTime(() => program.next(stream), `the end of its ${stream}`);
      const rest = program.unfinished(stream);
      if (this.#hasPrompts && extra === rest && rest.replace(PROMPTS, "") === "") continue;
      if (extra !== undefined) this.#fail(`printed a line too many on ${stream}:\n  ${visible(extra)}`);
      if (rest) this.#fail(`printed a last line without its end on ${stream}:\n  ${visible(rest)}`);
    }
    if (code !== this.expectedCode) this.#fail(`ended with exit code ${code}, not ${this.expectedCode}`);
    if (code !== 0) this.#say("exit", `[exit ${code}]`);
    await program[Symbol.asyncDispose]();
    this.#program = undefined;
    this.expectedCode = 0;
    if (!this.#serves) return;
    const { options, values, serving, chosen, kept } = this.#stage;
    serving.delete(this.#serves);
    const port = chosen.has(this.#serves) ? NaN : Number(values.get(this.#serves));
    if (!options.patience || !(port > 0)) return; // not a learner's program; not a port
    const box = await keepPort(port);
    await (kept.disposed ? box[Symbol.asyncDispose]() : kept.use(box));
  }

  /** Ends whatever still runs. */
  async clear(): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
  }

  /**
   * The words of a command, with its runtime, and with free ports in place of those of the head. A
   * server gets port 0, or the port of the one that already serves and shows the same (receivers of a
   * broadcast share one); whoever calls it, the port of the last ready line; and before there is one, a
   * port on which nobody listens.
   */
  async #words(command: string, ready: RegExpExecArray | null): Promise<string[]> {
    const serves = ready?.[1];
    const { options, values, port, hasPort, serving, chosen } = this.#stage;
    const words = wordsOf(command);
    const isScript = words[0] === "bun";
    const portIsWord = words[0] === "python3" || /^(scripts\/\w+\/)?bare\//.test(words[1]); // not a flag
    const runs = words.indexOf("bun"); // second in the lab, where a host comes first
    if (runs === 0 || runs === 1) {
      words.splice(runs, 1, ...RUNTIMES[(serves ? options.server : options.client) ?? ON]);
    }
    if (options.asWritten) return words;
    for (const [index, word] of words.entries()) {
      const isPort = words[index - 1] === "--local-port" || (portIsWord && /^\d+$/.test(word));
      const own = isPort ? [[word]] : [];
      for (const [shown] of [...word.matchAll(PORT), ...own]) {
        if (values.has(shown)) continue;
        values.set(shown, `${await freePort()}`); // of a program that is started later
        chosen.add(shown);
      }
      words[index] = values.get(word) ?? word.replace(PORT, (shown) => values.get(shown) ?? shown);
    }
    if (!(isScript || portIsWord) || !hasPort) return words;
    let own = (serves && serving.has(serves) && values.get(serves)) || "0";
    // Of port 0, Linux may give one that others have who share theirs (SO_REUSEADDR), as receivers of a broadcast do.
    if (own === "0" && SHARED.test(ready?.[0] ?? "")) {
      own = `${await freePort("udp")}`;
      chosen.add(`${serves}`);
    }
    if (portIsWord) {
      const at = words.findLastIndex((word) => /\.(ts|py)$/.test(word)) + 1;
      if (!/^\d+$/.test(words[at])) words.splice(at, 0, serves ? own : port);
      return words;
    }
    const at = words.indexOf("--port");
    if (at < 0 && !serves && words.includes(port)) return words; // a port that is a word, not a flag
    if (at < 0) return [...words, "--port", serves ? own : port];
    if (serves) words[at + 1] = own;
    return words;
  }

  #mustRun(what: string): void {
    const code = this.#program?.code;
    if (code !== undefined) this.#fail(`ended with exit code ${code} before ${what}`);
  }

  async #inTime<T>(wait: (program: Program) => Promise<T>, what: string): Promise<T> {
    if (!this.#program) throw new Error(`terminal ${this.#number} has no program that could print ${what}`);
    this.#stage.waits.set(this, what);
    try {
      return await wait(this.#program);
    } catch (error) {
      if (!(error instanceof Late)) throw error;
      const rest = this.#program.unfinished("stdout") + this.#program.unfinished("stderr");
      const but = rest && `\nbut saw, without a line end:\n  ${visible(rest)}`;
      this.#fail(`${error.message.replace(/ for .*/s, "")} for ${what}${but}`);
    } finally {
      this.#stage.waits.delete(this);
    }
  }

  #fail(why: string): never {
    const flood = this.#program?.floods
      ? `printed more than ${this.#stage.options.most} bytes, and was stopped\n`
      : "";
    throw new Mismatch(`${this.title}\n${flood}${why}`);
  }

  #say(kind: Event["kind"], text: string): void {
    if (this.#stage.isOver) return; // what it says because we end it
    const mark = kind === "stderr" ? " stderr" : "";
    this.#stage.log.push(`  ${this.#number}${mark} | ${kind === "command" ? "$ " : ""}${visible(text)}`);
    this.#stage.options.onEvent?.({ terminal: this.#number, kind, text });
  }
}

/** A folder in which heads are played one after another. */
export type Copy = Folder & {
  /** Takes away what a head has left there, and brings back what it has changed. */
  restore(): void;
};

/**
 * The files that lessons are played with. Nothing else: a lesson that was played by hand leaves files and folders in the
 * project, scripts/backup for example, and in a copy it would find them there already.
 */
export const filesOfProject = (): string[] => [
  ...filesBelow("{scripts,lib}/**/*.ts"),
  ...["scripts/tcp/phone.svg", "package.json", "deno.json", "LICENSE"],
];

/** A folder with all that a learner has, so that what lessons write stays there. */
export function copyOfProject(): Copy {
  const folder = temporaryFolder();
  const files = filesOfProject();
  const known = new Set(files.flatMap((file) => [file, ...foldersOf(file)]).map((path) => join(ROOT, path)));
  const copy = (path: string) => {
    if (path === "node_modules") symlinkSync(join(ROOT, path), folder.at(path), "junction");
    else cpSync(join(ROOT, path), folder.at(path), { recursive: true, filter: (from) => known.has(from) });
  };
  ["scripts", "lib", "package.json", "deno.json", "LICENSE", "node_modules"].forEach(copy);
  let before = stateOf(folder.path);
  return {
    ...folder,
    restore() {
      const now = stateOf(folder.path);
      const isAsBefore = (path: string) => now.get(path) === before.get(path);
      const changed = [...new Set([...now.keys(), ...before.keys()])].filter((path) => !isAsBefore(path));
      if (changed.length === 0) return;
      for (const path of changed) rmSync(folder.at(path), { recursive: true, force: true });
      for (const path of changed) if (before.has(path)) copy(path);
      before = stateOf(folder.path);
    },
  };
}

/** The folders in which a file lies: a and a/b, for a/b/c. */
const foldersOf = (file: string): string[] =>
  file.split("/").slice(0, -1).map((_, index, names) => names.slice(0, index + 1).join("/"));

/** What is in a folder, and a mark of each that changes with it: of a file, its inode and when that was changed. */
function stateOf(folder: string): Map<string, string> {
  const state = new Map<string, string>();
  const look = (within: string) => {
    for (const name of readdirSync(join(folder, within))) {
      const path = join(within, name);
      const { ino, ctimeMs, mode } = lstatSync(join(folder, path));
      const isFolder = (mode & constants.S_IFMT) === constants.S_IFDIR;
      state.set(path, isFolder ? `folder ${mode}` : `${ino} ${ctimeMs}`);
      if (isFolder) look(path);
    }
  };
  look("");
  return state;
}
