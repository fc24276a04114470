/** What a lesson says: data and events on stdout, errors on stderr. */
import type { AddressInfo } from "node:net";
import process from "node:process";
import { endpoint, isEveryAddress } from "./endpoint.ts";
import { explain, isStop, original } from "./failure.ts";

/**
 * Prints a text and a line end on stdout, as Python's `print(text, end="\n")` does. Resolves when the
 * text has been handed on, so that a program which awaits it never keeps more than one line in memory,
 * however slowly its output is read. Where 2,000 texts wait already, because many callers come and go while
 * nobody reads, it is left out.
 */
export function print(text: string, end = "\n"): Promise<void> {
  return write(process.stdout, text + end);
}

/**
 * Prints the ready line, `listening on HOST:PORT`: from now on the program can be reached. Where that
 * holds for the whole network (0.0.0.0, ::) a hint says so.
 * @param address what `address()` of a listening server or a bound socket gives
 */
export async function ready(address: AddressInfo | string | null): Promise<void> {
  if (address === null || typeof address === "string") return print(`listening on ${address}`);
  await print(`listening on ${endpoint(address.address, address.port)}`);
  if (isEveryAddress(address.address)) {
    await hint(`${address.address} is every address of this machine: the whole network can reach it`);
  }
}

/**
 * Tells an error on stderr as `error: WHAT: WHY (CODE)`, with a `hint:` line where one helps. The
 * stack is shown only for a mistake of the program itself. That Ctrl-C ended something is no error.
 * @param what with whom or on what it happened, where the error does not know it itself
 */
export async function report(thrown: unknown, what?: string): Promise<void> {
  const error = original(thrown);
  if (isStop(error)) return;
  const failure = explain(error, what);
  if (!failure) return write(process.stderr, `${error instanceof Error ? error.stack : error}\n`);
  await write(process.stderr, `error: ${visible(failure.message)}\n`);
  if (failure.hint) await hint(failure.hint);
}

/** Gives advice on stderr. */
export function hint(text: string): Promise<void> {
  return write(process.stderr, `hint: ${visible(text)}\n`);
}

/**
 * Makes the control characters of a text visible (`\n`, `\x1b`), so that a peer cannot drive the
 * terminal it is shown on: C0 and C1 controls (ECMA-48), the line and paragraph separators, and the
 * controls that turn the direction of writing (Unicode TR 9).
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (character) => {
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    const code = character.charCodeAt(0).toString(16);
    return short ?? (code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`);
  });
}

/** The line that is being typed at the terminal: keyboard.ts takes it off the screen, and puts it back. */
export const typedLine = { hide() {}, show() {} };

/**
 * How many texts may wait on one stream: more than a server has callers, of whom each waits for its own. What
 * goes beyond that is of callers who have come and gone while nobody read the output.
 */
const MOST_WAITING = 2000;
const waiting = new Map<NodeJS.WriteStream, number>();

async function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  const count = waiting.get(stream) ?? 0;
  if (count === MOST_WAITING) return;
  waiting.set(stream, count + 1);
  typedLine.hide();
  // A failed write (the reader of a pipe has gone) is told to the stream's error listener: see run.ts.
  const written = new Promise<void>((resolve) => stream.write(text, () => resolve()));
  typedLine.show();
  await written;
  waiting.set(stream, (waiting.get(stream) as number) - 1);
}
