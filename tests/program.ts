/** A program that a test has started: its lines as they come, its end, and its whole process group. */
import { delimiter, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { $, type ProcessPromise } from "zx";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** How a script is started on each runtime. */
export const RUNTIMES = { bun: ["bun"], node: ["node"], deno: ["deno", "run", "-A"] };
export type Runtime = keyof typeof RUNTIMES;

export type Stream = "stdout" | "stderr";

/** The port in a ready line. */
export const READY = /^listening on .*?(\d+)$/;

export type Options = {
  /** Default: the top of the project. */
  cwd?: string;
  env?: Record<string, string>;
  /** How long to wait for a line or an end, in milliseconds. */
  limit?: number;
  onLine?: (stream: Stream, line: string) => void;
};

/** Something did not come in time. */
export class Late extends Error {}

/**
 * Starts a program, without a shell. Use it as `await using program = start([...])`: whatever happens,
 * it and all that it started end with the test.
 */
export function start(words: string[], options: Options = {}): Program {
  return new Program(words, options);
}

/** Starts a script of the project: `script("udp/send", ["你好"], { runtime: "deno" })`. */
export function script(
  name: string,
  words: string[] = [],
  options: Options & { runtime?: Runtime } = {},
): Program {
  return start(
    [...RUNTIMES[options.runtime ?? "bun"], join(ROOT, "scripts", `${name}.ts`), ...words],
    options,
  );
}

/** What a program printed, and how it ended. */
export type Result = { code: number; stdout: string; stderr: string };

export class Program {
  readonly #process: ProcessPromise;
  readonly #lines = { stdout: new Lines(), stderr: new Lines() };
  readonly #limit: number;
  /** All lines so far. */
  readonly seen: Record<Stream, string[]> = { stdout: [], stderr: [] };
  /** The exit code; 128 + the number of the signal that ended it. */
  readonly exit: Promise<number>;

  constructor(words: string[], { cwd = ROOT, env = {}, limit = 10_000, onLine }: Options) {
    this.#limit = limit;
    const path = [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter);
    const shell = $({
      cwd,
      env: { ...process.env, PATH: path, NO_COLOR: "1", ...env },
      stdio: ["pipe", "pipe", "pipe"],
      prefix: process.platform === "win32" ? "" : "exec ", // no shell between us and the program
      detached: process.platform !== "win32", // a group of its own, so that no orphan escapes
      nothrow: true,
      quiet: true,
    });
    this.#process = shell`${words}`;
    this.#process.stdin.on("error", () => {}); // it may end before it has read all that was typed
    for (const stream of ["stdout", "stderr"] as const) {
      const reader = createInterface({ input: this.#process[stream] });
      reader.on("line", (line) => {
        this.seen[stream].push(line);
        this.#lines[stream].push(line);
        onLine?.(stream, line);
      });
      reader.on("close", () => this.#lines[stream].end());
    }
    const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };
    this.exit = new Promise((resolve) => {
      this.#process.child?.once("exit", (code, signal) => resolve(code ?? 128 + (numbers[`${signal}`] ?? 0)));
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Types text; `\n` ends a line. */
  type(text: string): void {
    this.#process.stdin.write(text);
  }

  /** Ctrl-D. */
  endOfInput(): void {
    this.#process.stdin.end();
  }

  /** From now on nobody reads what it prints on stdout: the pipe fills up. */
  stopReading(): void {
    this.#process.stdout.pause();
  }

  /** Sends a signal to the program and to all that it started. Ctrl-C is SIGINT. */
  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(process.platform === "win32" ? this.pid : -this.pid, signal);
    } catch {
      // it has ended already
    }
  }

  /**
   * The next line, or undefined when the stream has ended.
   * @throws Late
   */
  next(stream: Stream = "stdout"): Promise<string | undefined> {
    return this.#inTime(this.#lines[stream].next(), `a line on ${stream}`);
  }

  /**
   * Waits for the ready line, and gives the port in it.
   * @throws Error when the program ends or says something else first
   */
  async port(): Promise<number> {
    const line = await this.next();
    const found = READY.exec(line ?? "");
    if (!found) throw new Error(`no ready line, but: ${line}\n${this.seen.stderr.join("\n")}`);
    return Number(found[1]);
  }

  /** Waits for the exit code. @throws Late */
  ended(): Promise<number> {
    return this.#inTime(this.exit, "its end");
  }

  /** Waits for the end, and gives all that was printed. @throws Late */
  async result(): Promise<Result> {
    const code = await this.ended();
    for (const stream of ["stdout", "stderr"] as const) while (await this.next(stream) !== undefined);
    const text = (stream: Stream) => this.seen[stream].map((line) => `${line}\n`).join("");
    return { code, stdout: text("stdout"), stderr: text("stderr") };
  }

  /** Whether a process that it started is still there, now that itself has ended. Not known on Windows. */
  get hasOrphan(): boolean {
    try {
      return process.platform !== "win32" && process.kill(-this.pid, 0);
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.exit;
  }

  async #inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Late(`waited ${this.#limit} ms for ${what}`)), this.#limit);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
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

  async next(): Promise<string | undefined> {
    while (this.#lines.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#lines.shift();
  }
}
