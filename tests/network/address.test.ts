/** Lesson 1.2, against IANA's special-purpose registries (of 2026-07), node:net, and Python's ipaddress. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { isIP } from "node:net";
import { EVERYWHERE, type Runtime, script } from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

type Answer = Record<string, string | number | null>;

async function ask(words: string[], runtime: Runtime = "bun") {
  await using program = script("network/address", ["--json", ...words], { runtime });
  const { code, stdout, stderr } = await program.result();
  return { code, stderr, answers: JSON.parse(stdout) as Answer[] };
}

/**
 * Addresses and their kinds: of each block of the registries the first and the last, and those just
 * outside where no other block begins.
 */
const KINDS: Record<string, string[]> = {
  "this host": ["0.0.0.0"],
  "this network": ["0.0.0.1", "0.255.255.255"],
  "private": [
    ...["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"],
    ...["192.168.0.0", "192.168.255.255"],
  ],
  "carrier-grade NAT": ["100.64.0.0", "100.127.255.255"],
  "loopback": ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
  "link-local": [
    ...["169.254.0.0", "169.254.255.255"],
    ...["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "protocol assignments": [
    ...["192.0.0.0", "192.0.0.7", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.11"],
    ...["192.0.0.169", "192.0.0.170", "192.0.0.171", "192.0.0.172", "192.0.0.255"],
    ...["2001:1::", "2001:1::1", "2001:1::2", "2001:1::3", "2001:1::4", "2001:2:1::", "2001:4::"],
    ...["2001:4:113::", "2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "documentation": [
    ...["192.0.2.0", "192.0.2.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255"],
    ...["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
    ...["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "AS112": [
    ...["192.31.196.0", "192.31.196.255", "192.175.48.0", "192.175.48.255"],
    ...["2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff"],
    ...["2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"],
  ],
  "AMT": ["192.52.193.0", "192.52.193.255", "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff"],
  "6to4 relay (deprecated)": ["192.88.99.0", "192.88.99.1", "192.88.99.3", "192.88.99.255"],
  "6a44 relay": ["192.88.99.2"],
  "benchmarking": ["198.18.0.0", "198.19.255.255", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"],
  "multicast": [
    ...["224.0.0.0", "224.0.0.255", "224.0.1.0", "231.255.255.255", "232.0.0.0", "232.255.255.255"],
    ...["233.0.0.0", "239.0.0.0", "239.255.255.255"],
    ...["ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "reserved": [
    ...["240.0.0.0", "255.255.255.254"],
    ...["::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:0:0", "64:ff9b:2::"],
    ...["ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100:0:0:2::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ...["4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::"],
    ...["fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "limited broadcast": ["255.255.255.255"],
  "public": [
    ...["1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"],
    ...["126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"],
    ...["191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.31.195.255", "192.31.197.0"],
    ...["192.52.192.255", "192.52.194.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0"],
    ...["192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0"],
    ...["203.0.112.255", "203.0.114.0", "223.255.255.255"],
    ...["2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", "2001:4860:4860::8888"],
    ...["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::"],
    ...["2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"],
    ...["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
  "unspecified": ["::"],
  "IPv4-compatible (deprecated)": ["::2", "::ffff:ffff"],
  "IPv4-mapped": ["::ffff:0.0.0.0", "::ffff:255.255.255.255"],
  "NAT64": [
    ...["64:ff9b::", "64:ff9b::ffff:ffff"],
    ...["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"],
  ],
  "discard-only": ["100::", "100::ffff:ffff:ffff:ffff"],
  "dummy": ["100:0:0:1::", "100::1:ffff:ffff:ffff:ffff"],
  "Teredo": ["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"],
  "ORCHID (deprecated)": ["2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"],
  "ORCHIDv2": ["2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"],
  "drone remote ID": ["2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff"],
  "6to4": ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  "SRv6 SIDs": ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  "unique local": ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  "site-local (deprecated)": ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
};

const TABLE = Object.entries(KINDS).flatMap(([kind, words]) => words.map((word) => [word, kind]));

for (const runtime of EVERYWHERE) {
  test(`${TABLE.length} addresses and their kinds, on ${runtime}`, async () => {
    const { code, stderr, answers } = await ask(TABLE.map(([word]) => word), runtime);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(answers.map(({ address, kind }) => [address, kind])).toEqual(TABLE);
  });
}

/** What IANA writes beside the blocks: where the answer must name the block itself, and its RFC. */
const SOURCES: [address: string, block: string, source: string][] = [
  ["10.1.1.1", "10.0.0.0/8", "RFC 1918"],
  ["100.100.1.1", "100.64.0.0/10", "RFC 6598"],
  ["127.1.1.1", "127.0.0.0/8", "RFC 1122"],
  ["169.254.1.1", "169.254.0.0/16", "RFC 3927"],
  ["192.0.0.5", "192.0.0.0/29", "RFC 7335"],
  ["192.0.0.100", "192.0.0.0/24", "RFC 6890"],
  ["198.19.1.1", "198.18.0.0/15", "RFC 2544"],
  ["255.255.255.255", "255.255.255.255/32", "RFC 919"],
  ["64:ff9b:1::1", "64:ff9b:1::/48", "RFC 8215"],
  ["100::1", "100::/64", "RFC 6666"],
  ["2001:20::1", "2001:20::/28", "RFC 7343"],
  ["2001:db8::1", "2001:db8::/32", "RFC 3849"],
  ["3fff::1", "3fff::/20", "RFC 9637"],
  ["5f00::1", "5f00::/16", "RFC 9602"],
  ["fd00::1", "fc00::/7", "RFC 4193"],
];

test("the block and its RFC", async () => {
  const { answers } = await ask(SOURCES.map(([word]) => word));
  expect(answers.map(({ address, block, source }) => [address, block, source])).toEqual(SOURCES);
});

test("classes A to E, at their edges", async () => {
  const classes = {
    A: ["0.0.0.0", "127.255.255.255"],
    B: ["128.0.0.0", "191.255.255.255"],
    C: ["192.0.0.0", "223.255.255.255"],
    D: ["224.0.0.0", "239.255.255.255"],
    E: ["240.0.0.0", "255.255.255.255"],
  };
  const table = Object.entries(classes).flatMap(([letter, words]) => words.map((word) => [word, letter]));
  const { answers } = await ask(table.map(([word]) => word));
  expect(answers.map((answer) => [answer.address, answer.class])).toEqual(table);
});

test("network and host: by the prefix length, or else by the class", async () => {
  const table: [string, ...(string | number | null)[]][] = [
    ["10.1.2.3", null, "10.0.0.0", "0.1.2.3", "10.255.255.255", 16777214],
    ["172.16.5.4", null, "172.16.0.0", "0.0.5.4", "172.16.255.255", 65534],
    ["192.168.1.10", null, "192.168.1.0", "0.0.0.10", "192.168.1.255", 254],
    ["239.1.2.3", null, null, null, null, null],
    ["192.168.1.10/24", 24, "192.168.1.0", "0.0.0.10", "192.168.1.255", 254],
    ["10.1.2.3/20", 20, "10.1.0.0", "0.0.2.3", "10.1.15.255", 4094],
    ["10.1.2.3/30", 30, "10.1.2.0", "0.0.0.3", "10.1.2.3", 2],
    ["10.1.2.3/31", 31, "10.1.2.2", "0.0.0.1", null, 2], // RFC 3021
    ["10.1.2.3/32", 32, "10.1.2.3", "0.0.0.0", null, 1],
    ["10.1.2.3/0", 0, "0.0.0.0", "10.1.2.3", "255.255.255.255", 4294967294],
    ["2001:db8:1:2::3/64", 64, "2001:db8:1:2::", "::3", null, null],
    ["2001:db8:1:2::3/0", 0, "::", "2001:db8:1:2::3", null, null],
    ["2001:db8:1:2::3/128", 128, "2001:db8:1:2::3", "::", null, null],
    ["2001:db8::1", null, null, null, null, null],
  ];
  const { code, answers } = await ask(table.map(([word]) => word));
  expect(code).toBe(0);
  const found = answers.map((a, at) => [table[at][0], a.prefix, a.network, a.host, a.broadcast, a.hosts]);
  expect(found).toEqual(table);
});

test("one-to-one, one-to-many, one-to-all", async () => {
  const table = [
    ["192.168.1.10/24", "one-to-one"],
    ["192.168.1.255/24", "one-to-all"],
    ["192.168.1.255/23", "one-to-all"],
    ["192.168.1.255/16", "one-to-one"],
    ["192.168.1.0/24", "none"],
    ["192.168.1.0/16", "one-to-one"],
    ["10.0.0.0/31", "one-to-one"],
    ["127.255.255.255", "one-to-all"],
    ["255.255.255.255", "one-to-all"],
    ["224.0.0.1", "one-to-many"],
    ["ff02::1", "one-to-many"],
    ["0.0.0.0", "none"],
    ["240.0.0.1", "none"],
    ["::", "none"],
    ["2001:db8::/64", "one-to-one"], // IPv6: the subnet-router anycast address (RFC 4291, section 2.6.1)
    ["2001:db8::ffff:ffff:ffff:ffff/64", "one-to-one"],
  ];
  const { answers } = await ask(table.map(([word]) => word));
  expect(answers.map(({ delivery }, at) => [table[at][0], delivery])).toEqual(table);
});

test("IPv6: the short and the full form, what it carries, how far a group reaches", async () => {
  const { answers } = await ask([
    ...["2001:DB8:0:0:0:0:0:1", "2001:db8:0:1:1:1:1:1", "2001:0:0:1:0:0:0:1", "2001:db8:0:0:1:0:0:1"],
    ...["::FFFF:7f00:1", "64:ff9b::192.0.2.33", "2002:c000:0204::1", "fe80::1%eth0"],
    ...["ff01::1", "ff02::1", "ff05::1:3", "ff08::1", "ff0e::1", "ff06::1"],
  ]);
  expect(answers.map(({ address }) => address)).toEqual([
    ...["2001:db8::1", "2001:db8:0:1:1:1:1:1", "2001:0:0:1::1", "2001:db8::1:0:0:1"], // RFC 5952, 4.2
    ...["::ffff:127.0.0.1", "64:ff9b::c000:221", "2002:c000:204::1", "fe80::1%eth0"],
    ...["ff01::1", "ff02::1", "ff05::1:3", "ff08::1", "ff0e::1", "ff06::1"],
  ]);
  expect(answers[0].full).toBe("2001:0db8:0000:0000:0000:0000:0000:0001");
  expect(answers.slice(4, 8).map(({ ipv4 }) => ipv4)).toEqual(["127.0.0.1", "192.0.2.33", "192.0.2.4", null]);
  expect(answers.slice(8).map(({ scope }) => scope)).toEqual(
    ["interface-local", "link-local", "site-local", "organization-local", "global", "not assigned"],
  );
});

describe("wrong addresses are named, and the others answered", () => {
  const wrong = {
    "256.1.1.1": "256 is more than 255",
    "1.2.3": "an IPv4 address has 4 numbers, not 3",
    "1.2.3.4.5": "an IPv4 address has 4 numbers, not 5",
    "1.2..4": "a number is missing beside a dot",
    "01.2.3.4": "01 starts with 0, which some programs read as octal",
    "::g": "g is not a hexadecimal number",
    "127.0.0.1 ": "no space belongs in an address",
    " ::1": "no space belongs in an address",
    "": "neither an IPv4 address, as 127.0.0.1, nor an IPv6 address, as ::1",
    "localhost": "neither an IPv4 address, as 127.0.0.1, nor an IPv6 address, as ::1",
    "0x7f.0.0.1": "neither an IPv4 address, as 127.0.0.1, nor an IPv6 address, as ::1",
    "::12345": "12345 has more than 4 digits",
    "1::2::3": ":: may stand only once",
    ":::": "a group is missing beside a colon",
    "1:2:3:4:5:6:7": "an IPv6 address has 8 groups, not 7",
    "1:2:3:4:5:6:7:8:9": "an IPv6 address has 8 groups, not 9",
    "1:2:3:4::5:6:7:8": ":: stands for one group at least",
    "::1.2.3": "an IPv4 address has 4 numbers, not 3",
    "1.2.3.4::": "1.2.3.4 is not a hexadecimal number",
    "10.0.0.1/33": "the prefix length is a whole number from 0 to 32",
    "10.0.0.1/": "the prefix length is a whole number from 0 to 32",
    "10.0.0.1/-1": "the prefix length is a whole number from 0 to 32",
    "::1/129": "the prefix length is a whole number from 0 to 128",
    "10.0.0.1%eth0": "only IPv6 has zones",
    "\x1b[31m": "neither an IPv4 address, as 127.0.0.1, nor an IPv6 address, as ::1",
    "127.0.0.1\n": "no space belongs in an address",
  };
  for (const runtime of EVERYWHERE) {
    test(`on ${runtime}`, async () => {
      const { code, stderr, answers } = await ask(["10.0.0.1", ...Object.keys(wrong), "::1"], runtime);
      expect(code).toBe(2);
      const lines = Object.entries(wrong).map(([word, why]) =>
        `error: ${(word || '""').replace("\x1b", "\\x1b").replace("\n", "\\n")}: ${why} (EINVAL)\n`
      );
      expect(stderr).toBe(lines.join(""));
      expect(answers.map(({ address }) => address)).toEqual(["10.0.0.1", "::1"]);
    });
  }
});

/** Texts that are nearly addresses, the same in every run. */
function* nearly(count: number): Generator<string> {
  let seed = 1;
  const random = (below: number) => (seed = seed * 48271 % 2147483647) % below;
  const starts = ["192.168.1.10", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "::", "fe80::1:0:0:0"];
  for (let made = 0; made < count; made++) {
    let text = starts[random(starts.length)];
    for (let change = random(3); change >= 0; change--) {
      const at = random(text.length + 1);
      text = text.slice(0, at) + "0123456789afg:.:"[random(16)] + text.slice(at + random(2));
    }
    yield text;
  }
}

test("what is an address, node:net says too", async () => {
  const words = [...nearly(2000)];
  const { answers } = await ask(words);
  const valid = words.filter((word) => isIP(word));
  expect(valid.length).toBeGreaterThan(200);
  expect(answers.map(({ version }) => version)).toEqual(valid.map((word) => isIP(word)));
});

const PYTHON = spawnSync("python3", ["-c", "import ipaddress"]).status === 0;

test.skipIf(!PYTHON)("networks and forms, as Python has them (needs python3)", async () => {
  const words = [...nearly(1000)].filter((word) => isIP(word)).map((word, at) =>
    `${word}/${at % (isIP(word) === 4 ? 31 : 129)}`
  );
  const { answers } = await ask(words);
  expect(answers.length).toBe(words.length);
  const ours = answers.map(({ network, broadcast, full }, at) => [words[at], network, broadcast, full]);
  const code = `
import ipaddress, json, sys
for word, network, broadcast, full in json.load(sys.stdin):
    i = ipaddress.ip_interface(word)
    assert ipaddress.ip_address(network) == i.network.network_address, word
    assert broadcast == (str(i.network.broadcast_address) if i.version == 4 else None), word
    assert full == (i.ip.exploded if i.version == 6 else None), word
print("all the same")`;
  const python = spawnSync("python3", ["-c", code], { input: JSON.stringify(ours), encoding: "utf8" });
  expect(python.stderr).toBe("");
  expect(python.stdout).toBe("all the same\n");
});

test("what a person reads", async () => {
  await using program = script("network/address", ["::FFFF:127.0.0.1", "fe80::1%\x1b[31m/64"]);
  const { code, stdout, stderr } = await program.result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe(`::FFFF:127.0.0.1 = ::ffff:127.0.0.1
  kind      IPv4-mapped (::ffff:0:0/96, RFC 4291): an IPv4 peer,
            as an IPv6 socket sees it
  full      0000:0000:0000:0000:0000:ffff:7f00:0001
  carries   127.0.0.1
  delivery  one-to-one (unicast)
fe80::1%\\x1b[31m/64
  kind      link-local (fe80::/10, RFC 4291): this link only;
            every card makes itself one
  full      fe80:0000:0000:0000:0000:0000:0000:0001
  /64       network fe80::, host ::1
  delivery  one-to-one (unicast)
`);
});

test("no address at all", async () => {
  await using program = script("network/address");
  const { code, stdout, stderr } = await program.result();
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toStartWith("error: ADDRESS...: is needed (EINVAL)\n");
});
