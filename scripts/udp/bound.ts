/** Waiting for bind. */
import type { Socket } from "node:dgram";
import { once } from "node:events";
import { explain, Failure } from "../../lib/failure.ts";

/**
 * Waits until a UDP socket is bound: for its "listening" event.
 * @param port the wanted one, for the error: Bun 1.4 does not say which port it could not bind
 * @param flag which flag chooses it, for the hint
 * @throws the error of the socket: EADDRINUSE, EACCES, EADDRNOTAVAIL, ...
 */
export async function bound(socket: Socket, port: number, stop: AbortSignal, flag = "--port"): Promise<void> {
  try {
    await once(socket, "listening", { signal: stop });
  } catch (error) {
    const failure = explain(Object.assign(error as Error, { port }));
    if (!failure?.hint) throw error;
    const { what, why, code, hint } = failure;
    throw new Failure(what, why, code, { hint: hint.replaceAll("--port", flag) });
  }
}
