/** What Linux tells about its network in files (man 5 proc). Elsewhere there are none. */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import { formatIp, type Ip, networkOf, parseIp } from "../../lib/ip.ts";

/** The lines of /proc/net/NAME, each cut into words; undefined where there is no such file. */
export function procNet(name: string): string[][] | undefined {
  const text = read(`/proc/net/${name}`);
  return text?.split("\n").filter(Boolean).map((line) => line.trim().split(/ +|\t+/));
}

/**
 * Reads an address of /proc/net: `0100007F` is 127.0.0.1 on most machines. The kernel prints words of
 * 32 bits as numbers, so that their bytes stand in the order of the machine, not of the network.
 */
export function procAddress(hex: string): Ip {
  const bytes = Buffer.from(hex, "hex");
  if (endianness() === "LE") bytes.swap32();
  return { version: bytes.length === 4 ? 4 : 6, number: BigInt(`0x${bytes.toString("hex")}`) };
}

/** The names of all network cards, also of those without an address; undefined where Linux is not. */
export function cardNames(): string[] | undefined {
  const lines = read("/proc/net/dev")?.split("\n").slice(2).filter(Boolean);
  return lines?.map((line) => line.slice(0, line.indexOf(":")).trim());
}

/** An attribute of a network card: its `address` (MAC) or its `flags`; undefined where it is not known. */
export function cardAttribute(card: string, name: "address" | "flags"): string | undefined {
  return read(`/sys/class/net/${card}/${name}`)?.trim();
}

/**
 * The addresses of a card that is up but has no carrier: Docker's bridge without containers, a cable
 * that is not plugged in. Bun and Node.js leave such cards out. An IPv4 address is recognised by the
 * route to its network; one that has no network (/32) is not found.
 * @param others addresses that belong to other cards
 */
export function addressesWithoutCarrier(
  card: string,
  others: string[],
): { address: string; prefix: number }[] {
  const own = new Set(Array.from(
    (read("/proc/net/fib_trie") ?? "").matchAll(/\|-- (\S+)\n +\/32 host LOCAL/g),
    ([, address]) => address,
  )).difference(new Set(others));
  const direct = (procNet("route") ?? []).filter(([name, , gateway]) =>
    name === card && /^0+$/.test(gateway)
  );
  const ipv4 = direct.flatMap((route) => {
    const prefix = procAddress(route[7]).number.toString(2).replaceAll("0", "").length;
    const network = formatIp(procAddress(route[1]));
    const inside = [...own].filter((address) =>
      formatIp(networkOf(parseIp(address), prefix).first) === network
    );
    return prefix === 0 ? [] : inside.map((address) => ({ address, prefix }));
  });
  const ipv6 = (procNet("if_inet6") ?? []).filter((line) => line[5] === card).map(([hex, , prefix]) => ({
    address: formatIp({ version: 6, number: BigInt(`0x${hex}`) }),
    prefix: parseInt(prefix, 16),
  }));
  return [...ipv4, ...ipv6];
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such file, or not for this user
  }
}
