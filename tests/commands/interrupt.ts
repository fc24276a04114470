/** Ctrl-C at one of our commands: it ends, and leaves neither a program nor a folder behind. */
import { constants } from "node:os";
import process from "node:process";
import { removeAll } from "../engine/files.ts";
import { endAll } from "../engine/program.ts";

/**
 * From now on SIGINT, SIGTERM and SIGHUP (the terminal was closed) end this process in good order.
 * @param last what it does before
 */
export function endInOrder(last = () => {}): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => { // without a pause: nothing is told of what breaks because we end it
      endAll();
      removeAll();
      last();
      process.exit(128 + constants.signals[signal]);
    });
  }
}
