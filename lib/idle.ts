/** A limit for silent peers. */
import type { Socket } from "node:net";
import { Failure } from "./failure.ts";
import { peerName } from "./tcp.ts";

/**
 * Destroys a connection on which no byte moves for so long, in either direction. (`socket.setTimeout` does not
 * notice, on Bun 1.4, a peer that only stops reading.)
 * @param limit in milliseconds; it may take a quarter more
 * @param isOurTurn whether the peer is right to be silent now
 */
export function limitIdle(socket: Socket, limit: number, isOurTurn = () => false): void {
  let bytes = 0;
  let idle = 0;
  const timer = setInterval(() => {
    const now = socket.bytesRead + socket.bytesWritten;
    idle = now === bytes && !isOurTurn() ? idle + 1 : 0;
    bytes = now;
    if (idle < 4) return;
    socket.destroy(new Failure(peerName(socket), `silent for ${limit / 1000} seconds`, "ETIMEDOUT"));
  }, limit / 4);
  socket.once("close", () => clearInterval(timer));
}
