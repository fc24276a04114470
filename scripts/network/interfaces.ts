#!/usr/bin/env bun
/**
 * 1.1 Network cards: a machine has one or more, and each has addresses of its own.
 * 中文 网卡：一台机器有一块或几块网卡，每块网卡有自己的地址。
 *
 * terminal 1
 *   $ bun scripts/network/interfaces.ts
 *   host name vm
 *   lo  loopback
 *     IPv4 127.0.0.1/8  network 127.0.0.0  broadcast 127.255.255.255
 *     IPv6 ::1/128  network ::1
 *
 * Python     socket.gethostname()                ->  hostname()
 *            (none; ifconfig, ipconfig, ip addr) ->  networkInterfaces()
 * Watch out  Above is a machine that is connected to nothing: only the loopback card, which every machine
 *            has, and whose address 127.0.0.1 is this machine only. Yours shows its other cards too.
 *            /8 says that the first 8 bits are the network's, and the rest is the host's (see 1.2).
 *            The runtime does not list a card without an address; on Linux its name comes from /proc/net/dev.
 * Try        Compare with ip addr (Linux), ifconfig (macOS) or ipconfig /all (Windows).
 *            Pull out a cable or turn off the Wi-Fi, and look again.
 */
import { hostname, networkInterfaces } from "node:os";
import { readArguments } from "../../lib/arguments.ts";
import { isLoopback } from "../../lib/endpoint.ts";
import { formatIp, hasBroadcast, networkOf, parseIp } from "../../lib/ip.ts";
import { print, visible } from "../../lib/output.ts";
import { addressesWithoutCarrier, cardAttribute, cardNames } from "./procfs.ts";
import { run } from "../../lib/run.ts";

async function main() {
  const { json } = await readArguments(import.meta, {
    flags: {
      json: {
        kind: "switch",
        help: "one document: { hostname, cards: [{ name, mac, loopback, " +
          "addresses: [{ family, address, prefix, network, broadcast }] }] }",
      },
    },
  });
  const found = cards();
  if (json) return await print(JSON.stringify({ hostname: hostname(), cards: found }, null, 2));

  await print(`host name ${visible(hostname())}`);
  for (const { name, mac, loopback, addresses } of found) {
    await print(`${visible(name)}  ${loopback ? "loopback" : `MAC ${mac ?? "none"}`}`);
    for (const { family, address, prefix, network, broadcast } of addresses) {
      const all = broadcast ? `  broadcast ${broadcast}` : ""; // IPv6 has none: it uses multicast
      await print(`  ${family} ${address}/${prefix}  network ${network}${all}`);
    }
    if (addresses.length === 0) await print("  no address");
  }
}

function cards() {
  const inLinux = cardNames();
  const listed = Object.entries(networkInterfaces()).flatMap(([label, entries = []]) =>
    // Linux lists an address that has a label, eth0:1, under that label; its card is eth0
    entries.map((entry) => ({ ...entry, card: inLinux ? label.replace(/:.*/, "") : label }))
  );
  return Array.from(new Set(inLinux ?? listed.map(({ card }) => card)), (name) => {
    const mine = listed.filter(({ card }) => card === name);
    const others = listed.filter(({ card }) => card !== name).map(({ address }) => address);
    const mac = mine[0]?.mac ?? cardAttribute(name, "address");
    const isDown = (Number(cardAttribute(name, "flags") ?? 1) & 1) === 0; // IFF_UP, man 7 netdevice
    const addresses = mine.length > 0
      ? mine.map(({ address, cidr }) => ({ address, prefix: Number(cidr?.split("/")[1]) }))
      : addressesWithoutCarrier(name, others);
    return {
      name,
      mac: mac && /[1-9a-f]/i.test(mac) ? mac : null, // the loopback card and tunnels have none
      loopback: name === "lo" || addresses.some(({ address }) => isLoopback(address)),
      addresses: (isDown ? [] : addresses)
        .map(({ address, prefix }) => describe(address, prefix))
        .sort((a, b) => a.family.localeCompare(b.family)),
    };
  });
}

/** All that an address and its prefix length say. */
function describe(address: string, prefix: number) {
  const ip = parseIp(address);
  const { first, last } = networkOf(ip, prefix);
  return {
    family: `IPv${ip.version}`,
    address: formatIp(ip),
    prefix,
    network: formatIp(first),
    broadcast: hasBroadcast(ip.version, prefix) ? formatIp(last) : null,
  };
}

if (import.meta.main) run("client", main);
