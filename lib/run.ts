/** How a lesson starts and ends: signals, errors and exit codes are the same in all of them. */
import process from "node:process";
import { explain, isStop } from "./failure.ts";
import { report } from "./output.ts";

/** How long a stopped lesson may take to put things in order, in milliseconds. */
const GRACE = 1000;

/**
 * Runs the `main` of a lesson and ends the program: exit code 0 when it returns, the code of its Failure (1 or 2)
 * when it throws one, 1 for any other error. A lesson that goes on after an error sets `process.exitCode` itself.
 *
 * Ctrl-C (SIGINT), SIGTERM and SIGHUP abort `stop`, which closes what the lesson gave it to. Then a server exits
 * with 0, a client with 128 + the signal's number. When the reader of stdout has gone (`| head -1`): exit code 0.
 */
export async function run(kind: "server" | "client", main: (stop: AbortSignal) => Promise<void>) {
  const controller = new AbortController();
  const stop = (code: number) => {
    process.exitCode = kind === "server" ? 0 : code;
    controller.abort();
    setTimeout(() => process.exit(), GRACE); // also where nobody reads stdout
  };
  process.on("SIGINT", () => stop(130));
  process.on("SIGTERM", () => stop(143));
  process.on("SIGHUP", () => stop(129)); // the terminal was closed
  process.stdout.on("error", () => process.exit(0));
  process.stderr.on("error", () => {});
  try {
    await main(controller.signal);
  } catch (error) {
    const failure = explain(error);
    // Errors caused by stopping are not reported; a mistake of the program itself always is.
    if (!controller.signal.aborted) process.exitCode = failure?.exitCode ?? 1;
    if (!controller.signal.aborted || (!failure && !isStop(error))) await report(error);
  }
  process.stdout.write("", () => process.exit());
}
