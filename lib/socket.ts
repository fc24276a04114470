/** What the sockets of the course need beside the calls that a lesson shows. */
import type { Socket } from "node:dgram";
import { endpoint, isEveryAddress, isLoopback } from "./endpoint.ts";

/**
 * Waits until the system has taken what a lesson sends, as Python's `sendall` does; that says nothing about its
 * arrival. `await sent((done) => socket.write(bytes, done))`, or `socket.send(bytes, port, host, done)`.
 * @throws the error of the socket: ECONNRESET, EPIPE, EMSGSIZE, ...; ECANCELED on Bun, for what still waited
 */
export function sent(call: (done: (error?: Error | null) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null) => {
      if (!error) resolve();
      else if (isLost(error)) call(done); // that was an earlier datagram; this one was not sent
      else reject(error);
    };
    call(done);
  });
}

/**
 * Whether an error only says that an earlier datagram found no receiver (ICMP port unreachable). Bun 1.4 reports
 * that at the next receive or send of any UDP socket (oven-sh/bun#29116); others do on connected sockets only.
 */
export const isLost = (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED";

/** The endpoint that a receiver sees as the sender: for one on this machine, a loopback address. */
export function sourceName(socket: Socket, host: string): string {
  const { address, port, family } = socket.address();
  const isLocal = (isLoopback(host) || isEveryAddress(host)) && isEveryAddress(address);
  return endpoint(isLocal ? { IPv4: "127.0.0.1", IPv6: "::1" }[family] as string : address, port);
}
