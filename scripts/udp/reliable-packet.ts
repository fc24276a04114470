/**
 * The protocol of lesson 2.6: how a file crosses a network that loses, repeats, reorders and damages
 * datagrams. A packet is one datagram, in network byte order:
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |          checksum: CRC-32 of all that comes after it          |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |     connection: a random number, which the other end chose    |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                            number                             |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |             type              |            window             |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |         timestamp: when it was sent, in microseconds          |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                   payload: 0 to 1,200 bytes                   |
 *
 *     type        from      number                 payload
 *     1 SYN       sender    0                      size of the file (8 bytes), its name in UTF-8
 *     2 DATA      sender    1, 2, 3 ...            the next bytes of the file
 *     3 FIN       sender    the last one           SHA-256 of the whole file
 *     4 ACK       receiver  the next one it needs  which later ones have come: a bit each, lowest first
 *     5 SAVED     receiver  one after FIN          what the receiver dropped and sorted: three counts
 *     6 RST       either    0                      CODE and reason: this transfer is over
 *     7 SYNACK    receiver  1                      the receiver's connection number (4 bytes)
 *
 * Each end chooses a connection number. SYN carries the sender's own; all other packets carry the one that the
 * end they go to has chosen, as in SCTP (RFC 9260, section 8.5). So a sender that goes on after SYN has got the
 * SYNACK: it is really at the address that its packets bear. To a packet of no transfer the receiver answers
 * with an RST that carries the number of that packet, and is not longer than it.
 *
 * Only an ACK and a SYNACK have a window: how many packets from its number on the receiver has room for. Its
 * timestamp is the one of the packet that it answers, so the sender learns which of several copies came, and
 * how long the round trip was (RFC 7323, section 4).
 *
 * The head of reliable-send.ts lists the mechanisms that use these fields.
 */
import { crc32 } from "node:zlib";

/**
 * How many bytes of a file a packet carries. With the headers (20 here, 8 of UDP, 40 of IPv6) it is 1,268
 * bytes: no more than the 1,280 that every IPv6 link carries in one piece (RFC 8200, section 5). A larger
 * datagram is cut up on the way, and one lost piece loses it all (RFC 8085, section 3.2).
 */
export const PAYLOAD = 1200;

const HEADER = 20;

/** The largest window, in packets. */
export const LARGEST_WINDOW = 256;

/** Numbers do not wrap round, as TCP's do (RFC 1982): 32 bits of packets are enough for 5 TB. */
export const LARGEST_FILE = (2 ** 32 - 3) * PAYLOAD;

const TYPES = ["SYN", "DATA", "FIN", "ACK", "SAVED", "RST", "SYNACK"] as const;

export type Packet = {
  type: (typeof TYPES)[number];
  connection: number;
  number: number;
  window?: number;
  timestamp?: number;
  payload?: Uint8Array;
};

export function encodePacket(
  { type, connection, number, window = 0, timestamp = 0, payload }: Packet,
): Buffer {
  const packet = Buffer.alloc(HEADER + (payload?.length ?? 0));
  packet.writeUInt32BE(connection, 4);
  packet.writeUInt32BE(number, 8);
  packet.writeUInt16BE(TYPES.indexOf(type) + 1, 12);
  packet.writeUInt16BE(window, 14);
  packet.writeUInt32BE(timestamp, 16);
  if (payload) packet.set(payload, HEADER);
  packet.writeUInt32BE(crc32(packet.subarray(4)), 0);
  return packet;
}

/** Reads a packet. A datagram that is no packet, or was damaged on the way, gives undefined. */
export function decodePacket(datagram: Buffer): Required<Packet> | undefined {
  if (datagram.length < HEADER || datagram.length > HEADER + PAYLOAD) return undefined;
  if (crc32(datagram.subarray(4)) !== datagram.readUInt32BE(0)) return undefined;
  const type = TYPES[datagram.readUInt16BE(12) - 1];
  if (type === undefined) return undefined;
  return {
    type,
    connection: datagram.readUInt32BE(4),
    number: datagram.readUInt32BE(8),
    window: datagram.readUInt16BE(14),
    timestamp: datagram.readUInt32BE(16),
    payload: datagram.subarray(HEADER),
  };
}

/** The payload of a SYNACK. */
export function encodeNumber(connection: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(connection);
  return payload;
}

/** Undefined for a payload of another length. */
export function decodeNumber(payload: Uint8Array): number | undefined {
  return payload.length === 4 ? Buffer.from(payload).readUInt32BE() : undefined;
}

/** The payload of a SYN. */
export function encodeFile(file: { name: string; size: number }): Buffer {
  const payload = Buffer.alloc(8 + Buffer.byteLength(file.name));
  payload.writeBigUInt64BE(BigInt(file.size));
  payload.write(file.name, 8);
  return payload;
}

/** Undefined for a payload that is too short, or a name that is not UTF-8. */
export function decodeFile(payload: Uint8Array): { name: string; size: number } | undefined {
  const bytes = Buffer.from(payload);
  if (bytes.length < 8) return undefined;
  const name = bytes.toString("utf8", 8);
  if (!Buffer.from(name).equals(bytes.subarray(8))) return undefined;
  return { name, size: Number(bytes.readBigUInt64BE()) };
}

/** The payload of an ACK for `number`: bit i stands for packet number + 1 + i, and is 1 when it has come. */
export function encodeArrived(number: number, arrived: Iterable<number>): Uint8Array {
  const bits = new Uint8Array(LARGEST_WINDOW / 8);
  let length = 0;
  for (const one of arrived) {
    const i = one - number - 1;
    bits[i >> 3] |= 1 << (i & 7);
    length = Math.max(length, (i >> 3) + 1);
  }
  return bits.subarray(0, length);
}

/** Whether an ACK says that packet `one` has come. */
export function hasArrived(ack: Required<Packet>, one: number): boolean {
  const i = one - ack.number - 1;
  return i < 0 ? one < ack.number : (ack.payload[i >> 3] & (1 << (i & 7))) !== 0;
}

/** What the receiver did with what came. */
export type Counts = { damaged: number; duplicate: number; early: number };

/** The payload of a SAVED. */
export function encodeCounts({ damaged, duplicate, early }: Counts): Buffer {
  const payload = Buffer.alloc(12);
  for (const [index, count] of [damaged, duplicate, early].entries()) {
    payload.writeUInt32BE(Math.min(count, 0xffff_ffff), 4 * index); // a peer may send copies for days
  }
  return payload;
}

export function decodeCounts(payload: Uint8Array): Counts {
  const bytes = Buffer.concat([payload, Buffer.alloc(12)]); // a short one says 0
  return { damaged: bytes.readUInt32BE(0), duplicate: bytes.readUInt32BE(4), early: bytes.readUInt32BE(8) };
}

/** The payload of an RST. @param most its length at most, in bytes: a reason that is longer is left out */
export function encodeReason({ code, why }: { code: string; why: string }, most = PAYLOAD): Buffer {
  const payload = Buffer.from(`${code} ${why}`).subarray(0, PAYLOAD);
  return payload.length > most ? Buffer.alloc(0) : payload;
}

export function decodeReason(payload: Uint8Array): { code: string; why: string } {
  const [, code, why] = /^(E[A-Z0-9_]{1,30}) (.{1,200})$/s.exec(Buffer.from(payload).toString()) ?? [];
  return code === undefined ? { code: "ECONNRESET", why: "gave no reason" } : { code, why };
}
