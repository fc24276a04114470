/**
 * The memory in which a server reads files, shared out: a caller who does not read what it has asked for keeps the bytes
 * that are on their way to it. Many of them at once get little each.
 */

/** How much there is for all, in bytes. Where it is used up, each further caller gets pieces of LEAST all the same. */
const ALL = 67_108_864;
const LEAST = 4096;

/** The longest piece is this part of what is left: so there is always something left for the next caller. */
const PART = 1 / 256;

/**
 * How many pieces of a caller are in memory at once: one is on its way, and one is being read. The first and the last
 * one are copied, too, to leave in one write with a message.
 */
const PIECES = 3;

export class Memory {
  #left = ALL;

  /**
   * Takes memory for one file, until it is disposed of.
   * @param longest how long the pieces need to be at most, in bytes
   * @returns how long they are
   */
  take(longest: number): Disposable & { readonly length: number } {
    const length = Math.min(longest, Math.max(LEAST, Math.trunc(this.#left * PART)));
    this.#left -= PIECES * length;
    return { length, [Symbol.dispose]: () => void (this.#left += PIECES * length) };
  }
}
