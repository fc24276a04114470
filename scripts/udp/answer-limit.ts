/** Lesson 2.2: how many answers one peer gets. */
import { Failure } from "../../lib/failure.ts";
import { report } from "../../lib/program.ts";

/** How many answers a peer may get at once, and how many more each second: a token bucket (RFC 2697, section 3). */
export const BURST = 1000;
const PER_SECOND = 20;

/** How many peers are counted. Forged addresses beyond that make the server forget the one that was silent longest. */
const MOST_PEERS = 1000;

/**
 * Ends the loops of echo servers. The address on a datagram can be forged: when it is another echo server's, the two
 * answer each other for ever. As soon as one of them leaves out one answer, the loop is over.
 */
export class AnswerLimit {
  readonly #peers = new Map<string, { left: number; at: number; isTold: boolean }>();

  /** Whether a peer may get one more answer. When it is refused, that is told once. */
  allows(peer: string, now = performance.now()): boolean {
    const known = this.#peers.get(peer) ?? { left: BURST, at: now, isTold: false };
    const left = Math.min(BURST, known.left + (now - known.at) / 1000 * PER_SECOND);
    const isTold = known.isTold && left < BURST;
    this.#peers.delete(peer); // and set again, so that the first is the one that was silent longest
    this.#peers.set(peer, { left: left < 1 ? left : left - 1, at: now, isTold: isTold || left < 1 });
    if (this.#peers.size > MOST_PEERS) this.#peers.delete(`${this.#peers.keys().next().value}`);
    if (left < 1 && !isTold) report(new Failure(peer, "too many datagrams: some get no answer", "EBUSY"));
    return left >= 1;
  }
}
