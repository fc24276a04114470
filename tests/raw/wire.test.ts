/** Lesson 5.2: the wire, beside tshark, in networks that these tests make. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYTHING, type Result, script } from "../engine/program.ts";
import { type Arrow, labelOf } from "../../scripts/raw/wire/arrow.ts";
import { FLAGS } from "../../scripts/raw/wire/packet.ts";

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
      for file in $1/ours.json $1/theirs.pcapng; do
        until grep -aq "that was all" $file; do sleep 0.05; done
      done
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
      python3 tests/raw/flood.py 60 & flood=$!
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
      python3 -c 'import socket; s = socket.socket(2, 2); s.bind(("127.0.0.1", 0)); [s.sendto(b"x", s.getsockname()) for _ in range(300)]'
      kill -INT $ours; kill -CONT $ours; wait $ours`,
      (folder) => {
        const { packets, dropped } = JSON.parse(
          readFileSync(`${folder}/json`, "utf8").trimEnd().split("\n").at(-1) ?? "",
        );
        expect(packets + dropped).toBeGreaterThanOrEqual(300); // a machine may keep few of them for us
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
          "error: packet socket: needs the capability CAP_NET_RAW (EPERM)",
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
