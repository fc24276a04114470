/** A program that a test has started: its lines as they come, its end, and its whole process group. */
import { spawn, type SpawnOptions, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { constants } from "node:os";
import process from "node:process";
import { StringDecoder } from "node:string_decoder";
import { $, type ProcessPromise } from "zx/core";
import { environment, MARK, ROOT } from "./environment.ts";

export { ROOT };

/** How a script is started on each runtime. */
export const RUNTIMES = { bun: ["bun"], node: ["node"], deno: ["deno", "run", "-A"] };
export type Runtime = keyof typeof RUNTIMES;

/** Whether what takes long is tested too: `make test EVERYTHING=1`, as `make ci` does. */
export const EVERYTHING = Boolean(process.env.EVERYTHING);

/** On what scripts are run where a test does not say it: `make test ON=node`. */
export const ON = (process.env.ON || "bun") as Runtime;

/** Where a test of what goes wrong is run: on Bun, or, with EVERYTHING, on all three. */
export const EVERYWHERE: Runtime[] = EVERYTHING && !process.env.ON ? ["bun", "node", "deno"] : [ON];

export type Stream = "stdout" | "stderr";

/** The port in a ready line, or the path of an AF_UNIX socket. */
export const READY = /^listening on (?:.*:)?(.+)$/;

export type Options = {
  /** Default: the top of the project. */
  cwd?: string;
  env?: Record<string, string>;
  /** How long to wait for a line or an end, in milliseconds. */
  limit?: number;
  /** How much it may print, in bytes: one that prints more is killed. */
  most?: number;
  onLine?: (stream: Stream, line: string) => void;
};

/** Something did not come in time. */
export class Late extends Error {}

/**
 * Starts a program, without a shell; where there is no such program, a shell says so. Use it as
 * `await using program = start([...])`: whatever happens, it and all that it started end with the test.
 */
export function start(words: string[], options: Options = {}): Program {
  return new Program(words, options);
}

/** What runs on Bun alone, whatever ON says. */
export const BUN_ONLY = ["tcp/servers/bun-listen", "raw/ping", "raw/wire"];

/** Starts a script of the project: `script("udp/send", ["你好"], { runtime: "deno" })`. */
export function script(
  name: string,
  words: string[] = [],
  options: Options & { runtime?: Runtime } = {},
): Program {
  return start(
    [
      ...RUNTIMES[options.runtime ?? (BUN_ONLY.includes(name) ? "bun" : ON)],
      join(ROOT, "scripts", `${name}.ts`),
      ...words,
    ],
    options,
  );
}

/** How a runtime is told to load a module before the script. */
const BEFORE = { bun: "--preload", node: "--import", deno: "--preload" };

/** The words that start a script behind a module of this folder. */
export function loaded(module: string, name: string, words: string[] = [], runtime: Runtime = ON): string[] {
  const before = [BEFORE[runtime], join(ROOT, "tests/engine", `${module}.ts`)];
  return [...RUNTIMES[runtime], ...before, join(ROOT, "scripts", `${name}.ts`), ...words];
}

/**
 * Starts a script whose clocks and timers run so many times as fast: hurry.ts says what that does not reach. A busy
 * machine must bear it: what the script waits for comes as late as ever, and its limits come early.
 */
export function hurried(
  times: number,
  name: string,
  words: string[] = [],
  { runtime, ...options }: Options & { runtime?: Runtime } = {},
): Program {
  const env = { ...options.env, HURRY: `${times}` };
  return start(loaded("hurry", name, words, runtime), { ...options, env });
}

/**
 * The first process of a PID namespace (pid_namespaces(7)) in which a program runs: when it is killed, all others end at
 * once, however fast they start new ones.
 */
export const KEEPER = "sleep 3599.9";

/** The programs that may still run, or have left something running. */
const alive = new Set<Program>();

/** Ends all programs, and all that they started, at once: for a process that must end itself. */
export function endAll(): void {
  const end = performance.now() + 2000; // what was killed is gone long before
  for (let left = 1; left > 0 && performance.now() < end;) {
    left = 0;
    for (const program of alive) {
      program.signal("SIGKILL");
      left += program.killOrphans();
    }
  }
}

/** What starts a program without the shell that zx starts, which takes longer than many a program. */
function withoutShell([name, ...rest]: string[]): typeof spawn {
  const direct = (_line: string, _words: string[], options: SpawnOptions) =>
    spawn(name, rest, { ...options, shell: false });
  return direct as typeof spawn;
}

/** What a program printed, and how it ended. */
export type Result = { code: number; stdout: string; stderr: string };

export class Program {
  readonly #process: ProcessPromise;
  readonly #lines = { stdout: new Lines(), stderr: new Lines() };
  readonly #limit: number;
  /** In its environment and in that of all that it starts, so that no orphan escapes. */
  readonly #mark = crypto.randomUUID();
  /** All lines so far. */
  readonly seen: Record<Stream, string[]> = { stdout: [], stderr: [] };
  /** The exit code; 128 + the number of the signal that ended it. */
  readonly exit: Promise<number>;
  /** The same, once it has ended. */
  code: number | undefined;
  /** The signal that ended it, where it did not end itself. */
  killedBy: NodeJS.Signals | undefined;
  /** Whether it was killed because it printed too much. */
  floods = false;

  constructor(words: string[], { cwd = ROOT, env = {}, limit = 30_000, most = Infinity, onLine }: Options) {
    this.#limit = limit;
    // The marks of the programs that started us stay: a program finds all that it started, at any depth.
    const whole = environment({ ...env, [MARK]: `${process.env[MARK] ?? ""} ${this.#mark}` });
    const shell = $({
      cwd,
      env: whole,
      stdio: ["pipe", "pipe", "pipe"],
      ...(Bun.which(words[0], { PATH: whole.PATH, cwd }) ? { spawn: withoutShell(words) } : {}),
      // Not bash: with a socket as its input, as here, it takes itself for a remote shell and reads ~/.bashrc.
      shell: "sh",
      quote: (word) => `'${word.replaceAll("'", "'\\''")}'`,
      prefix: process.platform === "win32" ? "" : "exec ", // no shell between us and the program
      detached: process.platform !== "win32", // a group of its own, for signals
      nothrow: true,
      quiet: true,
    });
    this.#process = shell`${words}`;
    alive.add(this);
    this.#process.stdin.on("error", () => {}); // it may end before it has read all that was typed
    for (const stream of ["stdout", "stderr"] as const) {
      const lines = this.#lines[stream];
      const show = (line: string) => {
        this.seen[stream].push(line);
        onLine?.(stream, line);
      };
      this.#process[stream].on("data", (bytes) => {
        most -= bytes.length;
        if (most >= 0) return lines.add(bytes).forEach(show);
        if (!this.floods) this.signal("SIGKILL");
        this.floods = true;
      });
      this.#process[stream].on("close", () => lines.end().forEach(show));
    }
    this.exit = new Promise((resolve) => {
      this.#process.child?.once("exit", (code, signal) => {
        this.killedBy = signal ?? undefined;
        this.code = code ?? 128 + constants.signals[signal as NodeJS.Signals];
        resolve(this.code);
      });
      this.#process.child?.once("error", () => resolve(this.code = 127)); // there is no such shell
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The processor time that it has taken so far, in seconds (proc_pid_stat(5)): another load does not change it. Linux. */
  get processorTime(): number {
    const [user, system] = readFileSync(`/proc/${this.pid}/stat`, "latin1").replace(/^.*\) /s, "").split(" ")
      .slice(11);
    return (Number(user) + Number(system)) / 100;
  }

  /** Types text; `\n` ends a line. */
  type(text: string | Uint8Array): void {
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

  /** Reads on. */
  startReading(): void {
    this.#process.stdout.resume();
  }

  /** Sends a signal to the program and to all that it started. Ctrl-C is SIGINT. */
  signal(signal: NodeJS.Signals): void {
    if (this.pid === 0) return; // it was never there, and 0 would be our own group
    if (this.#isStranger) return;
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
    if (!Number(found?.[1])) throw new Error(`no ready line, but: ${line}\n${this.seen.stderr.join("\n")}`);
    return Number(found?.[1]);
  }

  /** Waits for the exit code. @throws Late */
  ended(): Promise<number> {
    return this.#inTime(this.exit, "its end");
  }

  /** Waits for the end, and gives all that was printed. @throws Late */
  async result(): Promise<Result> {
    const code = await this.ended();
    for (const stream of ["stdout", "stderr"] as const) while (await this.next(stream) !== undefined);
    const text = (stream: Stream) =>
      this.seen[stream].map((line) => `${line}\n`).join("").slice(
        0,
        this.unfinished(stream) ? -1 : undefined,
      );
    return { code, stdout: text("stdout"), stderr: text("stderr") };
  }

  /** What was printed behind the last line end. */
  unfinished(stream: Stream = "stdout"): string {
    return this.#lines[stream].rest;
  }

  /**
   * The processes that it started and that are still there, now that itself has ended. Those that have ended
   * and wait to be collected do not count. Not known on Windows.
   */
  orphans(): { pid: number; command: string }[] {
    return this.#processes().filter(({ command }) => command !== KEEPER);
  }

  #processes(): { pid: number; command: string }[] {
    const group = { number: this.pid, isOurs: !this.#isStranger };
    return process.platform === "linux" ? processes(group, this.#mark) : processesByPs(group, this.#mark);
  }

  /** Whether the number of our process, which has ended, is another's: numbers come round within minutes. */
  get #isStranger(): boolean {
    return this.code !== undefined && process.platform !== "win32" && exists(this.pid);
  }

  /**
   * Kills its orphans, their keeper at once. Without one, each is stopped first, until no other appears: one that stands
   * still starts no other.
   * @returns how many there were
   */
  killOrphans(): number {
    const found = new Set<number>();
    const send = (pid: number, signal: NodeJS.Signals) => {
      try {
        process.kill(pid, signal);
      } catch {
        // it has ended meanwhile
      }
    };
    for (let isNew = true, looks = 0; isNew && looks < 100; looks++) {
      const before = found.size;
      for (const { pid, command } of this.#processes().filter(({ pid }) => !found.has(pid))) {
        send(pid, command === KEEPER ? "SIGKILL" : "SIGSTOP");
        found.add(pid);
      }
      isNew = found.size > before;
    }
    for (const pid of found) send(pid, "SIGKILL");
    return found.size;
  }

  /** Ends it, and all that it started. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.exit;
    const end = performance.now() + 10_000; // what was killed is gone long before
    while (this.killOrphans() > 0 && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    alive.delete(this);
  }

  async #inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const seen = [...this.seen.stdout, ...this.seen.stderr].map((line) => `\n  ${line}`).join("");
        reject(new Late(`waited ${this.#limit} ms for ${what}; seen:${seen || " nothing"}`));
      }, this.#limit);
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
  readonly #decoder = new StringDecoder("utf8");
  #lines: string[] = [];
  #ended = false;
  #wake = () => {};
  /** What stands behind the last line end. */
  rest = "";

  /** Gives the lines that are new. */
  add(bytes: Buffer): string[] {
    const lines = (this.rest + this.#decoder.write(bytes)).split("\n");
    this.rest = lines.pop() ?? "";
    this.#lines.push(...lines);
    this.#wake();
    return lines;
  }

  /** Gives the last line, where its end is missing. */
  end(): string[] {
    this.rest += this.#decoder.end();
    if (this.rest) this.#lines.push(this.rest);
    this.#ended = true;
    this.#wake();
    return this.rest ? [this.rest] : [];
  }

  async next(): Promise<string | undefined> {
    while (this.#lines.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#lines.shift();
  }
}

/** A process group, and whether its number still means it. */
type Group = { number: number; isOurs: boolean };

/**
 * The processes of a group, and those with a mark in their environment, from /proc (proc(5)). A test looks a
 * thousand times, and `ps` would take a tenth of its time: so no file is read that is not needed.
 * @param group its number is also that of its first process: those of all that it started are higher
 */
function processes({ number: wanted, isOurs }: Group, mark: string): { pid: number; command: string }[] {
  const isGroup = isOurs && exists(-wanted);
  const newest = Number(readFileSync("/proc/loadavg", "utf8").trim().split(" ").at(-1));
  const oldest = newest < wanted || !isOurs ? 0 : wanted; // else the numbers have begun again meanwhile
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) >= oldest).flatMap(
    (pid) => {
      try {
        const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, "utf8");
        const isMarked = read("environ").includes(mark);
        if (!isMarked && !isGroup) return [];
        // PID (NAME) STATE PARENT GROUP ...; the name may hold anything.
        const [state, , group] = read("stat").replace(/^.*\) /s, "").split(" ");
        if (state === "Z" || !isMarked && Number(group) !== wanted) return [];
        const command = read("cmdline").replaceAll("\0", " ").trimEnd();
        // Until its exec(2) is done, a keeper has the words of its shell, or none. In its namespace its number is 1.
        const isKeeper = (command === "" || command.includes(KEEPER)) &&
          /^NSpid:\s+\d+\s+1$/m.test(read("status"));
        return [{ pid: Number(pid), command: isKeeper ? KEEPER : command }];
      } catch {
        return []; // it has ended meanwhile, or is another user's
      }
    },
  );
}

/** Whether a process is there, or, by a negative number, a process group. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** The same where there is no /proc, as on macOS. */
function processesByPs(group: Group, mark: string): { pid: number; command: string }[] {
  if (process.platform === "win32") return [];
  const all = spawnSync("ps", ["axeww", "-o", "pid=,pgid=,stat=,args="], { encoding: "utf8" }).stdout;
  return [...all.matchAll(/^ *(\d+) +(\d+) +(\S+) +(.*)$/gm)] // args, then the environment
    .filter(([, , number, state, args]) =>
      !state.startsWith("Z") && (group.isOurs && Number(number) === group.number || args.includes(mark))
    )
    .map(([, pid, , , args]) => ({ pid: Number(pid), command: args.replace(/ \w+=.*/, "") }));
}
