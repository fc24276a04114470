/** How fast a scan may go, and how long it waits for an answer. */

/** The pace at the start and the slowest one, in connections a second. */
const FIRST = 200;
const SLOWEST = 10;

/** Beyond this pace nothing needs to be counted: the number of connections at once is the only limit. */
const UNLIMITED = 20_000;

/** The shortest patience, in milliseconds, as in nmap. */
const SHORTEST = 100;

/**
 * The pace follows the answers, as TCP's congestion control does (RFC 5681): it grows quickly until the first answer
 * gets lost, is halved then, and grows slowly from there on. The patience follows the round trip as TCP's
 * retransmission timeout does (RFC 6298).
 */
export class Pace {
  readonly #longest: number;
  #rate = FIRST;
  #budget = 1;
  #paid = 0;
  #roundTrip: number | undefined;
  #deviation = 0;
  #slowed = -Infinity;
  #fast = FIRST;

  /** @param longest the longest patience, in milliseconds */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** How long to wait for an answer, in milliseconds: while there has been none, as long as may be. */
  get patience(): number {
    if (this.#roundTrip === undefined) return this.#longest;
    return Math.min(this.#longest, Math.max(SHORTEST, this.#roundTrip + 4 * this.#deviation));
  }

  /** How many connections are judged together: those of about 50 ms. */
  get batch(): number {
    return Math.round(Math.min(50, Math.max(10, this.#rate / 20)));
  }

  /** Whether the next connection may be made now. @param clock in milliseconds */
  mayGo(clock: number): boolean {
    if (this.#rate >= UNLIMITED) return true;
    const most = Math.max(1, this.#rate / 100); // what is due in 10 ms goes off at once
    this.#budget = Math.min(most, this.#budget + (clock - this.#paid) * this.#rate / 1000);
    this.#paid = clock;
    if (this.#budget < 1) return false;
    this.#budget -= 1;
    return true;
  }

  /**
   * An answer has come.
   * @param roundTrip in milliseconds
   * @param count how many connections it speaks for
   */
  answered(roundTrip: number, count = 1): void {
    const last = this.#roundTrip ?? roundTrip;
    this.#deviation = this.#roundTrip === undefined
      ? roundTrip / 2
      : 0.75 * this.#deviation + 0.25 * Math.abs(last - roundTrip);
    this.#roundTrip = 0.875 * last + 0.125 * roundTrip;
    if (this.#rate >= UNLIMITED) return;
    this.#rate = this.#slowed === -Infinity ? this.#rate * 1.1 ** count : this.#rate + count / 5;
    if (this.#slowed === -Infinity) this.#budget += count; // who answers at once is asked at once
  }

  /**
   * An answer has got lost.
   * @param begun when its connection was made: one that was made before the last slow-down says nothing new
   */
  lost(begun: number, clock: number): "slower" | "slowest" | "old news" {
    if (begun < this.#slowed) return "old news";
    if (this.#rate === SLOWEST) return "slowest";
    if (this.#slowed === -Infinity) this.#fast = this.#rate;
    this.#rate = Math.max(SLOWEST, Math.min(this.#rate, UNLIMITED) / 2);
    this.#slowed = clock;
    return "slower";
  }

  /** Forgets that anything got lost. */
  reset(): void {
    this.#rate = this.#fast;
    this.#slowed = -Infinity;
  }
}
