/** How a lesson runs: what it prints, and how it ends. */
import { constants, fstatSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { endpoint, isEveryAddress } from "./socket.ts";
import { explain, isStop, original } from "./failure.ts";

/**
 * Runs the `main` of a lesson and ends the program: exit code 0 when it returns, the code of its Failure (1 or 2)
 * when it throws one, 1 for any other error. A lesson that goes on after an error sets `process.exitCode` itself.
 *
 * Ctrl-C (SIGINT), SIGTERM and SIGHUP abort `stop`, which closes what the lesson gave it to. Within about a second
 * a server exits with 0, a client with 128 + the signal's number. When stdout has no reader (`| head -1`): exit code 0.
 */
export async function run(kind: "server" | "client", main: (stop: AbortSignal) => Promise<void>) {
  const controller = new AbortController();
  const stop = (code: number) => {
    process.exitCode = kind === "server" ? 0 : code;
    controller.abort();
    setTimeout(() => setTimeout(() => process.exit(), 500), 500); // in two: a pause of the machine takes only one
  };
  process.on("SIGINT", () => stop(130)).on("SIGTERM", () => stop(143));
  process.on("SIGHUP", () => stop(129)); // the terminal was closed
  if (kind === "client") (["stdout", "stderr"] as const).forEach(output); // prompts and bars go there, too
  try {
    await main(controller.signal);
  } catch (error) {
    const failure = explain(error);
    // Errors caused by stopping are not reported; a mistake of the program itself always is.
    if (!controller.signal.aborted) process.exitCode = failure?.exitCode ?? 1;
    if (!controller.signal.aborted || (!failure && !isStop(error))) await report(error);
  }
  output("stdout").write("", () => process.exit());
}

/**
 * Prints a text and a line end on stdout, as Python's `print(text, end="\n")` does. Resolves when the text has been
 * handed on. Where too much waits already, about 2,000 lines, because nobody reads the output, it is left out.
 */
export function print(text: string, end = "\n"): Promise<void> {
  return write("stdout", text + end);
}

/**
 * Prints the ready line, `listening on HOST:PORT`: from now on the program can be reached.
 * @param address what `address()` of a listening server or a bound socket gives
 */
export async function ready(address: AddressInfo | string | null): Promise<void> {
  const isPath = address === null || typeof address === "string";
  const line = `listening on ${isPath ? address : endpoint(address.address, address.port)}\n`;
  // Straight to the system: the output need not be opened yet. O_NONBLOCK: a full pipe is an error, not a wait.
  const now = { flag: (constants.O_WRONLY | constants.O_NONBLOCK) as unknown as string }; // the types know names only
  const written = Promise.try(() => writeFileSync(fstatSync(1).isFIFO() ? "/dev/stdout" : 1, line, now));
  await written.catch(() => print(line, ""));
  if (isPath || !isEveryAddress(address.address)) return;
  await hint(`${address.address} is every address of this machine: the whole network can reach it`);
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
  if (!failure) return write("stderr", `${error instanceof Error ? error.stack : error}\n`);
  const advice = failure.hint ? `hint: ${visible(failure.hint)}\n` : ""; // in one go: no line comes between the two
  await write("stderr", `error: ${visible(failure.message)}\n${advice}`);
}

/** Prints advice on stderr. */
export const hint = (text: string): Promise<void> => write("stderr", `hint: ${visible(text)}\n`);

/**
 * Controls, line separators, turns of the writing direction (Unicode TR 9), what is no character (U+FFFE), and what
 * nobody sees (TR 44, Default_Ignorable_Code_Point; blank Braille), except inside an emoji (TR 51).
 */
export const UNSEEN = RegExp(
  String.raw`(?!(?<=\p{ExtPict})\uFE0F|\uFE0F\u20E3|(?<=\p{ExtPict}[\uFE0F\p{EMod}]?)\u200D\p{ExtPict})` +
    String.raw`[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_C}\p{DI}\p{NChar}\u2800\uFFF9-\uFFFB]`,
  "gu",
);

/** Makes them visible (`\n`, `\x1b`, `\u200b`): a peer's text cannot drive the terminal, and no two names look equal. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    if (code.length > 4) return `\\u{${code}}`;
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    return short ?? (code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`);
  });
}

/** The line that is being typed at the terminal: keyboard.ts takes it off the screen and puts it back. */
export const typedLine = { hide() {}, show() {} };

/** What may wait on one stream, in characters: some 2,000 texts, for each counts 32,000 more, or fewer long ones. */
const MOST_WAITING = 70_000_000;
const waiting = { stdout: 0, stderr: 0 };
const outputs: { stdout?: NodeJS.WriteStream; stderr?: NodeJS.WriteStream } = {};

/** An output, opened when it is first needed: on Bun 1.4 that takes 5 ms. An error tells that its reader has gone. */
export const output = (name: keyof typeof outputs): NodeJS.WriteStream =>
  outputs[name] ??= process[name].on("error", () => name === "stdout" && process.exit(0));

async function write(name: keyof typeof outputs, text: string): Promise<void> {
  if (waiting[name] > MOST_WAITING) return;
  waiting[name] += text.length + 32_000;
  typedLine.hide();
  const written = new Promise<void>((resolve) => output(name).write(text, () => resolve()));
  typedLine.show();
  await written;
  waiting[name] -= text.length + 32_000;
}
