/**
 * The direct way of lesson 4.4: two clients behind NATs talk to each other, without the server.
 *
 * Many NATs let a datagram in only from an address, or an endpoint, to which one has gone out before (RFC 4787,
 * section 5). So both clients send to each other at about the same time: the other NAT may drop the first datagrams,
 * but each opens its own NAT for the answers. This is hole punching (RFC 5128, section 3.3). In the words of ICE
 * (RFC 8445), the endpoint that the server saw is the server-reflexive candidate, the one of the client's own card the
 * host candidate, and one that shows only when a PROBE comes from it the peer-reflexive candidate; a PROBE with its
 * ANSWER is a connectivity check, and a PROBE that goes back at once a triggered check.
 * A NAT that takes another port for each destination (endpoint-dependent mapping, RFC 4787, section 4.1;
 * "symmetric") defeats it, unless the other NAT lets in all ports of an address: the port that the server saw leads
 * nowhere for the other client. Then the relay carries on.
 *
 * No peer can aim a client at a third machine. Until an ANSWER comes, a client sends 4 datagrams to each endpoint
 * that it was told, and one or two for each PROBE. A way leads to the endpoint to which the answered PROBE was
 * sent, whatever sender the ANSWER bears. One MESSAGE is under way at a time; it is repeated, each time after twice
 * as long, and after 4 s without an ACK the way is given up.
 */
import { decodeDirect, type DirectDatagram, encodeDirect, uint32, wayOf } from "./direct-datagram.ts";
import { KEEP_ALIVE } from "./protocol.ts";
import type { UdpEndpoint } from "./registration.ts";

/** In milliseconds. */
const TICK = 50;
const PATIENCE = 3000;
const FIRST_WAIT = 270;
const TRIES = 4; // 270 + 540 + 1,080 + 2,160 ms: about 4 s
const SILENCE = 40_000;

/** When an endpoint that has not answered yet is probed, in milliseconds; and how many PROBEs another PROBE triggers. */
const PROBE_AT = [0, 200, 600, 1400];
const MOST_TRIGGERED = 4;

/** How many endpoints of the other client are tried; how many ways a client has. */
const MOST_ENDPOINTS = 2;
const MOST_WAYS = 100;

/** What the server tells each of the two. */
export type Introduction = {
  instance: string;
  way: number;
  side: 0 | 1;
  key: Buffer;
  endpoints: UdpEndpoint[];
};

/** What a way needs from its client. */
type Events = {
  send(datagram: Buffer, to: UdpEndpoint): Promise<void>;
  opened(to: UdpEndpoint): void;
  /** Shows a message; the ACK goes when that is done. */
  message(instance: string, id: number, bytes: Buffer): Promise<void>;
  acknowledged(id: number): void;
  /** There is no way, or no more. @param hasLeft whether the other client has said goodbye */
  ended(hasLeft: boolean): void;
};

/** What the ways of a client, one for each name, need from it. */
export type Owner = {
  [E in keyof Events]: E extends "send" ? Events[E]
    : (name: string, ...values: Parameters<Events[E]>) => ReturnType<Events[E]>;
};

/** The direct ways of a client. */
export class DirectWays {
  readonly #ways = new Map<string, { way: number; direct: DirectWay }>();
  readonly #owner: Owner;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Looks for a way to somebody. It replaces an earlier one. */
  async look(name: string, introduction: Introduction): Promise<void> {
    const owner = this.#owner;
    const before = this.#ways.get(name);
    if (before) {
      this.#ways.delete(name);
      owner.ended(name, true);
      await before.direct.close();
    } else if (this.#ways.size >= MOST_WAYS) return;
    const direct = new DirectWay(introduction, {
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
  to(name: string): DirectWay | undefined {
    const direct = this.#ways.get(name)?.direct;
    return direct?.isOpen ? direct : undefined;
  }

  /** Takes any datagram from the network. */
  async receive(datagram: Buffer, from: UdpEndpoint): Promise<void> {
    const found = this.#ways.values().find(({ way }) => way === wayOf(datagram));
    await found?.direct.receive(datagram, from);
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#ways.values(), ({ direct }) => direct.close()));
  }
}

/** One end of a direct way. It opens no socket: its client sends and receives for it. */
export class DirectWay {
  readonly #introduction: Introduction;
  readonly #events: Events;
  readonly #timer: NodeJS.Timeout;
  readonly #begin = performance.now();
  readonly #queue: { id: number; bytes: Uint8Array }[] = [];
  /** Where each PROBE went, by its number, until the way is open. */
  readonly #probes = new Map<number, UdpEndpoint>();
  readonly #endpoints: UdpEndpoint[];
  /** Where the other client is, once it has answered a PROBE that was sent there. */
  #other: UdpEndpoint | undefined;
  #sent = 0;
  #received = 0;
  #heard = 0;
  #rounds = 0;
  #probed = 0;
  #triggered = 0;
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

  /** Sends a message as soon as the earlier ones have arrived. */
  send(id: number, bytes: Uint8Array): void {
    this.#queue.push({ id, bytes });
    if (this.#queue.length === 1) this.#sendFirst();
  }

  /** Takes a datagram of this way. A wrong one, or an old one, changes nothing. */
  async receive(bytes: Buffer, from: UdpEndpoint): Promise<void> {
    const datagram = decodeDirect(bytes, this.#introduction.key);
    const { side, instance } = this.#introduction;
    if (!datagram || datagram.side === side || datagram.number <= this.#received) return;
    this.#received = datagram.number;
    this.#heard = performance.now();
    const { type, number, payload } = datagram;
    if (type === "PROBE") this.#post("ANSWER", uint32(number), from);
    if (type === "ANSWER") this.#open(payload.readUInt32BE());
    // Before the way is open here, a message is left out: the ACK would say that it is, and it is sent again.
    if (type === "MESSAGE" && this.#other) {
      const id = payload.readUInt32BE();
      await this.#events.message(instance, id, payload.subarray(4));
      this.#post("ACK", uint32(id), from);
    }
    // Its datagrams get through from there, so ours may get through to there.
    if ((type === "PROBE" || type === "MESSAGE") && !this.#other && this.#triggered++ < MOST_TRIGGERED) {
      this.#probe(from);
    }
    if (type === "ACK" && this.#queue[0]?.id === payload.readUInt32BE()) {
      const { id } = this.#queue.shift() as { id: number };
      this.#events.acknowledged(id);
      if (this.#queue.length > 0) this.#sendFirst();
    }
    if (type === "BYE") this.#end(payload[0] === 0);
  }

  /** Leaves, and says so. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#bye(0);
  }

  #open(number: number): void {
    const to = this.#probes.get(number);
    if (!to || this.#other) return;
    this.#other = to;
    this.#probes.clear();
    this.#events.opened(to);
  }

  #tick(now: number): void {
    if (!this.#other && now - this.#begin > PATIENCE) return this.#giveUp();
    if (this.#other && now - this.#heard > SILENCE) return this.#giveUp();
    if (this.#other && now - this.#probed >= KEEP_ALIVE) this.#probe(this.#other);
    if (!this.#other && now - this.#begin >= PROBE_AT[this.#rounds]) {
      this.#rounds++;
      for (const to of this.#endpoints) this.#probe(to);
    }
    if (this.#queue.length === 0 || now < this.#due) return;
    if (this.#tries === TRIES) return this.#giveUp();
    this.#sendMessage();
  }

  #probe(to: UdpEndpoint): void {
    this.#probed = performance.now();
    if (!this.#other) this.#probes.set(this.#sent + 1, to);
    this.#post("PROBE", uint32(0), to);
  }

  /** Sends the next message for the first time. */
  #sendFirst(): void {
    this.#tries = 0;
    this.#sendMessage();
  }

  #sendMessage(): void {
    const { id, bytes } = this.#queue[0];
    this.#due = performance.now() + FIRST_WAIT * 2 ** this.#tries++;
    if (this.#other) this.#post("MESSAGE", Buffer.concat([uint32(id), bytes]), this.#other);
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

  /** Says goodbye to a client that has been heard: a machine that is silent may have nothing to do with us. */
  async #bye(why: 0 | 1): Promise<void> {
    const ends = this.#other ? [this.#other] : this.#heard > 0 ? this.#endpoints : [];
    await Promise.all(ends.map((to) => this.#post("BYE", Buffer.of(why), to)));
  }

  #post(type: DirectDatagram["type"], payload: Buffer, to: UdpEndpoint): Promise<void> {
    const { way, side, key } = this.#introduction;
    return this.#events.send(encodeDirect({ type, side, way, number: ++this.#sent, payload }, key), to);
  }
}
