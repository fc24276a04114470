/** What bounds the memory and the work that a peer of lesson 4.4 can cost. */
import { PING } from "./protocol.ts";

/** A token bucket (RFC 2697, section 1): it allows a burst, and then a rate. */
export class Bucket {
  readonly #burst: number;
  readonly #rate: number;
  #tokens: number;
  #since = performance.now();

  /** @param burst how many tokens there are at most; @param rate how many come back each second */
  constructor(burst: number, rate: number) {
    this.#burst = this.#tokens = burst;
    this.#rate = rate;
  }

  /** Takes tokens. @returns whether there were enough */
  take(count = 1): boolean {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#since) * this.#rate / 1000);
    this.#since = now;
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }
}

/**
 * The rounds of a timer that runs at every PING. After a standstill of this process (suspended, or busy) the pings of
 * its peers wait unread: in that round nobody's silence may be judged.
 */
export class Rounds {
  #last = performance.now();

  /** Begins a round. @returns whether it comes in time */
  begin(): boolean {
    const gap = performance.now() - this.#last;
    this.#last += gap;
    return gap < 1.5 * PING;
  }
}

/** The messages that a client has shown: the last 1,000 of each of the last 200 senders. */
export class Shown {
  readonly #ids = new Map<string, Set<number>>();

  /** @returns whether the message is new */
  add(instance: string, id: number): boolean {
    const ids = this.#ids.get(instance) ?? new Set();
    this.#ids.delete(instance);
    this.#ids.set(instance, ids); // now the youngest
    if (ids.has(id)) return false;
    ids.add(id);
    dropOldest(ids, 1000);
    dropOldest(this.#ids, 200);
    return true;
  }
}

/** Drops the oldest until no more than `most` are left. Maps and Sets keep the order in which things came. */
export function dropOldest<K>(things: Map<K, unknown> | Set<K>, most: number): void {
  for (const key of things.keys()) {
    if (things.size <= most) return;
    things.delete(key);
  }
}
