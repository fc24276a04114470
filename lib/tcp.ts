/** What TCP sockets need beside the calls that a lesson shows. */
import { EventEmitter, on } from "node:events";
import type { Server, Socket } from "node:net";
import { endpoint } from "./socket.ts";

/** How long a peer may take to close after we have, in milliseconds. */
const LINGER = 5000;

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

/**
 * Closes a TCP socket when the program is stopped. It also listens for the socket's "error" event, which would end
 * the program if nobody did: the error shows where the lesson reads or writes. Call it as soon as there is a socket.
 * @param ending "reset" tells the peer that something is missing (RST; RFC 9293, section 3.10.7.4)
 */
export function closeOnStop(socket: Socket, stop: AbortSignal, ending: "close" | "reset" = "close"): Socket {
  const close = () => (ending === "reset" ? socket.resetAndDestroy() : socket.destroy(stop.reason));
  stop.addEventListener("abort", close);
  socket.once("close", () => stop.removeEventListener("abort", close));
  socket.on("error", () => {});
  const dispose = socket[Symbol.asyncDispose].bind(socket);
  socket[Symbol.asyncDispose] = () => dispose().catch(() => {}); // the error has been thrown once already
  peerName(socket); // asked for now: a socket that was reset no longer knows
  return socket;
}

/**
 * Waits for the peer's close after `socket.end()`. What still comes is read and discarded for up to 5 s: closing a
 * socket with unread bytes is a reset, which could overtake our last bytes (RFC 1122, section 4.2.2.13).
 */
export function linger(socket: Socket): void {
  if (socket.destroyed) return;
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once("close", () => clearTimeout(timer));
}

const names = new WeakMap<Socket, string>();

/** The endpoint of the peer, as Python's `getpeername` gives it: `127.0.0.1:50001`. */
export function peerName(socket: Socket): string {
  const known = names.get(socket);
  if (known !== undefined || socket.remoteAddress === undefined) return known ?? "a caller";
  const name = endpoint(socket.remoteAddress, socket.remotePort);
  names.set(socket, name);
  return name;
}
