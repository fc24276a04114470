/** Lesson 5.2: the wire, beside tshark, in networks that these tests make. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYTHING, type Result, script } from "../engine/program.ts";
import { AGAIN, type Arrow, labelOf } from "../../scripts/raw/wire/arrow.ts";
import { Conversations } from "../../scripts/raw/wire/conversations.ts";
import { firstBytes } from "../../scripts/raw/wire/first-bytes.ts";
import { Ladder } from "../../scripts/raw/wire/ladder.ts";
import { FLAGS, type Packet, parsePacket } from "../../scripts/raw/wire/packet.ts";

/** What takes long is tested with EVERYTHING. */
const thorough = (canRun: boolean) =>
  EVERYTHING ? test.skipIf(!canRun) : (_name: string, _test: () => Promise<void>) => {};

setDefaultTimeout(120_000);

const HAS_TSHARK = CAN_BE_ALONE && Boolean(Bun.which("tshark") && Bun.which("nft") && Bun.which("python3"));
const OURS = "bun scripts/raw/wire.ts";

/** Runs a shell script in a network of its own; `$1` is a folder, which is removed. */
async function alone(
  shell: string,
  look: (folder: string, result: Result) => void | Promise<void>,
): Promise<void> {
  await using folder = temporaryFolder();
  await using program = startAlone(shell, [folder.path]);
  await look(folder.path, await program.result());
}

/** Waits until so many packet sockets listen on a card. */
const watching = (count: number) =>
  `until [ "$(awk '$6 == 1' /proc/net/packet | wc -l)" = ${count} ]; do sleep 0.02; done`;

/** Sends UDP datagrams to a port where nobody listens. */
const sends = (...texts: string[]) =>
  texts.map((text) => `bash -c 'printf "%s" "${text}" >/dev/udp/127.0.0.1/9'`).join("; ");

const arrowsOf = (json: string): Arrow[] =>
  json.split("\n").filter((line) => line.startsWith('{"at"')).map((line) => JSON.parse(line));

describe("agrees with tshark, packet by packet", () => {
  /** What both programs say about a packet. */
  type Row = {
    from: string;
    to: string;
    protocol: string;
    flags?: string;
    seq?: number;
    ack?: number;
    length: number;
    fragment?: string;
  };

  const FIELDS = [
    ...[
      "ip.src",
      "ip.dst",
      "ipv6.src",
      "ipv6.dst",
      "ip.proto",
      "ipv6.nxt",
      "ip.len",
      "ip.hdr_len",
      "ip.frag_offset",
    ],
    ...["ip.flags.mf", "ipv6.plen", "ipv6.fraghdr.offset", "ipv6.fraghdr.more", "tcp.srcport", "tcp.dstport"],
    ...[
      "tcp.flags",
      "tcp.seq",
      "tcp.ack",
      "tcp.len",
      "udp.srcport",
      "udp.dstport",
      "icmp.type",
      "icmpv6.type",
    ],
  ] as const;

  /** What tshark says about the packets of a file between the marks, and the text of the marks. */
  async function byTshark(file: string): Promise<Row[]> {
    const words = FIELDS.flatMap((field) => ["-e", field]);
    const whole = ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"];
    const shown = Bun.spawn(
      ["tshark", "-r", file, ...whole, "-T", "fields", "-E", "occurrence=f", ...words],
      {
        stderr: "ignore",
      },
    );
    return (await new Response(shown.stdout).text()).trimEnd().split("\n").map((line) => {
      const values = line.split("\t");
      return rowOf((field) => values[FIELDS.indexOf(field)]);
    });
  }

  function rowOf(get: (field: typeof FIELDS[number]) => string): Row {
    const isIpv4 = get("ip.src") !== "";
    const offset = Number(isIpv4 ? get("ip.frag_offset") : get("ipv6.fraghdr.offset")) * 8;
    const isFragment = isIpv4 ? offset > 0 || get("ip.flags.mf") === "1" : get("ipv6.fraghdr.offset") !== "";
    const hasMore = ["1", "True"].includes(get(isIpv4 ? "ip.flags.mf" : "ipv6.fraghdr.more"));
    const inside = isIpv4 ? Number(get("ip.len")) - Number(get("ip.hdr_len")) : Number(get("ipv6.plen"));
    const carried = inside - (isFragment && !isIpv4 ? 8 : 0);
    const isError = ["3", "1"].includes(get(isIpv4 ? "icmp.type" : "icmpv6.type"));
    const at = (address: string, port: string) => {
      const host = address.includes(":") ? `[${address}]` : address;
      return port === "" ? host : `${host}:${port}`;
    };
    const [source, target] = isIpv4 ? [get("ip.src"), get("ip.dst")] : [get("ipv6.src"), get("ipv6.dst")];
    const isTcp = get("tcp.srcport") !== "";
    const ports = [get(isTcp ? "tcp.srcport" : "udp.srcport"), get(isTcp ? "tcp.dstport" : "udp.dstport")];
    if (isError) ports.reverse(); // those of the quoted packet
    const row = { from: at(source, ports[0]), to: at(target, ports[1]) };
    const fragment = isFragment ? `${offset} ${hasMore}` : undefined;
    if (isError) return { ...row, protocol: isIpv4 ? "ICMP" : "ICMPv6", length: 0 };
    if (!isTcp) return { ...row, protocol: "UDP", length: carried - (offset > 0 ? 0 : 8), fragment };
    const bits = Number(get("tcp.flags"));
    const flags = FLAGS.filter((_, bit) => bits & (1 << bit)).join(" ");
    return {
      ...row,
      protocol: "TCP",
      flags,
      seq: Number(get("tcp.seq")),
      ack: flags.includes("ACK") ? Number(get("tcp.ack")) : undefined,
      length: Number(get("tcp.len")),
    };
  }

  /** What we say. Later fragments have no ports; we know to which packet they belong. */
  function byUs({ left, right, isToRight, protocol, flags, seq, ack, length, fragment }: Arrow): Row {
    const plain = (end: string) => fragment?.offset ? end.replace(/:\d+$/, "") : end;
    const [from, to] = (isToRight ? [left, right] : [right, left]).map(plain);
    const row = { from, to, protocol, flags: flags?.join(" "), seq, ack, length };
    return { ...row, ...(fragment && { fragment: `${fragment.offset} ${fragment.hasMore}` }) };
  }

  /** From the first packet to the mark's port to the last one, so that it is no matter who began to watch first. */
  const between = (rows: Row[]) => {
    const isMark = ({ to, protocol }: Row) => to === "127.0.0.1:9" && protocol === "UDP";
    return rows.slice(rows.findIndex(isMark), rows.findLastIndex(isMark) + 1)
      .filter(({ from, to }) => !/:5037$/.test(from) && !/:5037$/.test(to)); // tshark looks for Android there
  };

  const rounds = EVERYTHING ? 8 : 2;
  const PREPARE = `
    ip link set lo mtu 1500
    nft "table ip t { chain c { type filter hook input priority 0; tcp dport 7777 numgen inc mod 10 == 4 drop; }; }"
    ${OURS} --json --pcap $1/ours.pcap >$1/ours.json & ours=$!`;

  test.skipIf(!HAS_TSHARK)(
    "tshark reads what --pcap has written, and finds the same (needs unshare, ip, nft, tshark)",
    async () => {
      await alone(
        `${PREPARE}
      ${watching(1)}
      python3 tests/raw/traffic.py ${rounds}
      kill -INT $ours; wait $ours`,
        async (folder, { code, stderr }) => {
          expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
          const json = readFileSync(`${folder}/ours.json`, "utf8");
          const ours = arrowsOf(json);
          const theirs = await byTshark(`${folder}/ours.pcap`);
          expect(ours.map(byUs)).toEqual(theirs);
          expect(json.trimEnd().split("\n").at(-1)).toBe(
            JSON.stringify({ packets: theirs.length, dropped: 0 }),
          );
          // All that there is: each kind was seen.
          const labels = ours.map(labelOf).join("\n");
          for (
            const kind of [
              /^SYN {2}seq 0$/m,
              /^RST/m,
              /^FIN ACK/m,
              /window 0/,
              /sent again/,
              /Port Unreachable/,
              /^UDP {2}0 bytes$/m,
            ]
          ) expect(labels).toMatch(kind);
          expect(labels).toMatch(/^UDP {2}fragment at 2960, the last {2}1048 bytes {2}"u+"$/m);
          expect(ours.filter(({ isLost }) => isLost).length).toBeGreaterThan(0);
          expect(new Set(ours.map(({ phase }) => phase))).toEqual(
            new Set(["connection", "data", "close", "reset", undefined]),
          );
        },
      );
    },
  );

  thorough(HAS_TSHARK)(
    "of 1,000 packets that both have watched (needs unshare, ip, nft, tshark)",
    async () => {
      await alone(
        `${PREPARE}
      tshark -B 64 -q -i lo -w $1/theirs.pcapng 2>/dev/null & theirs=$!
      ${watching(2)}
      python3 tests/raw/traffic.py 12
      sleep 1 # tshark says nothing when it has written what it has seen
      kill -INT $ours $theirs; wait $ours; wait $theirs`,
        async (folder) => {
          const ours = between(arrowsOf(readFileSync(`${folder}/ours.json`, "utf8")).map(byUs));
          const theirs = between(await byTshark(`${folder}/theirs.pcapng`));
          expect(theirs.length).toBeGreaterThan(1000);
          expect(ours).toEqual(theirs);
        },
      );
    },
  );
});

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

  test("joining and leaving a group (RFC 3376, section 4.2; RFC 2236, section 2)", () => {
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

test.skipIf(!HAS_TSHARK)(
  "a lost packet is crossed and sent again, also in the picture (needs unshare, ip, nft)",
  async () => {
    await alone(
      `nft "table ip t { chain c { type filter hook input priority 0; tcp dport 7777 tcp flags & psh == psh numgen inc mod 9 == 0 drop; }; }"
    ${OURS} --port 7777 --svg $1/wire.svg & ours=$!
    ${watching(1)}
    bun scripts/tcp/server.ts --port 7777 & server=$!
    until ss -ltn | grep -q :7777; do sleep 0.02; done
    bun scripts/tcp/client.ts --port 7777 你好 >/dev/null
    wait $server; kill -INT $ours; wait $ours`,
      (folder, { code, stdout }) => {
        expect(code).toBe(0);
        const lines = (stdout.match(/^ .*$/gm) ?? []).map((line) => line.slice(9));
        const first = lines.findIndex((line) => line.includes('"你好"'));
        const again = lines.findIndex((line) => line.includes("sent again  6 bytes"));
        expect(lines[first]).toMatch(/^\|\\ {2}PSH ACK {2}seq 1 {2}ack 1 {2}6 bytes {2}"你好" +\|$/);
        expect(lines[first + 1]).toMatch(/^\| `-+X +\|$/);
        expect(lines[again]).toMatch(
          /^\|\\ {2}PSH ACK {2}seq 1 {2}ack 1 {2}sent again {2}6 bytes {2}"你好" +\|$/,
        );
        expect(lines[again + 1]).toMatch(/^\| `-+>\|$/);
        expect(lines.filter((line) => line.includes("X"))).toHaveLength(1); // the FIN behind it has come, says SACK
        const svg = readFileSync(`${folder}/wire.svg`, "utf8");
        const packets = Number(/^(\d+) packets$/m.exec(stdout)?.[1]);
        expect(svg.match(/class="head"/g)).toHaveLength(packets - 1);
        expect(svg.match(/class="lost cross"/g)).toHaveLength(1);
        expect(svg).toContain('PSH ACK  seq 1  ack 1  sent again  6 bytes  "你好"</text>');
        const parsed = Bun.spawnSync([
          "python3",
          "-c",
          "import sys, xml.dom.minidom as m; print(m.parse(sys.argv[1]).documentElement.getAttribute('viewBox'))",
          `${folder}/wire.svg`,
        ]);
        expect(parsed.stdout.toString()).toMatch(/^0 0 820 \d{3,4}\n$/);
      },
    );
  },
);

describe("ends", () => {
  test.skipIf(!CAN_BE_ALONE)("--count, --seconds, Ctrl-C (needs unshare, ip)", async () => {
    await alone(
      `${OURS} --count 3 >$1/three & three=$!
      ${OURS} --port 9 >$1/nine & nine=$!
      ${OURS} --port 10 >$1/ten & ten=$!
      ${watching(3)}
      ${sends("one", "two", "three")}
      ${OURS} --seconds 1 >$1/second &&
      wait $three && kill -INT $nine && wait $nine && kill -TERM $ten && wait $ten`,
      (folder, { code, stderr }) => {
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        const last = (name: string) => readFileSync(`${folder}/${name}`, "utf8").trimEnd().split("\n").at(-1);
        // Each datagram, and an ICMP error to each: one copy of each, though the loopback shows two.
        const packets = ["three", "nine", "ten", "second"].map(last);
        expect(packets).toEqual(["3 packets", "6 packets", "0 packets", "0 packets"]);
      },
    );
  });

  thorough(CAN_BE_ALONE)(
    "Ctrl-C is heard while others send without end (needs unshare, ip, python3)",
    async () => {
      await alone(
        `${OURS} >$1/out & ours=$!
      ${watching(1)}
      python3 tests/raw/flood.py 5 & flood=$!
      until [ -s $1/out ] && [ "$(wc -l <$1/out)" -gt 100 ]; do sleep 0.05; done
      kill -INT $ours; wait $ours
      kill $flood # still there?
      tail -1 $1/out`,
        (_, { code, stdout, stderr }) => {
          expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
          expect(stdout).toMatch(/^\d+ packets/);
        },
      );
    },
  );

  test.skipIf(!CAN_BE_ALONE)("what came before Ctrl-C is shown (needs unshare, ip, python3)", async () => {
    await alone(
      `${OURS} --json >$1/json & ours=$!
      ${watching(1)}
      kill -STOP $ours
      python3 -c 'import socket; s = socket.socket(2, 2); s.bind(("127.0.0.1", 0)); [s.sendto(b"x", s.getsockname()) for _ in range(1000)]'
      kill -INT $ours; kill -CONT $ours; wait $ours`,
      (folder) => {
        const { packets, dropped } = JSON.parse(
          readFileSync(`${folder}/json`, "utf8").trimEnd().split("\n").at(-1) ?? "",
        );
        expect(packets + dropped).toBeGreaterThanOrEqual(1000); // a machine may keep few of them for us
      },
    );
  });

  thorough(CAN_BE_ALONE)("what the kernel has dropped is told (needs unshare, ip)", async () => {
    await alone(
      `${OURS} --json >$1/json & ours=$!
      ${watching(1)}
      kill -STOP $ours
      python3 -c 'import socket; s = socket.socket(2, 2); [s.sendto(b"x" * 60000, ("127.0.0.1", 9)) for _ in range(600)]'
      kill -CONT $ours
      ${sends("end")}
      kill -INT $ours; wait $ours`,
      (folder) => {
        const json = readFileSync(`${folder}/json`, "utf8").trimEnd().split("\n");
        const { packets, dropped } = JSON.parse(json.at(-1) ?? "");
        expect(dropped).toBeGreaterThan(100);
        expect(packets).toBe(json.length - 2);
      },
    );
  });

  thorough(CAN_BE_ALONE)(
    "100,000 packets in constant memory (needs unshare, ip)",
    async () => {
      await alone(
        `${OURS} --svg $1/svg --pcap $1/pcap >$1/out & ours=$!
      ${watching(1)}
      flood='import socket, sys, time
s = socket.socket(2, 2)
for index in range(int(sys.argv[1])):
    s.sendto(b"packet %d" % index, ("127.0.0.1", 9))
    if index % 200 == 0: time.sleep(0.01)'
      python3 -c "$flood" 10000; grep VmRSS /proc/$ours/status
      python3 -c "$flood" 90000; grep VmRSS /proc/$ours/status
      kill -INT $ours; wait $ours; tail -1 $1/out`,
        (_, { stdout }) => {
          const [before, after] = stdout.match(/\d+(?= kB)/g) ?? [];
          expect(Number(after) - Number(before)).toBeLessThan(60_000);
          const [, packets, dropped = 0] =
            /^(\d+) packets(?:; the kernel dropped (\d+) more)?/m.exec(stdout) ?? [];
          expect(Number(packets) + Number(dropped)).toBeGreaterThan(100_000);
        },
      );
    },
  );
});

describe("what cannot be done is told in one line", () => {
  test.skipIf(!CAN_BE_ALONE)("no interface, no right, no file (needs unshare, ip, setpriv)", async () => {
    await alone(
      `for words in "--interface nope0" "--svg $1/no/wire.svg" "--pcap $1/no/wire.pcap" "--svg $1" "--pcap /dev/full"; do
        ${OURS} --seconds 1 $words || echo ended $?
      done
      setpriv --bounding-set=-all --inh-caps=-all ${OURS} --svg $1/made.svg || echo ended $?`,
      (folder, { stdout, stderr }) => {
        expect(stdout.match(/^ended 1$/gm)).toHaveLength(6);
        expect(stderr.replaceAll(folder, "DIR").split("\n")).toEqual([
          "error: nope0: this machine has no such interface (ENODEV)",
          "error: open DIR/no/wire.svg: no such file or folder (ENOENT)",
          "error: open DIR/no/wire.pcap: no such file or folder (ENOENT)",
          "error: open DIR: is a folder (EISDIR)",
          "error: write /dev/full: no space left on device (ENOSPC)",
          "error: packet socket: needs the right CAP_NET_RAW (EPERM)",
          "hint: run it as root; or in a network of your own: unshare -Urn; ip link set lo up",
          "",
        ]);
        expect(existsSync(`${folder}/made.svg`)).toBe(false);
      },
    );
  });

  test.skipIf(!CAN_BE_ALONE)(
    "an interface that goes down, and one that goes away (needs unshare, ip)",
    async () => {
      await alone(
        `ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
      ${OURS} --interface v0 --svg $1/wire.svg 2>$1/error & ours=$!
      ${watching(1)}
      ip link set v0 down
      until grep -q ENETDOWN $1/error; do sleep 0.02; done
      ip link set v0 up
ip link del v0; wait $ours || echo ended $?`,
        (folder, { stdout }) => {
          expect(stdout).toEndWith("ended 1\n");
          expect(readFileSync(`${folder}/error`, "utf8")).toMatch(
            /^(error: watch v0: network is down \(ENETDOWN\)\n)+error: v0: this interface has gone \(ENODEV\)\n$/,
          );
          expect(readFileSync(`${folder}/wire.svg`, "utf8")).toEndWith("</svg>\n");
        },
      );
    },
  );

  thorough(CAN_BE_ALONE)(
    "a packet that is cut, and one that is none, end nothing (needs unshare, ip, python3)",
    async () => {
      await alone(
        `${OURS} --count 3 & ours=$!
      ${watching(1)}
      python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
for data in ("45", "45000014", "45000028000040004006000007f000001c0de1e6c", "4500001c000040004011000" "07f0000017f000001c0de",
             "6000", "4f" + "00" * 30, "4500001500004000400600007f0000017f00000141"):
    data += "0" * (len(data) % 2)
    s.sendto(bytes.fromhex(data), ("lo", 0x0800))
s.sendto(b"", ("lo", 0x0800))'
      ${sends("still here")}
      wait $ours`,
        (_, { code, stdout, stderr }) => {
          expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
          expect(stdout).toContain("cut short");
        },
      );
    },
  );

  for (const runtime of EVERYTHING ? ["node", "deno"] as const : []) { // make matrix sees it, too
    test(`on ${runtime}`, async () => {
      await using program = script("raw/wire", [], { runtime });
      expect(await program.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: bun:ffi: only Bun has it (ENOSYS)\n",
      });
    });
  }
});
