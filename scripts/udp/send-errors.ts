/** A send that fails: what it means for the next one. */
import process from "node:process";
import { explain, isStop } from "../../lib/failure.ts";
import { report } from "../../lib/program.ts";

/**
 * Whether a send failed for a trouble that may pass: a card that is down, a route that is missing, a full queue. The
 * datagram is lost, and the next one may arrive. Deno tells UNKNOWN for these, and for some that do not pass.
 */
export function isPassing(error: NodeJS.ErrnoException): boolean {
  return ["ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENOBUFS", "UNKNOWN"].includes(
    `${error.code}`,
  );
}

/** For `catch` of a send, where the next one may succeed: reports the error. The program ends with exit code 1. */
export async function goOnAfter(error: unknown): Promise<void> {
  if (isStop(error)) return;
  if (!explain(error)) throw error;
  process.exitCode = 1;
  await report(error);
}
