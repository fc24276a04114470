/** Waiting for bind. */
import type { Socket } from "node:dgram";
import { once } from "node:events";

/**
 * Waits until a UDP socket is bound: for its "listening" event.
 * @param port the wanted one, for the error: Bun 1.4 does not say which port it could not bind
 * @throws the error of the socket: EADDRINUSE, EACCES, EADDRNOTAVAIL, ...
 */
export async function bound(socket: Socket, port: number, stop: AbortSignal): Promise<void> {
  try {
    await once(socket, "listening", { signal: stop });
  } catch (error) {
    throw Object.assign(error as Error, { port });
  }
}
