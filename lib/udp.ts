/** Receiving datagrams: what a UDP socket needs beside `socket.on("message", ...)`. */
import type { RemoteInfo, Socket } from "node:dgram";
import { isLost } from "./socket.ts";

/** How many datagrams may wait to be handled; and how many are taken in one go, about a tenth of a second's work. */
const INBOX = 256, IN_ONE_GO = 2048;

/**
 * Waits until a UDP socket is closed: by the lesson itself or, through its `signal`, by Ctrl-C.
 * An error that only says what became of an earlier datagram of ours does not end the wait.
 * @throws the error of the socket
 */
export function closed(socket: Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => {}); // the error may come before the lesson awaits it
  socket.on("close", resolve);
  socket.on("error", (error: NodeJS.ErrnoException) => {
    if (!isLost(error) && error.syscall !== "recvmsg") reject(error);
  });
  giveTurns(socket);
  return promise;
}

/**
 * Bun 1.4 looks at signals and timers only when a UDP socket is empty. A flood, or answers that come back at once,
 * can fill it for ever, and then not even SIGTERM is heard. So after 2048 datagrams the next ones are dropped until
 * everything else had its turn. Node and Deno take turns themselves.
 */
function giveTurns(socket: Socket): void {
  let handled = 0;
  socket.on("message", () => {
    if (handled === 0) setImmediate(() => (handled = 0));
    if (++handled < IN_ONE_GO) return;
    const listeners = socket.rawListeners("message") as (() => void)[];
    socket.removeAllListeners("message");
    setImmediate(() => listeners.forEach((listener) => socket.on("message", listener)));
  });
}

/**
 * Receives datagrams one after another, as `recvfrom` in a loop does: each with its sender, until the socket is
 * closed. They are collected from the call on, so call it before the socket is bound. While 256 wait to be handled,
 * further ones are dropped, as the system does when its receive buffer is full (SO_RCVBUF, man 7 socket).
 * @throws the error of the socket
 */
export function datagrams(socket: Socket): AsyncIterable<[data: Buffer, sender: RemoteInfo]> {
  const inbox: [Buffer, RemoteInfo][] = [];
  let [wake, isOpen] = [() => {}, true];
  let failure: unknown;
  socket.on("message", (data, sender) => {
    if (inbox.length < INBOX) inbox.push([data, sender]);
    wake();
  });
  closed(socket).catch((error) => (failure = error)).finally(() => {
    isOpen = false;
    wake();
  });
  return {
    async *[Symbol.asyncIterator]() {
      while (isOpen) {
        const next = inbox.shift();
        if (next) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (failure) throw failure;
    },
  };
}
