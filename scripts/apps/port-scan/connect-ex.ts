/**
 * A fast path for the ports of this machine, on Bun for Linux: connect(2) itself, as Python's `connect_ex` calls it. On
 * the loopback the answer is there before the call returns, and a socket that was refused may call again: a port costs
 * two system calls, and has no socket, event and error of its own. All 65,535 ports take 0.7 s of processor time, where
 * a loop of `node:net` takes 3.0 s, one of `Bun.connect` 1.8 s, and nmap 1.4 s. Its code is the true one, too: it needs
 * no second question (refusals.ts), which no URL could ask of an address with a network card (RFC 4007, section 11).
 */
import type { Pointer } from "bun:ffi";
import { connect, type NetConnectOpts } from "node:net";
import process from "node:process";
import { getSystemErrorMap } from "node:util";
import { parseIp } from "../../../lib/ip.ts";
import { isLoopback } from "../../../lib/socket.ts";
import type { Connection, Listener } from "./scan.ts";

// <bits/socket.h>, <asm-generic/errno.h>
const AF_INET = 2, AF_INET6 = 10, SOCK_STREAM = 1, SOCK_NONBLOCK = 0o4000, SOCK_CLOEXEC = 0o2000000;
const EISCONN = 106, EALREADY = 114, EINPROGRESS = 115;

/** How often a connection that is not answered at once is looked at, in milliseconds. */
const TICK = 5;

/** What is left of a connection that has been answered. */
const SETTLED: Connection = { destroy() {} };

type Waiting = { fd: number; port: number; listener: Listener };

const load = async () => {
  const { dlopen, read } = await import("bun:ffi"); // not at the top: other runtimes cannot load it
  const { symbols } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    if_nametoindex: { args: ["ptr"], returns: "u32" },
    __errno_location: { args: [], returns: "ptr" },
  });
  return { ...symbols, errno: () => read.i32(symbols.__errno_location() as Pointer, 0) };
};

export class ConnectEx implements Disposable {
  readonly #c: Awaited<ReturnType<typeof load>>;
  readonly #address: Uint8Array;
  readonly #waiting = new Set<Waiting>();
  #ticker: NodeJS.Timeout | undefined;
  #refused = -1; // a socket that may call again

  /** @returns undefined where this way is not open: another host, runtime, system or C library */
  static async to(host: string): Promise<ConnectEx | undefined> {
    if (typeof Bun === "undefined" || process.platform !== "linux") return undefined;
    if (!isLoopback(host) && !host.includes("%")) return undefined;
    return await load().then((c) => new ConnectEx(c, host), () => undefined);
  }

  private constructor(c: Awaited<ReturnType<typeof load>>, host: string) {
    this.#c = c;
    // struct sockaddr_in: family 2 bytes, port 2, address 4, zeros 8; or sockaddr_in6: family, port, flow 4, address 16,
    // card 4. It has its ArrayBuffer from the start: the bytes of a short array may move.
    const [address, card] = host.split("%");
    const { version, number } = parseIp(address);
    const bytes = Buffer.from(new ArrayBuffer(version === 4 ? 16 : 28));
    bytes.writeUInt16LE(version === 4 ? AF_INET : AF_INET6, 0);
    bytes.write(number.toString(16).padStart(version === 4 ? 8 : 32, "0"), version === 4 ? 4 : 8, "hex");
    if (card) bytes.writeUInt32LE(c.if_nametoindex(Buffer.from(`${card}\0`)) || Number(card), 24);
    this.#address = bytes;
  }

  /** Connects to a port. */
  ask(port: number, listener: Listener): Connection {
    const fd = this.#refused >= 0 ? this.#refused : this.#c.socket(
      this.#address.length === 16 ? AF_INET : AF_INET6,
      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
      0,
    );
    this.#refused = -1;
    if (fd < 0) { // EMFILE, or EAFNOSUPPORT where the system has no IPv6
      listener.answered(CODES.get(this.#c.errno()) ?? "EIO");
      listener.closed();
      return SETTLED;
    }
    this.#connect(fd, port); // sends a SYN; the answer comes before the call returns, but is not told
    const code = this.#connect(fd, port); // what the answer was
    if (code !== undefined) {
      this.#settle(fd, code, listener);
      return SETTLED;
    }
    const waiting = { fd, port, listener };
    this.#waiting.add(waiting);
    this.#ticker ??= setInterval(() => this.#look(), TICK);
    return { destroy: () => this.#leave(waiting) && this.#settle(fd, "ECANCELED", listener) };
  }

  /** @returns "" when connected, the code of the error, or undefined while there is no answer */
  #connect(fd: number, port: number): string | undefined {
    this.#address[2] = port >> 8;
    this.#address[3] = port & 0xff;
    if (this.#c.connect(fd, this.#address, this.#address.length) === 0) return "";
    const errno = this.#c.errno();
    if (errno === EISCONN) return "";
    if (errno === EALREADY || errno === EINPROGRESS) return undefined;
    return CODES.get(errno) ?? `E${errno}`;
  }

  #settle(fd: number, code: string, { answered, closed }: Listener): void {
    if (code === "") {
      const socket = connect({ fd } as unknown as NetConnectOpts); // Bun makes a socket of it
      socket.on("error", () => {}).on("close", closed);
      return answered(code, socket);
    }
    if (code === "ECONNREFUSED" && this.#refused < 0) this.#refused = fd;
    else this.#c.close(fd);
    answered(code);
    closed();
  }

  /** Looks whether those that wait have been answered. */
  #look(): void {
    for (const waiting of this.#waiting) {
      const { fd, port, listener } = waiting;
      const code = this.#connect(fd, port);
      if (code !== undefined && this.#leave(waiting)) this.#settle(fd, code, listener);
    }
  }

  #leave(waiting: Waiting): boolean {
    const wasWaiting = this.#waiting.delete(waiting);
    if (this.#waiting.size === 0) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
    }
    return wasWaiting;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#ticker);
    for (const { fd } of this.#waiting) this.#c.close(fd);
    if (this.#refused >= 0) this.#c.close(this.#refused);
  }
}

/** The names of the errors (man 3 errno). */
const CODES = new Map(Array.from(getSystemErrorMap(), ([number, [code]]) => [-number, code]));
