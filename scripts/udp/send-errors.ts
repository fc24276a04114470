/**
 * Whether a send failed for a trouble that may pass: a card that is down, a route that is missing, a full queue, a
 * firewall of this machine that drops it. The datagram is lost, and the next one may arrive. Deno tells UNKNOWN for
 * these, and for some that do not pass.
 */
export function isPassing(error: NodeJS.ErrnoException): boolean {
  return ["ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENOBUFS", "EPERM", "UNKNOWN"].includes(
    `${error.code}`,
  );
}
