/** Private addresses. */

const SHARED = "100\\.(6[4-9]|[7-9]\\d|1[01]\\d|12[0-7])";
const IPV4 = RegExp(`^(::ffff:)?(10|${SHARED}|172\\.(1[6-9]|2\\d|3[01])|192\\.168|169\\.254)\\.`, "i");

/**
 * Whether an address belongs to private networks, which the internet does not reach: RFC 1918, shared (RFC 6598) and
 * link-local (RFC 3927); unique local (RFC 4193) and link-local (RFC 4291) over IPv6.
 */
export function isPrivate(address: string): boolean {
  return IPV4.test(address) ||
    /^f([cd][\da-f]|e[89ab])[\da-f]:/i.test(address);
}
