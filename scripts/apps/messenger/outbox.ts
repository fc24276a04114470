/**
 * The outbox of a client of lesson 4.4: what it has sent, until that is acknowledged. A message that the other's
 * client has not confirmed may be lost wherever it was: in the server, in a NAT, in the other's machine. Who
 * still has it can send it again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";
import { Bucket, BURST, RATE } from "./protocol.ts";

/** How many messages are kept while somebody does not confirm them. */
const MOST = 500;

/**
 * How many may be under way to the server, and how many more may go at once. The sum is below BURST: whatever
 * a network that stood still lets through together is not too fast.
 */
const MOST_SENT = BURST * 0.4;

/** How long a confirmation of somebody on line is waited for, in milliseconds. */
export const PATIENCE = 10_000;

/** How far a message is: it waits, it has gone to the server, the server has taken it, it goes the direct way. */
type State = "waits" | "sent" | "taken" | "direct";

export type Kept = {
  readonly id: number;
  readonly to: string | null;
  readonly text: string;
  readonly bytes: Buffer;
  /** Who has not confirmed it yet. */
  missing: Set<string>;
  state: State;
  since: number;
  /** Whether it has been handed in before; whether it was said that its receiver is away. */
  isAgain: boolean;
  isTold: boolean;
};

/** How messages can go now. */
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

  /** The server has taken a message; one to all is for these. @returns the message */
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

  /** Some messages have to go once more: the connection broke that they went by. */
  again(isMeant: (message: Kept) => boolean): void {
    for (const message of this.#kept.values()) {
      if (message.state === "waits" || !isMeant(message)) continue;
      message.state = "waits";
      message.isAgain = true;
    }
    this.pump();
  }

  /** Waits until fewer than `count` messages may be acknowledged any moment, but not for ever. */
  async below(count: number, online: Set<string>, stop: AbortSignal, limit = Infinity): Promise<void> {
    const isAwaited = ({ state, since, missing }: Kept) => {
      if (state === "waits" || state === "direct") return true;
      return performance.now() - since < PATIENCE && (state === "sent" || !missing.isDisjointFrom(online));
    };
    const end = performance.now() + limit;
    while (!stop.aborted && performance.now() < end) {
      if (this.#kept.values().filter(isAwaited).toArray().length < count) return;
      await sleep(20);
    }
  }

  /** How many messages each one has not confirmed; those that the server has not taken count for it. */
  unconfirmed(server: string): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { state, missing } of this.#kept.values()) {
      for (const one of state === "taken" ? missing : [server]) counts.set(one, (counts.get(one) ?? 0) + 1);
    }
    return counts;
  }
}
