/**
 * Sorts packets into conversations, and turns each into an arrow: with sequence numbers that count from the beginning
 * of its connection, its phase, and what has become of it.
 *
 * A packet that is lost on its way looks like any other, until its bytes are sent again. So an arrow with bytes of a
 * connection waits here until they are acknowledged or sent again, for 3.5 s at most, and so do all arrows behind it.
 * Memory is bounded: at most 1,000 conversations are remembered, and 4,000 arrows wait.
 */
import { endpoint } from "../../../lib/socket.ts";
import { whyNot } from "../icmp.ts";
import { AGAIN, type Arrow, type Phase } from "./arrow.ts";
import { firstBytes } from "./first-bytes.ts";
import { ACK, FIN, FLAGS, type Icmp, type Packet, RST, SYN, type Tcp } from "./packet.ts";

/** In ms. A system sends a SYN again 1 s after the first, and 2 s later again (RFC 6298); data sooner. */
const LONGEST_WAIT = 3500;
const MOST_CONVERSATIONS = 1000, MOST_WAITING = 4000, MOST_FRAGMENTED = 250;

/** What one end of a connection has sent. The numbers are those in the packets, which begin again at 2 ** 32. */
type Sent = { base?: number; next?: number; acknowledged?: number; waiting: Held[] };

/** An arrow whose bytes, from `seq` to before `end`, have perhaps not arrived. */
type Held = { arrow: Arrow; sent?: Sent; seq: number; end: number; isWaiting: boolean };

type Conversation = { number: number; left: string; right: string; phase?: Phase; ends: [Sent, Sent] };

/** Where the later fragments of a packet belong: they have no ports. */
type Place = { key: string; isToRight: boolean };

export class Conversations {
  readonly #port: number | undefined;
  /** By protocol and endpoints; the one that was quiet for longest comes first. */
  readonly #known = new Map<string, Conversation>();
  readonly #fragmented = new Map<string, Place>();
  readonly #queue: Held[] = [];
  #count = 0;

  /** @param port only conversations of which one end has this port */
  constructor(port?: number) {
    this.#port = port;
  }

  /** Adds a packet that was seen at a time in ms since 1970. @returns whether it belongs to what is watched */
  add(packet: Packet, at: number): boolean {
    const about = packet.icmp?.quoted ?? packet; // an error belongs to what it is about
    const { source, sourcePort, target, targetPort, fragment } = about;
    const ends: [string, string] = [endpoint(source, sourcePort), endpoint(target, targetPort)];
    const id = fragment && [source, target, about.protocol, fragment.id].join(" ");
    const place = fragment?.offset ? this.#fragmented.get(id as string) : undefined;
    const key = place?.key ?? [about.protocol, ...ends.toSorted()].join(" ");
    if (this.#port !== undefined && !place && sourcePort !== this.#port && targetPort !== this.#port) {
      return false;
    }

    const old = this.#known.get(key);
    const conversation = old && !isNew(packet, ends, old) ? old : this.#begin(about, ends);
    this.#known.delete(key);
    remember(this.#known, key, conversation, MOST_CONVERSATIONS);
    const fromLeft = place?.isToRight ??
      (ends[0] === ends[1] ? !isReply(about) : ends[0] === conversation.left);
    if (id && fragment?.offset === 0) {
      remember(this.#fragmented, id, { key, isToRight: fromLeft }, MOST_FRAGMENTED);
    }
    const arrow = drawn(packet, at, conversation, about === packet ? fromLeft : !fromLeft);
    const { tcp } = packet;
    this.#queue.push(tcp ? follow(conversation, tcp, arrow) : { arrow, seq: 0, end: 0, isWaiting: false });
    return true;
  }

  /** Takes the arrows whose fate is known by now, in the order of their packets; with Infinity, all. */
  settled(now: number): Arrow[] {
    const isOpen = ({ arrow, isWaiting }: Held, index: number) =>
      isWaiting && now - arrow.at < LONGEST_WAIT && this.#queue.length - index <= MOST_WAITING;
    const end = this.#queue.findIndex(isOpen);
    const settled = this.#queue.splice(0, end < 0 ? this.#queue.length : end);
    for (const { isWaiting, sent } of settled) if (isWaiting) sent?.waiting.shift(); // its oldest one
    return settled.map(({ arrow }) => arrow);
  }

  /** The one who begins stands on the left; an end with the port that is watched, on the right. */
  #begin(about: Packet, [source, target]: [string, string]): Conversation {
    const isAnswer = about.tcp !== undefined && (about.tcp.flags & (SYN | ACK)) === (SYN | ACK);
    const isServer = this.#port !== undefined && about.sourcePort === this.#port &&
      about.targetPort !== this.#port;
    const [left, right] = isAnswer || isServer || isReply(about) ? [target, source] : [source, target];
    return { number: ++this.#count, left, right, ends: [{ waiting: [] }, { waiting: [] }] };
  }
}

/** Puts a value at the end of a map, and forgets the first one when there are too many. */
function remember<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value as string);
}

/** Whether a packet begins a connection between the endpoints of an older one. */
function isNew({ tcp }: Packet, [source]: [string, string], { left, ends }: Conversation): boolean {
  if (!tcp || (tcp.flags & (SYN | ACK)) !== SYN) return false;
  const { base } = ends[source === left ? 0 : 1];
  return base !== undefined && base !== tcp.seq;
}

const ECHO_REPLIES = [0, 129];
const isReply = ({ icmp }: Packet) => icmp !== undefined && !icmp.quoted && ECHO_REPLIES.includes(icmp.type);

const PROTOCOLS: Record<number, string> = { 1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "ICMPv6" };

function drawn(packet: Packet, at: number, { number, left, right }: Conversation, isToRight: boolean): Arrow {
  const { version, protocol, length, payload, icmp, tcp, fragment, isCut } = packet;
  return {
    at,
    conversation: number,
    left,
    right,
    isToRight,
    protocol: PROTOCOLS[protocol] ?? `protocol ${protocol}`,
    flags: tcp && FLAGS.filter((_, bit) => tcp.flags & (1 << bit)),
    window: tcp?.window,
    length: icmp?.quoted ? 0 : length,
    text: protocol === 6 || protocol === 17 ? firstBytes(payload) : "",
    fragment: fragment && { offset: fragment.offset, hasMore: fragment.hasMore },
    notes: [
      ...(icmp ? [nameOf(version, icmp)] : []),
      ...(icmp?.quoted && packet.source !== icmp.quoted.target ? [`says ${packet.source}`] : []),
      ...(protocol === 2 ? membership(payload) : []),
      ...(isCut ? ["cut short"] : []),
    ],
    isLost: false,
  };
}

function nameOf(version: 4 | 6, { type, code, info, quoted }: Icmp): string {
  const numbers = `id ${info >>> 16}  seq ${info & 0xffff}`;
  if (type === 8 || type === 128) return `echo request  ${numbers}`;
  if (ECHO_REPLIES.includes(type)) return `echo reply  ${numbers}`;
  if (quoted) return whyNot(version, type, code, version === 4 ? info & 0xffff : info);
  return NEIGHBOURS[type] ?? `type ${type} code ${code}`;
}

/** Which groups a machine joins and leaves: IGMP version 3 (RFC 9776, section 4.2), or 2 (RFC 2236). */
function membership(message: Buffer): string[] {
  const group = (at: number) => message.subarray(at, at + 4).join(".");
  if (message.length < 8) return [];
  if (message[0] === 0x16) return [`join ${group(4)}`];
  if (message[0] === 0x17) return [`leave ${group(4)}`];
  if (message[0] !== 0x22 || message.length < 16) return [];
  return [`${message[8] === 3 ? "leave" : "join"} ${group(12)}`]; // the first of perhaps many: 3 is "no source at all"
}

/** What machines of one IPv6 network say to each other (RFC 4861, RFC 9777). */
const NEIGHBOURS: Record<number, string> = {
  133: "router solicitation",
  134: "router advertisement",
  135: "neighbor solicitation",
  136: "neighbor advertisement",
  143: "multicast listener report",
};

/** a - b for numbers that begin again at 2 ** 32. */
const minus = (a: number, b: number) => (a - b) | 0;

/** Follows a connection: completes the arrow, and finds out what the segment says about those before it. */
function follow(conversation: Conversation, { seq, ack, flags, window, received }: Tcp, arrow: Arrow): Held {
  const [own, other] = arrow.isToRight ? conversation.ends : conversation.ends.toReversed();
  // Where the beginning of a connection was not seen, its first byte is number 1, as for Wireshark.
  own.base ??= flags & SYN ? seq : seq - 1;
  if (flags & ACK) other.base ??= ack - 1;
  arrow.seq = (seq - own.base) >>> 0;
  if (flags & ACK) arrow.ack = (ack - (other.base as number)) >>> 0;

  conversation.phase = flags & RST
    ? "reset"
    : flags & SYN
    ? "connection"
    : flags & FIN
    ? "close"
    : arrow.length > 0
    ? "data"
    : conversation.phase;
  arrow.phase = conversation.phase;

  if (flags & ACK) {
    if (other.acknowledged === undefined || minus(ack, other.acknowledged) > 0) other.acknowledged = ack;
    const hasArrived = ({ seq, end }: Held) =>
      minus(ack, end) >= 0 || received.some(([from, to]) => minus(seq, from) >= 0 && minus(to, end) >= 0);
    if (other.waiting.some(hasArrived)) settle(other, hasArrived);
  }
  const size = arrow.length + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0); // SYN and FIN count as a byte each
  const end = (seq + size) >>> 0;
  const before = own.next === undefined ? 0 : minus(seq, own.next);
  const isIdle = size === 0 || own.waiting.length === 0; // else it is a byte that was lost
  if (before === -1 && size === arrow.length && size <= 1 && isIdle && !(flags & RST)) {
    arrow.notes.push("probe");
  } else if (before < 0 && size > 0) {
    arrow.notes.push(AGAIN);
    const isSame = (held: Held) => minus(held.seq, seq) >= 0 && minus(held.seq, end) < 0;
    for (const { arrow } of own.waiting.filter(isSame)) arrow.isLost = true;
    settle(own, isSame);
  } else if (before > 0 && !(flags & RST)) arrow.notes.push("after a gap");
  if (own.next === undefined || minus(end, own.next) > 0) own.next = end;
  if (window === 0 && !(flags & (RST | SYN))) arrow.notes.push("window 0");

  if (flags & RST) { for (const end of [own, other]) settle(end, () => true); }
  const isAcknowledged = own.acknowledged !== undefined && minus(own.acknowledged, end) >= 0;
  const held = { arrow, sent: own, seq, end, isWaiting: size > 0 && !(flags & RST) && !isAcknowledged };
  if (held.isWaiting) own.waiting.push(held);
  return held;
}

/** The fate of these is known: they need not wait any longer. */
function settle(sent: Sent, isSettled: (held: Held) => boolean): void {
  for (const held of sent.waiting.filter(isSettled)) held.isWaiting = false;
  sent.waiting = sent.waiting.filter(({ isWaiting }) => isWaiting);
}
