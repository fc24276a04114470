/** Accepting connections, for the servers of chapter 3. */
import { EventEmitter, on } from "node:events";
import type { Server, Socket } from "node:net";
import { closeOnStop, peerName } from "../../lib/tcp.ts";

/** How many connections a server may have that serves one after another. */
const MOST_CALLERS = 1000;

/**
 * Accepts connections one after another, as Python's `accept` in a loop: each socket with the endpoint of its peer.
 * Call it before the server listens. Waiting connections cost memory, also those that were reset meanwhile: when
 * there are 1,000, the next one is closed.
 * @param waits is told the peer of a connection that comes while an earlier one is being served
 */
export function accept(
  server: Server,
  stop: AbortSignal,
  waits: (peer: string) => void = () => {},
): AsyncIterable<[socket: Socket, peer: string]> {
  const queue = new EventEmitter();
  const accepted = on(queue, "accepted", { signal: stop });
  let isBusy = false;
  let waiting = 0;
  server.on("connection", (socket) => {
    closeOnStop(socket, stop);
    const before = waiting + Number(isBusy);
    if (before === MOST_CALLERS) return void socket.destroy();
    if (before > 0) waits(peerName(socket));
    waiting += 1;
    queue.emit("accepted", socket, peerName(socket));
  });
  return (async function* () {
    for await (const [socket, peer] of accepted) {
      waiting -= 1;
      isBusy = true;
      yield [socket, peer];
      isBusy = false;
    }
  })();
}
