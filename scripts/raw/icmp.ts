/**
 * ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443): how a machine asks another one whether it is there, and how routers
 * and machines say that a packet has not arrived. Each message begins alike:
 *
 *     0 type   1 code   2-3 checksum   4-7 what the type needs   8- data
 *
 * In an echo, 4-5 is the identifier of the program that asks, and 6-7 the number of the request.
 */
import { checksum } from "./checksum.ts";

export type Family = 4 | 6;
export type Echo = { isReply: boolean; identifier: number; sequence: number; isIntact: boolean };

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } };

/** An echo request with `size` bytes of data. The checksum for IPv6 covers its addresses too: the kernel adds it. */
export function echoRequest(family: Family, identifier: number, sequence: number, size: number): Buffer {
  const bytes = Buffer.alloc(8 + size);
  bytes[0] = ECHO[family].request;
  bytes.writeUInt16BE(identifier, 4);
  bytes.writeUInt16BE(sequence, 6);
  for (let index = 0; index < size; index++) bytes[8 + index] = index;
  if (family === 4) bytes.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

/** Reads an echo request or reply, perhaps cut after its 8 bytes; undefined for any other message. */
export function parseEcho(family: Family, bytes: Buffer): Echo | undefined {
  const { request, reply } = ECHO[family];
  if (bytes.length < 8 || (bytes[0] !== request && bytes[0] !== reply)) return undefined;
  return {
    isReply: bytes[0] === reply,
    identifier: bytes.readUInt16BE(4),
    sequence: bytes.readUInt16BE(6),
    isIntact: family === 6 || checksum(bytes) === 0,
  };
}

/** The ICMP message in an IPv4 packet: behind its header, whose length in words of 4 bytes is half of the first byte. */
export const behindIpv4 = (packet: Buffer) => packet.subarray((packet[0] & 0x0f) * 4);

/** Why a packet was not delivered, in the words of `ping`. @param info the MTU, where a packet was too big */
export function whyNot(family: Family, type: number, code: number, info: number): string {
  if (family === 6 && type === 2) return `Packet too big: mtu=${info}`;
  if (family === 4 && type === 3 && code === 4) return `Frag needed and DF set (mtu = ${info})`;
  return NOT_DELIVERED[family][type]?.[code] ?? `ICMP type ${type} code ${code}`;
}

/** By type and code. */
const NOT_DELIVERED: Record<Family, Record<number, Record<number, string>>> = {
  4: {
    3: {
      0: "Destination Net Unreachable",
      1: "Destination Host Unreachable",
      2: "Destination Protocol Unreachable",
      3: "Destination Port Unreachable",
      5: "Source Route Failed",
      6: "Destination Net Unknown",
      7: "Destination Host Unknown",
      9: "Destination Net Prohibited",
      10: "Destination Host Prohibited",
      13: "Packet filtered",
    },
    11: { 0: "Time to live exceeded", 1: "Frag reassembly time exceeded" },
  },
  6: {
    1: {
      0: "Destination unreachable: No route",
      1: "Destination unreachable: Administratively prohibited",
      2: "Destination unreachable: Beyond scope of source address",
      3: "Destination unreachable: Address unreachable",
      4: "Destination unreachable: Port unreachable",
      5: "Destination unreachable: Source address failed ingress/egress policy",
      6: "Destination unreachable: Reject route to destination",
    },
    3: { 0: "Time exceeded: Hop limit", 1: "Time exceeded: Defragmentation failure" },
  },
};
