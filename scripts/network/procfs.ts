/** The files in which Linux describes its network (man 5 proc). Other systems have none. */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import type { Ip } from "../../lib/ip.ts";

/** The lines of /proc/net/NAME, each cut into words; undefined where there is no such file. */
export function procNet(name: string): string[][] | undefined {
  const text = read(`/proc/net/${name}`);
  return text?.split("\n").filter(Boolean).map((line) => line.trim().split(/ +|\t+/));
}

/**
 * Reads an address of /proc/net: `0100007F` is 127.0.0.1 on most machines. The kernel prints words of
 * 32 bits as numbers, so their bytes stand in the order of the machine, not of the network.
 */
export function procAddress(hex: string): Ip {
  const bytes = Buffer.from(hex, "hex");
  if (endianness() === "LE") bytes.swap32();
  return { version: bytes.length === 4 ? 4 : 6, number: BigInt(`0x${bytes.toString("hex")}`) };
}

/** The names of all network cards, also of those without an address; undefined on other systems. */
export function cardNames(): string[] | undefined {
  const lines = read("/proc/net/dev")?.split("\n").slice(2).filter(Boolean);
  return lines?.map((line) => line.slice(0, line.indexOf(":")).trim());
}

/** The MAC address of a network card, also of one that is down; undefined where it is not known. */
export function macAddress(card: string): string | undefined {
  return read(`/sys/class/net/${card}/address`)?.trim();
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such file, or not for this user
  }
}
