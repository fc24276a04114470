/** Networks: the addresses that begin with the same bits. */
import type { Ip } from "../../lib/ip.ts";

/** How many bits an address has. */
export const BITS = { 4: 32, 6: 128 };

/**
 * The network of an address: all of its addresses have the same first `prefix` bits. `first` names the network
 * itself; `last` is, in IPv4, its broadcast address; `host` are the other bits of the address.
 */
export function networkOf({ version, number }: Ip, prefix: number): { first: Ip; last: Ip; host: Ip } {
  const hostBits = (1n << BigInt(BITS[version] - prefix)) - 1n;
  return {
    first: { version, number: number & ~hostBits },
    last: { version, number: number | hostBits },
    host: { version, number: number & hostBits },
  };
}

/** Whether a network has addresses for itself and for broadcast: IPv4, but no network of two (RFC 3021). */
export function hasBroadcast(version: 4 | 6, prefix: number): boolean {
  return version === 4 && prefix <= 30;
}
