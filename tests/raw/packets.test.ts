/** Lessons 5.1 and 5.2: packets as bytes, the books of ping, and the ladder, without a network. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { EVERYTHING } from "../engine/program.ts";
import { until } from "../engine/sockets.ts";
import { checksum } from "../../scripts/raw/checksum.ts";
import { echoRequest, parseEcho } from "../../scripts/raw/icmp.ts";
import {
  type Message,
  SO_TIMESTAMPNS,
  type Socket,
  socketAddress,
  SOL_SOCKET,
} from "../../scripts/raw/libc.ts";
import { received } from "../../scripts/raw/ping.ts";
import { RoundTrips } from "../../scripts/raw/round-trips.ts";
import { AGAIN, type Arrow, labelOf } from "../../scripts/raw/wire/arrow.ts";
import { Conversations } from "../../scripts/raw/wire/conversations.ts";
import { firstBytes } from "../../scripts/raw/wire/first-bytes.ts";
import { Ladder } from "../../scripts/raw/wire/ladder.ts";
import { type Packet, parsePacket } from "../../scripts/raw/wire/packet.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

test("the checksum of RFC 1071, section 3", () => {
  const example = Buffer.from("0001f203f4f5f6f7", "hex"); // "the sum is ddf2"
  expect(checksum(example)).toBe(~0xddf2 & 0xffff);
});

test("a checksum: carries, an odd end, and 0 over what carries its own", () => {
  expect(checksum(Buffer.from("ffff0001", "hex"))).toBe(~0x0001 & 0xffff);
  expect(checksum(Buffer.from("0102ff", "hex"))).toBe(~(0x0102 + 0xff00 - 0xffff) & 0xffff);
  // An IPv4 header whose checksum, b861, other programs have computed (Wikipedia, "Internet checksum").
  expect(checksum(Buffer.from("450000730000400040110000c0a80001c0a800c7", "hex"))).toBe(0xb861);
  for (const size of [0, 1, 56, 1399, 65_507]) {
    const request = echoRequest(4, 0xbeef, 0xfffe, size);
    expect(checksum(request)).toBe(0);
    expect(parseEcho(4, request)).toEqual({
      isReply: false,
      identifier: 0xbeef,
      sequence: 0xfffe,
      isIntact: true,
    });
  }
});

test("what is no echo, or damaged, is not taken for one", () => {
  const reply = echoRequest(4, 1, 2, 8);
  reply[0] = 0;
  expect(parseEcho(4, reply)?.isIntact).toBe(false); // its checksum is that of a request
  for (let length = 0; length < 8; length++) expect(parseEcho(4, reply.subarray(0, length))).toBeUndefined();
  for (let round = 0; round < 1000; round++) parseEcho(6, randomBytes(round % 20));
  expect(parseEcho(6, reply)).toBeUndefined();
});

/** What says when a message arrived. */
const TIME = { level: SOL_SOCKET, type: SO_TIMESTAMPNS, data: Buffer.alloc(16) };

test("messages without end do not keep it from hearing Ctrl-C", () => {
  let calls = 0;
  const message = { data: Buffer.alloc(64), from: Buffer.alloc(16), length: 64, controls: [] };
  const endless = {
    recvmsg(): Message {
      if (++calls > 100_000) throw new Error("read without end");
      return { ...message, controls: [TIME] };
    },
  } as unknown as Socket;
  expect([...received(endless, { family: 4, isRaw: true, identifier: 1 }, new RoundTrips())]).toEqual([]);
});

test("an error that has come back for a request, whatever its code, ends nothing", () => {
  // What Linux makes of each code of "destination unreachable" (icmp_err_convert in net/ipv4/icmp.c), and of IPv6's.
  const all = [
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ENOPROTOOPT",
    "ECONNREFUSED",
    "EMSGSIZE",
    "EOPNOTSUPP",
    "EHOSTDOWN",
    "ENONET",
  ];
  for (const code of [...all, "EPROTO", "EACCES"]) {
    const broken = {
      recvmsg() {
        throw Object.assign(new Error(code), { code });
      },
    } as unknown as Socket;
    expect([...received(broken, { family: 4, isRaw: true, identifier: 1 }, new RoundTrips())]).toEqual([]);
  }
});

test("an answer from another address is marked, as ping does, unless many may answer", () => {
  const reply = echoRequest(4, 1, 2, 8);
  reply[0] = 0;
  reply.writeUInt16BE(0, 2);
  reply.writeUInt16BE(checksum(reply), 2);
  const lines = (from: string, peer?: string) => {
    const messages = [{ data: reply, from: socketAddress(from), length: 16, controls: [TIME] }];
    const icmp = { recvmsg: (flags: number) => flags ? undefined : messages.shift() } as unknown as Socket;
    const trips = new RoundTrips();
    trips.request(2, 1, 1);
    return [...received(icmp, { family: 4, isRaw: false, identifier: 1, peer }, trips)];
  };
  const line = "16 bytes from 192.0.2.1: icmp_seq=2 ttl=undefined time=0.000 ms";
  expect(lines("192.0.2.1", "192.0.2.1")).toEqual([line]);
  expect(lines("192.0.2.1", "192.0.2.2")).toEqual([`${line} (DIFFERENT ADDRESS!)`]);
  expect(lines("192.0.2.1")).toEqual([line]);
});

test("the books of ping: each answer once, also when the numbers begin again after 65,536", () => {
  const trips = new RoundTrips();
  expect(trips.answer(7, 100)).toBeUndefined(); // to no request of ours
  for (const [sequence, at] of [[1, 100], [2, 110], [3, 120]]) trips.request(sequence, at, at + 1e6);
  expect(trips.answer(1, 104)).toEqual({ time: 4, isDuplicate: false });
  expect(trips.answer(1, 110)).toEqual({ time: 10, isDuplicate: true });
  expect([...trips.late(1e6 + 109)]).toEqual([]);
  expect([...trips.late(1e6 + 110)]).toEqual([2]); // the limit itself, and each once
  expect([...trips.late(1e6 + 110)]).toEqual([]);
  expect(trips.waiting).toBe(1);
  trips.error(3);
  expect(trips.waiting).toBe(0);
  expect(trips.answer(2, 130)).toEqual({ time: 20, isDuplicate: false }); // a late one counts
  trips.request(1, 200, 200);
  expect(trips.answer(1, 206)).toEqual({ time: 6, isDuplicate: false });
  // Of 4, 10, 20 and 6 ms: on average 10, and the squares 138.
  expect(trips.summary("host", 107.4)).toBe(
    "--- host ping statistics ---\n" +
      "4 packets transmitted, 3 received, +1 duplicates, +1 errors, 25% packet loss, time 107ms\n" +
      "rtt min/avg/max/mdev = 4.000/10.000/20.000/6.164 ms",
  );
});

test("the books of ping: a number that is used again while it waits keeps nobody else from being late", () => {
  const trips = new RoundTrips();
  for (const [sequence, at] of [[1, 100], [2, 110], [1, 120]]) trips.request(sequence, at, at);
  expect([...trips.late(115)]).toEqual([2]);
  expect([...trips.late(120)]).toEqual([1]);
});

test.skipIf(!CAN_BE_ALONE)(
  "a ping that stood still does not send what it has missed (needs unshare, ip)",
  async () => {
    await using program = startAlone("exec bun scripts/raw/ping.ts 127.0.0.1 --interval 50");
    const heard = async (lines: number) => {
      for (let line = 0; line < lines; line++) expect(await program.next()).toMatch(/^PING|bytes from/);
    };
    await heard(3);
    program.signal("SIGSTOP");
    await until(() => / T /.test(readFileSync(`/proc/${program.pid}/stat`, "utf8")), "its stop");
    await Bun.sleep(500); // ten requests are missed
    program.signal("SIGCONT");
    await heard(8);
    program.signal("SIGINT");
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    const [sent, time] = (/^(\d+) packets .* time (\d+)ms$/m.exec(stdout) ?? []).slice(1).map(Number);
    expect(time).toBeGreaterThanOrEqual(500 + (sent - 4) * 50); // two may come at once, a busy machine makes it longer
  },
);

test.skipIf(!CAN_BE_ALONE)(
  "a card that goes away ends the watching (needs unshare, ip and tun)",
  async () => {
    await using program = startAlone(`
    ip tuntap add dev t0 mode tun
    ip link set t0 up
    exec bun scripts/raw/wire.ts --interface t0`);
    expect(await program.next()).toBe("listening on t0");
    execFileSync("nsenter", [
      "-t",
      `${program.pid}`,
      "-U",
      "-n",
      "--preserve-credentials",
      "ip",
      "link",
      "del",
      "t0",
    ]);
    const { code, stderr } = await program.result();
    expect(code).toBe(1);
    expect(stderr).toEndWith("error: t0: this interface has gone (ENODEV)\n");
  },
);

/** An IPv4 packet with a TCP segment, from hexadecimal digits. */
function segment(seq: number, ack: number, flags: number, text = "", ports = [50001, 7890]): Buffer {
  const data = Buffer.from(text);
  const bytes = Buffer.alloc(40 + data.length);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt16BE(ports[0], 20);
  bytes.writeUInt16BE(ports[1], 22);
  bytes.writeUInt32BE(seq >>> 0, 24);
  bytes.writeUInt32BE(ack >>> 0, 28);
  bytes.set([0x50, flags, 1, 0], 32);
  data.copy(bytes, 40);
  return bytes;
}
const back = (seq: number, ack: number, flags: number, text = "") =>
  segment(seq, ack, flags, text, [7890, 50001]);
const [SYN, RST, PSH, ACK] = [2, 4, 8, 16];

/** What becomes of packets that come at these times. */
function follow(packets: [at: number, bytes: Buffer][], conversations = new Conversations()): string[] {
  for (const [at, bytes] of packets) conversations.add(parsePacket(bytes) as Packet, at);
  return conversations.settled(Infinity).map((arrow) =>
    `${arrow.isToRight ? ">" : "<"} ${labelOf(arrow)}${arrow.isLost ? " X" : ""}`
  );
}

describe("a connection is followed", () => {
  test("numbers that pass 2 ** 32", () => {
    expect(follow([
      [0, segment(0xfffffffe, 0, SYN)],
      [0, back(0xffffffff, 0xffffffff, SYN | ACK)],
      [0, segment(0xffffffff, 0, ACK)],
      [0, segment(0xffffffff, 0, PSH | ACK, "ab")],
      [0, segment(1, 0, PSH | ACK, "cd")],
      [0, back(0, 3, ACK)],
    ])).toEqual([
      "> SYN  seq 0",
      "< SYN ACK  seq 0  ack 1",
      "> ACK  seq 1  ack 1",
      '> PSH ACK  seq 1  ack 1  2 bytes  "ab"',
      '> PSH ACK  seq 3  ack 1  2 bytes  "cd"',
      "< ACK  seq 1  ack 5",
    ]);
  });

  test("bytes that are sent again were lost, unless they were acknowledged", () => {
    expect(follow([
      [0, segment(100, 1, PSH | ACK, "one")],
      [1, segment(103, 1, PSH | ACK, "two")],
      [2, back(1, 103, ACK)],
      [200, segment(103, 1, PSH | ACK, "two")],
      [201, back(1, 106, ACK)],
      [400, segment(103, 1, PSH | ACK, "two")],
      [401, segment(105, 1, ACK)],
      [402, segment(110, 1, ACK, "five")],
    ])).toEqual([
      '> PSH ACK  seq 1  ack 1  3 bytes  "one"',
      '> PSH ACK  seq 4  ack 1  3 bytes  "two" X',
      "< ACK  seq 1  ack 4",
      '> PSH ACK  seq 4  ack 1  sent again  3 bytes  "two"',
      "< ACK  seq 1  ack 7",
      '> PSH ACK  seq 4  ack 1  sent again  3 bytes  "two"',
      "> ACK  seq 6  ack 1  probe",
      '> ACK  seq 11  ack 1  after a gap  4 bytes  "five"',
    ]);
  });

  test("a single byte that is sent again was lost; on an idle line it is a probe", () => {
    expect(follow([
      [0, segment(100, 1, PSH | ACK, "y")],
      [200, segment(100, 1, PSH | ACK, "y")],
      [201, back(1, 101, ACK)],
      [7000, segment(100, 1, ACK, "y")],
      [7001, back(1, 101, ACK)],
    ])).toEqual([
      '> PSH ACK  seq 1  ack 1  1 byte  "y" X',
      '> PSH ACK  seq 1  ack 1  sent again  1 byte  "y"',
      "< ACK  seq 1  ack 2",
      '> ACK  seq 1  ack 1  probe  1 byte  "y"',
      "< ACK  seq 1  ack 2",
    ]);
  });

  test("what has come behind a gap (SACK, RFC 2018) was not lost, though its sender has doubts", () => {
    const sack = back(1, 100, ACK, "\x01\x01\x05\x0a\0\0\0\x67\0\0\0\x6a"); // up to 99; and 103 to 105
    sack[32] = 0x80; // the header is 12 bytes longer
    expect(follow([
      [0, segment(100, 1, PSH | ACK, "one")],
      [0, segment(103, 1, PSH | ACK, "two")],
      [1, sack],
      [20, segment(103, 1, PSH | ACK, "two")],
      [200, segment(100, 1, PSH | ACK, "one")],
    ])).toEqual([
      '> PSH ACK  seq 1  ack 1  3 bytes  "one" X',
      '> PSH ACK  seq 4  ack 1  3 bytes  "two"',
      "< ACK  seq 1  ack 1",
      '> PSH ACK  seq 4  ack 1  sent again  3 bytes  "two"',
      '> PSH ACK  seq 1  ack 1  sent again  3 bytes  "one"',
    ]);
  });

  test("the same ports again are another connection", () => {
    const conversations = new Conversations();
    follow([[0, segment(7, 0, SYN)], [1, back(0, 8, RST | ACK)]], conversations);
    expect(follow([[2, segment(9000, 0, SYN)], [3, back(0, 9001, RST | ACK)]], conversations)).toEqual([
      "> SYN  seq 0",
      "< RST ACK  seq 1  ack 1",
    ]);
  });

  test("an arrow waits for what becomes of it, others behind it, and none too long", () => {
    const conversations = new Conversations();
    conversations.add(parsePacket(segment(7, 0, SYN)) as Packet, 1000);
    conversations.add(parsePacket(segment(1, 1, ACK, "", [1, 2])) as Packet, 1001);
    expect(conversations.settled(4000)).toEqual([]);
    expect(conversations.settled(4600).map(labelOf)).toEqual(["SYN  seq 0", "ACK  seq 1  ack 1"]);
    // However many come: the memory is bounded.
    let most = 0, all = 0;
    for (let index = 0; index < 6000; index++) {
      conversations.add(
        parsePacket(segment(100 + index, 1, PSH | ACK, "x", [1 + index % 3000, 9999])) as Packet,
        5000,
      );
      if (index % 500 === 499) all += conversations.settled(5001).length;
      most = Math.max(most, index + 1 - all);
    }
    expect(most).toBeLessThanOrEqual(4500);
  });

  test("a conversation that was quiet for long is forgotten: the memory is bounded", () => {
    const conversations = new Conversations();
    const others = (count: number) =>
      follow(
        Array.from({ length: count }, (_, n) => [0, segment(1, 1, ACK, "", [1 + n, 9999])]),
        conversations,
      );
    follow([[0, segment(100, 1, ACK)]], conversations);
    others(999);
    expect(follow([[1, segment(150, 1, ACK, "hi")]], conversations)[0]).toStartWith("> ACK  seq 51");
    others(1000);
    expect(follow([[1, segment(150, 1, ACK, "hi")]], conversations)[0]).toStartWith("> ACK  seq 1 ");
  });

  test("later fragments belong to the ports of the first one; of few packets at once", () => {
    const fragment = (id: number, offset: number) => {
      const bytes = Buffer.from(
        "450000240000200040110000 7f000001 7f000001 c351 1e6c 0808 0000 6161616161616161".replaceAll(" ", ""),
        "hex",
      );
      bytes.writeUInt16BE(id, 4);
      bytes.writeUInt16BE(0x2000 + offset / 8, 6);
      return bytes;
    };
    const conversations = new Conversations(7788);
    const isWatched = (bytes: Buffer) => conversations.add(parsePacket(bytes) as Packet, 0);
    expect(isWatched(fragment(1, 16))).toBe(false);
    expect(isWatched(fragment(1, 0))).toBe(true);
    expect(isWatched(fragment(1, 16))).toBe(true);
    expect(isWatched(fragment(2, 16))).toBe(false);
    for (let id = 2; id < 253; id++) isWatched(fragment(id, 0));
    expect(isWatched(fragment(1, 16))).toBe(false);
  });

  test("joining and leaving a group (RFC 9776, section 4.2; RFC 2236, section 2)", () => {
    const igmp = (message: string) =>
      Buffer.from(
        `46c000${message.length === 16 ? "20" : "28"}00004000010200000000000 0e000001694040000`.replace(
          " ",
          "",
        ) + message,
        "hex",
      );
    const [v3, v2] = ["2200000000000001NN000000efff0001", "NN000000efff0001"];
    const packets = [
      v3.replace("NN", "04"),
      v3.replace("NN", "03"),
      v2.replace("NN", "16"),
      v2.replace("NN", "17"),
    ];
    expect(follow(packets.map((message) => [0, igmp(message)]))).toEqual([
      "> IGMP  join 239.255.0.1  16 bytes",
      "> IGMP  leave 239.255.0.1  16 bytes",
      "> IGMP  join 239.255.0.1  8 bytes",
      "> IGMP  leave 239.255.0.1  8 bytes",
    ]);
  });

  test("only one port, the server on the right", () => {
    const one = new Conversations(7890);
    expect(one.add(parsePacket(segment(1, 1, ACK, "", [50001, 80])) as Packet, 0)).toBe(false);
    expect(follow([[0, back(1, 1, PSH | ACK, "hi")]], one)).toEqual([
      '< PSH ACK  seq 1  ack 1  2 bytes  "hi"',
    ]);
  });
});

describe("bytes of strangers", () => {
  const UDP6 = Buffer.from(
    `6000000000101140${"0".repeat(31)}1${"0".repeat(31)}1c0de1e6c00100000${"68656c6c6f210a00"}`,
    "hex",
  );

  test("a packet that is cut anywhere, and noise", () => {
    const refused = Buffer.concat([
      Buffer.from("4500003800004000400100007f0000017f0000010303000000000000", "hex"),
      segment(1, 1, SYN).subarray(0, 28),
    ]);
    expect(parsePacket(refused)?.icmp?.quoted).toMatchObject({
      sourcePort: 50001,
      targetPort: 7890,
      isCut: false,
    });
    expect(parsePacket(UDP6)).toMatchObject({ source: "::1", targetPort: 7788, length: 8, isCut: false });
    for (const whole of [segment(1, 2, ACK, "hello"), UDP6, refused]) {
      for (let length = 0; length < whole.length; length++) {
        const packet = parsePacket(whole.subarray(0, length));
        if (packet) new Conversations().add(packet, 0);
        const headers = whole === UDP6 ? 48 : 40;
        if (packet && whole !== refused) expect(packet.isCut, `${length} bytes`).toBe(length < headers);
      }
    }
    const options = segment(1, 1, ACK, "\x05\x00\x05\x00\x01\x05\xff\x00"); // a length of 0, and one beyond the end
    options[32] = 0x70;
    expect(parsePacket(options)?.tcp?.received).toEqual([]);
    const conversations = new Conversations();
    for (let round = 0; round < (EVERYTHING ? 20_000 : 500); round++) {
      const noise = randomBytes(round % 90);
      if (noise.length > 9) [noise[0], noise[9]] = [[0x45, 0x60, 0x4f][round % 3], [1, 6, 17][round % 3]];
      const packet = parsePacket(noise);
      if (packet) conversations.add(packet, round);
      for (const arrow of conversations.settled(round)) new Ladder().draw(arrow);
    }
  });

  test("the first bytes as text", () => {
    const shown = (hex: string) => firstBytes(Buffer.from(hex, "hex"));
    expect(firstBytes(Buffer.from("你好\r\n\x1b[31m"))).toBe("你好\\r\\n\\x1b[31m");
    expect(shown("e4bda0e5a5")).toBe("你\\xe5\\xa5"); // cut by the sender
    expect(shown("ff00c3a4")).toBe("\\xff\\x00ä");
    expect(firstBytes(Buffer.from("好".repeat(40)))).toBe("好".repeat(21)); // 63 of 64 bytes
    expect(firstBytes(Buffer.from("\u202eabc"))).toBe("\\u202eabc");
  });
});

test("77 columns, whatever the text", () => {
  const ladder = new Ladder();
  const arrow = (more: Partial<Arrow>): Arrow => ({
    at: 0,
    conversation: 1,
    left: "127.0.0.1:50001",
    right: "127.0.0.1:7890",
    isToRight: true,
    protocol: "TCP",
    flags: ["PSH", "ACK"],
    seq: 1,
    ack: 1,
    length: 6,
    text: "",
    notes: [],
    isLost: false,
    ...more,
  });
  const long = "[2001:db8:1111:2222:3333:4444:5555:6666]:50001";
  for (
    const text of [
      "",
      "hello",
      "你好",
      "你好".repeat(20),
      "é👨‍👩‍👧x".repeat(9),
      "한국어 ".repeat(9),
      "a".repeat(99),
    ]
  ) {
    for (const isToRight of [true, false]) {
      for (const isLost of [true, false]) {
        const lines = [
          ...ladder.draw(arrow({ text, isToRight, isLost, phase: "data", at: Math.random() * 1e6 })),
          ...ladder.draw(arrow({ text, notes: [AGAIN], conversation: 2, left: long, right: long, at: 1e7 })),
          ...ladder.draw(arrow({ text, notes: [AGAIN], conversation: 2, at: 1e7 + 250 })),
          ...ladder.draw(arrow({ text, at: 1e10 })),
          ...ladder.say("left", text),
          ...ladder.say("right", text),
        ];
        expect(lines.map((line) => line.trim())).toContain(
          `:${" ".repeat(26)}0.250 s later${" ".repeat(27)}:`,
        );
        const rows = lines.filter((line) => !line.includes("2001:"));
        for (const line of rows) expect(Bun.stringWidth(line), line).toBe(77);
        for (const line of lines) expect(Bun.stringWidth(line), line).toBeLessThanOrEqual(77);
      }
    }
  }
});
