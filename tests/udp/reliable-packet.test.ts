/** Lesson 2.6: its packets, against bytes that Python's struct and zlib have made from the figure in reliable-packet.ts. */
import { describe, expect, test } from "bun:test";
import {
  decodeCounts,
  decodeFile,
  decodeNumber,
  decodePacket,
  decodeReason,
  encodeArrived,
  encodeCounts,
  encodeFile,
  encodeNumber,
  encodePacket,
  encodeReason,
  hasArrived,
  type Packet,
  PAYLOAD,
} from "../../scripts/udp/reliable-packet.ts";

/** `body = struct.pack("!IIHHI", connection, number, type, window, timestamp) + payload; struct.pack("!I", zlib.crc32(body)) + body` */
const KNOWN: [hex: string, packet: Packet][] = [
  ["cca5a71bdeadbeef00000000000100000102030400000000000003a04c4943454e5345", {
    type: "SYN",
    connection: 0xdeadbeef,
    number: 0,
    window: 0,
    timestamp: 0x01020304,
    payload: encodeFile({ name: "LICENSE", size: 928 }),
  }],
  ["7e539844deadbeef000000010007004001020304cafebabe", {
    type: "SYNACK",
    connection: 0xdeadbeef,
    number: 1,
    window: 64,
    timestamp: 0x01020304,
    payload: encodeNumber(0xcafebabe),
  }],
  ["7499f349000000010000000700040040ffffffff05", {
    type: "ACK",
    connection: 1,
    number: 7,
    window: 64,
    timestamp: 0xffff_ffff,
    payload: encodeArrived(7, [8, 10]),
  }],
  ["813a278afffffffffffffffe000200000000000578", {
    type: "DATA",
    connection: 0xffff_ffff,
    number: 0xffff_fffe,
    window: 0,
    timestamp: 5,
    payload: Buffer.from("x"),
  }],
  ["55ebf62c00000001000000090005000000000000000000010000000200000003", {
    type: "SAVED",
    connection: 1,
    number: 9,
    window: 0,
    timestamp: 0,
    payload: encodeCounts({ damaged: 1, duplicate: 2, early: 3 }),
  }],
  ["e53fe0c00000000100000009000500000000000000000000ffffffffffffffff", {
    type: "SAVED",
    connection: 1,
    number: 9,
    window: 0,
    timestamp: 0,
    payload: encodeCounts({ damaged: 0, duplicate: 2 ** 32 - 1, early: 2 ** 32 }), // as high as it counts
  }],
  ["0313e17b00000001000000000006000000000000454e4f535043206e6f207370616365206c656674206f6e20646576696365", {
    type: "RST",
    connection: 1,
    number: 0,
    window: 0,
    timestamp: 0,
    payload: encodeReason({ code: "ENOSPC", why: "no space left on device" }),
  }],
];

describe("a packet has the bytes of the figure", () => {
  for (const [hex, packet] of KNOWN) {
    test(packet.type, () => {
      expect(encodePacket(packet).toString("hex")).toBe(hex);
      const { payload, ...rest } = decodePacket(Buffer.from(hex, "hex")) ?? {};
      const { payload: expected, ...others } = packet;
      expect(rest).toEqual(others);
      expect(Buffer.from(payload ?? [])).toEqual(Buffer.from(expected ?? []));
    });
  }
});

test("one wrong bit, wherever it is, and the packet is none", () => {
  const good = Buffer.from(KNOWN[0][0], "hex");
  for (let bit = 0; bit < good.length * 8; bit++) {
    const damaged = Buffer.from(good);
    damaged[bit >> 3] ^= 1 << (bit & 7);
    expect(decodePacket(damaged)).toBeUndefined();
  }
});

test("a datagram that is cut off, too long or of an unknown type is none", () => {
  const good = encodePacket({ type: "DATA", connection: 1, number: 1, payload: Buffer.alloc(PAYLOAD) });
  expect(decodePacket(good)?.payload).toHaveLength(PAYLOAD);
  for (let length = 0; length < good.length; length++) {
    expect(decodePacket(good.subarray(0, length))).toBeUndefined();
  }
  const long = encodePacket({ type: "DATA", connection: 1, number: 1, payload: Buffer.alloc(PAYLOAD + 1) });
  expect(decodePacket(long)).toBeUndefined();
  for (
    const hex of ["2656869300000001000000010000000000000000", "15b9c8f400000001000000010008000000000000"]
  ) { // types 0, 8
    expect(decodePacket(Buffer.from(hex, "hex"))).toBeUndefined();
  }
});

test("the name and the size of a file", () => {
  const file = { name: "照片 1.png", size: 2 ** 40 };
  expect(decodeFile(encodeFile(file))).toEqual(file);
  expect(decodeFile(encodeFile({ name: "", size: 0 }))).toEqual({ name: "", size: 0 });
  expect(decodeFile(Buffer.alloc(7))).toBeUndefined();
  expect(decodeFile(Buffer.from([0, 0, 0, 0, 0, 0, 0, 1, 0xc3, 0x28]))).toBeUndefined(); // not UTF-8
});

test("an ACK tells of all before its number, and of some later ones", () => {
  const ack = (number: number, payload: Uint8Array) =>
    ({ type: "ACK", connection: 1, number, window: 64, timestamp: 0, payload }) as const;
  const arrived = [12, 13, 20, 265];
  const payload = encodeArrived(10, arrived);
  expect(Buffer.from(payload.subarray(0, 3)).toString("hex")).toBe("060200");
  expect(payload).toHaveLength(32);
  for (let one = 0; one < 300; one++) {
    expect(hasArrived(ack(10, payload), one)).toBe(one < 10 || arrived.includes(one));
  }
  expect(encodeArrived(10, [])).toHaveLength(0);
});

test("counts and reasons from a stranger are read with care", () => {
  expect(decodeCounts(Buffer.alloc(0))).toEqual({ damaged: 0, duplicate: 0, early: 0 });
  expect(decodeReason(encodeReason({ code: "EBUSY", why: "busy" }))).toEqual({ code: "EBUSY", why: "busy" });
  const nothing = { code: "ECONNRESET", why: "gave no reason" };
  for (const text of ["", "EBUSY", "busy now", "ebusy x", `E${"X".repeat(50)} x`, `EX ${"x".repeat(500)}`]) {
    expect(decodeReason(Buffer.from(text))).toEqual(nothing);
  }
});

test("a connection number: four bytes, and no other length", () => {
  expect(decodeNumber(encodeNumber(0xffff_fffe))).toBe(0xffff_fffe);
  for (const length of [0, 3, 5, 1200]) expect(decodeNumber(Buffer.alloc(length))).toBeUndefined();
});

test("a reason that does not fit is left out, and never cut", () => {
  const reason = { code: "ETEST", why: "why" };
  expect(`${encodeReason(reason, 9)}`).toBe("ETEST why");
  expect(encodeReason(reason, 8)).toHaveLength(0);
});
