/** The keyboard: lines that are typed at a terminal or piped in. */
import process from "node:process";
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from "node:readline";
import { Readable } from "node:stream";
import { output, report, typedLine } from "./program.ts";
import { decode, encode, type Encoding } from "./text.ts";

/** A typed line, and its bytes on the wire. */
export type Typed = { text: string; bytes: Buffer };

/**
 * Reads typed lines until the end of input (Ctrl-D, or the end of the pipe) or until `stop`. At a terminal it
 * prompts with `> `, and what is printed meanwhile goes above the line that is being typed. A line that is not valid
 * UTF-8, or has a character that the encoding lacks, is reported and left out; the program then ends with 1.
 */
export async function* keyboard(encoding: Encoding, stop: AbortSignal): AsyncGenerator<Typed> {
  if (stop.aborted) return;
  const terminal = Boolean(process.stdin.isTTY && process.stdout.isTTY);
  // On a pipe one character for each byte: readline would take U+2028 for a line end, and hide invalid bytes.
  if (!terminal) process.stdin.setEncoding("latin1");
  const input = createInterface({ input: process.stdin, output: output("stdout"), terminal, prompt: "> " });
  let [open, prompted] = [true, false];
  const close = () => input.close();
  const prompt = () => {
    prompted = terminal && open;
    if (prompted) input.prompt(true); // true: what was typed ahead keeps its cursor
  };
  input.on("line", () => (prompted = false));
  input.on("close", () => {
    if (prompted) process.stdout.write("\n"); // the cursor still stands behind the prompt
    open = prompted = false;
  });
  const isTyping = () => prompted || (terminal && open && input.line !== "");
  typedLine.hide = () => {
    if (!isTyping()) return;
    moveCursor(process.stdout, 0, -input.getCursorPos().rows);
    cursorTo(process.stdout, 0);
    clearScreenDown(process.stdout);
  };
  typedLine.show = () => {
    if (!isTyping()) return;
    Object.assign(input, { prevRows: 0 }); // readline's note of how far below the prompt the cursor was
    prompt();
  };
  heedKeys(input);
  stop.addEventListener("abort", close);
  try {
    prompt();
    for await (const line of input) {
      try {
        const text = terminal ? line : decode(Buffer.from(line, "latin1"), "utf-8", "the typed line", false);
        yield { text, bytes: encode(text, encoding) };
      } catch (error) {
        process.exitCode = 1;
        await report(error);
      }
      prompt();
    }
  } finally {
    stop.removeEventListener("abort", close);
    open = false;
    input.close();
  }
}

/**
 * The messages of a lesson: the words of the command line or, without any, typed lines.
 * @throws Failure EILSEQ, at once, when a word has a character that the encoding lacks
 */
export function messages(words: string[], encoding: Encoding, stop: AbortSignal): AsyncIterable<Typed> {
  if (words.length === 0) return keyboard(encoding, stop);
  return Readable.from(words.map((text) => ({ text, bytes: encode(text, encoding) })));
}

/** Lets Ctrl-C and Ctrl-Z do at a prompt what they do elsewhere: in raw mode the terminal sends no signals. */
export function heedKeys(input: Interface): void {
  input.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  input.on("SIGCONT", () => input.resume()); // back from Ctrl-Z, readline waits to be told
}
