/**
 * The outbox of a client of lesson 4.4: the messages it has sent, until they are acknowledged. A message that the
 * receiving client has not confirmed may be lost anywhere: in the server, in a NAT, in the other machine. As long as
 * the sender keeps it, it can be sent once more.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";
import { Bucket } from "./limits.ts";
import { BURST, RATE } from "./protocol.ts";

/** How many messages are kept while somebody does not confirm them. */
const MOST = 500;

/**
 * How many may be under way to the server, and how many more may go at once. The sum is below BURST: even a backlog
 * that is released at once stays below the server's limit.
 */
const MOST_SENT = BURST * 0.4;

/** How long to wait for a confirmation of somebody who is on line, in milliseconds. */
export const PATIENCE = 10_000;

/** A message waits, has been sent to the server, has been taken by it, or goes the direct way. */
type State = "waits" | "sent" | "taken" | "direct";

export type Kept = {
  readonly id: number;
  readonly to: string | null;
  readonly text: string;
  readonly bytes: Buffer;
  /** Those who have not confirmed it yet. */
  missing: Set<string>;
  state: State;
  since: number;
  /** Whether it has been sent before; whether the user knows that its receiver is away. */
  isAgain: boolean;
  isTold: boolean;
};

/** The ways that messages can take now. */
export type Routes = {
  /** The direct way to somebody. */
  direct(to: string): { send(id: number, bytes: Uint8Array): void } | undefined;
  canRelay(): boolean;
  relay(message: Kept): void;
};

export class Outbox {
  readonly #routes: Routes;
  readonly #kept = new Map<number, Kept>();
  readonly #pace = new Bucket(MOST_SENT, RATE * 0.8); // below what the server allows
  #lastId = 0;
  #isPumping = false;

  constructor(routes: Routes) {
    this.#routes = routes;
  }

  /**
   * Takes a message for some receivers.
   * @throws Failure ENOBUFS that names the oldest one, when it has to go for this one
   */
  add(to: string | null, text: string, bytes: Buffer, receivers: Iterable<string>): void {
    const id = ++this.#lastId;
    const fresh = { missing: new Set(receivers), isAgain: false, isTold: false, since: 0 };
    this.#kept.set(id, { id, to, text, bytes, state: "waits", ...fresh });
    this.pump();
    const [oldest] = this.#kept.values();
    if (this.#kept.size <= MOST) return;
    this.#kept.delete(oldest.id);
    throw new Failure(oldest.text, "not acknowledged, and too old to be kept", "ENOBUFS");
  }

  /** Sends what waits, in order, by the direct way where there is one. */
  async pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (true) {
      const canGo = (one: Kept) => one.state === "waits" && (this.#routes.canRelay() || this.#direct(one));
      const next = this.#kept.values().find(canGo);
      if (!next) break;
      const direct = this.#direct(next);
      if (!direct) await this.turn();
      if (next.state !== "waits" || !(direct || this.#routes.canRelay())) continue; // it has taken time
      Object.assign(next, { state: direct ? "direct" : "sent", since: performance.now() });
      if (direct) direct.send(next.id, next.bytes);
      else this.#routes.relay(next);
    }
    this.#isPumping = false;
  }

  /** Waits until the server allows one more message. */
  async turn(): Promise<void> {
    const isSent = ({ state }: Kept) => state === "sent";
    const isFull = () => this.#kept.values().filter(isSent).toArray().length >= MOST_SENT;
    while (isFull() || !this.#pace.take()) await sleep(20);
  }

  /** The direct way of a message; none while earlier ones for the same receiver are on the relay. */
  #direct({ to }: Kept): ReturnType<Routes["direct"]> {
    const isRelayed = ({ to: other, state }: Kept) => other === to && (state === "sent" || state === "taken");
    return to === null || this.#kept.values().some(isRelayed) ? undefined : this.#routes.direct(to);
  }

  /** The server has taken a message. A message to all goes to `here`. @returns the message */
  taken(id: number, here: string[]): Kept | undefined {
    const message = this.#kept.get(id);
    if (message?.state !== "sent") return undefined;
    message.state = "taken";
    if (message.to === null) message.missing = new Set(here);
    if (message.missing.size === 0) this.#kept.delete(id);
    return message;
  }

  /** Somebody has confirmed a message. When all have, it is acknowledged. */
  confirmed(id: number, by: string): void {
    const message = this.#kept.get(id);
    message?.missing.delete(by);
    if (message?.missing.size === 0) this.#kept.delete(id);
  }

  drop(id: number): void {
    this.#kept.delete(id);
  }

  /** Sends some messages once more: the connection or the direct way broke that they took. */
  again(isMeant: (message: Kept) => boolean): void {
    for (const message of this.#kept.values()) {
      if (message.state === "waits" || !isMeant(message)) continue;
      message.state = "waits";
      message.isAgain = true;
    }
    this.pump();
  }

  /**
   * Waits until fewer than `count` messages may be acknowledged at any moment.
   * @returns false when that has no hope any more
   */
  async below(count: number, online: Set<string>, isHopeless: () => boolean): Promise<boolean> {
    const isAwaited = ({ state, since, missing }: Kept) => {
      if (state === "waits" || state === "direct") return true;
      return performance.now() - since < PATIENCE && (state === "sent" || !missing.isDisjointFrom(online));
    };
    while (this.#kept.values().filter(isAwaited).toArray().length >= count) {
      if (isHopeless()) return false;
      await sleep(20);
    }
    return true;
  }

  /** How many messages each receiver has not confirmed. Those that the server has not taken count for the server. */
  unconfirmed(server: string): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { state, missing } of this.#kept.values()) {
      for (const one of state === "taken" ? missing : [server]) counts.set(one, (counts.get(one) ?? 0) + 1);
    }
    return counts;
  }
}
