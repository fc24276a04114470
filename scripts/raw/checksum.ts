/** The Internet checksum (RFC 1071), which IPv4, ICMP, UDP and TCP carry. */

/**
 * Adds the bytes up as numbers of 16 bits in one's complement, where a carry out of the top is added at the bottom, and
 * gives the complement. Over a message that carries its right checksum, the result is 0.
 */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] << 8) | (bytes[at + 1] ?? 0); // odd: as if a 0 followed
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
