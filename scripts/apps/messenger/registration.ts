/**
 * Registrations, the datagrams between client and server of lesson 4.4. A client has no fixed port: the server
 * learns its UDP endpoint from the datagrams that the client sends (RFC 5128, section 3.3).
 *
 *      0      1      2      3      4      5                21               29     31                47
 *     +------+------+------+------+------+------- - -------+------- - -----+------+------- - -------+------- - -----+
 *     | "S"    "b"    "E"    0x01 | type | token: 16 bytes | cookie: 8     | port | address         | name in UTF-8 |
 *     +------+------+------+------+------+------- - -------+------- - -----+------+------- - -------+------- - -----+
 *
 *     type           port and address                        cookie                        name
 *     1 REGISTER     the endpoint of the client's own card   of the last SEEN, or zeros    the client's
 *     2 SEEN         the endpoint that the server sees       of the server's own making    none
 *
 * The server answers REGISTER with SEEN, as STUN does (RFC 8489). Only a REGISTER that brings back the right cookie
 * counts: it proves that the client receives datagrams at that endpoint, so nobody registers the endpoint of another
 * machine by a forged sender (QUIC validates an address in the same way: RFC 9000, section 8.1). SEEN is always
 * shorter than REGISTER, so the server is no amplifier either. A wrong token gets no answer, but the client with
 * that name is warned. An IPv4 address is written as ::ffff:a.b.c.d (RFC 4291).
 */
import { createHmac, randomBytes } from "node:crypto";
import { endpoint } from "../../../lib/socket.ts";
import { formatIp, parseIp } from "../../../lib/ip.ts";
import { LONGEST_NAME, VERSION } from "./protocol.ts";

/** The first four bytes of each datagram of this lesson. */
export const MAGIC = Buffer.from([0x53, 0x62, 0x45, VERSION]);

/** The length of SEEN, and of REGISTER without its name, in bytes. */
const LENGTH = 47;

export const NO_COOKIE = Buffer.alloc(8);

export type UdpEndpoint = { address: string; port: number };
export type Registration = { token: Buffer; cookie: Buffer; own: UdpEndpoint; name: string };

export function encodeRegistration({ token, cookie, own, name }: Registration): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(1), token, cookie, packEndpoint(own), Buffer.from(name)]);
}

/**
 * Reads a REGISTER; any other datagram gives undefined. `own` becomes text only when it is asked for: that is most of
 * the work, and anybody can send a datagram.
 */
export function decodeRegistration(datagram: Buffer): Registration | undefined {
  const name = datagram.toString("utf8", LENGTH);
  const isTooLong = datagram.length > LENGTH + 4 * LONGEST_NAME;
  if (!isType(datagram, 1) || name === "" || isTooLong) return undefined;
  return {
    token: datagram.subarray(5, 21),
    cookie: datagram.subarray(21, 29),
    get own() {
      return unpackEndpoint(datagram.subarray(29, LENGTH));
    },
    name,
  };
}

export type Seen = { cookie: Buffer; seen: UdpEndpoint };

export function encodeSeen(token: Buffer, { cookie, seen }: Seen): Buffer {
  return Buffer.concat([MAGIC, Buffer.of(2), token, cookie, packEndpoint(seen)]);
}

/** Reads a SEEN for this token; any other datagram gives undefined. */
export function decodeSeen(datagram: Buffer, token: Buffer): Seen | undefined {
  const isOurs = isType(datagram, 2) && datagram.length === LENGTH && datagram.subarray(5, 21).equals(token);
  return isOurs
    ? { cookie: datagram.subarray(21, 29), seen: unpackEndpoint(datagram.subarray(29)) }
    : undefined;
}

/** The cookies of a server, which needs no memory for them: each is made from the endpoint that it belongs to. */
export class Cookies {
  readonly #key = randomBytes(32);

  for(token: Buffer, { address, port }: UdpEndpoint): Buffer {
    const hmac = createHmac("sha256", this.#key).update(token).update(endpoint(address, port));
    return hmac.digest().subarray(0, NO_COOKIE.length);
  }
}

function isType(datagram: Buffer, type: number): boolean {
  return datagram.subarray(0, 4).equals(MAGIC) && datagram[4] === type;
}

/** An address as a number of 128 bits: an IPv4 one as ::ffff:a.b.c.d. A zone (`%eth0`) means nothing elsewhere. */
export function addressNumber(address: string): bigint {
  const { version, number } = parseIp(address.replace(/%.*/, ""));
  return version === 4 ? 0xffffn << 32n | number : number;
}

/** The address of such a number. */
export function addressOf(number: bigint): string {
  const isMapped = number >> 32n === 0xffffn;
  return formatIp(isMapped ? { version: 4, number: number & 0xffffffffn } : { version: 6, number });
}

function packEndpoint({ address, port }: UdpEndpoint): Buffer {
  const digits = port.toString(16).padStart(4, "0") + addressNumber(address).toString(16).padStart(32, "0");
  return Buffer.from(digits, "hex");
}

function unpackEndpoint(bytes: Buffer): UdpEndpoint {
  return { address: addressOf(BigInt(`0x${bytes.toString("hex", 2, 18)}`)), port: bytes.readUInt16BE(0) };
}

/** Reads `127.0.0.1:50001` or `[::1]:50001` of a peer: an endpoint of one machine; anything else gives undefined. */
export function readEndpoint(text: string): UdpEndpoint | undefined {
  const [, address = "", digits] = /^\[?([\da-f.:]+?)\]?:(\d{1,5})$/i.exec(text) ?? [];
  try {
    parseIp(address);
  } catch {
    return undefined;
  }
  const port = Number(digits);
  const isGroup = /^(22[4-9]|2[3-5]\d)\.|^ff/i.test(address); // multicast, and 255.255.255.255
  // Written as we write it: another spelling of an address (0::1, ::ffff:7f00:1) would be another one to the checks.
  const isWritten = port > 0 && port < 65_536 && endpoint(addressOf(addressNumber(address)), port) === text;
  return isWritten && !isGroup ? { address, port } : undefined;
}
