/** Endpoints: an address and a port, as people write them. */

/**
 * Writes an endpoint as `127.0.0.1:7788` or, for IPv6, `[::1]:7788` (RFC 3986, section 3.2.2).
 * An IPv4 peer of an IPv6 socket, `::ffff:127.0.0.1` (RFC 4291, section 2.5.5.2), is written as IPv4.
 */
export function endpoint(address: string, port?: number): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  const host = plain.includes(":") ? `[${plain}]` : plain;
  return port === undefined ? host : `${host}:${port}`;
}

/** Whether an address is every address of this machine, so that the network can reach it. */
export function isEveryAddress(address: string): boolean {
  return address === "0.0.0.0" || /^[0:]+$/.test(address);
}

/** Whether an address never leaves this machine: 127.0.0.0/8 or ::1 (RFC 6890). */
export function isLoopback(address: string): boolean {
  return /^(::ffff:)?127\./i.test(address) || address === "::1";
}
