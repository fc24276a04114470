/** What the drawings show of a packet: an arrow between two lifelines. */

export type Phase = "connection" | "data" | "close" | "reset";

/** The note of bytes that were sent before. */
export const AGAIN = "sent again";

export type Arrow = {
  /** When the packet was seen, in ms since 1970. */
  at: number;
  /** The conversation to which it belongs: two endpoints, each with a lifeline, left the one that began. */
  conversation: number;
  left: string;
  right: string;
  isToRight: boolean;
  /** TCP, UDP, ICMP, ICMPv6, or "protocol 2". */
  protocol: string;
  /** Of TCP alone. The numbers count from those of the SYN, which are 0. */
  flags?: string[];
  seq?: number;
  ack?: number;
  window?: number;
  phase?: Phase;
  /** Bytes that it carries, and its first bytes as text. */
  length: number;
  text: string;
  /** A piece of a packet: where in it the piece begins, and whether more follow. */
  fragment?: { offset: number; hasMore: boolean };
  /** What else there is to say: "sent again", "window 0", "Destination Port Unreachable". */
  notes: string[];
  /** Whether the same bytes were sent again before they were acknowledged. */
  isLost: boolean;
};

/** What is written on an arrow: `PSH ACK  seq 1  ack 1  6 bytes  "你好"`. */
export function labelOf({ protocol, flags, seq, ack, length, text, fragment, notes }: Arrow): string {
  const parts = flags ? [flags.join(" ") || "no flags", `seq ${seq}`] : [protocol];
  if (ack !== undefined) parts.push(`ack ${ack}`);
  if (fragment) {
    parts.push(`fragment at ${fragment.offset}${fragment.hasMore ? ", more follow" : ", the last"}`);
  }
  parts.push(...notes);
  if (length > 0 || protocol === "UDP") parts.push(`${length} byte${length === 1 ? "" : "s"}`);
  if (text) parts.push(`"${text}"`);
  return parts.join("  ");
}
