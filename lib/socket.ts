/** What every socket of the course needs: endpoints in words, and sends that are waited for. */
import { networkInterfaces } from "node:os";

/**
 * Writes an endpoint as `127.0.0.1:7788` or, for IPv6, `[::1]:7788` (RFC 3986, section 3.2.2).
 * An IPv4 peer of an IPv6 socket, `::ffff:127.0.0.1` (RFC 4291, section 2.5.5.2), is written as IPv4.
 */
export function endpoint(address: string, port?: number): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "");
  const host = plain.includes(":") ? `[${plain}]` : plain;
  return port === undefined ? host : `${host}:${port}`;
}

/**
 * An IPv6 address as the system writes it (RFC 5952): `::1` for `0:0::1`, `::ffff:127.0.0.1` for `::ffff:7f00:1`, and
 * with the name of its network card for the number: `fe80::1%eth0` for `FE80::1%2` (RFC 4007, section 11).
 */
export function canonical(address: string): string {
  const [number, zone] = address.split("%");
  const plain = new URL(`http://[${number}]`).hostname.slice(1, -1).replace(
    /^::ffff:(\w+):(\w+)$/,
    (_, high, low) => `::ffff:${Buffer.from(high.padStart(4, "0") + low.padStart(4, "0"), "hex").join(".")}`,
  );
  const card = Object.entries(zone ? networkInterfaces() : {}).find(([, addresses]) =>
    addresses?.some((one) => one.family === "IPv6" && one.scopeid > 0 && `${one.scopeid}` === zone)
  );
  return zone === undefined ? plain : `${plain}%${card?.[0] ?? zone}`;
}

/** Whether an address is every address of this machine, so that the network can reach it. */
export const isEveryAddress = (address: string) => /^(::ffff:)?0\.0\.0\.0$|^[0:]+$/i.test(address);

/** Whether an address never leaves this machine: 127.0.0.0/8 or ::1 (RFC 6890). */
export const isLoopback = (address: string) => /^(::ffff:)?127\.|^::1$/i.test(address);

/**
 * Waits until the system has taken what a lesson sends, as Python's `sendall` does; that says nothing about its
 * arrival. `await sent((done) => socket.write(bytes, done))`, or `socket.send(bytes, port, host, done)`.
 * @throws the error of the socket: ECONNRESET, EPIPE, EMSGSIZE, ...; ECANCELED on Bun, for what still waited
 */
export function sent(call: (done: (error?: NodeJS.ErrnoException | null) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    let unknown = 0; // Deno tells UNKNOWN for every error
    const done = (error?: NodeJS.ErrnoException | null) => {
      if (!error) resolve();
      // That was an earlier datagram; this one was not sent.
      else if (isLost(error) || (error.code === "UNKNOWN" && ++unknown === 1)) call(done);
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
