/** Private addresses. */

/**
 * Whether an address belongs to private networks, which the internet does not reach: RFC 1918 and link-local
 * (RFC 3927); unique local (RFC 4193) and link-local (RFC 4291) over IPv6.
 */
export function isPrivate(address: string): boolean {
  return /^(::ffff:)?(10|172\.(1[6-9]|2\d|3[01])|192\.168|169\.254)\./i.test(address) ||
    /^f([cd][\da-f]|e[89ab])[\da-f]:/i.test(address);
}
