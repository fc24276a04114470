/**
 * The engine: plays the terminals of a head, and compares every line.
 *
 * Sections are played from top to bottom. One that starts a server goes on beside those below it, from
 * its ready line on; any other is played to its end first. A `^C` in the section that started the
 * program is pressed when the others have come to their end.
 */
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { $, type ProcessPromise } from "zx";
import type { Head, Section, Step } from "../lib/head.ts";
import { ROOT } from "./lessons.ts";
import { matches, type Values } from "./normalise.ts";

export const RUNTIMES = { bun: ["bun"], node: ["node"], deno: ["deno", "run", "-A"] };
export type Runtime = keyof typeof RUNTIMES;

/** What a run shows, as it happens. */
export type Event = {
  terminal: number;
  kind: "command" | "typed" | "stdout" | "stderr" | "exit";
  text: string;
};

export type Options = {
  /** What runs the programs that serve, and what runs the others. */
  server?: Runtime;
  client?: Runtime;
  /** How long to wait for a line or an end, in milliseconds. */
  limit?: number;
  /** Ports as the head has them, and no port of the system's choice: needs a network of its own. */
  asWritten?: boolean;
  /** How long a person takes to type a line, in milliseconds. */
  pace?: number;
  onEvent?: (event: Event) => void;
  /** Where to play; by default, a copy of the project that is removed at the end. */
  folder?: string;
};

/** A port where nobody listens and that no system gives away. */
const NOBODY = "1";
const READY = /^listening on .*?(\d+)$/;

/** Why a program is not what its head says. */
export class Mismatch extends Error {}

/**
 * Plays a head.
 * @throws Mismatch with what was expected, what was seen, and all that was printed until then
 */
export async function play(head: Pick<Head, "sections">, options: Options = {}): Promise<void> {
  const folder = options.folder ?? await copyOfProject();
  const stage: Stage = { options: { limit: 10_000, ...options }, folder, values: new Map(), log: [] };
  const terminals = new Map<number, Terminal>();
  const acts = head.sections.map((section, index) => new Act(section, index, head.sections));
  try {
    const running: Promise<void>[] = [];
    for (const act of acts) {
      const number = act.section.terminal;
      const terminal = terminals.get(number) ?? new Terminal(number, stage);
      terminals.set(number, terminal);
      await terminal.free;
      const others = acts.filter((other) => other !== act);
      terminal.free = act.play(terminal, others);
      running.push(terminal.free);
      await Promise.race([terminal.free, act.ready.promise]);
    }
    await Promise.all(running);
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    throw new Mismatch(`${error.message}\n\nUntil then:\n${stage.log.join("\n")}`);
  } finally {
    for (const terminal of terminals.values()) terminal.clear();
    if (!options.folder) await rm(folder, { recursive: true, force: true });
  }
}

type Stage = {
  options: Options & { limit: number };
  folder: string;
  values: Values;
  /** The port of the last ready line. */
  port?: string;
  log: string[];
};

/** A section while it is played. */
class Act {
  readonly section: Section;
  /** Whether it starts a program that serves, and that is pressed ^C in the same section. */
  readonly serves: boolean;
  readonly #last: boolean;
  ready = Promise.withResolvers<void>();
  /** It has come to its end, or waits to press ^C. */
  quiet = Promise.withResolvers<void>();

  constructor(section: Section, index: number, sections: Section[]) {
    this.section = section;
    this.serves = section.steps.some((step) => step.kind === "see" && READY.test(step.text));
    this.#last = !sections.slice(index + 1).some((later) => later.terminal === section.terminal);
    if (
      this.serves && !this.#last && section.steps.some((step) => step.kind === "key" && step.key === "^C")
    ) {
      throw new Error(`terminal ${section.terminal} goes on after ^C: give that ^C a section of its own`);
    }
  }

  async play(terminal: Terminal, others: Act[]): Promise<void> {
    for (const [index, step] of this.section.steps.entries()) {
      if (step.kind === "run") await terminal.run(step.command, this.#servesFrom(index));
      else if (step.kind === "type") await terminal.type(step.text);
      else if (step.kind === "exit") terminal.expectedCode = step.code;
      else if (step.kind === "see") {
        await terminal.see(step.text);
        if (READY.test(step.text)) this.ready.resolve();
      } else if (step.key === "^D") terminal.endOfInput();
      else {
        this.quiet.resolve();
        if (this.serves) await Promise.all(others.map(({ quiet }) => quiet.promise));
        terminal.interrupt();
      }
    }
    if (this.#last) await terminal.finish();
    this.quiet.resolve();
  }

  /** Whether the command at this step prints a ready line. */
  #servesFrom(index: number): boolean {
    const next: Step | undefined = this.section.steps[index + 1];
    return next?.kind === "see" && READY.test(next.text);
  }
}

/** A terminal: at most one program at a time. */
class Terminal {
  readonly #number: number;
  readonly #stage: Stage;
  #program: ProcessPromise | undefined;
  #command = "";
  #exit: Promise<number> = Promise.resolve(0);
  #lines = { stdout: new Lines(), stderr: new Lines() };
  /** When the section before has come to its end. */
  free: Promise<void> = Promise.resolve();
  expectedCode = 0;

  constructor(number: number, stage: Stage) {
    this.#number = number;
    this.#stage = stage;
  }

  async run(command: string, serves: boolean): Promise<void> {
    await this.finish();
    const words = this.#words(command, serves);
    this.#command = command;
    this.#say("command", words.join(" "));
    const path = [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter);
    const shell = $({
      cwd: this.#stage.folder,
      env: { ...process.env, PATH: path, NO_COLOR: "1" },
      stdio: ["pipe", "pipe", "pipe"],
      prefix: process.platform === "win32" ? "" : "exec ", // no shell between us and the program
      detached: process.platform !== "win32", // a group of its own, so that no orphan escapes
      nothrow: true,
      quiet: true,
    });
    const program = shell`${words}`;
    this.#program = program;
    this.#lines = { stdout: new Lines(), stderr: new Lines() };
    program.stdin.on("error", () => {}); // it may end before it has read all that was typed
    for (const kind of ["stdout", "stderr"] as const) {
      const lines = this.#lines[kind];
      const reader = createInterface({ input: program[kind] });
      reader.on("line", (line) => {
        this.#say(kind, line);
        lines.push(line);
      });
      reader.on("close", () => lines.end());
    }
    this.#exit = new Promise((resolve) => {
      program.child?.once("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 1)));
    });
  }

  async type(text: string): Promise<void> {
    const { pace } = this.#stage.options;
    if (pace) await new Promise((resolve) => setTimeout(resolve, pace));
    this.#say("typed", text);
    this.#program?.stdin.write(`${text}\n`);
  }

  endOfInput(): void {
    this.#say("typed", "^D");
    this.#program?.stdin.end();
  }

  interrupt(): void {
    this.#say("typed", "^C");
    this.#signal("SIGINT");
  }

  /** Waits for the next line, and compares it. Errors and hints come on stderr, all else on stdout. */
  async see(expected: string): Promise<void> {
    const kind = /^(error|hint): /.test(expected) ? "stderr" : "stdout";
    const seen = await this.#inTime(this.#lines[kind].next(), `this line on ${kind}:\n  ${expected}`);
    if (seen === undefined) {
      const code = await this.#inTime(this.#exit, "its end");
      this.#fail(`ended with exit code ${code} before this line on ${kind}:\n  ${expected}`);
    }
    const isReady = READY.exec(expected);
    if (isReady) this.#stage.values.delete(isReady[1]); // a server that is started anew has a new port
    if (!matches(expected, seen, this.#stage.values)) {
      this.#fail(`expected on ${kind}:\n  ${expected}\nbut saw:\n  ${seen}`);
    }
    if (isReady) this.#stage.port = this.#stage.values.get(isReady[1]) ?? isReady[1];
  }

  /** Waits for the end of the program: its exit code, no line more, no orphan. */
  async finish(): Promise<void> {
    if (!this.#program) return;
    const code = await this.#inTime(this.#exit, "its end");
    const orphan = this.#groupIsAlive();
    if (orphan) this.#signal("SIGKILL");
    for (const kind of ["stdout", "stderr"] as const) {
      const extra = await this.#inTime(this.#lines[kind].next(), `the end of its ${kind}`);
      if (extra !== undefined) this.#fail(`printed a line too many on ${kind}:\n  ${extra}`);
    }
    if (orphan) this.#fail("left a process behind");
    if (code !== this.expectedCode) this.#fail(`ended with exit code ${code}, not ${this.expectedCode}`);
    if (code !== 0) this.#say("exit", `[exit ${code}]`);
    this.#program = undefined;
    this.expectedCode = 0;
  }

  /** Ends whatever still runs. */
  clear(): void {
    if (this.#program) this.#signal("SIGKILL");
  }

  /**
   * The words of a command, its runtime and its ports set. A server is given port 0; whatever calls it,
   * the port of the last ready line; where there is none, a port on which nobody listens.
   */
  #words(command: string, serves: boolean): string[] {
    const { options, values, port = NOBODY } = this.#stage;
    const words = [...command.matchAll(/"([^"]*)"|\S+/g)].map((match) => match[1] ?? match[0]);
    const isScript = words[0] === "bun";
    if (isScript) words.splice(0, 1, ...RUNTIMES[(serves ? options.server : options.client) ?? "bun"]);
    if (options.asWritten) return words;
    if (!isScript) return words.map((word) => values.get(word) ?? word);
    const at = words.indexOf("--port");
    if (at >= 0) words.splice(at, 2);
    return [...words, "--port", serves ? "0" : port];
  }

  async #inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    const { limit } = this.#stage.options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#mismatch(`waited ${limit} ms for ${what}`)), limit);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #mismatch(why: string): Mismatch {
    return new Mismatch(`terminal ${this.#number}: $ ${this.#command}\n${why}`);
  }

  #fail(why: string): never {
    throw this.#mismatch(why);
  }

  #say(kind: Event["kind"], text: string): void {
    const sign = { command: "$ ", typed: "> ", stdout: "", stderr: "", exit: "" }[kind];
    this.#stage.log.push(`  ${this.#number} | ${sign}${text}`);
    this.#stage.options.onEvent?.({ terminal: this.#number, kind, text });
  }

  #groupIsAlive(): boolean {
    const pid = this.#program?.pid;
    if (!pid || process.platform === "win32") return false;
    try {
      return process.kill(-pid, 0);
    } catch {
      return false;
    }
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#program?.pid;
    if (!pid) return;
    try {
      process.kill(process.platform === "win32" ? pid : -pid, signal);
    } catch {
      // it has ended already
    }
  }
}

/** Lines as they come, and their end. */
class Lines {
  #lines: string[] = [];
  #ended = false;
  #wake = () => {};

  push(line: string): void {
    this.#lines.push(line);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The next line, or undefined when there is none any more. */
  async next(): Promise<string | undefined> {
    while (this.#lines.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#lines.shift();
  }
}

/** A folder with all that a learner has, so that what lessons write stays there. */
export async function copyOfProject(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sockets-"));
  for (const name of ["scripts", "lib", "package.json", "deno.json", "LICENSE"]) {
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
  return folder;
}
