/**
 * Comparing costs work: to know whether a caller has the first bytes of a file, the server reads and hashes them, and
 * the question is sixty bytes long. So each source gets one comparison at a time, and then it rests: the longer, the
 * more its question looks like an attack.
 */
import type { Hash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";
import { sourceOf } from "../source-of.ts";
import type { FrameStream } from "./protocol.ts";

/** How long a source rests after a comparison, in units of the time that this took. */
const REST = { same: 3, unfinished: 9, different: 99 };

/** The longest rest, in milliseconds. */
const LONGEST_REST = 120_000;

/** A suspect who has to rest for longer than this is told to come back, instead of being kept waiting. */
const LONGEST_WAIT = 5_000;

/** Of how many sources is remembered when they may go on. */
const MOST_SOURCES = 10_000;

type Source = { turn: Promise<void>; restsUntil: number; isSuspect: boolean };

export class Comparisons {
  readonly #sources = new Map<string, Source>();

  /**
   * Compares, when it is the turn of this caller, who is told meanwhile to wait.
   * @param hash reads and hashes what the server has
   * @param isSame whether the result is what the caller has
   * @param mayDiffer whether an honest caller asks for what may well be different
   * @returns the hash, and whether it is the same
   * @throws Failure EAGAIN for a suspect who must rest for long; what `hash` and the connection throw
   */
  async compare(
    frames: FrameStream,
    hash: () => Promise<Hash>,
    isSame: (digest: string) => boolean,
    mayDiffer = false,
  ): Promise<{ hash: Hash; same: boolean }> {
    const source = this.#sourceOf(frames);
    const before = source.turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    source.turn = before.then(() => promise);
    try {
      await frames.keepWaiting(before);
      const rest = source.restsUntil - performance.now();
      if (source.isSuspect && rest > LONGEST_WAIT) {
        const why = `too much was compared for your address: try again in ${Math.ceil(rest / 1000)} seconds`;
        throw new Failure(frames.peer, why, "EAGAIN");
      }
      if (rest > 0) await frames.keepWaiting(sleep(rest));
      const begin = performance.now();
      let times = REST.unfinished;
      try {
        const found = await hash();
        const same = isSame(found.copy().digest("hex"));
        times = same || mayDiffer ? REST.same : REST.different;
        return { hash: found, same };
      } finally {
        const now = performance.now();
        source.restsUntil = now + Math.min(LONGEST_REST, times * (now - begin));
        source.isSuspect = times > REST.same;
      }
    } finally {
      resolve();
    }
  }

  #sourceOf({ socket }: FrameStream): Source {
    const name = sourceOf(socket.remoteAddress);
    const source = this.#sources.get(name) ?? { turn: Promise.resolve(), restsUntil: 0, isSuspect: false };
    this.#sources.delete(name);
    this.#sources.set(name, source); // now the youngest
    if (this.#sources.size > MOST_SOURCES) this.#sources.delete(`${this.#sources.keys().next().value}`);
    return source;
  }
}
