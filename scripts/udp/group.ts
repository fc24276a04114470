/** Groups and network cards: what the two ends of lesson 2.5 have in common. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { Failure } from "../../lib/failure.ts";
import { ENCODINGS } from "../../lib/text.ts";

/** The flags of both ends. Other lessons have a host where these have the group. */
export const GROUP_FLAGS = {
  group: { kind: "text", default: "239.255.0.1", help: "the address of the group | 组的地址" },
  port: { kind: "port", default: 7790, help: "the same at both ends | 两端相同" },
  interface: {
    kind: "text",
    help: "name or address of the network card; without it, loopback | 网卡的名称或地址；不写则用环回",
  },
  encoding: {
    kind: "choice",
    choices: ENCODINGS,
    default: "utf-8",
    help: "the same at both ends | 两端相同",
  },
} as const;

/**
 * The family of a group: 224.0.0.0 to 239.255.255.255 (RFC 5771), or ff00::/8 (RFC 4291, section 2.7).
 * @throws Failure EINVAL, exit code 2, for any other address
 */
export function groupFamily(group: string): 4 | 6 {
  if (isIP(group) === 4 && /^2(2[4-9]|3\d)\./.test(group)) return 4;
  if (isIP(group) === 6 && /^ff[\da-f]{2}:/i.test(group) && !group.includes("%")) return 6;
  throw new Failure(`--group ${group}`, "not the address of a group", "EINVAL", {
    exitCode: 2,
    hint: "groups are 224.0.0.0 to 239.255.255.255, and the IPv6 addresses that begin with ff",
  });
}

/**
 * The network card of a group, as the system calls take it: for IPv4 an address of the card, for IPv6
 * its name as the zone of an address, `::%eth0` (RFC 4007, section 11).
 * @param wanted its name or one of its addresses; by default, the loopback card
 * @throws Failure ENODEV, EADDRNOTAVAIL
 */
export function cardFor(wanted: string | undefined, family: 4 | 6): string {
  const addresses = Object.entries(networkInterfaces()).flatMap(([label, list]) => {
    const name = label.split(":")[0]; // an IPv4 address of eth0 may have a label of its own: eth0:1 (man 8 ip-address)
    return (list ?? []).map((address) => ({ ...address, label, name }));
  });
  const meant = addresses.filter(({ label, name, address, internal }) =>
    wanted === undefined ? internal : [label, name, address].includes(wanted)
  );
  const found = meant.find((address) => address.family === `IPv${family}`);
  if (found) return family === 4 ? found.address : `::%${found.name}`;
  const names = [...new Set(addresses.map(({ name }) => name))].join(", ");
  const hint = names && `the cards with addresses are ${names}`;
  const what = wanted === undefined ? "the loopback card" : `--interface ${wanted}`;
  throw meant.length > 0
    ? new Failure(meant[0].name, `a network card without an IPv${family} address`, "EADDRNOTAVAIL", { hint })
    : new Failure(what, "no network card, or one without addresses", "ENODEV", { hint });
}

/**
 * The address to bind for a group. An IPv6 group that reaches no farther than its link (ff_1, ff_2) is a
 * different group on each card, so the card is part of its address.
 * @param card what `cardFor` gives
 */
export function bindable(group: string, card: string): string {
  return /^ff.[12]:/i.test(group) ? card.replace("::", group) : group;
}
