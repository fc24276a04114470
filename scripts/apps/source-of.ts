/** For whom a caller counts, where a server gives each one no more than a share. */
import { formatIp, parseIp } from "../../lib/ip.ts";

/**
 * The source of a caller: an IPv4 address, or the first 64 bits of an IPv6 address, of which one machine may use every
 * address (RFC 8981).
 * @param address of the peer; undefined where the connection was reset at once
 */
export function sourceOf(address: string | undefined): string {
  if (address === undefined) return "unknown";
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*/, "");
  return plain.includes(":") ? formatIp({ version: 6, number: parseIp(plain).number >> 64n << 64n }) : plain;
}

/**
 * A source, and the networks of 56 and 48 bits that hold it: one customer is often given 256 or 65,536 sources
 * (RFC 6177). An IPv4 address stands for itself.
 */
export function networksOf(source: string): string[] {
  if (!source.includes(":")) return [source, source, source];
  const { number } = parseIp(source);
  return [source, `${number >> 72n}/56`, `${number >> 80n}/48`];
}
