#!/usr/bin/env bun
/**
 * 1.2 Addresses: an address says who you are in which network, and some say
 * much more.
 * 中文 地址：地址说明你在哪个网络里、是哪一台；有些地址还有特别的含义。
 *
 * terminal 1
 *   $ bun scripts/network/address.ts 127.0.0.1 192.168.1.255/24 239.255.0.1
 *   127.0.0.1
 *     kind      loopback (127.0.0.0/8, RFC 1122): this machine only
 *     class     A: network 127.0.0.0, host 0.0.0.1, broadcast 127.255.255.255,
 *               hosts 16777214
 *     delivery  one-to-one (unicast)
 *   192.168.1.255/24
 *     kind      private (192.168.0.0/16, RFC 1918): for networks of one's own;
 *               not routed on the Internet
 *     class     C
 *     /24       network 192.168.1.0, host 0.0.0.255, broadcast 192.168.1.255,
 *               hosts 254
 *     delivery  one-to-all (broadcast): every host of network 192.168.1.0
 *   239.255.0.1
 *     kind      multicast (239.0.0.0/8, RFC 2365): inside one organisation
 *     class     D
 *     delivery  one-to-many (multicast): all who joined the group
 *   $ bun scripts/network/address.ts 256.1.1.1 0.0.0.0 FE80:0:0::1
 *   error: 256.1.1.1: 256 is more than 255 (EINVAL)
 *   0.0.0.0
 *     kind      this host (0.0.0.0/32, RFC 1122): in a bind,
 *               every address of this machine
 *     class     A: network 0.0.0.0, host 0.0.0.0, broadcast 0.255.255.255,
 *               hosts 16777214
 *     delivery  none
 *   FE80:0:0::1 = fe80::1
 *     kind      link-local (fe80::/10, RFC 4291): this link only;
 *               every card makes itself one
 *     full      fe80:0000:0000:0000:0000:0000:0000:0001
 *     delivery  one-to-one (unicast)
 *   [exit 2]
 *
 * Python     ipaddress.ip_address(text).is_private
 *                ->  (none; node:net has isIP and BlockList)
 * Watch out  127.0.0.1 is this machine only; 0.0.0.0, in a bind, is every
 *            address of it. An address without a prefix length is divided into
 *            network and host by its class, as it was until 1993. Since then
 *            (CIDR, RFC 4632) each network has a length of its own: write it,
 *            as /24.
 * Try        Give it your own addresses from 1.1; and ::, ::ffff:127.0.0.1,
 *            2001:db8::1/64, ff02::1.
 * 注意       127.0.0.1 只代表本机；绑定时写 0.0.0.0，代表本机的所有地址。没有写
 *            前缀长度的地址按类别划分网络号和主机号，1993 年以前都是这样。从那
 *            以后（CIDR，RFC 4632）每个网络有自己的长度：要写出来，例如 /24。
 * 试试       把 1.1 列出的本机地址给它看；再试 ::、::ffff:127.0.0.1、
 *            2001:db8::1/64、ff02::1。
 */
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { formatIp, groupsOf, type Ip, parseIp, wrong } from "../../lib/ip.ts";
import { print, report, run, visible } from "../../lib/program.ts";
import { BITS, hasBroadcast, networkOf } from "./networks.ts";
import { json } from "./json.ts";

/**
 * What the blocks are for: IANA's special-purpose registries of IPv4 and IPv6 (as of 2026-07), and the
 * blocks of RFC 791, 4291 and 5771. An address is of the narrowest block that contains it.
 */
const BLOCKS: [block: string, kind: string, source: string, meaning: string][] = [
  ["0.0.0.0/0", "public", "RFC 791", "one host of the whole Internet"],
  ["0.0.0.0/8", "this network", "RFC 791", "a host of this network that does not know its network yet"],
  ["0.0.0.0/32", "this host", "RFC 1122", "in a bind, every address of this machine"],
  ["10.0.0.0/8", "private", "RFC 1918", "for networks of one's own; not routed on the Internet"],
  ["100.64.0.0/10", "carrier-grade NAT", "RFC 6598", "between a provider and its customers"],
  ["127.0.0.0/8", "loopback", "RFC 1122", "this machine only"],
  ["169.254.0.0/16", "link-local", "RFC 3927", "this link only; a host without DHCP gives itself one"],
  ["172.16.0.0/12", "private", "RFC 1918", "for networks of one's own; not routed on the Internet"],
  ["192.0.0.0/24", "protocol assignments", "RFC 6890", "reserved for protocols"],
  ["192.0.0.0/29", "protocol assignments", "RFC 7335", "IPv4 over an IPv6 network (DS-Lite, 464XLAT)"],
  ["192.0.0.8/32", "protocol assignments", "RFC 7600", "dummy sender of ICMP errors"],
  ["192.0.0.9/32", "protocol assignments", "RFC 7723", "the nearest PCP server (anycast)"],
  ["192.0.0.10/32", "protocol assignments", "RFC 8155", "the nearest TURN server (anycast)"],
  ["192.0.0.170/32", "protocol assignments", "RFC 7050", "finds out the prefix of a NAT64"],
  ["192.0.0.171/32", "protocol assignments", "RFC 7050", "finds out the prefix of a NAT64"],
  ["192.0.2.0/24", "documentation", "RFC 5737", "for examples in texts (TEST-NET-1)"],
  ["192.31.196.0/24", "AS112", "RFC 7535", "answers look-ups of names that nobody has (anycast)"],
  ["192.52.193.0/24", "AMT", "RFC 7450", "the nearest relay of multicast (anycast)"],
  ["192.88.99.0/24", "6to4 relay (deprecated)", "RFC 7526", "was the nearest way into IPv6 (anycast)"],
  ["192.88.99.2/32", "6a44 relay", "RFC 6751", "the nearest relay of IPv6 through NATs (anycast)"],
  ["192.168.0.0/16", "private", "RFC 1918", "for networks of one's own; not routed on the Internet"],
  ["192.175.48.0/24", "AS112", "RFC 7534", "answers look-ups of private addresses (anycast)"],
  ["198.18.0.0/15", "benchmarking", "RFC 2544", "for measuring devices in a laboratory"],
  ["198.51.100.0/24", "documentation", "RFC 5737", "for examples in texts (TEST-NET-2)"],
  ["203.0.113.0/24", "documentation", "RFC 5737", "for examples in texts (TEST-NET-3)"],
  ["224.0.0.0/4", "multicast", "RFC 5771", "a group of hosts"],
  ["224.0.0.0/24", "multicast", "RFC 5771", "this link only"],
  ["232.0.0.0/8", "multicast", "RFC 4607", "from one source that the receiver names"],
  ["239.0.0.0/8", "multicast", "RFC 2365", "inside one organisation"],
  ["240.0.0.0/4", "reserved", "RFC 1112", "kept for the future"],
  ["255.255.255.255/32", "limited broadcast", "RFC 919", "every host on this link; no router passes it on"],

  ["::/0", "reserved", "RFC 4291", "not given out"],
  ["::/96", "IPv4-compatible (deprecated)", "RFC 4291", "was a tunnel over IPv4"],
  ["::/128", "unspecified", "RFC 4291", "in a bind, every address of this machine"],
  ["::1/128", "loopback", "RFC 4291", "this machine only"],
  ["::ffff:0:0/96", "IPv4-mapped", "RFC 4291", "an IPv4 peer, as an IPv6 socket sees it"],
  ["64:ff9b::/96", "NAT64", "RFC 6052", "an IPv4 host, as an IPv6-only network sees it"],
  ["64:ff9b:1::/48", "NAT64", "RFC 8215", "an IPv4 host, by a translator of one's own network"],
  ["100::/64", "discard-only", "RFC 6666", "what is sent there is thrown away"],
  ["100:0:0:1::/64", "dummy", "RFC 9780", "stands where a device needs some address"],
  ["2000::/3", "public", "RFC 4291", "global unicast: one host of the whole Internet"],
  ["2001::/23", "protocol assignments", "RFC 2928", "reserved for protocols"],
  ["2001::/32", "Teredo", "RFC 4380", "IPv6 through NATs, in UDP over IPv4"],
  ["2001:1::1/128", "protocol assignments", "RFC 7723", "the nearest PCP server (anycast)"],
  ["2001:1::2/128", "protocol assignments", "RFC 8155", "the nearest TURN server (anycast)"],
  ["2001:1::3/128", "protocol assignments", "RFC 9665", "the nearest registrar of services (anycast)"],
  ["2001:2::/48", "benchmarking", "RFC 5180", "for measuring devices in a laboratory"],
  ["2001:3::/32", "AMT", "RFC 7450", "the nearest relay of multicast (anycast)"],
  ["2001:4:112::/48", "AS112", "RFC 7535", "answers look-ups of names that nobody has (anycast)"],
  ["2001:10::/28", "ORCHID (deprecated)", "RFC 4843", "a name made from a key, no place; see ORCHIDv2"],
  ["2001:20::/28", "ORCHIDv2", "RFC 7343", "a name made from a key, no place"],
  ["2001:30::/28", "drone remote ID", "RFC 9374", "the name of a drone"],
  ["2001:db8::/32", "documentation", "RFC 3849", "for examples in texts"],
  ["2002::/16", "6to4", "RFC 3056", "a tunnel over IPv4 (anycast relays are deprecated)"],
  ["2620:4f:8000::/48", "AS112", "RFC 7534", "answers look-ups of private addresses (anycast)"],
  ["3fff::/20", "documentation", "RFC 9637", "for examples in texts"],
  ["5f00::/16", "SRv6 SIDs", "RFC 9602", "a step of a route (segment routing)"],
  ["fc00::/7", "unique local", "RFC 4193", "for networks of one's own; not routed on the Internet"],
  ["fe80::/10", "link-local", "RFC 4291", "this link only; every card makes itself one"],
  ["fec0::/10", "site-local (deprecated)", "RFC 3879", "was what unique local is"],
  ["ff00::/8", "multicast", "RFC 4291", "a group of hosts"],
];

/** Classes: how an IPv4 address starts, and how many bits are its network's (RFC 791, 1112). */
const CLASSES: [name: string, block: string, prefix: number | null][] = [
  ["A", "0.0.0.0/1", 8], // 0...
  ["B", "128.0.0.0/2", 16], // 10...
  ["C", "192.0.0.0/3", 24], // 110...
  ["D", "224.0.0.0/4", null], // 1110: multicast
  ["E", "240.0.0.0/4", null], // 1111: reserved
];

/** How far a multicast to an IPv6 group goes: the fourth digit of its address (RFC 7346). */
const SCOPES: Record<string, string> = {
  1: "interface-local",
  2: "link-local",
  3: "realm-local",
  4: "admin-local",
  5: "site-local",
  8: "organization-local",
  e: "global",
};

/** How many bits stand to the right of an IPv4 address inside an IPv6 address. */
const CARRIES: Record<string, bigint> = {
  "::/96": 0n,
  "::ffff:0:0/96": 0n,
  "64:ff9b::/96": 0n,
  "2002::/16": 80n,
};

/** Kinds that can be a sender, or nothing, but to which no datagram goes. */
const NO_DESTINATION = ["this host", "this network", "reserved", "unspecified"];

async function main() {
  const { words, json: asJson } = await readArguments(import.meta, {
    words: "ADDRESS...",
    flags: {
      json: {
        kind: "switch",
        help: "one document: [{ address, version, kind, block, source, meaning, delivery, class, prefix, " +
          "network, host, broadcast, hosts, full, scope, ipv4 }]; null is what it does not have",
      },
    },
  });
  const answers = [];
  for (const word of words) {
    try {
      const answer = describe(word);
      answers.push(answer);
      if (!asJson) await print(page(word, answer));
    } catch (error) {
      process.exitCode = 2; // and go on with the next one
      await report(error);
    }
  }
  if (asJson) await print(json(answers));
}

/** @throws Failure for what is not an address, with or without a prefix length */
function describe(word: string) {
  const [, text, zone, length] = /^([^/%]*)(%[^/]+)?(?:\/(.*))?$/s.exec(word) ?? [, word];
  const ip = parseIp(text);
  const { version } = ip;
  if (zone && version === 4) throw wrong(word, "only IPv6 has zones");
  const prefix = length === undefined ? null : Number(length);
  if (prefix !== null && (!/^\d{1,3}$/.test(`${length}`) || prefix > BITS[version])) {
    throw wrong(word, `the prefix length is a whole number from 0 to ${BITS[version]}`);
  }
  const [block, kind, source, meaning] = narrowest(ip);
  const [letter, , classful] = CLASSES.find(([, block]) => contains(block, ip)) ?? [null, null, null];
  const bits = prefix ?? classful;
  const network = bits === null ? null : networkOf(ip, bits);
  const broadcast = network && hasBroadcast(version, bits ?? 0) ? formatIp(network.last) : null;
  return {
    address: formatIp(ip) + (zone ?? ""),
    version,
    kind,
    block,
    source,
    meaning,
    delivery: delivery(ip, kind, broadcast === null ? null : network),
    class: letter,
    prefix,
    network: network && formatIp(network.first),
    host: network && formatIp(network.host),
    broadcast,
    hosts: version === 6 || bits === null ? null : 2 ** (32 - bits) - (broadcast ? 2 : 0),
    full: version === 4 ? null : groupsOf(ip.number).join(":"),
    scope: block === "ff00::/8" ? SCOPES[formatIp(ip)[3]] ?? "not assigned" : null,
    ipv4: block in CARRIES
      ? formatIp({ version: 4, number: ip.number >> CARRIES[block] & 0xffffffffn })
      : null,
  };
}

/** Whom a datagram to this address reaches; `network` is given where it has a broadcast address. */
function delivery(ip: Ip, kind: string, network: ReturnType<typeof networkOf> | null): string {
  if (kind === "multicast") return "one-to-many";
  if (kind === "limited broadcast" || ip.number === network?.last.number) return "one-to-all";
  const isNetwork = ip.number === network?.first.number;
  return NO_DESTINATION.includes(kind) || isNetwork ? "none" : "one-to-one";
}

function narrowest(ip: Ip) {
  const around = BLOCKS.filter(([block]) => contains(block, ip));
  return around.reduce((a, b) => prefixOf(b[0]) > prefixOf(a[0]) ? b : a);
}

function contains(block: string, ip: Ip): boolean {
  const start = parseIp(block.split("/")[0]);
  return start.version === ip.version && networkOf(ip, prefixOf(block)).first.number === start.number;
}

function prefixOf(block: string): number {
  return Number(block.split("/")[1]);
}

/** An answer as a person reads it. */
function page(word: string, answer: ReturnType<typeof describe>): string {
  const { address, kind, block, source, meaning, scope, prefix, network, host, broadcast, hosts } = answer;
  const whom: Record<string, string> = {
    "one-to-one": " (unicast)",
    "one-to-many": ` (multicast): all who joined the group${scope ? `, scope ${scope}` : ""}`,
    "one-to-all": ` (broadcast): every host of ${broadcast ? `network ${network}` : "this link"}`,
    "none": address === network && !NO_DESTINATION.includes(kind) ? ": it names the network itself" : "",
  };
  const parts = network ? [`network ${network}`, `host ${host}`] : [];
  if (broadcast) parts.push(`broadcast ${broadcast}`);
  if (hosts) parts.push(`hosts ${hosts}`);
  const split = parts.join(", ");
  const byClass = split && prefix === null ? `: ${split}` : "";
  const rows: [name: string, value: string | null][] = [
    ["kind", `${kind} (${block}, ${source}): ${meaning}`],
    ["full", answer.full],
    ["carries", answer.ipv4],
    ["class", answer.class && answer.class + byClass],
    [`/${prefix}`, prefix === null ? null : split],
    ["delivery", answer.delivery + whom[answer.delivery]],
  ];
  const lines = rows.flatMap(([name, value]) => value ? folded(`  ${name.padEnd(9)} ${value}`) : []);
  const isSame = word.split("/")[0] === address;
  return [visible(isSame ? word : `${word} = ${address}`), ...lines].join("\n");
}

/** A row as lines of at most 80 columns, cut behind a comma if possible: all of it is ASCII. */
function folded(row: string): string[] {
  const [line] = row.length <= 80 ? [row] : /^.{40,79}[,;:](?= )|^.{1,80}(?= )/.exec(row) ?? [row];
  return line === row ? [row] : [line, ...folded(" ".repeat(11) + row.slice(line.length))];
}

if (import.meta.main) run("client", main);
