/**
 * The socket calls of C (man 2 socket, and so on), by Bun's foreign function interface: for the sockets that no runtime
 * offers. Linux on x64 and arm64, where numbers lie in memory with the lowest byte first, and a pointer has 8 bytes.
 */
import type { Pointer } from "bun:ffi";
import process from "node:process";
import { getSystemErrorMap } from "node:util";
import { Failure } from "../../lib/failure.ts";
import { formatIp, parseIp } from "../../lib/ip.ts";

// <bits/socket.h>, <netinet/in.h>, <bits/in.h>, <asm-generic/socket.h>, <linux/if_ether.h>, <linux/if_packet.h>
export const AF_INET = 2, AF_INET6 = 10, AF_PACKET = 17;
export const SOCK_DGRAM = 2, SOCK_RAW = 3;
export const ETH_P_ALL = 0x0003, ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd;
export const ARPHRD_LOOPBACK = 772, PACKET_OUTGOING = 4;
export const IPPROTO_ICMP = 1, IPPROTO_ICMPV6 = 58;
export const SOL_IP = 0, SOL_SOCKET = 1, SOL_IPV6 = 41, SOL_PACKET = 263;
export const SO_RCVBUF = 8, SO_RCVBUFFORCE = 33, SO_TIMESTAMPNS = 35;
export const IP_TTL = 2, IP_RECVERR = 11, IP_RECVTTL = 12;
export const IPV6_RECVERR = 25, IPV6_RECVHOPLIMIT = 51, IPV6_HOPLIMIT = 52;
export const PACKET_STATISTICS = 6;
export const MSG_TRUNC = 0x20, MSG_ERRQUEUE = 0x2000;
const SOCK_NONBLOCK = 0o4000, SOCK_CLOEXEC = 0o2000000;

/** The longest message that recvmsg takes whole, in bytes: four times the longest IP packet. */
const LONGEST = 262_144;

/** What the system says about a message beside its bytes (man 3 cmsg): its time, its TTL, an error. */
export type Control = { level: number; type: number; data: Buffer };

/** A received message. `from` is the sender's socket address; `length` is more than `data` has if it was cut. */
export type Message = { data: Buffer; from: Buffer; length: number; controls: Control[] };

/** The functions of the C library that the lessons call. */
const declare = ({ dlopen }: typeof import("bun:ffi")) =>
  dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
    recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
    if_nametoindex: { args: ["ptr"], returns: "u32" },
    clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  }).symbols;

let ffi: typeof import("bun:ffi");
let c: ReturnType<typeof declare>;

/**
 * Loads the C library. Before, nothing else of this module can be called.
 * @throws Failure ENOSYS on another runtime than Bun, another system than Linux, or with another C library (musl)
 */
export async function loadLibc(): Promise<void> {
  if (typeof Bun === "undefined") throw new Failure("bun:ffi", "only Bun has it", "ENOSYS");
  if (process.platform !== "linux") {
    throw new Failure("raw sockets", "this lesson knows only those of Linux", "ENOSYS");
  }
  ffi = await import("bun:ffi"); // not at the top: other runtimes cannot load it
  try {
    c = declare(ffi);
  } catch {
    throw new Failure("libc.so.6", "cannot be loaded: this lesson needs the GNU C library", "ENOSYS");
  }
}

/** Opens a socket, as Python's `socket(family, type, protocol)` does. @throws an error with `code`, as all its calls */
export const socket = (family: number, type: number, protocol: number) => new Socket(family, type, protocol);

/** The number of a network card; 0: there is none of this name (man 3 if_nametoindex). */
export const if_nametoindex = (name: string): number => c.if_nametoindex(Buffer.from(`${name}\0`));

/** The time by the clock that also marks arriving messages, in milliseconds since 1970. */
export function now(): number {
  const time = Buffer.alloc(16);
  c.clock_gettime(0, time); // CLOCK_REALTIME
  return parseTime(time);
}

/** A socket that never waits: what cannot be done at once fails with EAGAIN. `using` closes it. */
export class Socket implements Disposable {
  readonly #fd: number;
  // Each has its ArrayBuffer from the start: that of a short array would be made later, and its bytes would move.
  readonly #data = new ArrayBuffer(LONGEST);
  readonly #from = new ArrayBuffer(128);
  readonly #control = new ArrayBuffer(512);
  readonly #parts = new ArrayBuffer(16);
  readonly #header = new ArrayBuffer(56);

  constructor(family: number, type: number, protocol: number) {
    this.#fd = checked("socket", c.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    // struct iovec: where the bytes go, and how many at most
    new BigUint64Array(this.#parts).set([placeOf(this.#data), BigInt(LONGEST)]);
    // struct msghdr, in words of 8 bytes: name, its length, iovec, how many of them, control, its length, flags
    new BigUint64Array(this.#header).set([
      placeOf(this.#from),
      0n,
      placeOf(this.#parts),
      1n,
      placeOf(this.#control),
    ]);
  }

  bind(address: Uint8Array): void {
    checked("bind", c.bind(this.#fd, address, address.length));
  }

  getsockname(): Buffer {
    const address = Buffer.alloc(128), length = new Uint32Array([128]);
    checked("getsockname", c.getsockname(this.#fd, address, length));
    return address.subarray(0, length[0]);
  }

  setsockopt(level: number, option: number, value: number): void {
    checked("setsockopt", c.setsockopt(this.#fd, level, option, new Int32Array([value]), 4));
  }

  getsockopt(level: number, option: number, size: number): Buffer {
    const value = Buffer.alloc(size);
    checked("getsockopt", c.getsockopt(this.#fd, level, option, value, new Uint32Array([size])));
    return value;
  }

  sendto(data: Uint8Array, address: Uint8Array): number {
    return checked("sendto", c.sendto(this.#fd, data, data.length, 0, address, address.length));
  }

  /** The next message, or undefined when there is none yet. The next call overwrites its bytes. */
  recvmsg(flags = 0): Message | undefined {
    const header = new DataView(this.#header);
    header.setUint32(8, this.#from.byteLength, true);
    header.setBigUint64(40, BigInt(this.#control.byteLength), true);
    const length = Number(c.recvmsg(this.#fd, new Uint8Array(this.#header), flags | MSG_TRUNC));
    if (length < 0) {
      const error = systemError("recvmsg");
      if (error.code === "EAGAIN" || error.code === "EINTR") return undefined;
      throw error;
    }
    return {
      data: Buffer.from(this.#data, 0, Math.min(length, LONGEST)),
      from: Buffer.from(this.#from, 0, header.getUint32(8, true)),
      length, // the real one, because of MSG_TRUNC
      controls: parseControls(Buffer.from(this.#control, 0, Number(header.getBigUint64(40, true)))),
    };
  }

  [Symbol.dispose](): void {
    c.close(this.#fd);
  }
}

/** Where bytes lie in memory. */
const placeOf = (bytes: ArrayBuffer) => BigInt(ffi.ptr(bytes));

/** The result of a call. @throws the error that the system tells of a call that gave -1 (man 3 errno) */
function checked(call: string, result: number | bigint): number {
  if (Number(result) === -1) throw systemError(call);
  return Number(result);
}

function systemError(syscall: string): NodeJS.ErrnoException {
  const errno = ffi.read.i32(c.__errno_location() as Pointer, 0);
  const [code, message] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, `error ${errno}`];
  return Object.assign(new Error(`${syscall}: ${message}`), { code, errno, syscall });
}

/** struct timespec, seconds and nanoseconds of 8 bytes each, in milliseconds since 1970. */
function parseTime(timespec: Buffer): number {
  return Number(timespec.readBigInt64LE(0)) * 1000 + Number(timespec.readBigInt64LE(8)) / 1e6;
}

/** When a message arrived: struct timespec. Undefined unless SO_TIMESTAMPNS was set before. */
export function timespecOf({ controls }: Message): Buffer | undefined {
  return controls.find(({ level, type }) => level === SOL_SOCKET && type === SO_TIMESTAMPNS)?.data;
}

/** The same in milliseconds since 1970; of a message without it, now. */
export function arrival(message: Message): number {
  const timespec = timespecOf(message);
  return timespec ? parseTime(timespec) : now();
}

/**
 * A socket address: struct sockaddr_in (family 2 bytes, port 2, address 4, zeros 8), or struct sockaddr_in6 (family 2,
 * port 2, flow 4, address 16, number of the network card 4). The port stays 0: ICMP has none.
 * @param text 127.0.0.1, ::1, or fe80::1%eth0
 */
export function socketAddress(text: string): Buffer {
  const [plain, zone = ""] = text.split("%");
  const { version, number } = parseIp(plain);
  const bytes = Buffer.alloc(version === 4 ? 16 : 28);
  bytes.writeUInt16LE(version === 4 ? AF_INET : AF_INET6, 0);
  bytes.write(number.toString(16).padStart(version === 4 ? 8 : 32, "0"), version === 4 ? 4 : 8, "hex");
  if (zone) bytes.writeUInt32LE(if_nametoindex(zone) || Number(zone), 24);
  return bytes;
}

/**
 * The address of a packet socket, struct sockaddr_ll (man 7 packet): family 2 bytes, protocol 2 in network order, number
 * of the card 4, its kind 2, direction of the packet 1, length of the hardware address 1, that address 8.
 */
export function packetAddress(card: number, protocol: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16BE(protocol, 2);
  bytes.writeInt32LE(card, 4);
  return bytes;
}

/** The address in a socket address, as people write it. */
export function addressIn(from: Buffer): string {
  const isIpv6 = from.readUInt16LE(0) === AF_INET6;
  const bytes = isIpv6 ? from.subarray(8, 24) : from.subarray(4, 8);
  return isIpv6 ? formatIp({ version: 6, number: BigInt(`0x${bytes.toString("hex")}`) }) : bytes.join(".");
}

/** struct cmsghdr, one after another: its whole length 8 bytes, level 4, type 4, data; each begins at a multiple of 8. */
function parseControls(bytes: Buffer): Control[] {
  const controls: Control[] = [];
  for (let at = 0; at + 16 <= bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    if (length < 16 || at + length > bytes.length) break;
    const [level, type] = [bytes.readInt32LE(at + 8), bytes.readInt32LE(at + 12)];
    controls.push({ level, type, data: bytes.subarray(at + 16, at + length) });
    at += (length + 7) & ~7;
  }
  return controls;
}

/** The Failure for a socket that the system gives to few programs only. */
export function noRight(what: string): Failure {
  return new Failure(what, "needs the capability CAP_NET_RAW", "EPERM", { // man 7 capabilities
    hint: "run it as root; or in a network of your own: unshare -Urn; ip link set lo up",
  });
}
