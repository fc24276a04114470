/** Where a datagram comes from, as its receiver sees it. */
import type { Socket } from "node:dgram";
import { endpoint, isEveryAddress, isLoopback } from "../../lib/socket.ts";

/** The endpoint that a receiver sees as the sender: for one on this machine, a loopback address. */
export function sourceName(socket: Socket, host: string): string {
  const { address, port, family } = socket.address();
  const isLocal = (isLoopback(host) || isEveryAddress(host)) && isEveryAddress(address);
  const own = family === "IPv4" || /^::ffff:/i.test(host) ? "127.0.0.1" : "::1";
  return endpoint(isLocal ? own : address, port);
}
