#!/usr/bin/env bun
/**
 * 1.1 Network cards: a machine has one or more, and each has its own addresses.
 * 中文 网卡：一台机器有一块或几块网卡，每块网卡有自己的地址。
 *
 * terminal 1
 *   $ bun scripts/network/interfaces.ts
 *   host name vm
 *   lo  loopback
 *     IPv4 127.0.0.1/8  network 127.0.0.0  broadcast 127.255.255.255
 *     IPv6 ::1/128  network ::1
 *
 * Python     socket.gethostname()
 *                ->  hostname()
 *            (none; ifconfig, ipconfig, ip addr)
 *                ->  networkInterfaces()
 * Watch out  Above is a machine that is connected to nothing: it has only the
 *            loopback card, as every machine has, whose address 127.0.0.1 is
 *            this machine only. Yours shows its other cards too.
 *            /8 says that the first 8 bits are the network's, and the rest is
 *            the host's (see 1.2). The runtime leaves out cards without a cable
 *            and the peers of point-to-point cards: on Linux, ip -json addr is
 *            asked first.
 * Try        Compare with ip addr (Linux), ifconfig (macOS) or ipconfig /all
 *            (Windows). Pull out a cable or turn off the Wi-Fi, and look again.
 * 注意       上面是一台什么都没连的机器：只有每台机器都有的环回网卡，它的地址
 *            127.0.0.1 只代表本机。你的机器还会列出别的网卡。/8 表示前 8 位是网
 *            络号，其余是主机号（见 1.2）。没插网线的网卡，还有点对点网卡的对端，
 *            运行时都不列出：在 Linux 上先问 ip -json addr。
 * 试试       和 ip addr（Linux）、ifconfig（macOS）或 ipconfig /all（Windows）
 *            对照。拔掉网线或关掉 Wi-Fi，再看一次。
 */
import { hostname, networkInterfaces } from "node:os";
import { readArguments } from "../../lib/arguments.ts";
import { isLoopback } from "../../lib/socket.ts";
import { formatIp, parseIp } from "../../lib/ip.ts";
import { print, run, visible } from "../../lib/program.ts";
import { ipCards } from "./ip-addr.ts";
import { hasBroadcast, networkOf } from "./networks.ts";
import { cardNames, macAddress } from "./procfs.ts";
import { json } from "./json.ts";

async function main() {
  const { json: asJson } = await readArguments(import.meta, {
    flags: {
      json: {
        kind: "switch",
        help: "one document: { hostname, cards: [{ name, mac, loopback, " +
          "addresses: [{ family, address, peer, prefix, network, broadcast }] }] }",
      },
    },
  });
  const cards = cardsOfIp() ?? cardsOfRuntime();
  if (asJson) return await print(json({ hostname: hostname(), cards }));

  await print(`host name ${visible(hostname())}`);
  for (const { name, mac, loopback, addresses } of cards) {
    await print(`${visible(name)}  ${loopback ? "loopback" : `MAC ${mac ?? "none"}`}`);
    for (const { family, address, peer, prefix, network, broadcast } of addresses) {
      const both = peer ? `${address} peer ${peer}` : address;
      const all = broadcast ? `  broadcast ${broadcast}` : ""; // IPv6 has none: it uses multicast
      await print(`  ${family} ${both}/${prefix}  network ${network}${all}`);
    }
    if (addresses.length === 0) await print("  no address");
  }
}

type Card = { name: string; mac: string | null; loopback: boolean; addresses: Address[] };
type Address = ReturnType<typeof describe>;

/** Linux: all that the system itself says. */
function cardsOfIp(): Card[] | undefined {
  return ipCards()?.map(({ ifname, flags, address: mac, addr_info }) => ({
    name: ifname,
    mac: macOrNull(mac),
    loopback: flags.includes("LOOPBACK"),
    addresses: (flags.includes("UP") ? addr_info : [])
      .map(({ local, address: peer, prefixlen, broadcast }) => {
        const hasNone = peer !== undefined || flags.includes("POINTOPOINT");
        return describe(local, prefixlen, { peer, broadcast: hasNone ? null : broadcast });
      }).sort(byFamily),
  }));
}

/** Other systems, and Linux without `ip`: what the runtime says. */
function cardsOfRuntime(): Card[] {
  const inLinux = cardNames();
  const listed = Object.entries(networkInterfaces()).flatMap(([label, entries = []]) =>
    // Linux lists an address with a label, eth0:1, under that label; its card is eth0
    entries.map((entry) => ({ ...entry, card: inLinux ? label.replace(/:.*/, "") : label }))
  );
  return Array.from(new Set(inLinux ?? listed.map(({ card }) => card)), (name) => {
    const mine = listed.filter(({ card }) => card === name);
    return {
      name,
      mac: macOrNull(macAddress(name) ?? mine[0]?.mac), // an entry with a label has none on Bun and Deno
      loopback: name === "lo" || mine.some(({ address }) => isLoopback(address)),
      addresses: mine.map(({ address, cidr }) => describe(address, Number(cidr?.split("/")[1])))
        .sort(byFamily),
    };
  });
}

/** The loopback card and tunnels have no MAC: six zeros, an IP address, or nothing. */
function macOrNull(mac: string | undefined): string | null {
  return mac && /^[\da-f]{2}(:[\da-f]{2})+$/i.test(mac) && /[1-9a-f]/i.test(mac) ? mac : null;
}

/**
 * All that an address and its prefix length say.
 * @param peer the other end of a point-to-point address: the network is the peer's
 * @param broadcast null where there is none; undefined where it follows from the network
 */
function describe(
  address: string,
  prefix: number,
  { peer, broadcast }: { peer?: string; broadcast?: string | null } = {},
) {
  const ip = parseIp(address);
  const { first, last } = networkOf(parseIp(peer ?? address), prefix);
  const usual = hasBroadcast(ip.version, prefix) ? formatIp(last) : null;
  return {
    family: `IPv${ip.version}`,
    address: formatIp(ip),
    peer: peer ?? null,
    prefix,
    network: formatIp(first),
    broadcast: broadcast === undefined ? usual : broadcast,
  };
}

function byFamily(a: Address, b: Address): number {
  return a.family.localeCompare(b.family);
}

if (import.meta.main) run("client", main);
