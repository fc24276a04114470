/** What TCP sockets need beside the calls that a lesson shows. */
import { Socket } from "node:net";
import { Failure } from "./failure.ts";
import { endpoint } from "./socket.ts";

/** How long a peer may take for our last bytes, and then to close, in milliseconds. */
const TAKE = 30_000, LINGER = 5000;

/** Sockets to close, each with its signal. Functions and listeners of its own for each would take 1 KB a connection. */
const open = { close: new Map<Socket, AbortSignal>(), reset: new Map<Socket, AbortSignal>() };

/**
 * Closes a TCP socket when the program is stopped. It also listens for the socket's "error" event, which would end
 * the program if nobody did: the error shows where the lesson reads or writes. Call it as soon as there is a socket.
 * @param ending "reset" tells the peer that something is missing (RST; RFC 9293, section 3.10.7.4)
 */
export function closeOnStop(socket: Socket, stop: AbortSignal, ending: keyof typeof open = "close"): Socket {
  open[ending].set(socket, stop);
  stop.aborted ? queueMicrotask(closeAll.bind(stop)) : stop.addEventListener("abort", closeAll); // once for all
  socket.on("close", forget).on("error", ignore);
  socket[Symbol.asyncDispose] = dispose;
  peerName(socket); // asked for now: a socket that was reset no longer knows
  return socket;
}

function closeAll(this: AbortSignal) {
  for (const [socket, stop] of open.close) if (stop === this) socket.destroy(stop.reason);
  for (const [socket, stop] of open.reset) if (stop === this) socket.resetAndDestroy();
}
function forget(this: Socket) {
  Object.values(open).forEach((sockets) => sockets.delete(this));
}
const ignore = () => {};
const dispose = function (this: Socket) {
  return Socket.prototype[Symbol.asyncDispose].call(this).catch(ignore); // the error has been thrown once already
};

/**
 * Waits until the system has taken our last bytes (30 s at most), and then for the peer's close (5 s). What still comes
 * is read and discarded: a close with unread bytes is a reset, which overtakes our last bytes (RFC 1122, 4.2.2.13).
 */
export function linger(socket: Socket): void {
  if (socket.destroyed) return;
  socket.removeAllListeners("readable").resume(); // of an iterator that is still waiting: it would read no more
  const close = () => socket.destroy();
  const reset = () => socket.remotePort ? socket.resetAndDestroy() : close(); // a Unix socket knows no reset
  let timer = setTimeout(reset, TAKE); // some of our bytes are lost: a close would not say so
  socket.end(() => (clearTimeout(timer), timer = setTimeout(close, socket.destroyed ? 0 : LINGER)));
  socket.once("close", () => clearTimeout(timer));
}

/** Ends a connection before all is sent; its `errored` tells why. */
export function breakOff(socket: Socket, why: Failure): void {
  if (socket.destroyed) return;
  // A close would say that nothing is missing. So `closeOnStop` may ask for a reset, where the peer has anything yet.
  if (!open.reset.has(socket) || socket.bytesWritten === 0) return void socket.destroy(why);
  Object.defineProperty(socket, "errored", { value: why }); // resetAndDestroy takes no reason
  socket.resetAndDestroy();
}

/**
 * Breaks off a connection on which no byte moves for so long, in either direction; ours move when the system takes
 * them. (`socket.setTimeout` does not notice, on Bun 1.4, a peer that only stops reading.)
 * @param limit in milliseconds; it may take a quarter more
 * @param isOurTurn whether the peer is right to be silent now
 */
export function limitIdle(socket: Socket, limit: number, isOurTurn = () => false): void {
  let [bytes, idle] = [0, 0];
  const timer = setInterval(() => {
    const now = socket.bytesRead + socket.bytesWritten;
    idle = now === bytes && !isOurTurn() ? idle + 1 : 0;
    bytes = now;
    if (idle < 4) return;
    breakOff(socket, new Failure(peerName(socket), `silent for ${limit / 1000} seconds`, "ETIMEDOUT"));
  }, limit / 4);
  socket.once("close", () => clearInterval(timer));
}

const NAME = Symbol("peer");

/** The endpoint of the peer, as Python's `getpeername` gives it: `127.0.0.1:50001`. */
export function peerName(socket: Socket & { [NAME]?: string }): string {
  socket[NAME] ??= socket.remoteAddress && endpoint(socket.remoteAddress, socket.remotePort);
  return socket[NAME] ?? "a caller";
}
