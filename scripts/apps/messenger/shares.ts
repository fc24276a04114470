/** Shares of lesson 4.4: where there is not enough for all, the address or sender with the most gives up something. */
import { networksOf } from "../source-of.ts";
import { Bucket, dropOldest } from "./limits.ts";

/** The largest group of things from the same source, in their order. */
export function largestShare<T>(things: Iterable<T>, from: (thing: T) => string): T[] {
  const shares = Map.groupBy(things, from).values();
  return shares.reduce((largest, share) => share.length > largest.length ? share : largest, []);
}

/** A rate for each address, and memory for so many of them only. */
export class Rates {
  readonly #burst: number;
  readonly #rate: number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param burst how often at once; @param rate how often each second */
  constructor(burst: number, rate: number) {
    this.#burst = burst;
    this.#rate = rate;
  }

  /** @returns whether an address may do it once more, or so often */
  take(address: string, count = 1): boolean {
    const bucket = this.#buckets.get(address) ?? new Bucket(this.#burst, this.#rate);
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket); // now the youngest
    dropOldest(this.#buckets, MOST_ADDRESSES);
    return bucket.take(count);
  }
}

const MOST_ADDRESSES = 1000;

/** How many callers from one address are let in at once, and then each second. */
const BURST = 100;
const RATE = 5;

/** The places of a server: who calls from where. A caller is anything that can be disconnected. */
export class Places<Caller> {
  readonly #most: number;
  readonly #disconnect: (caller: Caller) => void;
  /** Each with its source and the networks that hold it. */
  readonly #callers = new Map<Caller, string[]>();
  readonly #rates = new Rates(BURST, RATE);

  constructor(most: number, disconnect: (caller: Caller) => void) {
    this.#most = most;
    this.#disconnect = disconnect;
  }

  /**
   * Finds a place for a caller. When all are taken, the newest caller of the address with the most places makes
   * room for an address that has at least two fewer. Where no address has, IPv6 networks are compared in the same way.
   * @returns whether there is one
   */
  take(caller: Caller, address: string): boolean {
    if (!this.#rates.take(address)) return false;
    const networks = networksOf(address);
    if (
      this.#callers.size >= this.#most && !networks.some((network, width) => this.#makeRoom(network, width))
    ) {
      return false;
    }
    this.#callers.set(caller, networks);
    return true;
  }

  #makeRoom(network: string, width: number): boolean {
    const largest = largestShare(this.#callers, ([, networks]) => networks[width]);
    const mine = this.#callers.values().filter((networks) => networks[width] === network).toArray();
    if (mine.length + 2 > largest.length) return false;
    const [newest] = largest[largest.length - 1];
    this.#callers.delete(newest);
    this.#disconnect(newest);
    return true;
  }

  leave(caller: Caller): void {
    this.#callers.delete(caller);
  }
}
