/** What every TCP socket of the course needs beside the calls that a lesson shows. */
import { EventEmitter, on } from "node:events";
import type { Server, Socket } from "node:net";
import { endpoint } from "./endpoint.ts";
import { Failure } from "./failure.ts";

/** How long a peer may take to hang up after we have, in milliseconds. */
const LINGER = 5000;

/** How many callers may wait for a server that serves one after another. */
const LONGEST_QUEUE = 1000;

const names = new WeakMap<Socket, string>();

/**
 * Prepares a socket, at once when it is made or accepted. An "error" event that nobody listens for
 * ends a program; from here on an error shows where the lesson reads or writes, and only there: the end
 * of an `await using` does not throw it again. And when the program is stopped, the socket is closed.
 * @param ending how it is closed then: "close" is a goodbye, "reset" tells the peer that something is
 *   missing (RST, RFC 9293, section 3.10.7.4)
 */
export function survive(socket: Socket, stop: AbortSignal, ending: "close" | "reset" = "close"): Socket {
  const leave = () => (ending === "reset" ? socket.resetAndDestroy() : socket.destroy(stop.reason));
  stop.addEventListener("abort", leave);
  socket.once("close", () => stop.removeEventListener("abort", leave));
  socket.on("error", () => {});
  const dispose = socket[Symbol.asyncDispose].bind(socket);
  socket[Symbol.asyncDispose] = () => dispose().catch(() => {});
  peerName(socket); // asked for now: a socket that was reset no longer knows
  return socket;
}

/**
 * The callers of a server that serves one after another, as `on(server, "connection")` gives them. Those who
 * wait cost memory, and those who have gone meanwhile too: when 1000 are here, the next is turned away.
 */
export function queueOf(server: Server, stop: AbortSignal): AsyncIterableIterator<[Socket]> {
  const queue = new EventEmitter();
  const callers = on(queue, "caller", { signal: stop });
  let waiting = 0;
  server.on("connection", (socket) => {
    if (waiting >= LONGEST_QUEUE) return void socket.destroy();
    waiting++;
    queue.emit("caller", socket);
  });
  async function* accept(): AsyncGenerator<[Socket]> {
    for await (const [socket] of callers) {
      waiting--;
      yield [socket];
    }
  }
  return accept();
}

/** The endpoint at the other side, as `getpeername` of Python gives it: `127.0.0.1:50001`. */
export function peerName(socket: Socket): string {
  const known = names.get(socket);
  if (known !== undefined || socket.remoteAddress === undefined) return known ?? "a caller";
  const name = endpoint(socket.remoteAddress, socket.remotePort);
  names.set(socket, name);
  return name;
}

/**
 * Sends all the bytes, as Python's `sendall` does: resolves when the system has taken the last one,
 * which is later the slower the peer reads.
 * @throws the error that broke the connection, ECONNRESET or EPIPE for example
 */
export function sendAll(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(socket.errored ?? error) : resolve()));
  });
}

/**
 * Hangs up on a peer that neither sends nor takes a byte for so long. (`socket.setTimeout` does not see,
 * on Bun, a peer that only does not read.)
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

/**
 * Says goodbye: what was written is still delivered, then the peer reads the end. What the peer still
 * sends is read and thrown away for up to 5 s, because closing a socket with unread bytes is a reset,
 * which could overtake our last words (RFC 1122, section 4.2.2.13).
 */
export function hangUp(socket: Socket): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once("close", () => clearTimeout(timer));
}
