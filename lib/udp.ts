/** What every UDP socket of the course needs beside the calls that a lesson shows. */
import type { RemoteInfo, Socket } from "node:dgram";
import { endpoint, isEveryAddress, isLoopback } from "./endpoint.ts";
import { Failure } from "./failure.ts";

/** How many datagrams may wait to be handled. */
const INBOX = 256;

/**
 * Whether an error only says that an earlier datagram found nobody (ICMP port unreachable). Python, Node
 * and Deno do not hear of that on a socket without a fixed peer. Bun 1.4 does, at the next receiving or
 * sending, with whomever that is (oven-sh/bun#29116): whoever has gone would end a server.
 */
const isLost = (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED";

/**
 * Receives datagrams, as `recvfrom` in a loop does: each with its sender, until the socket is closed.
 * They are collected from the call on, so call it before the socket is bound. When 256 wait to be
 * handled, further ones are dropped, as the system does when its receive buffer is full (SO_RCVBUF,
 * man 7 socket): a flood costs letters, never memory.
 * @throws the error of the socket
 */
export function datagrams(socket: Socket): AsyncIterable<[data: Buffer, sender: RemoteInfo]> {
  const inbox: [Buffer, RemoteInfo][] = [];
  let open = true;
  let failure: Error | undefined;
  let wake = () => {};
  socket.on("message", (data, sender) => {
    if (inbox.length < INBOX) inbox.push([data, sender]);
    wake();
  });
  socket.on("error", (error) => {
    // Whatever else a receive tells (host or network unreachable) is about an earlier letter of ours, too.
    if (isLost(error) || (error as NodeJS.ErrnoException).syscall === "recvmsg") return;
    failure = error;
    wake();
  });
  socket.on("close", () => {
    open = false;
    wake();
  });
  return {
    async *[Symbol.asyncIterator]() {
      while (open && !failure) {
        const next = inbox.shift();
        if (next) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (failure) throw failure;
    },
  };
}

/**
 * Sends one datagram, as `sendto` does: resolves when the system has taken it, which says nothing
 * about its arrival.
 * @throws Failure EINVAL for port 0; EMSGSIZE above 65,507 bytes over IPv4 (65,535 - 20 of IP - 8 of UDP; RFC 768, RFC 791)
 */
export function sendTo(socket: Socket, data: Uint8Array, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (port === 0) throw new Failure(endpoint(host, port), "port 0 belongs to nobody", "EINVAL");
    const send = () =>
      socket.send(data, port, host, (error) => {
        if (!error) resolve();
        else if (isLost(error)) send(); // that was an earlier one; this one was not sent
        else reject(error);
      });
    send();
  });
}

/**
 * The endpoint that a receiver will see as the sender. A socket that is bound to every address fills
 * in the one that leads to the receiver: for a receiver on this machine, the loopback address.
 */
export function sourceName(socket: Socket, host: string): string {
  const { address, port, family } = socket.address();
  if (!isLoopback(host) || !isEveryAddress(address)) return endpoint(address, port);
  return endpoint(family === "IPv6" ? "::1" : "127.0.0.1", port);
}
