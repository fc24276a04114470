/** IP addresses as the numbers they are, 32 bits (RFC 791) or 128 (RFC 4291), and as people write them. */
import { canonical } from "./socket.ts";
import { Failure } from "./failure.ts";

export type Ip = { version: 4 | 6; number: bigint };

/**
 * Reads an address: `127.0.0.1`, `2001:db8::1` or `::ffff:127.0.0.1`.
 * @throws Failure EINVAL, exit code 2, that says what is wrong with it
 */
export function parseIp(text: string): Ip {
  if (/\s/.test(text)) throw wrong(text, "no space belongs in an address");
  try {
    if (text.includes(":")) return { version: 6, number: parseGroups(text) };
    if (/^[\d.]+$/.test(text)) return { version: 4, number: parseDotted(text) };
  } catch (error) {
    throw wrong(text, (error as Error).message);
  }
  throw wrong(text, "neither an IPv4 address, as 127.0.0.1, nor an IPv6 address, as ::1");
}

/** The Failure for what a user wrote where an address belongs. */
export const wrong = (text: string, why: string) => new Failure(text || '""', why, "EINVAL", { exitCode: 2 });

/** Four numbers from 0 to 255, one for each byte. */
function parseDotted(text: string): bigint {
  const numbers = text.split(".");
  for (const number of numbers) {
    if (number === "") throw new Error("a number is missing beside a dot");
    if (!/^\d+$/.test(number)) throw new Error(`${number} is not a whole number`);
    if (Number(number) > 255) throw new Error(`${number} is more than 255`);
    if (/^0\d/.test(number)) throw new Error(`${number} starts with 0, which some programs read as octal`);
  }
  if (numbers.length !== 4) throw new Error(`an IPv4 address has 4 numbers, not ${numbers.length}`);
  return numbers.reduce((value, number) => value * 256n + BigInt(number), 0n);
}

/** Eight groups of four hexadecimal digits; `::` stands once for groups of zeros (RFC 4291, section 2.2). */
function parseGroups(text: string): bigint {
  // the last two groups may be written as an IPv4 address
  const plain = text.replace(/(?<=:)[^:]*\.[^:]*$/, (end) => {
    const number = parseDotted(end);
    return `${(number >> 16n).toString(16)}:${(number & 0xffffn).toString(16)}`;
  });
  const [left, right, more] = plain.split("::").map((half) => half === "" ? [] : half.split(":"));
  if (more) throw new Error(":: may stand only once");
  const groups = [...left, ...(right ?? [])];
  for (const group of groups) {
    if (group === "") throw new Error("a group is missing beside a colon");
    if (!/^[0-9a-f]+$/i.test(group)) throw new Error(`${group} is not a hexadecimal number`);
    if (group.length > 4) throw new Error(`${group} has more than 4 digits`);
  }
  if (right ? groups.length > 7 : groups.length !== 8) {
    throw new Error(
      right ? ":: stands for one group at least" : `an IPv6 address has 8 groups, not ${groups.length}`,
    );
  }
  if (right) groups.splice(left.length, 0, ...Array(8 - groups.length).fill("0"));
  return groups.reduce((value, group) => value * 0x10000n + BigInt(`0x${group}`), 0n);
}

/** Writes an address the one way that all programs should: for IPv6, RFC 5952. */
export function formatIp({ version, number }: Ip): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => number >> shift & 0xffn).join(".");
  return canonical(groupsOf(number).join(":"));
}

/** The eight groups of four hexadecimal digits that an IPv6 address is written with, zeros and all. */
export function groupsOf(number: bigint): string[] {
  return number.toString(16).padStart(32, "0").match(/.{4}/g) ?? [];
}
