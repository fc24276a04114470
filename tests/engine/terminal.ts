/**
 * A person at a terminal: starts a program in a pseudo-terminal, types, and looks at the screen.
 *
 *     await using person = terminal([...RUNTIMES[runtime], "scripts/udp/chat.ts", "--port", "0"]);
 *     await person.until("> ");              // waits until the screen shows it
 *     person.type("你好");                   // the keys of a text
 *     person.press("Backspace", "Enter");    // keys that have names
 *     expect(person.screen).toBe("> 你");    // what a person sees now, line by line
 *     person.press("Ctrl-C");
 *     expect(await person.ended()).toBe(130);
 *     expect(person.isCooked).toBe(true);    // the terminal is as it was before
 *
 * Type the next thing only when `until` has shown the effect of the last one: until a program reads
 * keys itself (raw mode), the system echoes them, as it does when a person types ahead.
 * Not on Windows.
 */
import process from "node:process";
import { environment, ROOT } from "./environment.ts";
import type { Options } from "./program.ts";

const KEYS = {
  "Enter": "\r",
  "Backspace": "\x7f",
  "Ctrl-C": "\x03",
  "Ctrl-D": "\x04",
  "Ctrl-U": "\x15",
  "Up": "\x1b[A",
  "Down": "\x1b[B",
  "Right": "\x1b[C",
  "Left": "\x1b[D",
};

type TerminalOptions = Pick<Options, "cwd" | "env" | "limit"> & { columns?: number };

/** Starts a program in a terminal. Use it as `await using person = terminal([...])`. */
export function terminal(words: string[], options: TerminalOptions = {}): Person {
  return new Person(words, options);
}

export class Person {
  readonly #process: Bun.Subprocess;
  readonly #terminal: Bun.Terminal;
  readonly #screen: Screen;
  readonly #limit: number;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;
  #wake = () => {};
  /** All that was written to the terminal, with its control sequences. */
  written = "";

  constructor(words: string[], { cwd = ROOT, env, limit = 30_000, columns = 80 }: TerminalOptions) {
    this.#limit = limit;
    this.#screen = new Screen(columns);
    const decoder = new TextDecoder();
    this.#process = Bun.spawn(words, {
      cwd,
      env: environment({ TERM: "xterm", ...env }),
      terminal: {
        cols: columns,
        data: (_, bytes) => {
          const text = decoder.decode(bytes, { stream: true });
          this.written += text;
          this.#screen.write(text);
          this.#wake();
        },
        exit: () => {
          this.#isClosed = true;
          this.#closed.resolve();
          this.#wake();
        },
      },
    });
    this.#terminal = this.#process.terminal as Bun.Terminal;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** What a person sees: the lines of the screen, those that have scrolled away too. */
  get screen(): string {
    return this.#screen.text;
  }

  /** Whether the terminal gathers lines and echoes keys, as a shell expects to find it. */
  get isCooked(): boolean {
    const fresh = new Bun.Terminal({}); // this one's own flags may have been changed as soon as the program ran
    try {
      return this.#terminal.localFlags === fresh.localFlags;
    } finally {
      fresh.close();
    }
  }

  type(text: string): void {
    this.#terminal.write(text);
  }

  press(...keys: (keyof typeof KEYS)[]): void {
    for (const key of keys) this.#terminal.write(KEYS[key]);
  }

  /**
   * Waits until the screen shows a text.
   * @throws Error with the screen when the program ends without it, or when it does not come in time
   */
  async until(text: string): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, this.#limit);
    try {
      while (!this.screen.includes(text)) {
        if (this.#isClosed || isLate) {
          const why = isLate ? `${this.#limit} ms have passed` : "the program has ended";
          throw new Error(`${why}, and the screen does not show\n  ${text}\nbut\n${this.screen}`);
        }
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Waits for the exit code; then the screen is complete.
   * @throws Error with the screen when the program does not end in time
   */
  async ended(): Promise<number> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new Error(`waited ${this.#limit} ms for the end; the screen:\n${this.screen}`)),
      this.#limit,
    );
    try {
      const end = Promise.all([this.#process.exited, this.#closed.promise]);
      return (await Promise.race([end, late.promise]))[0];
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      process.kill(-this.pid, "SIGKILL"); // the terminal's session: the program and all that it started
    } catch {
      // they have ended already
    }
    await this.#process.exited;
    this.#terminal.close();
  }
}

const ESCAPE = "\x1b";
/** Control sequences (CSI, ECMA-48, section 5.4), and the characters between them. */
const PARTS = new RegExp(`${ESCAPE}\\[([\\d;?]*)([A-Za-z])|[^]`, "gu");
const UNFINISHED = new RegExp(`${ESCAPE}(\\[[\\d;?]*)?$`);

/**
 * The part of a terminal (ECMA-48) that readline uses: a cursor, and lines on which it writes. A
 * sequence that it does not know stands on the screen as it is.
 */
class Screen {
  readonly #columns: number;
  /** One character for each column; a wide one is followed by "". */
  #lines: string[][] = [[]];
  #row = 0;
  #column = 0;
  #rest = "";

  constructor(columns: number) {
    this.#columns = columns;
  }

  get text(): string {
    return this.#lines.map((cells) => Array.from(cells, (cell) => cell ?? " ").join("")).join("\n");
  }

  write(text: string): void {
    const all = this.#rest + text;
    this.#rest = UNFINISHED.exec(all)?.[0] ?? "";
    const whole = all.slice(0, all.length - this.#rest.length);
    for (const [part, parameter, final] of whole.matchAll(PARTS)) {
      if (final) this.#control(part, parameter, final);
      else this.#put(part);
    }
  }

  #control(sequence: string, parameter: string, final: string): void {
    const line = this.#lines[this.#row];
    const count = Number(parameter) || 1;
    if (final === "A") this.#row = Math.max(0, this.#row - count);
    else if (final === "B") this.#down(count);
    else if (final === "C") this.#column = Math.min(this.#columns - 1, this.#column + count);
    else if (final === "D") this.#column = Math.max(0, this.#column - count);
    else if (final === "G") this.#column = count - 1;
    else if (final === "K" && parameter === "2") line.length = 0;
    else if (final === "K" && parameter === "1") line.fill(" ", 0, this.#column + 1);
    else if ("JK".includes(final) && (parameter || "0") === "0") {
      line.length = Math.min(line.length, this.#column); // to the end of the line
      if (final === "J") this.#lines.length = this.#row + 1; // and of the screen
    } else if (!"mhl".includes(final)) { // colours and modes leave no mark
      for (const character of sequence.replace(ESCAPE, "␛")) this.#put(character);
    }
  }

  #put(character: string): void {
    if (character === "\r") this.#column = 0;
    else if (character === "\n") this.#down(1);
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character === "\x07") return; // a bell
    else if (character === ESCAPE) this.#put("␛");
    else {
      const width = Bun.stringWidth(character);
      if (this.#column + width > this.#columns) {
        this.#down(1);
        this.#column = 0;
      }
      const line = this.#lines[this.#row];
      if (width === 0) line[this.#column - 1] += character; // joins the one before it
      for (let cell = 0; cell < width; cell++) line[this.#column++] = cell === 0 ? character : "";
    }
  }

  #down(count: number): void {
    this.#row += count;
    while (this.#lines.length <= this.#row) this.#lines.push([]);
  }
}
