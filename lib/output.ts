/** What a lesson prints: data and events on stdout, errors on stderr. */
import type { AddressInfo } from "node:net";
import process from "node:process";
import { endpoint, isEveryAddress } from "./endpoint.ts";
import { explain, isStop, original } from "./failure.ts";

/**
 * Prints a text and a line end on stdout, as Python's `print(text, end="\n")` does. Resolves when the text has been
 * handed on. Beyond 2,000 waiting texts, or 16 million waiting characters, it is left out: nobody reads the output.
 */
export function print(text: string, end = "\n"): Promise<void> {
  return write(process.stdout, text + end);
}

/**
 * Prints the ready line, `listening on HOST:PORT`: from now on the program can be reached.
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
 * Prints an error on stderr: `error: WHAT: WHY (CODE)` and perhaps a hint; only a mistake of the program itself
 * shows its stack. An end by Ctrl-C is no error.
 * @param what the peer or the object of the failed call, where the error does not name it
 */
export async function report(thrown: unknown, what?: string): Promise<void> {
  const error = original(thrown);
  if (isStop(error)) return;
  const failure = explain(error, what);
  if (!failure) return write(process.stderr, `${error instanceof Error ? error.stack : error}\n`);
  await write(process.stderr, `error: ${visible(failure.message)}\n`);
  if (failure.hint) await hint(failure.hint);
}

/** For `catch` where the next piece of work may succeed: reports the error. The program ends with exit code 1. */
export async function goOnAfter(error: unknown): Promise<void> {
  if (isStop(error)) return;
  if (!explain(error)) throw error;
  process.exitCode = 1;
  await report(error);
}

/** Prints advice on stderr. */
export function hint(text: string): Promise<void> {
  return write(process.stderr, `hint: ${visible(text)}\n`);
}

/**
 * Makes control characters visible (`\n`, `\x1b`), so that a peer's text cannot drive the terminal: C0 and C1
 * (ECMA-48), the line and paragraph separators, and the controls of the writing direction (Unicode TR 9).
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, (character) => {
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    const code = character.charCodeAt(0).toString(16);
    return short ?? (code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`);
  });
}

/** The line that is being typed at the terminal: keyboard.ts takes it off the screen and puts it back. */
export const typedLine = { hide() {}, show() {} };

/** What may wait on one stream: more texts than a server has callers, of which each waits for its own. */
const MOST_TEXTS = 2000;
const MOST_CHARACTERS = 16_000_000;
const waiting = new Map<NodeJS.WriteStream, { texts: number; characters: number }>();

async function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  const now = waiting.get(stream) ?? { texts: 0, characters: 0 };
  if (now.texts === MOST_TEXTS || now.characters > MOST_CHARACTERS) return;
  waiting.set(stream, now);
  now.texts += 1;
  now.characters += text.length;
  typedLine.hide();
  // A failed write (the reader of a pipe has gone) shows at the stream's error listener: see run.ts.
  const written = new Promise<void>((resolve) => stream.write(text, () => resolve()));
  typedLine.show();
  await written;
  now.texts -= 1;
  now.characters -= text.length;
}
