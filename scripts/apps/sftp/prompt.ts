/** The keyboard of a shell, which asks for one line after another: answers, passwords, commands. */
import { isUtf8 } from "node:buffer";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { Failure } from "../../../lib/failure.ts";
import { heedKeys } from "../../../lib/keyboard.ts";
import { print } from "../../../lib/program.ts";

/** What the Tab key offers for a line: words that may stand in place of its end, and that end. */
export type Completer = (line: string) => Promise<[words: string[], end: string]>;

/**
 * Asks for lines that are typed at a terminal or piped in. A prompt appears only on a terminal, where typed keys are
 * shown only while a question waits whose answer may be seen. However the program ends, the terminal is left as it
 * was.
 */
export class Prompter {
  readonly isTerminal = Boolean(process.stdin.isTTY);
  /** Whether it waits for a line now. */
  isAsking = false;
  /** Where prompts go: stdout, or stderr where stdout is a file. */
  readonly #screen = process.stdout.isTTY ? process.stdout : process.stderr;
  readonly #input: Interface;
  /** Piped lines, which are not read faster than they are asked for. */
  readonly #piped: AsyncIterator<string> | undefined;
  /** At a terminal: lines that were typed ahead, and what to do with the next one. */
  #ahead: string[] = [];
  #answer: ((line: string | undefined) => void) | undefined;
  #isSeen = false;
  #isOpen = true;
  #completer: Completer | undefined;
  #tabs = 0;

  /** @param stop closes the keyboard */
  constructor(stop: AbortSignal) {
    const output = new Writable({
      write: (bytes, _, done) => {
        if (this.#isSeen) this.#screen.write(bytes);
        done();
      },
    });
    Object.defineProperty(output, "columns", { get: () => this.#screen.columns });
    // On a pipe one character for each byte: readline would take U+2028 for a line end, and hide invalid bytes.
    if (!this.isTerminal) process.stdin.setEncoding("latin1");
    this.#input = createInterface({
      input: process.stdin,
      output,
      terminal: this.isTerminal,
      completer: (line: string, done: (error: null, found: [string[], string]) => void) => {
        const nothing: [string[], string] = [[], line];
        const key = ++this.#tabs;
        const isSame = () => key === this.#tabs && line === this.#input.line.slice(0, this.#input.cursor);
        Promise.resolve(this.#completer?.(line)).then(
          (found) => done(null, isSame() && found || nothing),
          () => done(null, nothing),
        );
        this.#input.resume(); // readline would read no key meanwhile, not even Ctrl-C
      },
    });
    const close = () => this.#input.close();
    this.#input.on("close", () => {
      stop.removeEventListener("abort", close);
      if (this.isTerminal && this.isAsking) this.#screen.write("\n"); // the cursor stands behind the prompt
      this.#isOpen = this.#isSeen = false;
      this.#answer?.(undefined);
    });
    heedKeys(this.#input);
    this.#input.on("history", (history: string[]) => {
      if (!this.#completer) history.shift(); // the Up key brings back commands, never a password
    });
    if (!this.isTerminal) this.#piped = this.#input[Symbol.asyncIterator]();
    else {
      this.#input.on("line", (line) => {
        this.#isSeen = false; // at once: the keys that follow may answer an unseen question
        const answer = this.#answer;
        this.#answer = undefined; // the next line may come in the same moment
        if (answer) answer(line);
        else this.#ahead.push(line);
      });
    }
    stop.addEventListener("abort", close);
    if (stop.aborted) close();
  }

  /**
   * Asks for a line.
   * @param completer makes the line a command: Tab completes it, and the Up key brings it back
   * @returns undefined at the end of input (Ctrl-D, or the end of the pipe), and after `stop`
   * @throws Failure EILSEQ for piped bytes that are not UTF-8
   */
  async ask(prompt: string, completer?: Completer): Promise<string | undefined> {
    this.#completer = completer;
    if (!this.isTerminal || !this.#isOpen) return await this.#next();
    if (this.#ahead.length > 0) this.#screen.write(`${prompt}${this.#ahead[0]}\n`);
    else {
      this.#isSeen = true;
      this.#input.setPrompt(prompt);
      this.#input.prompt(true); // true: what was typed ahead keeps its cursor
    }
    return await this.#next();
  }

  /** Asks for a line that is not shown. What was typed ahead is not the answer. */
  async askUnseen(prompt: string): Promise<string | undefined> {
    this.#completer = undefined;
    if (!this.isTerminal || !this.#isOpen) return await this.#next();
    this.#ahead = [];
    for (const name of ["e", "u"]) this.#input.write(null as unknown as string, { ctrl: true, name });
    this.#screen.write(prompt);
    const line = await this.#next();
    if (line !== undefined) this.#screen.write("\n");
    return line;
  }

  /** Shows what a question is about, where it is asked: a person reads both, also when stdout is a file. */
  async tell(text: string): Promise<void> {
    if (this.isTerminal) this.#screen.write(`${text}\n`);
    else await print(text);
  }

  async #next(): Promise<string | undefined> {
    if (!this.#isOpen && this.isTerminal) return undefined;
    this.isAsking = true;
    try {
      if (this.#piped) {
        const line = (await this.#piped.next()).value;
        const bytes = Buffer.from(line ?? "", "latin1");
        if (!isUtf8(bytes)) throw new Failure("the typed line", "bytes that are not valid utf-8", "EILSEQ");
        return line && `${bytes}`;
      }
      if (this.#ahead.length > 0) return this.#ahead.shift();
      return await new Promise((resolve) => (this.#answer = resolve));
    } finally {
      this.#answer = undefined;
      this.isAsking = false;
    }
  }

  /** Closes the keyboard; the terminal is as it was before. */
  [Symbol.dispose](): void {
    this.#input.close();
  }
}
