/**
 * The direct way of lesson 4.4: two clients behind NATs talk to each other, without the server.
 *
 * A NAT lets a datagram in only from where one has gone out to before. So both send to each other at about the
 * same time: the first letters may be thrown away at the other NAT, but each opens its own NAT for the
 * answers. That is hole punching (RFC 5128, section 3.3); in the words of ICE (RFC 8445) the endpoint that the
 * server saw is the server-reflexive candidate, that of the own card the host candidate, one that shows only
 * when a probe comes from it the peer-reflexive one, a probe with its answer a connectivity check, and a probe
 * that goes back at once to where one came from a triggered check.
 * A NAT that takes another port for each destination (endpoint-dependent mapping, RFC 4787, section 4.1;
 * "symmetric") defeats it: the port that the server saw leads nowhere for the other. Then the relay carries on.
 *
 *      0      1      2      3      4      5      6                  10                 14
 *     +------+------+------+------+------+------+------+- - -+------+------+- - -+------+-------- - -+-----------+
 *     | "S"    "b"    "E"    0x01 | type | side | way: 4 bytes      | number: 4 bytes   | payload    | proof: 16 |
 *     +------+------+------+------+------+------+------+- - -+------+------+- - -+------+-------- - -+-----------+
 *
 *     type       payload
 *     3 PROBE    4 bytes 0            asks for an ANSWER, and keeps the NATs open
 *     4 ANSWER   number of the PROBE  it has come, and so will this one: there is a way
 *     5 MESSAGE  id, text             text in the encoding of the lesson, at most 1,024 bytes
 *     6 ACK      id                   the client has it
 *     7 BYE      1 byte               0: I am leaving; 1: I see no way
 *
 * way and key come from the server for each pair; side is 0 for one, 1 for the other. number grows with each
 * datagram of a side: one that is not above the last came late or was repeated by a third, and is thrown away.
 * proof is the start of the HMAC-SHA-256 of all that is before it, with the key (RFC 2104): nobody else can
 * write such a datagram. Anybody on the path can read it: nothing is encrypted. One MESSAGE is under way at a
 * time; it is repeated, each time after twice as long, and after 4 s without an ACK there is no way any more.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Endpoint, LONGEST_TEXT, MAGIC } from "./protocol.ts";

const TYPES = { 3: "PROBE", 4: "ANSWER", 5: "MESSAGE", 6: "ACK", 7: "BYE" } as const;
const HEADER = 14;
const PROOF = 16;

export type Packet = {
  type: (typeof TYPES)[keyof typeof TYPES];
  side: 0 | 1;
  way: number;
  number: number;
  payload: Buffer;
};

export function encodePacket({ type, side, way, number, payload }: Packet, key: Buffer): Buffer {
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header);
  header[4] = Number(Object.entries(TYPES).find(([, name]) => name === type)?.[0]);
  header[5] = side;
  header.writeUInt32BE(way, 6);
  header.writeUInt32BE(number, 10);
  const packet = Buffer.concat([header, payload]);
  return Buffer.concat([packet, prove(packet, key)]);
}

/** Reads a packet; a datagram that is none, or whose proof is wrong, gives undefined. */
export function decodePacket(datagram: Buffer, key: Buffer): Packet | undefined {
  const type = TYPES[datagram[4] as keyof typeof TYPES];
  if (wayOf(datagram) === undefined || type === undefined) return undefined;
  const end = datagram.length - PROOF;
  if (!timingSafeEqual(prove(datagram.subarray(0, end), key), datagram.subarray(end))) return undefined;
  const payload = datagram.subarray(HEADER, end);
  const [least, most] = type === "MESSAGE" ? [4, 4 + LONGEST_TEXT] : type === "BYE" ? [1, 1] : [4, 4];
  if (payload.length < least || payload.length > most) return undefined;
  const side = datagram[5] === 0 ? 0 : 1;
  return { type, side, way: datagram.readUInt32BE(6), number: datagram.readUInt32BE(10), payload };
}

/** To which way a datagram belongs, if it belongs to any. */
export function wayOf(datagram: Buffer): number | undefined {
  const isOurs = datagram.length >= HEADER + PROOF && datagram.subarray(0, 4).equals(MAGIC);
  return isOurs ? datagram.readUInt32BE(6) : undefined;
}

function prove(bytes: Buffer, key: Buffer): Buffer {
  return createHmac("sha256", key).update(bytes).digest().subarray(0, PROOF);
}

/** In milliseconds. */
const TICK = 50;
const PROBE_EVERY = 200;
const PATIENCE = 3000;
const FIRST_WAIT = 270;
const TRIES = 4; // 270 + 540 + 1,080 + 2,160 ms: about 4 s
const KEEP_ALIVE = 15_000;
const SILENCE = 40_000;

/** How many endpoints of the other are tried; how many ways a client has. */
const MOST_ENDPOINTS = 8;
const MOST_WAYS = 100;

/** What the two are told by the server. */
export type Introduction = { instance: string; way: number; side: 0 | 1; key: Buffer; endpoints: Endpoint[] };

/** What a way needs from its client. */
type Events = {
  send(datagram: Buffer, to: Endpoint): Promise<void>;
  opened(to: Endpoint): void;
  /** Shows a message; the ACK goes when that is done. */
  message(instance: string, id: number, bytes: Buffer): Promise<void>;
  acknowledged(id: number): void;
  /** There is no way, or no more: with a goodbye, or without. */
  ended(hasLeft: boolean): void;
};

/** What the ways of a client, one for each name, need from it. */
export type Owner = {
  [E in keyof Events]: E extends "send" ? Events[E]
    : (name: string, ...values: Parameters<Events[E]>) => ReturnType<Events[E]>;
};

/** The direct ways of a client. */
export class Ways {
  readonly #ways = new Map<string, { way: number; direct: Direct }>();
  readonly #owner: Owner;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Looks for a way to somebody, in place of the one that there may be. */
  async look(name: string, introduction: Introduction): Promise<void> {
    const owner = this.#owner;
    const before = this.#ways.get(name);
    if (before) {
      this.#ways.delete(name);
      owner.ended(name, true);
      await before.direct.close();
    } else if (this.#ways.size >= MOST_WAYS) return;
    const direct = new Direct(introduction, {
      send: owner.send,
      opened: (to) => owner.opened(name, to),
      message: (instance, id, bytes) => owner.message(name, instance, id, bytes),
      acknowledged: (id) => owner.acknowledged(name, id),
      ended: (hasLeft) => {
        if (this.#ways.get(name)?.direct !== direct) return;
        this.#ways.delete(name);
        owner.ended(name, hasLeft);
      },
    });
    this.#ways.set(name, { way: introduction.way, direct });
  }

  /** The way to somebody, if it is open. */
  to(name: string): Direct | undefined {
    const direct = this.#ways.get(name)?.direct;
    return direct?.isOpen ? direct : undefined;
  }

  /** Takes a datagram from the network, whatever it is. */
  async receive(datagram: Buffer, from: Endpoint): Promise<void> {
    const found = this.#ways.values().find(({ way }) => way === wayOf(datagram));
    await found?.direct.receive(datagram, from);
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#ways.values(), ({ direct }) => direct.close()));
  }
}

/** One end of a direct way. It opens no socket: its client sends and receives for it. */
export class Direct {
  readonly #introduction: Introduction;
  readonly #events: Events;
  readonly #timer: NodeJS.Timeout;
  readonly #begin = performance.now();
  readonly #queue: { id: number; bytes: Uint8Array }[] = [];
  #endpoints: Endpoint[];
  /** Where the other is, once it has answered from there. */
  #other: Endpoint | undefined;
  #sent = 0;
  #received = 0;
  #heard = 0;
  #probed = -Infinity;
  #tries = 0;
  #due = 0;

  constructor(introduction: Introduction, events: Events) {
    this.#introduction = introduction;
    this.#events = events;
    this.#endpoints = introduction.endpoints.slice(0, MOST_ENDPOINTS);
    this.#timer = setInterval(() => this.#tick(performance.now()), TICK);
    this.#tick(this.#begin);
  }

  get isOpen(): boolean {
    return this.#other !== undefined;
  }

  /** Sends a message as soon as those before it have come. */
  send(id: number, bytes: Uint8Array): void {
    this.#queue.push({ id, bytes });
    if (this.#queue.length === 1) this.#first();
  }

  /** Takes a datagram of this way. A wrong one, or an old one, changes nothing. */
  async receive(datagram: Buffer, from: Endpoint): Promise<void> {
    const packet = decodePacket(datagram, this.#introduction.key);
    if (!packet || packet.side === this.#introduction.side || packet.number <= this.#received) return;
    this.#received = packet.number;
    this.#heard = performance.now();
    if (packet.type === "PROBE") this.#answer(packet, from);
    // What answers us has got our letters. So has who writes to us: that one has had an answer.
    if ((packet.type === "ANSWER" || packet.type === "MESSAGE") && !this.#other) {
      this.#other = from;
      this.#events.opened(from);
    }
    if (packet.type === "MESSAGE") {
      const id = packet.payload.readUInt32BE();
      await this.#events.message(this.#introduction.instance, id, packet.payload.subarray(4));
      this.#post("ACK", number(id), from);
    }
    if (packet.type === "ACK" && this.#queue[0]?.id === packet.payload.readUInt32BE()) {
      const { id } = this.#queue.shift() as { id: number };
      this.#events.acknowledged(id);
      if (this.#queue.length > 0) this.#first();
    }
    if (packet.type === "BYE") this.#end(packet.payload[0] === 0);
  }

  /** Leaves, and says so. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#bye(0);
  }

  /** A probe has come, so a letter to where it came from gets through: one of ours goes there at once. */
  #answer({ number: asked }: Packet, from: Endpoint): void {
    this.#post("ANSWER", number(asked), from);
    if (this.#other) return;
    const isKnown = this.#endpoints.some(({ address, port }) =>
      address === from.address && port === from.port
    );
    if (!isKnown && this.#endpoints.length < MOST_ENDPOINTS) this.#endpoints.push(from);
    this.#post("PROBE", number(0), from);
  }

  #tick(now: number): void {
    if (!this.#other && now - this.#begin > PATIENCE) return this.#giveUp();
    if (this.#other && now - this.#heard > SILENCE) return this.#giveUp();
    if (now - this.#probed >= (this.#other ? KEEP_ALIVE : PROBE_EVERY)) {
      this.#probed = now;
      for (const to of this.#other ? [this.#other] : this.#endpoints) this.#post("PROBE", number(0), to);
    }
    if (this.#queue.length === 0 || now < this.#due) return;
    if (this.#tries === TRIES) return this.#giveUp();
    this.#message();
  }

  /** Sends the message that is next, for the first time. */
  #first(): void {
    this.#tries = 0;
    this.#message();
  }

  #message(): void {
    const { id, bytes } = this.#queue[0];
    this.#due = performance.now() + FIRST_WAIT * 2 ** this.#tries++;
    if (this.#other) this.#post("MESSAGE", Buffer.concat([number(id), bytes]), this.#other);
  }

  #giveUp(): void {
    this.#bye(1);
    this.#end(false);
  }

  #end(hasLeft: boolean): void {
    clearInterval(this.#timer);
    this.#other = undefined;
    this.#events.ended(hasLeft);
  }

  async #bye(why: 0 | 1): Promise<void> {
    const ends = this.#other ? [this.#other] : this.#endpoints;
    await Promise.all(ends.map((to) => this.#post("BYE", Buffer.of(why), to)));
  }

  #post(type: Packet["type"], payload: Buffer, to: Endpoint): Promise<void> {
    const { way, side, key } = this.#introduction;
    return this.#events.send(encodePacket({ type, side, way, number: ++this.#sent, payload }, key), to);
  }
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
