/** Lesson 4.5: wrong passwords cost time. */
import { describe, expect, setSystemTime, test } from "bun:test";
import { WrongPasswords } from "../../scripts/apps/sftp/keys.ts";

describe("WrongPasswords", () => {
  const waits = (wrong: WrongPasswords, ...tries: [address: string, isRight: boolean][]) =>
    tries.map(([address, isRight]) => wrong.wait(address, isRight));

  test("each wrong one waits longer, up to five seconds, and a right one as long as the last", () => {
    const wrong = new WrongPasswords();
    const tries = Array.from({ length: 6 }, () => wrong.wait("192.0.2.1", false));
    expect(tries).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
    expect(wrong.wait("192.0.2.1", true)).toBe(5000);
  });

  test("after a right one all is forgotten; other addresses count for themselves", () => {
    const [here, there] = ["192.0.2.1", "2001:db8::1"];
    const wrong = new WrongPasswords();
    expect(waits(wrong, [here, true], [here, false], [here, false], [there, false])).toEqual([
      0,
      500,
      1000,
      500,
    ]);
    expect(waits(wrong, [here, true], [here, true], [there, true])).toEqual([1000, 0, 500]);
  });

  test("ten minutes of peace are enough; so is being one of the oldest of 10,000 addresses", () => {
    try {
      const wrong = new WrongPasswords();
      setSystemTime(new Date("2026-01-01T00:00:00Z"));
      expect(waits(wrong, ["192.0.2.1", false], ["192.0.2.2", false])).toEqual([500, 500]);
      setSystemTime(new Date("2026-01-01T00:09:59Z"));
      expect(wrong.wait("192.0.2.1", false)).toBe(1000);
      setSystemTime(new Date("2026-01-01T00:10:00Z"));
      expect(wrong.wait("192.0.2.2", false)).toBe(500);
      for (let last = 0; last < 9999; last++) wrong.wait(`2001:db8::${last}`, false);
      expect(wrong.wait("192.0.2.1", true)).toBe(0);
      expect(wrong.wait("192.0.2.2", true)).toBe(500);
    } finally {
      setSystemTime();
    }
  });
});
