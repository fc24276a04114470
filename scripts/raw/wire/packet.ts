/**
 * Reads packets: IPv4 (RFC 791) and IPv6 (RFC 8200), and in them TCP (RFC 9293), UDP (RFC 768) and ICMP. Bytes come
 * from strangers and may be cut anywhere: what is not there is not read.
 */
import { formatIp } from "../../../lib/ip.ts";

/** `received`: what has come behind a gap, each from its first number to before its second one (SACK, RFC 2018). */
export type Tcp = { seq: number; ack: number; flags: number; window: number; received: [number, number][] };
export type Icmp = { type: number; code: number; info: number; quoted?: Packet };

/** A packet. `length`: bytes of its payload, as its headers say; `payload`: those that are there. */
export type Packet = {
  version: 4 | 6;
  source: string;
  target: string;
  /** 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6 (IANA, "protocol numbers"). */
  protocol: number;
  sourcePort?: number;
  targetPort?: number;
  tcp?: Tcp;
  icmp?: Icmp;
  /** A piece of a packet that was too long for a network; only the first one has the ports. */
  fragment?: { id: number; offset: number; hasMore: boolean };
  length: number;
  payload: Buffer;
  /** Whether bytes are missing that belong to its headers. */
  isCut: boolean;
};

const ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58;

/** The flags of TCP, from the lowest bit on (RFC 9293, section 3.1). */
export const FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const;
export const FIN = 1, SYN = 2, RST = 4, ACK = 16;

/**
 * Reads an IP packet; undefined where there is not even a whole IP header.
 * @param isQuoted whether an ICMP message quotes it: only its first bytes need be there
 */
export function parsePacket(bytes: Buffer, isQuoted = false): Packet | undefined {
  const packet = bytes[0] >> 4 === 4 ? parseIpv4(bytes) : bytes[0] >> 4 === 6 ? parseIpv6(bytes) : undefined;
  if (!packet || (packet.fragment?.offset ?? 0) > 0) return packet;
  if (packet.protocol === TCP) readTcp(packet, isQuoted);
  else if (packet.protocol === UDP) readUdp(packet);
  else if (packet.protocol === ICMP || packet.protocol === ICMPV6) readIcmp(packet, isQuoted);
  return packet;
}

/** 0 version and header length, 2-3 length, 4-5 id, 6-7 fragment, 9 protocol, 12-15 source, 16-19 target, options. */
function parseIpv4(bytes: Buffer): Packet | undefined {
  const header = (bytes[0] & 15) * 4;
  if (bytes.length < 20 || header < 20 || bytes.length < header) return undefined;
  const whole = bytes.readUInt16BE(2) || bytes.length; // 0: the network card cuts it into packets (TSO)
  const pieces = bytes.readUInt16BE(6);
  const [offset, hasMore] = [(pieces & 0x1fff) * 8, (pieces & 0x2000) !== 0];
  return {
    version: 4,
    source: `${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`,
    target: `${bytes[16]}.${bytes[17]}.${bytes[18]}.${bytes[19]}`,
    protocol: bytes[9],
    fragment: offset > 0 || hasMore ? { id: bytes.readUInt16BE(4), offset, hasMore } : undefined,
    length: Math.max(0, whole - header),
    payload: bytes.subarray(header, Math.max(header, whole)),
    isCut: false,
  };
}

/** The headers that may stand between IPv6 and what it carries: for hops, routing, fragment, target. */
const EXTENSIONS = [0, 43, 44, 60], FRAGMENT = 44;

/** 4-5 length of what follows, 6 the kind of the next header, 8-23 source, 24-39 target. */
function parseIpv6(bytes: Buffer): Packet | undefined {
  if (bytes.length < 40) return undefined;
  const whole = 40 + (bytes.readUInt16BE(4) || bytes.length - 40);
  let [protocol, at, fragment] = [bytes[6], 40, undefined as Packet["fragment"]];
  while (EXTENSIONS.includes(protocol) && at + 8 <= bytes.length && !fragment?.offset) {
    if (protocol === FRAGMENT) {
      const pieces = bytes.readUInt16BE(at + 2);
      fragment = { id: bytes.readUInt32BE(at + 4), offset: pieces & 0xfff8, hasMore: (pieces & 1) === 1 };
    }
    [protocol, at] = [bytes[at], at + (protocol === FRAGMENT ? 8 : 8 + bytes[at + 1] * 8)];
  }
  return {
    version: 6,
    source: ipv6(bytes.subarray(8, 24)),
    target: ipv6(bytes.subarray(24, 40)),
    protocol,
    fragment,
    length: Math.max(0, whole - at),
    payload: bytes.subarray(at, Math.max(at, whole)),
    isCut: at > bytes.length,
  };
}

/** Addresses that were written before: RFC 5952 takes its time. */
const written = new Map<string, string>();

function ipv6(bytes: Buffer): string {
  const key = bytes.toString("hex");
  const text = written.get(key) ?? formatIp({ version: 6, number: BigInt(`0x${key}`) });
  if (written.size > 1000) written.clear();
  written.set(key, text);
  return text;
}

/** 0-1 source port, 2-3 target port, 4-7 seq, 8-11 ack, 12 header length, 13 flags, 14-15 window, options. */
function readTcp(packet: Packet, isQuoted: boolean): void {
  const { payload, length } = packet;
  readPorts(packet);
  if (payload.length < 20) {
    packet.isCut ||= !isQuoted;
    return;
  }
  const header = Math.max(20, (payload[12] >> 4) * 4);
  packet.tcp = {
    seq: payload.readUInt32BE(4),
    ack: payload.readUInt32BE(8),
    flags: payload[13],
    window: payload.readUInt16BE(14),
    received: selectiveAcks(payload.subarray(20, header)),
  };
  packet.length = Math.max(0, length - header);
  packet.payload = payload.subarray(header);
  packet.isCut ||= payload.length < header;
}

/** Options: 0 the end, 1 nothing; of any other, 0 kind, 1 whole length, then its value. */
function selectiveAcks(options: Buffer): [number, number][] {
  const received: [number, number][] = [];
  for (let at = 0; at + 1 < options.length && options[at] !== 0;) {
    const [kind, length] = [options[at], options[at] === 1 ? 1 : Math.max(2, options[at + 1])];
    for (let block = at + 2; kind === 5 && block + 8 <= Math.min(at + length, options.length); block += 8) {
      received.push([options.readUInt32BE(block), options.readUInt32BE(block + 4)]);
    }
    at += length;
  }
  return received;
}

/** 0-1 source port, 2-3 target port, 4-5 length, 6-7 checksum. */
function readUdp(packet: Packet): void {
  readPorts(packet);
  packet.isCut ||= packet.payload.length < 8;
  packet.length = Math.max(0, packet.length - 8);
  packet.payload = packet.payload.subarray(8);
}

function readPorts(packet: Packet): void {
  if (packet.payload.length < 4) return;
  packet.sourcePort = packet.payload.readUInt16BE(0);
  packet.targetPort = packet.payload.readUInt16BE(2);
}

/** See ../icmp.ts. An error quotes the packet that was not delivered, from byte 8 on, as much of it as fits. */
function readIcmp(packet: Packet, isQuoted: boolean): void {
  const { payload, protocol } = packet;
  if (payload.length < 8) {
    packet.isCut = true;
    return;
  }
  const [type, code, info] = [payload[0], payload[1], payload.readUInt32BE(4)];
  const isError = protocol === ICMP ? [3, 4, 5, 11, 12].includes(type) : type < 128;
  const quoted = isError && !isQuoted ? parsePacket(payload.subarray(8), true) : undefined;
  packet.icmp = { type, code, info, quoted };
  packet.length = Math.max(0, packet.length - 8);
  packet.payload = payload.subarray(8);
}
