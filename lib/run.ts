/** How a lesson starts and ends: signals, errors and exit codes are the same in all of them. */
import process from "node:process";
import { isStop } from "./failure.ts";
import { report } from "./output.ts";

/** How long a stopped lesson may take to put things in order, in milliseconds. */
const GRACE = 1000;

/**
 * Runs the `main` of a lesson and ends the program: exit code 0 when it returns, the code of its
 * Failure (1 or 2) when it throws one, 1 for any other error. A lesson that goes on after an error
 * sets `process.exitCode` to 1 itself.
 *
 * Ctrl-C (SIGINT), SIGTERM and SIGHUP abort `stop`, which closes what the lesson gave it to; then a server,
 * whose work has no other end, exits with 0, and a client with 128 + the signal's number: 130, 143, 129.
 *
 * When the reader of stdout has gone (`| head -1`) there is nobody left to work for: exit code 0.
 */
export async function run(
  kind: "server" | "client",
  main: (stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const stopped = Promise.withResolvers<void>();
  const stop = (code: number) => {
    process.exitCode = kind === "server" ? 0 : code;
    controller.abort();
    setTimeout(stopped.resolve, GRACE);
  };
  process.on("SIGINT", () => stop(130));
  process.on("SIGTERM", () => stop(143));
  process.on("SIGHUP", () => stop(129)); // the terminal was closed
  process.stdout.on("error", () => process.exit(0));
  process.stderr.on("error", () => {});
  try {
    await Promise.race([main(controller.signal), stopped.promise]);
  } catch (caught) {
    let error = caught;
    // Closing what is broken fails once more (`await using`); what broke it is the news.
    while (error instanceof SuppressedError) error = error.suppressed;
    if (!controller.signal.aborted) {
      process.exitCode = (error as { exitCode?: number }).exitCode ?? 1;
      await report(error);
    } else if (!isStop(error)) {
      await report(error);
    }
  }
  process.stdout.write("", () => process.exit());
}
