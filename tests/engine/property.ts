/**
 * Properties: what holds for every input, tried with many that fast-check makes up. A failure prints the smallest input
 * that shows it, and a seed and path with which it comes again:
 *
 *     CASES=1000000 SEED=-1819918769 bun test tests/course/properties.test.ts
 */
import { test } from "bun:test";
import fc from "fast-check";
import process from "node:process";
import { Failure } from "../../lib/failure.ts";
import { count } from "../commands/settings.ts";
import { EVERYTHING } from "./program.ts";

/** How many inputs each property is tried with: 200 by `make test`, 10,000 by `make ci`, a million by `make fuzz`. */
export const CASES = count("CASES", EVERYTHING ? 10_000 : 200);

const SEED = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };

/** A test that a property holds. It may be asynchronous. */
export function holds<T extends [unknown, ...unknown[]]>(
  what: string,
  inputs: { [I in keyof T]: fc.Arbitrary<T[I]> },
  property: (...values: T) => unknown,
): void {
  const check = fc.asyncProperty<T>(...inputs, async (...values) => void await property(...values));
  test(what, () => fc.assert(check, { numRuns: CASES, ...SEED }), 3_600_000);
}

/** Bytes at which parsers stumble: ends, leads and tails of characters, signs, small numbers. */
const TRICKY = [0, 1, 10, 32, 0x7f, 0x80, 0x81, 0xa0, 0xbd, 0xc3, 0xe4, 0xf0, 0xfe, 0xff];

/** Bytes of any kind. */
export const bytes = (most = 200): fc.Arbitrary<Buffer> =>
  fc.oneof(
    fc.uint8Array({ maxLength: most }),
    fc.array(fc.constantFrom(...TRICKY), { maxLength: Math.min(most, 30) }),
  ).map((array) => Buffer.from(array));

/** Any text: ASCII or not, well formed or not. */
export const text = (most = 60): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ maxLength: most }),
    fc.string({ unit: "grapheme", maxLength: most }),
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: most })
      .map((units) => String.fromCharCode(...units)),
  );

/** Where a stream is cut: as shares of its length. */
export const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 });

/** The pieces of a stream; a piece may be empty. */
export function pieces(whole: Buffer, shares: number[]): Buffer[] {
  const places = [
    0,
    ...shares.map((share) => Math.floor(share * whole.length)).sort((a, b) => a - b),
    whole.length,
  ];
  return places.slice(1).map((end, index) => whole.subarray(places[index], end));
}

/** One bit of some bytes is turned over. */
export function turned(whole: Buffer, share: number): Buffer {
  const damaged = Buffer.from(whole);
  const bit = Math.min(Math.floor(share * whole.length * 8), whole.length * 8 - 1);
  damaged[bit >> 3] ^= 1 << (bit & 7);
  return damaged;
}

/** What a call gives, or the code of the Failure that it throws, which must be one of these. Anything else is thrown. */
export function orFailure<T>(codes: string[], call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof Failure && codes.includes(error.code)) return error.code;
    throw error;
  }
}

/** The same of what is asynchronous. */
export async function orFailureLater<T>(codes: string[], call: () => Promise<T>): Promise<T | string> {
  const end = await call().then((value) => () => value, (error) => () => {
    throw error;
  });
  return orFailure(codes, end);
}

/** How many bytes are copied while something runs, by the calls with which the parsers copy. */
export async function copied(work: () => unknown): Promise<number> {
  const { copy } = Buffer.prototype;
  const { concat } = Buffer;
  let count = 0;
  Buffer.prototype.copy = function (...words: Parameters<typeof copy>) {
    const done = copy.apply(this, words);
    count += done;
    return done;
  };
  Buffer.concat = (list: readonly Uint8Array[], ...more: number[]) => {
    const whole = concat(list, ...more);
    count += whole.length;
    return whole;
  };
  try {
    await work();
  } finally {
    Buffer.prototype.copy = copy;
    Buffer.concat = concat;
  }
  return count;
}

/** Gives values one after another, as a stream does. */
export async function* stream<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values;
}

export { fc };
