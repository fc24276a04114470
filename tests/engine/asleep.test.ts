/** When programs are given up: after so many looks at which they sleep, never because a machine is busy. */
import { describe, expect, test } from "bun:test";
import { type Doing, PACE, Silence } from "./asleep.ts";

const PATIENCE = { asleep: 1200, awake: 1000, many: 32 };

/** What is seen at a look: times are in milliseconds since the last one. */
type Seen = {
  ran?: number;
  waited?: number;
  isAwake?: boolean;
  isEnding?: boolean;
  count?: number;
  says?: boolean;
};

/** Looks at programs that do the same again and again. @returns why they are given up, and after how many looks */
function givenUp(looks: Seen[], most = 2000): [why: string | undefined, look: number] {
  const silence = new Silence(PATIENCE);
  const now: Doing = { count: 3, ran: 0, waited: 0, isAwake: false, isEnding: false };
  let heard = 0;
  for (let look = 0; look < most; look++) {
    const { ran = 0, waited = 0, says, count = 3, isAwake = false, isEnding = false } =
      looks[look % looks.length];
    if (says) heard++;
    now.ran += ran * 1e6;
    now.waited += waited * 1e6;
    const why = silence.look({ ...now, count, isAwake, isEnding }, heard);
    if (why) return [why, look];
  }
  return [undefined, most];
}

const times = (count: number, seen: Seen): Seen[] => Array.from({ length: count }, () => seen);
const sleep = (ms: number) => times(ms / PACE, {});

describe("given up", () => {
  test.each<[what: string, looks: Seen[], why: string, look: number]>([
    ["sleeps", [{}], "asleep", PATIENCE.asleep / PACE],
    ["sleeps, and its runtime looks after itself", [{ ran: 0.9 }], "asleep", PATIENCE.asleep / PACE],
    ["computes", [{ ran: PACE, isAwake: true }], "awake", PATIENCE.awake / PACE],
    [
      "computes on half a processor",
      [{ ran: PACE / 2, isAwake: true }],
      "awake",
      2 * PATIENCE.awake / PACE,
    ],
    // a hundred times, each time after half a second
    ["wakes and sleeps, and never says a word", [...sleep(500), { ran: 10 }], "awake", 11 * 100 - 1],
    [
      "starts one after the other, each of which ends at once",
      [{ isEnding: true }],
      "awake",
      5 * PATIENCE.awake / PACE,
    ],
    ["starts too many", [{}, {}, { count: 33 }], "many", 2],
  ])("one that %s", (_, looks, why, look) => expect(givenUp(looks)).toEqual([why, look]));
});

describe("not given up", () => {
  test.each<[what: string, looks: Seen[]]>([
    ["says a word each second", [...sleep(1000), { says: true }]],
    ["starts on a busy machine, step by step", [...times(90, { ran: 1, waited: 5 }), { says: true }]],
    ["could run, and has no turn", [{ isAwake: true, waited: PACE }]],
    ["is as many as it may be", [...sleep(1000), { count: 32, says: true }]],
    ["computes for most of a second between two words", [...times(19, { ran: PACE, isAwake: true }), {
      says: true,
    }]],
  ])("one that %s", (_, looks) => expect(givenUp(looks)).toEqual([undefined, 2000]));

  test("one that was stirred has slept before, too; what it says then is news", () => {
    const silence = new Silence(PATIENCE);
    const now: Doing = { count: 3, ran: 0, waited: 0, isAwake: false, isEnding: false };
    const looks = (heard: number, isAwake = false) => {
      let count = 1;
      while (!silence.look({ ...now, isAwake }, heard) && !isAwake && count < 100) count++;
      return count;
    };
    for (let look = 0; look <= 5; look++) silence.look(now, 0);
    silence.stirred();
    looks(0, true);
    expect(looks(0)).toBe(PATIENCE.asleep / PACE - 5);
    silence.stirred();
    expect(looks(1)).toBe(PATIENCE.asleep / PACE + 1);
  });

  test("one that nobody waits for", () => {
    const silence = new Silence(PATIENCE);
    for (let look = 0; look < 2000; look++) expect(silence.look(undefined, 0)).toBeUndefined();
  });
});
