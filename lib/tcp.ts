/** What TCP sockets need beside the calls that a lesson shows. */
import type { Socket } from "node:net";
import { Failure } from "./failure.ts";
import { endpoint } from "./socket.ts";

/** How long a peer may take to close after we have, in milliseconds. */
const LINGER = 5000;

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
  socket.removeAllListeners("readable").resume(); // of an iterator that is still waiting: it would read no more
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once("close", () => clearTimeout(timer));
}

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

const names = new WeakMap<Socket, string>();

/** The endpoint of the peer, as Python's `getpeername` gives it: `127.0.0.1:50001`. */
export function peerName(socket: Socket): string {
  const known = names.get(socket);
  if (known !== undefined || socket.remoteAddress === undefined) return known ?? "a caller";
  const name = endpoint(socket.remoteAddress, socket.remotePort);
  names.set(socket, name);
  return name;
}
