/** Accepting connections, for the servers of chapter 3. */
import { EventEmitter, on } from "node:events";
import type { Server, Socket } from "node:net";
import { closeOnStop, peerName } from "../../lib/tcp.ts";

const MOST_CALLERS = 1000; // at once

/**
 * Accepts connections one after another, as Python's `accept` in a loop: each socket with the endpoint of its peer.
 * Call it before the server listens. When 1,000 are open, or wait, the next one is closed: those that wait cost memory
 * also when they were reset meanwhile. All that wait are closed when the loop is left.
 * @param waits is told the peer of a connection that comes while an earlier one is being served
 */
export function accept(server: Server, stop: AbortSignal, waits = (_peer: string): unknown => undefined) {
  const [queue, waiting] = [new EventEmitter(), new Set<Socket>()];
  const accepted = on(queue, "accepted", { signal: stop });
  let [isBusy, isOver] = [false, false];
  server.maxConnections = MOST_CALLERS; // with those that have been served, and have not closed yet
  server.on("connection", (socket) => {
    closeOnStop(socket, stop);
    const before = waiting.size + Number(isBusy);
    if (isOver || before === MOST_CALLERS) return void socket.destroy();
    if (before > 0) waits(peerName(socket));
    waiting.add(socket);
    queue.emit("accepted", socket, peerName(socket));
  });
  return (async function* (): AsyncGenerator<[socket: Socket, peer: string]> {
    try {
      for await (const [socket, peer] of accepted) {
        waiting.delete(socket);
        isBusy = true;
        yield [socket, peer];
        isBusy = false;
      }
    } finally {
      isOver = true;
      for (const socket of waiting) socket.destroy(); // nobody will serve them
    }
  })();
}
